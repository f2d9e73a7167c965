"""The failures that the command line expects: one clear line, and an exit code."""

ALL_WRITTEN = 0
"""Every record was written."""

SOME_WITHOUT_OUTCOME = 1
"""Some record has no outcome, or the command could not do its work."""

USAGE = 2
"""The command was called wrongly."""

SOME_REJECTED = 3
"""Every record has an outcome, and some are rejected."""


class CommandFailed(Exception):
    """Said to the user in one line; `code` is the exit code."""

    def __init__(self, said: str, code: int = SOME_WITHOUT_OUTCOME) -> None:
        super().__init__(said)
        self.code = code
