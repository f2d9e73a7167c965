"""End a command on Ctrl-C or SIGTERM, but never in the middle of a step that must be completed."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""The exit code after Ctrl-C, as in shells: 128 plus the number of the signal."""

TERMINATED = 143
"""The exit code after SIGTERM."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def end_on_sigterm() -> None:
    """Let SIGTERM end the command as Ctrl-C does, with all clean-up."""
    signal.signal(signal.SIGTERM, _terminate)


@contextmanager
def held_back() -> Iterator[None]:
    """Defer a signal to the end of the block; a second signal takes effect at once, in case the block hangs."""
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread receives signals.
        yield
        return
    received: list[int] = []
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}

    def defer(number: int, frame: FrameType | None) -> None:
        handler = handlers[signal.Signals(number)]
        if received and callable(handler):
            handler(number, frame)
        received.append(number)

    # Ignored signals, and handlers not set by Python, stay as they are.
    deferred = [number for number in _SIGNALS if callable(handlers[number])]
    for number in deferred:
        signal.signal(number, defer)
    try:
        yield
    finally:
        for number in deferred:
            signal.signal(number, handlers[number])
    if received:
        signal.raise_signal(received[0])


def _terminate(*_: object) -> NoReturn:
    raise SystemExit(TERMINATED)
