"""A redriven Parallel or Map runs again only the branches, iterations and children that did not succeed.

Each goes on at the state where it ended: https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html.
A Distributed Map keeps its Map Run: https://docs.aws.amazon.com/step-functions/latest/dg/redrive-map-run.html. It reads
its items again, so its dataset must not have changed, and its children cannot be redriven one by one. A retry of the
state runs all branches, as ever. (AWS runs all of them also after a States.DataLimitExceeded of the state itself, which
does not happen here.) MiniStack's branches also shared one `$$.State`; each has its own here.
"""

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from local.patches.patch import change, member, module, wrap
from local.patches.step_functions.redrive.redrive import again
from local.patches.step_functions.redrive.redriven_states import path, resuming, standing

_SUB = "results[idx] = _run_sub_machine("
_CHILD = '"testCase": execution.get("testCase"), "mockAttempts": {},\n        }'
_STATE = 'ctx["State"] = {"Name": current_name, "EnteredTime": now_iso(), "RetryCount": 0}'

_noting = threading.Lock()


def fill() -> None:
    """Note where each branch stands, and begin there."""
    machines = module("services.stepfunctions")
    for name in ("_executions", "_map_runs", "_add_event", "now_iso"):
        member(machines, name)
    change(
        machines,
        "_run_parallel_branches",
        {_SUB: "results[idx] = _local_branch(idx, ctx)("},
        {"_local_branch": _branch},
    )
    change(machines, "_run_map_items", {_SUB: "results[idx] = _local_branch(idx, ctx)("})
    change(
        machines,
        "_run_sub_machine",
        {_STATE: 'ctx["State"] = _local_state(execution, current_name, current_input, ctx)'},
        {"_local_state": _state},
    )
    change(
        machines,
        "_run_distributed_map",
        {
            '.get("Label") or new_uuid()': '.get("Label") or _local_label(execution, ctx) or new_uuid()',
            "_map_runs[map_run_arn] = run": (
                "run = _local_map_run(execution, ctx, run)\n    map_run_arn = run['mapRunArn']\n"
                "    _map_runs[map_run_arn] = run"
            ),
            "def run_child(idx, item):": (
                "def run_child(idx, item):\n        if _local_has_succeeded(run, idx, results):\n            return"
            ),
            _CHILD: f"{_CHILD}\n        child = _local_child(run, idx, child)",
            f"{_SUB}iterator": "results[idx] = _local_run_child(iterator",
        },
        {
            "_local_label": _label,
            "_local_map_run": _map_run,
            "_local_has_succeeded": _has_succeeded,
            "_local_child": _child,
            "_local_run_child": _run_child,
        },
    )
    for name in ("_run_parallel_branches", "_run_map_items"):
        wrap(machines, name, _starting)


def _starting(run: Callable[..., Any]) -> Callable[..., Any]:
    """Forget the branches of an earlier visit to the state."""

    def started(state: dict[str, Any], given: Any, execution: dict[str, Any], context: dict[str, Any]) -> Any:
        if not _is_redriven(context):
            prefix = f"{_below(context)}/"
            with _noting:
                _keep(execution, {key: one for key, one in _noted(execution).items() if not key.startswith(prefix)})
        return run(state, given, execution, context)

    return started


def _is_redriven(context: dict[str, Any]) -> bool:
    return resuming.get() and context["State"]["RetryCount"] == 0


def _below(context: dict[str, Any]) -> str:
    return f"{path.get()}/{context['State']['Name']}"


def _noted(execution: dict[str, Any]) -> dict[str, Any]:
    """Give what is noted of the branches: where one stands, or its output, by the path to it."""
    noted: dict[str, Any] = execution.get("branches", {})
    return noted


def _keep(execution: dict[str, Any], notes: Mapping[str, Any]) -> None:
    """Replace the notes instead of changing them: the record of an earlier attempt has them too."""
    if execution["status"] == "RUNNING":
        execution["branches"] = notes


