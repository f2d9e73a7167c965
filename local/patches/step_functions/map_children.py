"""A child of a Distributed Map is an execution of its own, with context, history, end and redrive.

MiniStack gives children the parent's context, no history and no redrive, and records only their Tasks. On AWS a child
that is running when its parent ends is ABORTED, and one that has not begun does not begin. A redriven Map keeps its Map
Run and reruns only the children that did not succeed, each from the state where it ended; it reads its items again, so
they must not have changed, and its children cannot be redriven separately.
https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html
https://docs.aws.amazon.com/step-functions/latest/dg/redrive-map-run.html
https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html
"""

import copy
import json
from collections.abc import Callable
from typing import Any

from local.patches.patch import change, member, module
from local.patches.step_functions.ending import ending, has_ended, run_child
from local.patches.step_functions.executions import redrives_of
from local.patches.step_functions.redrive import again, move_to, resuming

_RUN_CHILD = "def run_child(idx, item):"
_CHILD = '"testCase": execution.get("testCase"), "mockAttempts": {},\n        }'
_STORED = '_executions[child["executionArn"]] = child'
_SUCCEEDED = """child.update(status="SUCCEEDED", output=json.dumps(results[idx]))
            outcome = "succeeded\""""
_FAILED = """child.update(status="FAILED", error=err.error, cause=err.cause)
            outcome = "failed\""""
_STATE = 'ctx["State"] = {"Name": current_name, "EnteredTime": now_iso(), "RetryCount": 0}'
_ENTERED = '{"stateEnteredEventDetails": {"name": current_name, "input": json.dumps(current_input)}}'
_SUCCEED = """return _apply_output_path(state_def,
                                      _apply_input_path(state_def, current_input, ctx), ctx)"""
_OUTCOMES = {"SUCCEEDED": "succeeded", "FAILED": "failed", "ABORTED": "aborted"}


def apply() -> None:
    """Run each child in a context of its own, from its first state or where it ended, and write its history."""
    machines = module("services.stepfunctions")
    for name in ("now_iso", "_add_event", "_executions", "_map_runs"):
        member(machines, name)
    change(
        machines,
        "_run_sub_machine",
        {
            _STATE: (
                'ctx["State"] = _local_state(execution, current_name, current_input, ctx)\n'
                f'        _local_enter(execution, f"{{state_type}}StateEntered", {_ENTERED})'
            ),
            _SUCCEED: (
                "current_input = _apply_input_path(state_def, current_input, ctx)\n"
                "            return _local_exit(execution, state_type, current_name, "
                "_apply_output_path(state_def, current_input, ctx))"
            ),
            "}.get(state_type)": (
                "}.get(state_type)\n"
                "        handler_fn = _local_exiting(handler_fn, execution, state_type, current_name)"
            ),
        },
        {"_local_state": _state, "_local_exit": _exit, "_local_exiting": _exiting},
    )
    change(
        machines,
        "_run_distributed_map",
        {
            '.get("Label") or new_uuid()': '.get("Label") or _local_label(execution) or new_uuid()',
            "_map_runs[map_run_arn] = run": (
                "run = _local_map_run(execution, run)\n    map_run_arn = run['mapRunArn']\n"
                "    _map_runs[map_run_arn] = run"
            ),
            _RUN_CHILD: f"{_RUN_CHILD}\n        if _local_is_done(run, idx, results):\n            return",
            "copy.deepcopy(ctx)": "_local_context(ctx)",
            _CHILD: f"{_CHILD}\n        child = _local_child(run, idx, child)",
            _STORED: f"{_STORED}\n        _local_be_child(item_ctx, child)",
            "results[idx] = _run_sub_machine(iterator": "results[idx] = _local_run_child(iterator",
            _SUCCEEDED: "outcome = _local_child_succeeded(child, results[idx])",
            _FAILED: "outcome = _local_child_failed(child, err)",
            'child["stopDate"] = now_iso()': "",
        },
        {
            "_local_label": _label,
            "_local_map_run": _map_run,
            "_local_is_done": _is_done,
            "_local_context": _context,
            "_local_child": _child,
            "_local_be_child": _be_child,
            "_local_run_child": _run_child,
            "_local_child_succeeded": _succeed,
            "_local_child_failed": _fail,
        },
    )


def _earlier_run(execution: dict[str, Any]) -> dict[str, Any] | None:
    """Return the Map Run that a redrive resumes, if it does."""
    run: dict[str, Any] | None = module("services.stepfunctions")._map_runs.get(execution.get("mapRun"))  # noqa: SLF001
    return run if resuming.get() else None


