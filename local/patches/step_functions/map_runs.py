"""The children of a Distributed Map are executions of their own, and its Map Run is in the parent's history.

MiniStack gives children the parent's context, no history and no redrive, continues them after the parent has ended, and
never checks the role. On AWS a child that is running when its parent ends is ABORTED, and one that has not begun does
not begin. A redriven Map keeps its Map Run and reruns only the children that did not succeed, each from the state where
it ended; it reads its items again, so they must not have changed. The machine's role must be allowed to start a Map
Run, and to redrive its children (here the state fails with States.Runtime otherwise; AWS does not say with what). A run
beyond its tolerance finishes its other children here; AWS aborts them.
https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html
https://docs.aws.amazon.com/step-functions/latest/dg/redrive-map-run.html
https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html
https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeMapRun.html
"""

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

from local.patches import roles
from local.patches.patch import module, wrap
from local.patches.step_functions.executions import Execution, end, ending, has_ended, run
from local.patches.step_functions.redrive import again
from local.patches.step_functions.tasks import check_size

_COUNTS = {
    "RUNNING": "running",
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "TIMED_OUT": "timedOut",
    "ABORTED": "aborted",
}
_THRESHOLD = ("States.ExceedToleratedFailureThreshold", "The specified tolerated failure threshold was exceeded")

Json = dict[str, Any]
machines = module("services.stepfunctions")


def apply(workers: int) -> None:
    """Run Maps here, at most `workers` children at a time: waiting for a worker counts against a Task's timeout."""
    machines._run_distributed_map = partial(_run_map, workers)
    wrap(machines, "_map_run_view", _view)
    wrap(machines, "_emit_execution_status_event", _emit)


def _run_map(  # noqa: PLR0913, PLR0917 - MiniStack's signature
    workers: int, state: Json, raw_input: Any, given: Any, processor: Json, execution: Execution, context: Json
) -> tuple[Any, str | None]:
    """Run a Map state, and return its output and the next state."""
    items = machines._resolve_path_or_ctx(state["ItemsPath"], given, context)
    map_run = _begin(state, execution, len(items))
    machine = execution["machine"] | {"definition": json.dumps(processor)}

    def run_child(index: int) -> None:
        item = context | {"Map": {"Item": {"Index": index, "Value": items[index]}}}
        selector = state.get("ItemSelector")
        selected = machines._resolve_params_obj(selector, given, item) if selector else items[index]
        with ending:  # or else a child could begin while the parent ends, and nothing would end it
            earlier = machines._executions.get(map_run["_children"][index])
            if has_ended() or (earlier and earlier["status"] == "SUCCEEDED"):
                return
            child = again(earlier) if earlier else _child(map_run, machine, selected)
            map_run["_children"][index] = child["executionArn"]
            machines._executions[child["executionArn"]] = child
        run(child, execution)

    with ThreadPoolExecutor(min(workers, map_run["maxConcurrency"] or workers)) as pool:
        runs = [pool.submit(copy_context().run, run_child, index) for index in range(len(items))]
    for each in runs:
        each.result()
    results = _end(execution, map_run)
    check_size(results, context["State"]["Name"])
    output = machines._apply_result_path(state, raw_input, results)
    return machines._apply_output_path(state, output, context), machines._next_or_end(state)


def _begin(state: Json, execution: Execution, items: int) -> Json:
    """Start a Map Run, or start again the one of the state at which a redrive resumes."""
    earlier: Json | None = machines._map_runs.get(execution["at"].get("mapRun"))
    if earlier:
        redrive = {"redriveCount": earlier["redriveCount"] + 1, "redriveDate": machines.now_iso()}
        map_run: Json = earlier | redrive | {"status": "RUNNING", "_children": list(earlier["_children"])}
        map_run.pop("stopDate", None)  # none if the server was stopped while it ran
    else:
        machine = f"{execution['stateMachineArn']}/{state.get('Label') or machines.new_uuid()}"
        map_run = {
            "mapRunArn": f"{machine.replace(':stateMachine:', ':mapRun:')}:{machines.new_uuid()}",
            "executionArn": execution["executionArn"],
            "status": "RUNNING",
            "startDate": machines.now_iso(),
            "maxConcurrency": state.get("MaxConcurrency", 0),
            "toleratedFailurePercentage": state.get("ToleratedFailurePercentage", 0),
            "toleratedFailureCount": 0,
            "redriveCount": 0,
            "_stateMachineArn": machine,
            "_children": [None] * items,
        }
    _check_role(execution, map_run)
    arn = map_run["mapRunArn"]
    machines._map_runs[arn] = map_run
    execution["at"]["mapRun"] = arn
    if earlier:
        details = {"mapRunArn": arn, "redriveCount": map_run["redriveCount"]}
        machines._add_event(execution, "MapRunRedriven", {"mapRunRedrivenEventDetails": details})
    else:
        machines._add_event(execution, "MapStateStarted", {"mapStateStartedEventDetails": {"length": items}})
        machines._add_event(execution, "MapRunStarted", {"mapRunStartedEventDetails": {"mapRunArn": arn}})
    return map_run


