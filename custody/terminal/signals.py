"""End a command on Ctrl-C or SIGTERM, with all clean-up."""

import signal
from typing import NoReturn

INTERRUPTED = 130
"""The exit code after Ctrl-C, as in shells: 128 plus the number of the signal."""

TERMINATED = 143
"""The exit code after SIGTERM."""


def end_on_sigterm() -> None:
    """Let SIGTERM end the command as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _terminate)


def _terminate(*_: object) -> NoReturn:
    raise SystemExit(TERMINATED)
