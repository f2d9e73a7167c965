"""An execution keeps the definition and the role that its state machine had at the start.

MiniStack reads them from the state machine whenever it needs them, and takes a version's from the latest one. On AWS
"running executions will continue to use the previous definition and roleArn":
https://docs.aws.amazon.com/step-functions/latest/apireference/API_UpdateStateMachine.html
"""

from typing import Any

from local.patches.patch import change, module

_NAMED = "_state_machine_versions.get(_execution_version_arn(requested_arn)) or sm"
_MACHINE = '_state_machines.get(execution["stateMachineArn"])'


def fill() -> None:
    """Store both with the execution, and read them from there."""
    machines = module("services.stepfunctions")
    change(
        machines,
        "_start_execution",
        {
            '"testCase": test_case,': f'"testCase": test_case,\n        "startedWith": _local_started_with({_NAMED}),',
            '"input": input_str, "roleArn": sm["roleArn"]': f'"input": input_str, "roleArn": ({_NAMED})["roleArn"]',
        },
        {"_local_started_with": _started_with},
    )
    change(
        machines,
        "_run_execution",
        {f"sm = {_MACHINE}": "sm = _local_machine(execution)"},
        {"_local_machine": machine_of},
    )
    role = '"roleArn": sm["roleArn"],'
    change(
        machines,
        "_describe_state_machine_for_execution",
        {
            "_state_machines.get(sm_arn)": "_local_machine(execution)",
            role: f'{role}\n        "revisionId": sm.get("revisionId"),',
        },
    )


def machine_of(execution: dict[str, Any]) -> dict[str, Any] | None:
    """Give the state machine of an execution as it was at the start; None when it is gone."""
    machine = module("services.stepfunctions")._state_machines.get(execution.get("stateMachineArn"))  # noqa: SLF001
    return None if machine is None else machine | execution.get("startedWith", {})


def _started_with(machine: dict[str, Any]) -> dict[str, Any]:
    # a published version has the revision under another name
    revision = machine.get("stateMachineRevisionId") or machine.get("revisionId")
    return {"definition": machine["definition"], "roleArn": machine["roleArn"], "revisionId": revision}