def _check_role(execution: Execution, map_run: Json) -> None:
    role, machine = execution["machine"]["roleArn"], execution["stateMachineArn"]
    children = map_run["mapRunArn"].replace(":mapRun:", ":execution:")
    action, resource = (
        ("states:RedriveExecution", children) if map_run["redriveCount"] else ("states:StartExecution", machine)
    )
    if roles.are_enforced() and not roles.may(role, action, resource, "states"):
        refusal = f"{roles.as_caller(role, 'states')} is not authorized to perform: {action} on resource: {resource}"
        raise machines._ExecutionError("States.Runtime", refusal)


def _child(map_run: Json, machine: Json, given: Any) -> Execution:
    name, text, now = machines.new_uuid(), json.dumps(given), machines.now_iso()
    started = {"executionStartedEventDetails": {"input": text, "roleArn": machine["roleArn"]}}
    return {
        "executionArn": f"{map_run['_stateMachineArn'].replace(':stateMachine:', ':execution:')}:{name}",
        "stateMachineArn": map_run["_stateMachineArn"],
        "mapRunArn": map_run["mapRunArn"],
        "name": name,
        "status": "RUNNING",
        "startDate": now,
        "stopDate": None,
        "input": text,
        "output": None,
        "machine": machine,
        "events": [{"id": 1, "type": "ExecutionStarted", "timestamp": now, "previousEventId": 0, **started}],
    }


def _end(execution: Execution, map_run: Json) -> list[Any]:
    """End a Map Run, and return the outputs of its children: None for those that failed."""
    children = _children(map_run)
    failed = sum(child["status"] != "SUCCEEDED" for child in children)
    is_exceeded = failed * 100 > map_run["toleratedFailurePercentage"] * len(children)
    with ending:
        if has_ended():
            raise machines._ExecutionError("States.Aborted", "The execution has ended")
        map_run.update(status="FAILED" if is_exceeded else "SUCCEEDED", stopDate=machines.now_iso())
    if is_exceeded:
        details = dict(zip(("error", "cause"), _THRESHOLD, strict=True))
        machines._add_event(execution, "MapRunFailed", {"mapRunFailedEventDetails": details})
        machines._add_event(execution, "MapStateFailed")
        raise machines._ExecutionError(*_THRESHOLD)
    machines._add_event(execution, "MapRunSucceeded")
    machines._add_event(execution, "MapStateSucceeded")
    return [json.loads(child["output"] or "null") for child in children]


def _emit(emit: Callable[..., Any], execution: Execution) -> None:
    """Abort the Map Run of an execution that has ended, before that is published."""
    arn = execution.get("at", {}).get("mapRun")
    with ending:
        map_run = machines._map_runs.get(arn) or {}
        if execution["status"] != "RUNNING" and map_run.get("status") == "RUNNING":
            map_run.update(status="ABORTED", stopDate=machines.now_iso())
            for child in _children(map_run):
                end(child, "ABORTED")
    emit(execution)


def _children(map_run: Json) -> list[Execution]:
    """Return the children that have begun."""
    return [machines._executions[arn] for arn in list(map_run["_children"]) if arn]


def _view(view: Callable[..., Json], map_run: Json) -> Json:
    """Count the children on request."""
    children = _children(map_run)
    counter = Counter(_COUNTS[child["status"]] for child in children)
    counts = {name: counter[name] for name in _COUNTS.values()}
    counts |= {"total": len(map_run["_children"]), "pending": len(map_run["_children"]) - len(children)}
    return view(map_run) | {"itemCounts": counts, "executionCounts": counts}
