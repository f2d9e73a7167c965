"""An execution that takes longer than its machine's TimeoutSeconds is TIMED_OUT, and what has ended stays ended.

MiniStack ignores the machine's TimeoutSeconds, lets a Task that fails after a stop turn ABORTED into FAILED, and gives
failed executions an output.
https://docs.aws.amazon.com/step-functions/latest/dg/statemachine-structure.html
"""

import json
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from local.gaps.patch import member, module, wrap

_ERROR = "States.Timeout"


def fill() -> None:
    """Watch the clock beside the running machine."""
    machines = module("services.stepfunctions")
    for name in ("now_iso", "_emit_execution_status_event"):
        member(machines, name)
    wrap(machines, "_run_execution", _running)
    wrap(machines, "_fail_execution", _failing)
    wrap(machines, "_add_event", _adding)


def _running(run: Callable[..., Any]) -> Callable[..., Any]:
    def watched(execution_arn: str) -> Any:
        seconds = _timeout(execution_arn)
        if seconds is None:
            return run(execution_arn)
        timer = threading.Timer(seconds, copy_context().run, (_time_out, execution_arn))
        timer.daemon = True
        timer.start()
        try:
            return run(execution_arn)
        finally:
            timer.cancel()

    return watched


def _failing(fail: Callable[..., Any]) -> Callable[..., Any]:
    def failed(execution: dict[str, Any], error: str, cause: str) -> None:
        if execution["status"] == "RUNNING":
            fail(execution, error, cause)
            execution["output"] = None

    return failed


def _adding(add: Callable[..., Any]) -> Callable[..., Any]:
    def added(execution: dict[str, Any], kind: str, details: Any = None) -> None:
        if execution["status"] == "RUNNING" or kind.startswith("Execution"):
            add(execution, kind, details)

    return added


def _timeout(execution_arn: str) -> float | None:
    machines = module("services.stepfunctions")
    execution = machines._executions.get(execution_arn) or {}  # noqa: SLF001
    machine = machines._state_machines.get(execution.get("stateMachineArn")) or {}  # noqa: SLF001
    try:
        seconds = json.loads(machine.get("definition", "{}")).get("TimeoutSeconds")
    except ValueError:
        return None
    return None if seconds is None else float(seconds)


def _time_out(execution_arn: str) -> None:
    machines = module("services.stepfunctions")
    execution = machines._executions[execution_arn]  # noqa: SLF001
    if execution["status"] != "RUNNING":
        return
    execution.update(status="TIMED_OUT", error=_ERROR, stopDate=machines.now_iso())
    details = {"executionTimedOutEventDetails": {"error": _ERROR}}
    machines._add_event(execution, "ExecutionTimedOut", details)  # noqa: SLF001
    machines._emit_execution_status_event(execution)  # noqa: SLF001