def _label(execution: dict[str, Any]) -> str | None:
    earlier = _earlier_run(execution)
    return None if earlier is None else str(earlier["_stateMachineArn"]).rsplit("/", 1)[-1]


def _map_run(execution: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    machines, earlier = module("services.stepfunctions"), _earlier_run(execution)
    if earlier is None:
        execution["mapRun"] = new["mapRunArn"]
        return new | {"_children": {}}
    count = earlier["redriveCount"] + 1
    details = {"mapRunRedrivenEventDetails": {"mapRunArn": earlier["mapRunArn"], "redriveCount": count}}
    machines._add_event(execution, "MapRunRedriven", details)  # noqa: SLF001
    running = {"status": "RUNNING", "redriveCount": count, "redriveDate": machines.now_iso()}
    children = {"_children": dict(earlier["_children"])}
    return {key: value for key, value in earlier.items() if key != "stopDate"} | running | children


def _is_done(run: dict[str, Any], index: int, results: list[Any]) -> bool:
    """Tell whether a child need not run: its parent has ended, or it has succeeded already."""
    if has_ended():
        return True
    child = module("services.stepfunctions")._executions.get(run["_children"].get(str(index))) or {}  # noqa: SLF001
    if child.get("status") != "SUCCEEDED":
        return False
    results[index] = json.loads(child["output"])
    return True


def _child(run: dict[str, Any], index: int, new: dict[str, Any]) -> dict[str, Any]:
    earlier = module("services.stepfunctions")._executions.get(run["_children"].get(str(index)))  # noqa: SLF001
    if earlier is not None:
        return again(earlier)
    run["_children"][str(index)] = new["executionArn"]
    return new


def _run_child(states: Any, start: str, _given: Any, child: dict[str, Any], context: dict[str, Any]) -> Any:
    """Run a child in a context of its own, from its first state or from where it ended."""
    resuming.set("at" in child)
    at = child.get("at", {"name": start, "input": child["input"]})
    own = {key: value for key, value in context.items() if key != "State"}
    sub_machine = module("services.stepfunctions")._run_sub_machine  # noqa: SLF001
    return sub_machine(states, at["name"], json.loads(at["input"]), child, own)


def _state(child: dict[str, Any], name: str, given: Any, context: dict[str, Any]) -> dict[str, Any]:
    """Return `$$.State` of a child's next state."""
    move_to(child, name, given, context)
    return {"Name": name, "EnteredTime": child["at"]["entered"], "RetryCount": 0}


def _exiting(run: Callable[..., Any] | None, child: dict[str, Any], kind: str, name: str) -> Callable[..., Any] | None:
    """Add a state's exit to the history after it has run."""
    if run is None:
        return None

    def run_and_exit(*given: Any) -> Any:
        output, following = run(*given)
        return _exit(child, kind, name, output), following

    return run_and_exit


def _exit(child: dict[str, Any], kind: str, name: str, output: Any) -> Any:
    details = {"stateExitedEventDetails": {"name": name, "output": json.dumps(output)}}
    module("services.stepfunctions")._add_event(child, f"{kind}StateExited", details)  # noqa: SLF001
    return output


def _context(parents: dict[str, Any]) -> dict[str, Any]:
    """Copy only what a child may change: copying the parent's input for thousands of children takes minutes."""
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
    run_child(child)
    if not child["events"]:
        details = {"executionStartedEventDetails": {"input": child["input"], "roleArn": role}}
        _add(child, "ExecutionStarted", details)


def _succeed(child: dict[str, Any], output: Any) -> str:
    text = json.dumps(output)
    details = {"executionSucceededEventDetails": {"output": text}}
    return _end(child, "SUCCEEDED", "ExecutionSucceeded", details, output=text)


def _fail(child: dict[str, Any], failure: Any) -> str:
    error = {"error": failure.error, "cause": failure.cause}
    return _end(child, "FAILED", "ExecutionFailed", {"executionFailedEventDetails": error}, **error)


def abort(child: dict[str, Any]) -> None:
    """Abort a child whose parent has ended."""
    _end(child, "ABORTED", "ExecutionAborted", {"executionAbortedEventDetails": {}})


def _end(child: dict[str, Any], status: str, kind: str, details: dict[str, Any], **more: Any) -> str:
    """End a child unless it has ended before; return how it ended."""
    with ending:
        if child["status"] == "RUNNING":
            now = module("services.stepfunctions").now_iso()
            child.update(status=status, stopDate=now, **more)
            _add(child, kind, details)
        return _OUTCOMES[child["status"]]


def _add(child: dict[str, Any], kind: str, details: dict[str, Any]) -> None:
    module("services.stepfunctions")._add_event(child, kind, details)  # noqa: SLF001
