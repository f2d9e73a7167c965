"""Executions start, run, end and are listed as on AWS; `run` replaces MiniStack's walk through a definition.

MiniStack cannot resume at a state. It reads the definition and role of a running execution from its state machine,
ignores the machine's TimeoutSeconds, lets a Task that fails after a stop turn ABORTED into FAILED, gives failed
executions an output, answers every repeated name with ExecutionAlreadyExists, and lists executions by their end.
https://docs.aws.amazon.com/step-functions/latest/apireference/API_UpdateStateMachine.html ("running executions will
continue to use the previous definition and roleArn"),
https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html (a start is idempotent while the
execution runs), https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html,
https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html.
"""

import json
import logging
import threading
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any

from local.patches.patch import change, module, wrap

Execution = dict[str, Any]

ending = threading.RLock()
"""Held while an execution ends or is redriven, so that only one of both happens at a time."""

_FIRST = 1
_running: ContextVar[tuple[Execution, ...]] = ContextVar("running_executions", default=())
"""The running execution; within a child of a Distributed Map, the parent and the child."""

_log = logging.getLogger(__name__)
machines = module("services.stepfunctions")


def apply() -> None:
    """Keep the machine of the start with the execution, and run it from there."""
    started, case, role = '"type": "ExecutionStarted",', '"testCase": test_case,', '"roleArn": sm["roleArn"],'
    change(
        machines,
        "_start_execution",
        {started: f'{started} "previousEventId": 0,', case: f'{case} "machine": dict(sm),'},
    )
    change(
        machines,
        "_describe_state_machine_for_execution",
        {"_state_machines.get(sm_arn)": 'execution["machine"]', role: f'{role} "revisionId": sm["revisionId"],'},
    )
    # By ARN, too: each page continues after the last execution of the one before.
    machines._execution_sort_key = lambda execution: (execution["startDate"], execution["executionArn"])
    machines._run_execution = lambda arn: run(machines._executions[arn])
    wrap(machines, "_start_execution", _start_once)
    wrap(machines, "_stop_execution", _stop)
    wrap(machines, "_add_event", _add_event)


def run(execution: Execution, *parents: Execution) -> None:
    """Run an execution to its end, from its first state or from the one at which a redrive resumes.

    `execution["at"]` is the state that it is in, with the input of the state, to resume there. A state that a redrive
    schedules again is not entered again, except Fail: AWS does not say.
    """
    _running.set((*parents, execution))
    definition = json.loads(execution["machine"]["definition"])
    timeout = {"status": "TIMED_OUT", "error": "States.Timeout"}
    timer = threading.Timer(definition.get("TimeoutSeconds", 0), copy_context().run, (end, execution), timeout)
    timer.daemon = True
    if "TimeoutSeconds" in definition:
        timer.start()
    try:
        output = _walk(execution, definition)
        if not has_ended():
            end(execution, "SUCCEEDED", output=output)
    except machines._ExecutionError as error:
        end(execution, "FAILED", error=error.error, cause=error.cause)
    except Exception as error:  # noqa: BLE001 - as of a fault of Step Functions
        _log.exception("Execution %s failed in the emulator", execution["executionArn"])
        end(execution, "FAILED", error="States.Runtime", cause=str(error))
    finally:
        timer.cancel()


def _walk(execution: Execution, definition: dict[str, Any]) -> str:
    """Run state after state, and return the output of the last."""
    resumes = "at" in execution
    at = execution["at"] if resumes else {"name": definition["StartAt"], "input": execution["input"]}
    name, given = at["name"], json.loads(at["input"])
    context = _context(execution)
    while name and not has_ended():
        state = definition["States"][name]
        kind = state["Type"]
        entry = {"name": name, "input": json.dumps(given)}
        if not resumes:
            execution["at"] = {**entry, "entered": machines.now_iso()}
        if not resumes or kind == "Fail":
            machines._add_event(execution, f"{kind}StateEntered", {"stateEnteredEventDetails": entry})
        resumes = False
        context["State"] = {"Name": name, "EnteredTime": execution["at"]["entered"], "RetryCount": 0}
        if kind == "Fail":
            raise machines._ExecutionError(*machines._fail_state_error(state, given, context))
        handler = getattr(machines, "_execute_pass" if kind == "Succeed" else f"_execute_{kind.lower()}")
        runs_in = (execution, context) if kind in {"Task", "Map", "Parallel"} else (context,)
        given, following = handler(state, given, *runs_in)
        exit_ = {"name": name, "output": json.dumps(given)}
        machines._add_event(execution, f"{kind}StateExited", {"stateExitedEventDetails": exit_})
        name = following
    return json.dumps(given)


def _context(execution: Execution) -> dict[str, Any]:
    machine = execution["machine"]
    redriven = {"RedriveTime": execution["redriveDate"]} if "redriveDate" in execution else {}
    return {
        "Execution": {
            "Id": execution["executionArn"],
            "Input": json.loads(execution["input"]),
            "Name": execution["name"],
            "RoleArn": machine["roleArn"],
            "StartTime": execution["startDate"],
            "RedriveCount": execution.get("redriveCount", 0),
            **redriven,
        },
        "StateMachine": {"Id": execution["stateMachineArn"], "Name": machine["name"]},
    }


def end(execution: Execution, status: str, **result: str) -> None:
    """End an execution, unless it has ended before."""
    with ending:
        if execution["status"] == "RUNNING":
            execution.update(status=status, stopDate=machines.now_iso(), **result)
            kind = f"Execution{status.title().replace('_', '')}"
            machines._add_event(execution, kind, {f"e{kind[1:]}EventDetails": result})
            machines._emit_execution_status_event(execution)


def has_ended() -> bool:
    """Whether the running execution, or the parent of a child, has ended."""
    return any(execution["status"] != "RUNNING" for execution in _running.get())


def running_role() -> str | None:
    """Return the role of the running execution, as of its start; None outside of executions."""
    running = _running.get()
    return running[-1]["machine"]["roleArn"] if running else None


def _start_once(start: Callable[..., Any], request: dict[str, Any]) -> Any:
    answer = start(request)
    content = json.loads(answer[2])
    if "ExecutionAlreadyExists" not in content.get("__type", ""):
        return answer
    execution = machines._executions[content["message"].split("'")[1]]
    if execution["status"] != "RUNNING" or execution["input"] != request.get("input", "{}"):
        return answer
    return machines.json_response({key: execution[key] for key in ("executionArn", "startDate")})


def _stop(stop: Callable[..., Any], request: dict[str, Any]) -> Any:
    with ending:
        return stop(request)


def _add_event(add: Callable[..., Any], execution: Execution, kind: str, details: Any = None) -> None:
    """Add an event that names its predecessor, unless the execution has ended."""
    if execution["status"] == "RUNNING" or kind.startswith("Execution"):
        event = add(execution, kind, details)
        previous = event["id"] - 1
        event["previousEventId"] = 0 if previous == _FIRST else previous
