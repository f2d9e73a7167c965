"""Expected failures of the command line: one clear line and an exit code."""

from collections.abc import Iterable

ALL_WRITTEN = 0
"""Every record was written."""

SOME_WITHOUT_OUTCOME = 1
"""Some record has no outcome, or the command failed."""

USAGE = 2
"""The command was called incorrectly."""

SOME_REJECTED = 3
"""Every record has an outcome, and some were rejected."""


class CommandFailed(Exception):
    """An expected failure, reported to the user in one line, above the lines of a log; `code` is the exit code."""

    def __init__(self, message: str, code: int = SOME_WITHOUT_OUTCOME, log: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.log = tuple(log)
