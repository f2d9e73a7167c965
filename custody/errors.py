"""Expected failures of the command line: one clear line and an exit code."""

import os

from custody.terminal.text import visible

ALL_WRITTEN = 0
"""Every record was written."""

SOME_WITHOUT_OUTCOME = 1
"""Some record has no outcome, or the command failed."""

USAGE = 2
"""The command was called incorrectly."""

SOME_REJECTED = 3
"""Every record has an outcome, and some were rejected."""

_THROTTLED = frozenset(
    {"ThrottlingException", "Throttling", "TooManyRequestsException", "SlowDown", "RequestThrottled"}
)


class CommandFailed(Exception):
    """An expected failure, reported to the user in one line; `code` is the exit code."""

    def __init__(self, message: str, code: int = SOME_WITHOUT_OUTCOME) -> None:
        super().__init__(message)
        self.code = code


def explain(error: Exception) -> str | None:
    """Return what to report of a failure of AWS, embedded AWS or the operating system; None if it is a bug."""
    # Whatever raised them has imported them already; `custody --help` needs none of them.
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    from local import LocalAwsError  # noqa: PLC0415

    if isinstance(error, ClientError) and error.response["Error"]["Code"] in _THROTTLED:
        return f"AWS is throttling requests, even after retries: {error}. Try again later."
    if isinstance(error, ClientError | BotoCoreError | LocalAwsError):
        return str(error)
    if isinstance(error, OSError):
        return _explain_os_error(error)
    return None


def _explain_os_error(error: OSError) -> str:
    if error.filename is None:
        return (
            f"{error.strerror or error}. If the output goes to a file, check that the disk has space; then try again."
        )
    name = visible(os.fsdecode(error.filename) if isinstance(error.filename, bytes) else str(error.filename))
    return f"{name}: {error.strerror}. Check that it exists and that you have access to it; then try again."
