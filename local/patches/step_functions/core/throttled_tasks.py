"""A Task whose function is throttled fails with Lambda.TooManyRequestsException, which its Retry may name.

MiniStack calls that Lambda.Unknown:
https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html#bp-lambda-serviceexception
"""

from typing import Any

from local.patches.patch import change, module

_THROTTLED = "TooManyRequestsException"


def fill() -> None:
    """Name the error by what Lambda has answered."""
    change(
        module("services.stepfunctions"),
        "_call_lambda",
        {'body.get("errorType", "Lambda.Unknown")': "_local_error_of(body)"},
        {"_local_error_of": _error_of},
    )


def _error_of(body: dict[str, Any]) -> str:
    if body.get("__type") == _THROTTLED:
        return f"Lambda.{_THROTTLED}"
    return str(body.get("errorType", "Lambda.Unknown"))
