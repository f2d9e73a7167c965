"""An execution keeps the definition and role of its start, starts once by name, and knows its redrives.

MiniStack reads definition and role from the state machine whenever it needs them, always answers a repeated name with
ExecutionAlreadyExists, and lists ended executions by their end. On AWS:
https://docs.aws.amazon.com/step-functions/latest/apireference/API_UpdateStateMachine.html ("running executions will
continue to use the previous definition and roleArn"),
https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html (a start is idempotent while the
execution runs),
https://docs.aws.amazon.com/step-functions/latest/apireference/API_ListExecutions.html (the most recent start first),
https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html (role and redrives in `$$`).
"""

import json
import re
from collections.abc import Callable
from typing import Any

from local.patches.patch import change, member, module, wrap

_EXECUTION_NAME = re.compile(r"[^\x00-\x20\x7f-\x9f<>{}\[\]?*\"#%\\^|~`$&,;:/]{1,80}")
_REQUESTED = "_state_machine_versions.get(_execution_version_arn(requested_arn)) or sm"
_TEST_CASE = '"testCase": test_case,'
_MACHINE = '_state_machines.get(execution["stateMachineArn"])'
_CONTEXT_NAME = '"Name": execution["name"],'
_ROLE = '"roleArn": sm["roleArn"],'


def apply() -> None:
    """Store definition and role with the execution, read them from there, and start idempotently."""
    machines = module("services.stepfunctions")
    change(
        machines,
        "_start_execution",
        {
            _TEST_CASE: f'{_TEST_CASE}\n        "startedWith": _local_started_with({_REQUESTED}),',
            '"input": input_str, "roleArn": sm["roleArn"]': f'"input": input_str, "roleArn": ({_REQUESTED})["roleArn"]',
        },
        {"_local_started_with": _started_with},
    )
    change(
        machines,
        "_run_execution",
        {
            f"sm = {_MACHINE}": "sm = _local_machine(execution)",
            _CONTEXT_NAME: f'{_CONTEXT_NAME} "RoleArn": sm["roleArn"], **_local_redrives_of(execution),',
        },
        {"_local_machine": machine_of, "_local_redrives_of": redrives_of},
    )
    change(
        machines,
        "_describe_state_machine_for_execution",
        {
            "_state_machines.get(sm_arn)": "_local_machine(execution)",
            _ROLE: f'{_ROLE}\n        "revisionId": sm.get("revisionId"),',
        },
    )
    member(machines, "_execution_sort_key")
    # By ARN, too: each page continues after the last execution of the one before.
    machines._execution_sort_key = lambda execution: (execution["startDate"], execution["executionArn"])  # noqa: SLF001
    wrap(machines, "_start_execution", _starting)


def machine_of(execution: dict[str, Any]) -> dict[str, Any] | None:
    """Return the state machine of an execution as it was at the start; None if it was deleted."""
    machine = module("services.stepfunctions")._state_machines.get(execution.get("stateMachineArn"))  # noqa: SLF001
    return None if machine is None else machine | execution.get("startedWith", {})


def redrives_of(execution: dict[str, Any]) -> dict[str, Any]:
    """Return what the context object contains about redrives."""
    count = execution.get("redriveCount", 0)
    return {"RedriveCount": count, **({"RedriveTime": execution["redriveDate"]} if count else {})}


def _started_with(machine: dict[str, Any]) -> dict[str, Any]:
    # A published version has the revision under another name.
    revision = machine.get("stateMachineRevisionId") or machine.get("revisionId")
    return {"definition": machine["definition"], "roleArn": machine["roleArn"], "revisionId": revision}


def _starting(start: Callable[..., Any]) -> Callable[..., Any]:
    machines, responses = module("services.stepfunctions"), module("core.responses")

    def start_once(request: dict[str, Any]) -> Any:
        name = request.get("name")
        if name and not _EXECUTION_NAME.fullmatch(name):
            return responses.error_response_json("InvalidName", f"Invalid Name: '{name}'", 400)
        answer = start(request)
        content = json.loads(answer[2])
        if "ExecutionAlreadyExists" not in content.get("__type", ""):
            return answer
        execution = machines._executions[content["message"].split("'")[1]]  # noqa: SLF001
        if execution["status"] != "RUNNING" or execution["input"] != request.get("input", "{}"):
            return answer
        return responses.json_response({key: execution[key] for key in ("executionArn", "startDate")})

    return start_once
