"""A child of a Distributed Map is an execution of its own: `$$.Execution`, its history, and how it ends.

MiniStack gives children the parent's context and no history, and turns one that was stopped into another end. A child
that is not done when its parent ends is ABORTED; one that has not begun by then does not begin:
https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html
https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html
"""

import copy
import json
from typing import Any

from local.patches.patch import change, member, module
from local.patches.step_functions.core.context_object import redrives_of
from local.patches.step_functions.core.execution_end import ending, has_ended, runs_too

_BEGIN = "def run_child(idx, item):"
_STORED = '_executions[child["executionArn"]] = child'
_SUCCEEDED = """child.update(status="SUCCEEDED", output=json.dumps(results[idx]))
            outcome = "succeeded\""""
_FAILED = """child.update(status="FAILED", error=err.error, cause=err.cause)
            outcome = "failed\""""
_OUTCOMES = {"SUCCEEDED": "succeeded", "FAILED": "failed", "ABORTED": "aborted"}


def fill() -> None:
    """Put the child into the context it runs with, and write its history from the start to the end."""
    machines = module("services.stepfunctions")
    for name in ("now_iso", "_add_event"):
        member(machines, name)
    change(
        machines,
        "_run_distributed_map",
        {
            _BEGIN: f"{_BEGIN}\n        if _local_has_ended():\n            return",
            "copy.deepcopy(ctx)": "_local_context(ctx)",
            _STORED: f"{_STORED}\n        _local_be_child(item_ctx, child)",
            _SUCCEEDED: "outcome = _local_child_succeeded(child, results[idx])",
            _FAILED: "outcome = _local_child_failed(child, err)",
            'child["stopDate"] = now_iso()': "",
        },
        {
            "_local_has_ended": has_ended,
            "_local_context": _context,
            "_local_be_child": _be_child,
            "_local_child_succeeded": _succeed,
            "_local_child_failed": _fail,
        },
    )


def _context(parents: dict[str, Any]) -> dict[str, Any]:
    """Copy what a child may change; copying the parent's input for each of thousands of children takes minutes."""
    return {**parents, "variables": copy.deepcopy(parents["variables"])}


def _be_child(context: dict[str, Any], child: dict[str, Any]) -> None:
    role = context["Execution"]["RoleArn"]
    context["Execution"] = {
        "Id": child["executionArn"],
        "Name": child["name"],
        "Input": json.loads(child["input"]),
        "StartTime": child["startDate"],
        "RoleArn": role,
        **redrives_of(child),
    }
    runs_too(child)
    if not child["events"]:
        details = {"executionStartedEventDetails": {"input": child["input"], "roleArn": role}}
        _tell(child, "ExecutionStarted", details)


def _succeed(child: dict[str, Any], output: Any) -> str:
    text = json.dumps(output)
    details = {"executionSucceededEventDetails": {"output": text}}
    return _end(child, "SUCCEEDED", "ExecutionSucceeded", details, output=text)


def _fail(child: dict[str, Any], failure: Any) -> str:
    error = {"error": failure.error, "cause": failure.cause}
    return _end(child, "FAILED", "ExecutionFailed", {"executionFailedEventDetails": error}, **error)


def abort(child: dict[str, Any]) -> None:
    """End a child whose parent has ended."""
    _end(child, "ABORTED", "ExecutionAborted", {"executionAbortedEventDetails": {}})


def _end(child: dict[str, Any], status: str, kind: str, details: dict[str, Any], **more: Any) -> str:
    """End a child that runs; tell how it ended, which may be otherwise, and before."""
    with ending:
        if child["status"] == "RUNNING":
            now = module("services.stepfunctions").now_iso()
            child.update(status=status, stopDate=now, **more)
            _tell(child, kind, details)
        return _OUTCOMES[child["status"]]


def _tell(child: dict[str, Any], kind: str, details: dict[str, Any]) -> None:
    module("services.stepfunctions")._add_event(child, kind, details)  # noqa: SLF001
