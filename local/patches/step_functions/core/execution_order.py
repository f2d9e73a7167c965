"""ListExecutions gives the execution first that was started last.

MiniStack sorts those that have ended by their end, among those that run by their start, so that a long one stands
before what was started after it. AWS documents that the most recent come first:
https://docs.aws.amazon.com/step-functions/latest/apireference/API_ListExecutions.html
"""

from typing import Any

from local.patches.patch import member, module


def fill() -> None:
    """Sort by the start, and then by the ARN: a page goes on behind that of the one before."""
    machines = module("services.stepfunctions")
    member(machines, "_execution_sort_key")
    machines._execution_sort_key = _key  # noqa: SLF001


def _key(execution: dict[str, Any]) -> tuple[str, str]:
    return execution["startDate"], execution["executionArn"]
