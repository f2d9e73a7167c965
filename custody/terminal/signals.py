"""How a command is told to end: by Ctrl-C or by SIGTERM, and not in the middle of what must not be cut in two."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it: 128 and the number of the signal."""

TERMINATED = 143
"""The exit code after SIGTERM."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def end_on_sigterm() -> None:
    """Let SIGTERM end the command as Ctrl-C does: everything that was begun is put in order."""
    signal.signal(signal.SIGTERM, _terminate)


@contextmanager
def held_back() -> Iterator[None]:
    """Let a signal wait until a block has ended; the second one does not wait, so that nothing hangs for ever."""
    if threading.current_thread() is not threading.main_thread():
        # Signals come to the main thread alone.
        yield
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def wait(number: int, frame: FrameType | None) -> None:
        handler = before[signal.Signals(number)]
        if came and callable(handler):
            handler(number, frame)
        came.append(number)

    # What is not of Python, or is ignored, stays as it is.
    ours = [number for number in _SIGNALS if callable(before[number])]
    for number in ours:
        signal.signal(number, wait)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])
    if came:
        signal.raise_signal(came[0])


def _terminate(*_: object) -> NoReturn:
    raise SystemExit(TERMINATED)
