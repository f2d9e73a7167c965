"""A Map Run appears in its parent's history, counts its children, and ends with its parent.

MiniStack records none, continues children after the parent has ended, counts those as failed, and never checks the
role. The machine's role must be allowed to start it, and to redrive its children:
https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html (here the state fails with
States.Runtime otherwise; AWS does not say with what). The counts are those of
https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeMapRun.html. A run beyond its tolerance
finishes its other children here; AWS aborts them.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from local.patches import roles
from local.patches.patch import change, member, module, wrap
from local.patches.step_functions import map_children
from local.patches.step_functions.ending import ending, has_ended
from local.patches.step_functions.executions import machine_of

_STORED = "_map_runs[map_run_arn] = run"
_END = """run["status"] = "FAILED" if exceeded else "SUCCEEDED"
    run["stopDate"] = now_iso()"""
_COUNTS = {
    "RUNNING": "running",
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "TIMED_OUT": "timedOut",
    "ABORTED": "aborted",
}
_THRESHOLD = {
    "error": "States.ExceedToleratedFailureThreshold",
    "cause": "The specified tolerated failure threshold was exceeded",
}


def apply() -> None:
    """Record the start and end of a run, abort it with its parent, and count its children on request."""
    machines = module("services.stepfunctions")
    for name in ("now_iso", "_add_event", "_executions", "_map_runs", "_ExecutionError"):
        member(machines, name)
    change(
        machines,
        "_run_distributed_map",
        {
            _STORED: (
                f"_local_may_run(execution, run)\n    {_STORED}\n    _local_run_begins(execution, run, len(items))"
            ),
            _END: "_local_run_ends(execution, run, exceeded)",
        },
        {"_local_may_run": _may_run, "_local_run_begins": _begin, "_local_run_ends": _end},
    )
    wrap(machines, "_map_run_view", _viewing)
    wrap(machines, "_emit_execution_status_event", _emitting)


def _may_run(execution: dict[str, Any], run: dict[str, Any]) -> None:
    role = (machine_of(execution) or {}).get("roleArn", "")
    machine, children = execution["stateMachineArn"], run["mapRunArn"].replace(":mapRun:", ":execution:")
    action, resource = (
        ("states:RedriveExecution", children) if run["redriveCount"] else ("states:StartExecution", machine)
    )
    if roles.are_enforced() and not roles.may(role, action, resource, "states"):
        refusal = f"{roles.as_caller(role, 'states')} is not authorized to perform: {action} on resource: {resource}"
        raise module("services.stepfunctions")._ExecutionError("States.Runtime", refusal)  # noqa: SLF001


def _begin(execution: dict[str, Any], run: dict[str, Any], items: int) -> None:
    if run["redriveCount"]:
        return
    _add(execution, "MapStateStarted", {"mapStateStartedEventDetails": {"length": items}})
    _add(execution, "MapRunStarted", {"mapRunStartedEventDetails": {"mapRunArn": run["mapRunArn"]}})


def _end(execution: dict[str, Any], run: dict[str, Any], exceeded: bool) -> None:  # noqa: FBT001 - as it is called
    machines = module("services.stepfunctions")
    with ending:
        if has_ended():
            raise machines._ExecutionError("States.Aborted", "The execution has ended")  # noqa: SLF001
        run.update(status="FAILED" if exceeded else "SUCCEEDED", stopDate=machines.now_iso())
    if exceeded:
        _add(execution, "MapRunFailed", {"mapRunFailedEventDetails": _THRESHOLD})
        _add(execution, "MapStateFailed", None)
    else:
        _add(execution, "MapRunSucceeded", None)
        _add(execution, "MapStateSucceeded", None)


def _add(execution: dict[str, Any], kind: str, details: dict[str, Any] | None) -> None:
    module("services.stepfunctions")._add_event(execution, kind, details)  # noqa: SLF001


def _emitting(emit: Callable[..., Any]) -> Callable[..., Any]:
    """Abort the runs of an execution that has ended; children have no status events."""

    def emit_and_abort(execution: dict[str, Any]) -> None:
        if execution.get("mapRunArn"):
            return
        if execution["status"] != "RUNNING":
            _abort_runs(execution["executionArn"])
        emit(execution)

    return emit_and_abort


def _abort_runs(parent: str) -> None:
    machines = module("services.stepfunctions")
    with ending:
        for run in list(machines._map_runs.values()):  # noqa: SLF001
            if run["executionArn"] == parent and run["status"] == "RUNNING":
                run.update(status="ABORTED", stopDate=machines.now_iso())
                for child in _children(run):
                    map_children.abort(child)


def _children(run: dict[str, Any]) -> list[dict[str, Any]]:
    executions = module("services.stepfunctions")._executions  # noqa: SLF001
    children = (executions.get(arn) for arn in list(run["_children"].values()))
    return [child for child in children if child is not None]


def _viewing(view: Callable[..., Any]) -> Callable[..., Any]:
    def view_with_counts(run: dict[str, Any]) -> dict[str, Any]:
        counts = run["executionCounts"] | _counted(run)
        shown: dict[str, Any] = view(run) | {"itemCounts": counts, "executionCounts": counts}
        return shown

    return view_with_counts


def _counted(run: dict[str, Any]) -> dict[str, int]:
    children = _children(run)
    counter = Counter(_counts_as(child, run) for child in children)
    names = (*_COUNTS.values(), "pendingRedrive")
    pending = run["executionCounts"]["total"] - len(children)
    return {name: counter[name] for name in names} | {"pending": pending}


def _counts_as(child: dict[str, Any], run: dict[str, Any]) -> str:
    unsuccessful = child["status"] not in {"RUNNING", "SUCCEEDED"}
    if run["status"] == "RUNNING" and unsuccessful and child["stopDate"] < run.get("redriveDate", ""):
        return "pendingRedrive"
    return _COUNTS[child["status"]]
