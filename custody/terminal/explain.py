"""What is reported of a failure that is not a bug: of AWS, embedded AWS or the operating system."""

import os

_THROTTLED = frozenset(
    {"ThrottlingException", "Throttling", "TooManyRequestsException", "SlowDown", "RequestThrottled"}
)


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
    name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else str(error.filename)
    return f"{name}: {error.strerror}. Check that it exists and that you have access to it; then try again."
