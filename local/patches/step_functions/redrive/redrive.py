"""RedriveExecution runs an execution that did not succeed again, from the state at which it ended.

MiniStack has no such action. The definition, the ARN and the history stay, and the timeout of the machine begins anew:
https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html
https://docs.aws.amazon.com/step-functions/latest/apireference/API_RedriveExecution.html
"""

import re
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

from local.patches.patch import change, member, module
from local.patches.step_functions.core.definition_of_start import machine_of
from local.patches.step_functions.core.execution_end import ending

_BY_MAP_RUN = "A child of a Map Run is redriven with the execution that runs the Map"
_HISTORY_LIMIT = 24_999
_PERIOD = timedelta(days=14)
_TOKENS = 10
_TOKEN_LIFE = timedelta(minutes=15)
_ARN = re.compile(r"arn:aws[a-z-]*:states:[^:]+:\d{12}:(execution|express):[^:]+(:[^:]+)+")


def fill() -> None:
    """Add the action, and what tells of it."""
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
        {stop_date: f"**_local_redrives(execution),\n        {stop_date}"},
        {"_local_redrives": described},
    )
    change(
        machines,
        "_list_executions",
        {
            'status_filter = data.get("statusFilter")': (
                'status_filter = data.get("statusFilter")\n    redrive_filter = data.get("redriveFilter")\n'
                '    if sm_arn and redrive_filter:\n        return error_response_json("ValidationException", '
                '"redriveFilter is for the executions of a Map Run only", 400)'
            ),
            'if status_filter and ex["status"] != status_filter:': (
                'redriven = "REDRIVEN" if ex.get("redriveCount") else "NOT_REDRIVEN"\n'
                '        if (status_filter or ex["status"], redrive_filter or redriven) != (ex["status"], redriven):'
            ),
            '"stopDate": ex.get("stopDate"),': '"stopDate": ex.get("stopDate"), **_local_listed(ex),',
        },
        {"_local_listed": _listed},
    )


def described(execution: dict[str, Any]) -> dict[str, Any]:
    """Give what DescribeExecution tells about redrives."""
    reason = _not_redrivable(execution)
    if reason is None:
        return _listed(execution) | {"redriveStatus": "REDRIVABLE"}
    if reason == _BY_MAP_RUN:
        return _listed(execution) | {"redriveStatus": "REDRIVABLE_BY_MAP_RUN"}
    return _listed(execution) | {"redriveStatus": "NOT_REDRIVABLE", "redriveStatusReason": reason}


def is_express(execution: dict[str, Any]) -> bool:
    """Whether it is of an Express workflow, or was started as only those can be."""
    return "sync" in execution or (machine_of(execution) or {}).get("type") == "EXPRESS"


def _listed(execution: dict[str, Any]) -> dict[str, Any]:
    count = execution.get("redriveCount", 0)
    return {"redriveCount": count, **({"redriveDate": execution["redriveDate"]} if count else {})}


def again(earlier: dict[str, Any]) -> dict[str, Any]:
    """Make the record of the next attempt.

    What still runs of the earlier attempt holds the earlier record, which stays ended, and so cannot touch this one.
    """
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
        tokens = [one for one in earlier.get("redriveTokens", []) if now - _time(one["used"]) < _TOKEN_LIFE][-_TOKENS:]
        repeated = [one for one in tokens if one["token"] == token]
        if repeated:
            return responses.json_response({"redriveDate": repeated[0]["used"]})
        reason = _not_redrivable(earlier)
        if reason is not None:
            return responses.error_response_json("ExecutionNotRedrivable", reason, 400)
        execution = again(earlier)
        date = execution["redriveDate"]
        execution["redriveTokens"] = [*tokens, {"token": token, "used": date}][-_TOKENS:]
        machines._executions[arn] = execution  # noqa: SLF001
    machines._emit_execution_status_event(execution)  # noqa: SLF001
    Thread(target=copy_context().run, args=(machines._run_execution, arn), daemon=True).start()  # noqa: SLF001
    return responses.json_response({"redriveDate": date})


def _not_redrivable(execution: dict[str, Any]) -> str | None:
    """Give the documented reason why an execution cannot be redriven, if there is one."""
    status = execution["status"]
    if status in {"RUNNING", "SUCCEEDED", "PENDING_REDRIVE"}:
        return f"Execution is {status} and cannot be redriven"
    if is_express(execution):
        return "Redrive is not supported for EXPRESS executions"
    if execution.get("mapRunArn"):
        return _BY_MAP_RUN
    if len(execution["events"]) >= _HISTORY_LIMIT:
        return "Execution history event limit exceeded"
    if execution["stopDate"] and datetime.now(UTC) - _time(execution["stopDate"]) > _PERIOD:
        return "Execution redrivable period exceeded"
    return None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
