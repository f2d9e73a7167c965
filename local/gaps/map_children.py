"""In a child of a Distributed Map, `$$.Execution` is the child.

MiniStack gives children the parent's.
https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html
"""

import json
from typing import Any

from local.gaps.context_object import redrives_of
from local.gaps.patch import change, module

_STORED = '_executions[child["executionArn"]] = child'


def fill() -> None:
    """Put the child into the context it runs with."""
    change(
        module("services.stepfunctions"),
        "_run_distributed_map",
        {_STORED: f"{_STORED}\n        _local_be_child(item_ctx, child)"},
        {"_local_be_child": _be_child},
    )


def _be_child(context: dict[str, Any], child: dict[str, Any]) -> None:
    context["Execution"] = {
        "Id": child["executionArn"],
        "Name": child["name"],
        "Input": json.loads(child["input"]),
        "StartTime": child["startDate"],
        "RoleArn": context["Execution"]["RoleArn"],
        **redrives_of(child),
    }
