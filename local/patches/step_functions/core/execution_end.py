"""An execution that takes longer than its machine's TimeoutSeconds is TIMED_OUT, and what has ended stays ended.

MiniStack ignores the machine's TimeoutSeconds, lets a Task that fails after a stop turn ABORTED into FAILED, goes on
retrying it, runs on in branches, and gives failed executions an output.
https://docs.aws.amazon.com/step-functions/latest/dg/statemachine-structure.html
https://docs.aws.amazon.com/step-functions/latest/apireference/API_StopExecution.html
"""

import json
import threading
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any

from local.patches.patch import change, member, module, wrap
from local.patches.step_functions.core.definition_of_start import machine_of

# Held while an execution ends or is redriven, so that it does one of them at a time.
ending = threading.RLock()

_ERROR = "States.Timeout"
# The execution that runs and, in a child of a Distributed Map, the child beside its parent.
_running: ContextVar[tuple[dict[str, Any], ...]] = ContextVar("executions_that_run", default=())


def fill() -> None:
    """Watch the clock beside the running machine."""
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
        {"while current_name:": "while current_name:\n        _local_stay_ended()"},
        {"_local_stay_ended": _stay_ended},
    )


def _watching(run: Callable[..., Any]) -> Callable[..., Any]:
    def watched(execution_arn: str) -> Any:
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

    return watched


def _failing(fail: Callable[..., Any]) -> Callable[..., Any]:
    def failed(execution: dict[str, Any], error: str, cause: str) -> None:
        with ending:
            if execution["status"] == "RUNNING":
                fail(execution, error, cause)
                execution["output"] = None

    return failed


def _stopping(stop: Callable[..., Any]) -> Callable[..., Any]:
    def stopped(request: dict[str, Any]) -> Any:
        with ending:
            return stop(request)

    return stopped


def _adding(add: Callable[..., Any]) -> Callable[..., Any]:
    def added(execution: dict[str, Any], kind: str, details: Any = None) -> None:
        if execution["status"] == "RUNNING" or kind.startswith("Execution"):
            add(execution, kind, details)

    return added


def _retrying(find: Callable[..., Any]) -> Callable[..., Any]:
    def found(*error: Any) -> Any:
        return (None, None) if has_ended() else find(*error)

    return found


def _stay_ended() -> None:
    """Run no further state of a branch, or of a Map's child, once the execution has ended."""
    if has_ended():
        error = module("services.stepfunctions")._ExecutionError  # noqa: SLF001
        raise error("States.Aborted", "The execution has ended")


def runs_too(child: dict[str, Any]) -> None:
    """Let what runs from here on end also with `child`, beside its parent."""
    _running.set((*_running.get(), child))


def has_ended() -> bool:
    """Whether the execution that this runs for has ended, or the parent of that."""
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
