"""A state machine invokes only the functions that its role may invoke.

MiniStack never looks at the role. On AWS the Task fails with Lambda.AWSLambdaException:
https://docs.aws.amazon.com/step-functions/latest/dg/lambda-iam.html. Other services a machine may call stay unchecked.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from local.patches import roles
from local.patches.patch import member, module, wrap
from local.patches.step_functions.core.definition_of_start import machine_of

_role: ContextVar[str | None] = ContextVar("role_of_the_running_state_machine", default=None)


def fill() -> None:
    """Remember the role of the machine that runs, and ask it before every invocation."""
    machines, functions = module("services.stepfunctions"), module("services.lambda_svc")
    error, record_of = member(machines, "_ExecutionError"), member(functions, "_get_func_record_for_ref")

    def running(run: Callable[..., Any]) -> Callable[..., Any]:
        def run_as(execution_arn: str) -> Any:
            execution = machines._executions.get(execution_arn) or {}  # noqa: SLF001
            _role.set((machine_of(execution) or {}).get("roleArn"))
            return run(execution_arn)

        return run_as

    def calling(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(reference: str, event: Any) -> Any:
            role = _role.get()
            if role is not None and roles.are_enforced():
                config = record_of(reference)[1]
                function = reference if reference.startswith("arn:") else (config or {}).get("FunctionArn", reference)
                if config and not roles.may(role, "lambda:InvokeFunction", function, "states"):
                    raise error("Lambda.AWSLambdaException", _refusal(role, function))
            return call(reference, event)

        return called

    wrap(machines, "_run_execution", running)
    wrap(machines, "_call_lambda", calling)


def _refusal(role: str, function: str) -> str:
    return (
        f"User: {roles.as_caller(role, 'states')} is not authorized to perform: lambda:InvokeFunction on resource: "
        f"{function} because no identity-based policy allows the lambda:InvokeFunction action (Service: Lambda, Status "
        "Code: 403)"
    )
