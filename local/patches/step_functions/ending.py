"""An execution that exceeds its machine's TimeoutSeconds is TIMED_OUT, and one that has ended stays ended.

MiniStack ignores the machine's TimeoutSeconds, lets a Task that fails after a stop turn ABORTED into FAILED, keeps
retrying it, continues the children of a Map, and gives failed executions an output.
https://docs.aws.amazon.com/step-functions/latest/dg/statemachine-structure.html
https://docs.aws.amazon.com/step-functions/latest/apireference/API_StopExecution.html
"""

import json
import threading
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any

from local.patches.patch import change, member, module, wrap
from local.patches.step_functions.executions import machine_of

# Held while an execution ends or is redriven, so that only one of both happens at a time.
ending = threading.RLock()

_ERROR = "States.Timeout"
# The running execution; within a child of a Distributed Map, the parent and the child.
_running: ContextVar[tuple[dict[str, Any], ...]] = ContextVar("running_executions", default=())


def apply() -> None:
    """Run a timer for each execution, and let nothing change one that has ended."""
    machines = module("services.stepfunctions")
    for name in ("now_iso", "_emit_execution_status_event"):
        member(machines, name)
    wrap(machines, "_run_execution", _watching)
    wrap(machines, "_fail_execution", _failing)
    wrap(machines, "_stop_execution", _stopping)
    wrap(machines, "_add_event", _adding)
    wrap(machines, "_find_matching_retrier", _retrying)
    change(
        machines,
        "_run_sub_machine",
        {"while current_name:": "while current_name:\n        _local_check_running()"},
        {"_local_check_running": _check_running},
    )


def _watching(run: Callable[..., Any]) -> Callable[..., Any]:
    def run_with_timeout(execution_arn: str) -> Any:
        execution = module("services.stepfunctions")._executions.get(execution_arn) or {}  # noqa: SLF001
        _running.set((execution,))
        seconds = _timeout(execution)
        if seconds is None:
            return run(execution_arn)
        timer = threading.Timer(seconds, copy_context().run, (_time_out, execution))
        timer.daemon = True
        timer.start()
        try:
            return run(execution_arn)
        finally:
            timer.cancel()

    return run_with_timeout


def _failing(fail: Callable[..., Any]) -> Callable[..., Any]:
    def fail_if_running(execution: dict[str, Any], error: str, cause: str) -> None:
        with ending:
            if execution["status"] == "RUNNING":
                fail(execution, error, cause)
                execution["output"] = None

    return fail_if_running


def _stopping(stop: Callable[..., Any]) -> Callable[..., Any]:
    def stop_alone(request: dict[str, Any]) -> Any:
        with ending:
            return stop(request)

    return stop_alone


def _adding(add: Callable[..., Any]) -> Callable[..., Any]:
    def add_if_running(execution: dict[str, Any], kind: str, details: Any = None) -> None:
        if execution["status"] == "RUNNING" or kind.startswith("Execution"):
            add(execution, kind, details)

    return add_if_running


def _retrying(find: Callable[..., Any]) -> Callable[..., Any]:
    def find_if_running(*error: Any) -> Any:
        return (None, None) if has_ended() else find(*error)

    return find_if_running


def _check_running() -> None:
    """Stop a child of a Map before its next state once the execution has ended."""
    if has_ended():
        error = module("services.stepfunctions")._ExecutionError  # noqa: SLF001
        raise error("States.Aborted", "The execution has ended")


def run_child(child: dict[str, Any]) -> None:
    """Let what runs from here on in this context end with `child`, too."""
    _running.set((*_running.get(), child))


def has_ended() -> bool:
    """Whether the running execution, or the parent of a child, has ended."""
    return any(execution.get("status") != "RUNNING" for execution in _running.get())


def _timeout(execution: dict[str, Any]) -> float | None:
    machine = machine_of(execution) or {}
    try:
        seconds = json.loads(machine.get("definition", "{}")).get("TimeoutSeconds")
    except ValueError:
        return None
    return None if seconds is None else float(seconds)


def _time_out(execution: dict[str, Any]) -> None:
    machines = module("services.stepfunctions")
    with ending:
        if execution["status"] != "RUNNING":
            return
        execution.update(status="TIMED_OUT", error=_ERROR, stopDate=machines.now_iso())
        details = {"executionTimedOutEventDetails": {"error": _ERROR}}
        machines._add_event(execution, "ExecutionTimedOut", details)  # noqa: SLF001
        machines._emit_execution_status_event(execution)  # noqa: SLF001