def _note(execution: dict[str, Any], what: Any, where: str | None = None) -> None:
    with _noting:
        _keep(execution, _noted(execution) | {path.get() if where is None else where: what})


def _branch(index: int, context: dict[str, Any]) -> Callable[..., Any]:
    """Give what runs a branch in MiniStack's place."""
    where, is_redriven = f"{_below(context)}/{index}", _is_redriven(context)

    def run(states: Any, start: str, given: Any, execution: dict[str, Any], _context: Any) -> Any:
        path.set(where)
        noted = _noted(execution).get(where, {}) if is_redriven else {}
        return _run(noted, states, (start, given), execution, context)

    return run


def _run_child(states: Any, start: str, _given: Any, child: dict[str, Any], context: dict[str, Any]) -> Any:
    """Run a child, which begins as if it were a branch of itself."""
    path.set("")
    return _run(_noted(child).get("", {}), states, (start, json.loads(child["input"])), child, context)


def _run(
    noted: dict[str, Any], states: Any, begin: tuple[str, Any], execution: dict[str, Any], context: dict[str, Any]
) -> Any:
    """Run a branch in a context of its own, from where it stood; give the output that it already has."""
    if "output" in noted:
        return json.loads(noted["output"])
    resuming.set("name" in noted)
    if "name" in noted:
        begin = noted["name"], json.loads(noted["input"])
        context["variables"].update(noted["variables"])
    own = {key: value for key, value in context.items() if key != "State"}
    output = module("services.stepfunctions")._run_sub_machine(states, *begin, execution, own)  # noqa: SLF001
    _note(execution, {"output": json.dumps(output)})
    return output


def _state(execution: dict[str, Any], name: str, given: Any, context: dict[str, Any]) -> dict[str, Any]:
    """Give `$$.State` of a branch's next state."""
    if "State" in context:
        resuming.set(False)
    stands = _noted(execution)[path.get()] if resuming.get() else standing(name, given, context)
    _note(execution, stands)
    return {"Name": name, "EnteredTime": stands["entered"], "RetryCount": 0}


def _earlier_run(execution: dict[str, Any], context: dict[str, Any]) -> dict[str, Any] | None:
    if not _is_redriven(context):
        return None
    runs = module("services.stepfunctions")._map_runs  # noqa: SLF001
    found: dict[str, Any] | None = runs.get(_noted(execution).get(f"{_below(context)}/run"))
    return found


def _label(execution: dict[str, Any], context: dict[str, Any]) -> str | None:
    earlier = _earlier_run(execution, context)
    return None if earlier is None else str(earlier["_stateMachineArn"]).rsplit("/", 1)[-1]


def _map_run(execution: dict[str, Any], context: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    machines = module("services.stepfunctions")
    earlier = _earlier_run(execution, context)
    if earlier is None:
        _note(execution, new["mapRunArn"], f"{_below(context)}/run")
        return new | {"_children": {}}
    count = earlier["redriveCount"] + 1
    details = {"mapRunRedrivenEventDetails": {"mapRunArn": earlier["mapRunArn"], "redriveCount": count}}
    machines._add_event(execution, "MapRunRedriven", details)  # noqa: SLF001
    running = {"status": "RUNNING", "redriveCount": count, "redriveDate": machines.now_iso()}
    children = {"_children": dict(earlier["_children"])}
    return {key: value for key, value in earlier.items() if key != "stopDate"} | running | children


def _has_succeeded(run: dict[str, Any], index: int, results: list[Any]) -> bool:
    child = module("services.stepfunctions")._executions.get(run["_children"].get(str(index))) or {}  # noqa: SLF001
    if child.get("status") != "SUCCEEDED":
        return False
    results[index] = json.loads(child["output"])
    return True


def _child(run: dict[str, Any], index: int, new: dict[str, Any]) -> dict[str, Any]:
    machines = module("services.stepfunctions")
    earlier = machines._executions.get(run["_children"].get(str(index)))  # noqa: SLF001
    if earlier is None:
        run["_children"][str(index)] = new["executionArn"]
        return new
    return again(earlier)
