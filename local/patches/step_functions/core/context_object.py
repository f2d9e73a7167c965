"""`$$.Execution` has the role, the number of redrives and the time of the last one.

MiniStack has none of them. Before a redrive the count is 0, and there is no time:
https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html
"""

from typing import Any

from local.patches.patch import change, module

_NAME = '"Name": execution["name"],'


def fill() -> None:
    """Put them into the context with which an execution runs."""
    change(
        module("services.stepfunctions"),
        "_run_execution",
        {_NAME: f'{_NAME} "RoleArn": sm["roleArn"], **_local_redrives_of(execution),'},
        {"_local_redrives_of": redrives_of},
    )


def redrives_of(execution: dict[str, Any]) -> dict[str, Any]:
    """Give what the context tells of redrives."""
    count = execution.get("redriveCount", 0)
    return {"RedriveCount": count, **({"RedriveTime": execution["redriveDate"]} if count else {})}
