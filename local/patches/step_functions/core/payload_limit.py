"""A result of more than 256 KiB of a Task or a Distributed Map fails with States.DataLimitExceeded.

MiniStack passes any size on, so that a missing claim check goes unnoticed.
https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
"""

import json
from collections.abc import Callable
from typing import Any

from local.patches.patch import change, member, module, wrap

LIMIT = 256 * 1024


def fill() -> None:
    """Measure what a function gave, and what the children of a Map gave together."""
    machines = module("services.stepfunctions")
    member(machines, "_ExecutionError")

    def around(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(reference: str, event: Any) -> Any:
            return _within_limit(call(reference, event), reference.rsplit(":", 1)[-1])

        return called

    wrap(machines, "_call_lambda", around)
    selected = "_apply_result_selector(state_def, "
    change(
        machines,
        "_run_distributed_map",
        {f"{selected}results)": f'{selected}_local_within_limit(results, ctx["State"]["Name"]))'},
        {"_local_within_limit": _within_limit},
    )


def _within_limit(result: Any, name: str) -> Any:
    if len(json.dumps(result, ensure_ascii=False).encode()) > LIMIT:
        raise module("services.stepfunctions")._ExecutionError(  # noqa: SLF001
            "States.DataLimitExceeded",
            f"The state/task '{name}' returned a result with a size exceeding the maximum number of bytes service "
            "limit.",
        )
    return result
