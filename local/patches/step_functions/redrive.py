"""RedriveExecution reruns an unsuccessful execution from the state at which it ended, with that state's input.

MiniStack has no such action. Definition, ARN and history stay, and the timeout of the machine and retries start anew. A
Task is scheduled again, a Choice is evaluated again, a Fail is entered again. AWS does not say whether a state that is
scheduled again is entered again: here it is not, and `$$.State.EnteredTime` stays what it was.
https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html
https://docs.aws.amazon.com/step-functions/latest/apireference/API_RedriveExecution.html
"""

import json
import re
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

from local.patches.patch import change, member, module
from local.patches.step_functions.ending import ending

_BY_MAP_RUN = "A child of a Map Run is redriven with the execution that runs the Map"
_HISTORY_LIMIT = 24_999
_PERIOD = timedelta(days=14)
_TOKEN_LIFE = timedelta(minutes=15)
_ARN = re.compile(r"arn:aws[a-z-]*:states:[^:]+:\d{12}:execution:[^:]+(:[^:]+)+")

# Whether the state that is entered next is the one at which a redrive resumes.
resuming: ContextVar[bool] = ContextVar("resuming_at_a_state", default=False)


def apply() -> None:
    """Add the action and the fields that describe redrives, and resume at the state where an execution ended."""
    machines = module("services.stepfunctions")
    for name in ("now_iso", "_add_event", "_emit_execution_status_event"):
        member(machines, name)
    stop = '"StopExecution": _stop_execution,'
    change(
        machines,
        "handle_request",
        {stop: f'{stop}\n        "RedriveExecution": _local_redrive,'},
        {"_local_redrive": _redrive},
    )
    stop_date = '"stopDate": execution["stopDate"],\n        "input"'
    change(
        machines,
        "_describe_execution",
        {stop_date: f"**_local_describe(execution),\n        {stop_date}"},
        {"_local_describe": describe},
    )
    change(
        machines,
        "_list_executions",
        {'"stopDate": ex.get("stopDate"),': '"stopDate": ex.get("stopDate"), **_local_redrives(ex),'},
        {"_local_redrives": _redrives},
    )
    change(
        machines,
        "_run_execution",
        {
            'definition.get("StartAt")': '_local_first(execution, definition.get("StartAt"))',
            '"variables": {},\n    }': (
                '"variables": {},\n    }\n    current_input = _local_first_input(execution, current_input)'
            ),
            'while current_name and execution["status"] == "RUNNING":': (
                "while _local_continues(execution, current_name, current_input, ctx):"
            ),
            '"EnteredTime": now_iso()': '"EnteredTime": execution["at"]["entered"]',
            '_add_event(execution, f"{state_type}StateEntered", {': (
                '_local_enter(execution, f"{state_type}StateEntered", {'
            ),
        },
        {
            "_local_first": _first,
            "_local_first_input": _first_input,
            "_local_continues": _continues,
            "_local_enter": _enter,
        },
    )


def _first(execution: dict[str, Any], start: str | None) -> Any:
    """Return the name of the first state to run."""
    resuming.set("at" in execution)
    return execution["at"]["name"] if "at" in execution else start


def _first_input(execution: dict[str, Any], given: Any) -> Any:
    return json.loads(execution["at"]["input"]) if resuming.get() else given


def _continues(execution: dict[str, Any], name: str | None, given: Any, context: dict[str, Any]) -> bool:
    """Tell whether there is a state to run; if so, record where the execution is."""
    if not name or execution["status"] != "RUNNING":
        return False
    move_to(execution, name, given, context)
    return True


def move_to(execution: dict[str, Any], name: str, given: Any, context: dict[str, Any]) -> None:
    """Record the state that is entered, and its input, to resume there; the first one after a redrive is recorded."""
    if "State" in context:
        resuming.set(False)
    if not resuming.get():
        entered = module("services.stepfunctions").now_iso()
        execution["at"] = {"name": name, "input": json.dumps(given), "entered": entered}


def _enter(execution: dict[str, Any], kind: str, details: dict[str, Any]) -> None:
    """Add a state's entry to the history, unless it is merely scheduled again."""
    if not resuming.get() or kind == "FailStateEntered":
        module("services.stepfunctions")._add_event(execution, kind, details)  # noqa: SLF001


def describe(execution: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of DescribeExecution about redrives."""
    reason = _not_redrivable(execution)
    if reason is None:
        return _redrives(execution) | {"redriveStatus": "REDRIVABLE"}
    if reason == _BY_MAP_RUN:
        return _redrives(execution) | {"redriveStatus": "REDRIVABLE_BY_MAP_RUN"}
    return _redrives(execution) | {"redriveStatus": "NOT_REDRIVABLE", "redriveStatusReason": reason}


def _redrives(execution: dict[str, Any]) -> dict[str, Any]:
    count = execution.get("redriveCount", 0)
    return {"redriveCount": count, **({"redriveDate": execution["redriveDate"]} if count else {})}


def again(earlier: dict[str, Any]) -> dict[str, Any]:
    """Make the record of the redriven execution; whatever still runs of the earlier one cannot change this record."""
    machines = module("services.stepfunctions")
    count = earlier.get("redriveCount", 0) + 1
    nothing = dict.fromkeys(("stopDate", "output", "error", "cause"))
    now = {"status": "RUNNING", "redriveCount": count, "redriveDate": machines.now_iso()}
    execution: dict[str, Any] = earlier | nothing | now | {"events": list(earlier["events"])}
    details = {"executionRedrivenEventDetails": {"redriveCount": count}}
    machines._add_event(execution, "ExecutionRedriven", details)  # noqa: SLF001
    return execution


def _redrive(request: dict[str, Any]) -> Any:
    machines, responses = module("services.stepfunctions"), module("core.responses")
    arn, token = request.get("executionArn", ""), request.get("clientToken")
    if not _ARN.fullmatch(arn):
        return responses.error_response_json("InvalidArn", f"Invalid Arn: '{arn}'", 400)
    with ending:
        earlier = machines._executions.get(arn)  # noqa: SLF001
        if earlier is None:
            return responses.error_response_json("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'", 400)
        now = datetime.now(UTC)
        tokens = [each for each in earlier.get("redriveTokens", []) if now - _time(each["used"]) < _TOKEN_LIFE]
        repeated = [each for each in tokens if each["token"] == token]
        if repeated:
            return responses.json_response({"redriveDate": repeated[0]["used"]})
        reason = _not_redrivable(earlier)
        if reason is not None:
            return responses.error_response_json("ExecutionNotRedrivable", reason, 400)
        execution = again(earlier)
        date = execution["redriveDate"]
        execution["redriveTokens"] = [*tokens, {"token": token, "used": date}]
        machines._executions[arn] = execution  # noqa: SLF001
    machines._emit_execution_status_event(execution)  # noqa: SLF001
    Thread(target=copy_context().run, args=(machines._run_execution, arn), daemon=True).start()  # noqa: SLF001
    return responses.json_response({"redriveDate": date})


def _not_redrivable(execution: dict[str, Any]) -> str | None:
    """Return AWS's reason why an execution cannot be redriven; None if it can."""
    status = execution["status"]
    if status in {"RUNNING", "SUCCEEDED", "PENDING_REDRIVE"}:
        return f"Execution is {status} and cannot be redriven"
    if execution.get("mapRunArn"):
        return _BY_MAP_RUN
    if len(execution["events"]) >= _HISTORY_LIMIT:
        return "Execution history event limit exceeded"
    if execution["stopDate"] and datetime.now(UTC) - _time(execution["stopDate"]) > _PERIOD:
        return "Execution redrivable period exceeded"
    return None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
