"""RedriveExecution reruns an unsuccessful execution from the state at which it ended, with that state's input.

MiniStack has no such action. Definition, ARN and history stay, and the timeout of the machine and retries start anew.
The limits of age and history are not emulated.
https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html
https://docs.aws.amazon.com/step-functions/latest/apireference/API_RedriveExecution.html
"""

from contextvars import copy_context
from threading import Thread
from typing import Any

from local.patches.patch import change, module
from local.patches.step_functions.executions import Execution, ending, run

machines = module("services.stepfunctions")


def apply() -> None:
    """Add the action, and the fields that describe redrives."""
    stop = '"StopExecution": _stop_execution,'
    change(
        machines,
        "handle_request",
        {stop: f'{stop}\n        "RedriveExecution": _local_redrive,'},
        {"_local_redrive": _redrive},
    )
    stop_date = '"stopDate": execution["stopDate"],'
    change(
        machines,
        "_describe_execution",
        {stop_date: f"{stop_date} **_local_describe(execution),"},
        {"_local_describe": describe},
    )
    change(
        machines,
        "_list_executions",
        {'"stopDate": ex.get("stopDate"),': '"stopDate": ex.get("stopDate"), **_local_redrives(ex),'},
        {"_local_redrives": _redrives},
    )


def describe(execution: Execution) -> dict[str, Any]:
    """Return the fields of DescribeExecution about redrives."""
    status = execution["status"]
    if status in {"RUNNING", "SUCCEEDED"}:
        reason = f"Execution is {status} and cannot be redriven"
        return _redrives(execution) | {"redriveStatus": "NOT_REDRIVABLE", "redriveStatusReason": reason}
    is_child = "mapRunArn" in execution
    return _redrives(execution) | {"redriveStatus": "REDRIVABLE_BY_MAP_RUN" if is_child else "REDRIVABLE"}


def _redrives(execution: Execution) -> dict[str, Any]:
    fields = ("redriveCount", "redriveDate")
    return {"redriveCount": 0} | {field: execution[field] for field in fields if field in execution}


def again(earlier: Execution) -> Execution:
    """Make the record of the redriven execution; whatever still runs of the earlier one cannot change this record."""
    count = earlier.get("redriveCount", 0) + 1
    nothing = dict.fromkeys(("stopDate", "output", "error", "cause"))
    now = {"status": "RUNNING", "redriveCount": count, "redriveDate": machines.now_iso()}
    execution: Execution = earlier | nothing | now | {"events": list(earlier["events"])}
    details = {"executionRedrivenEventDetails": {"redriveCount": count}}
    machines._add_event(execution, "ExecutionRedriven", details)
    return execution


def _redrive(request: dict[str, Any]) -> Any:
    arn, token = request["executionArn"], request.get("clientToken")
    with ending:
        earlier = machines._executions.get(arn)
        if earlier is None:
            return machines.error_response_json("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'", 400)
        tokens = earlier.get("redriveTokens", {})
        if token in tokens:
            return machines.json_response({"redriveDate": tokens[token]})
        described = describe(earlier)
        if described["redriveStatus"] != "REDRIVABLE":
            reason = described.get("redriveStatusReason", "It is redriven with the execution that runs the Map")
            return machines.error_response_json("ExecutionNotRedrivable", reason, 400)
        execution = again(earlier)
        execution["redriveTokens"] = tokens | {token: execution["redriveDate"]}
        machines._executions[arn] = execution
    machines._emit_execution_status_event(execution)
    Thread(target=copy_context().run, args=(run, execution), daemon=True).start()
    return machines.json_response({"redriveDate": execution["redriveDate"]})
