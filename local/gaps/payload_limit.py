"""A Task's result of more than 256 KiB fails with States.DataLimitExceeded.

MiniStack passes any size on, so that a missing claim check goes unnoticed.
https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
"""

import json
from collections.abc import Callable
from typing import Any

from local.gaps.patch import member, module, wrap

LIMIT = 256 * 1024


def fill() -> None:
    """Measure what a function gave."""
    machines = module("services.stepfunctions")
    error = member(machines, "_ExecutionError")

    def around(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(reference: str, event: Any) -> Any:
            result = call(reference, event)
            if len(json.dumps(result, ensure_ascii=False).encode()) > LIMIT:
                name = reference.rsplit(":", 1)[-1]
                raise error(
                    "States.DataLimitExceeded",
                    f"The state/task '{name}' returned a result with a size exceeding the maximum number of bytes "
                    "service limit.",
                )
            return result

        return called

    wrap(machines, "_call_lambda", around)
