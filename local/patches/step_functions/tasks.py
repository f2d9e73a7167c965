"""Tasks may invoke only what their role allows, fail with the errors of AWS, and are retried as on AWS.

- MiniStack never looks at the role; on AWS the Task fails with Lambda.AWSLambdaException:
  https://docs.aws.amazon.com/step-functions/latest/dg/lambda-iam.html. Services other than Lambda are not checked.
- A throttled function is Lambda.TooManyRequestsException, not Lambda.Unknown:
  https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html#bp-lambda-serviceexception
- A result of more than 256 KiB fails with States.DataLimitExceeded, of a Task as of a Distributed Map:
  https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
- Retry honours MaxDelaySeconds and JitterStrategy, and States.ALL does not match States.DataLimitExceeded and
  States.Runtime: https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
"""

import json
import random
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from local.patches import roles
from local.patches.patch import change, member, module, wrap
from local.patches.step_functions.executions import machine_of

LIMIT = 256 * 1024
_THROTTLED = "TooManyRequestsException"
_NOT_IN_ALL = ("States.DataLimitExceeded", "States.Runtime")
_role: ContextVar[str | None] = ContextVar("role_of_the_running_state_machine", default=None)


def apply() -> None:
    """Check the role before a call and the size after it, name its error, and compute the delay of a retry."""
    machines = module("services.stepfunctions")
    for name in ("_ExecutionError", "_executions"):
        member(machines, name)
    change(
        machines,
        "_call_lambda",
        {'body.get("errorType", "Lambda.Unknown")': "_local_error_name(body)"},
        {"_local_error_name": _error_name},
    )
    wrap(machines, "_find_matching_retrier", _finding)
    wrap(machines, "_error_matches", _matching)
    selected = "_apply_result_selector(state_def, "
    change(
        machines,
        "_run_distributed_map",
        {f"{selected}results)": f'{selected}_local_check_size(results, ctx["State"]["Name"]))'},
        {"_local_check_size": _check_size},
    )
    wrap(machines, "_call_lambda", _calling)
    wrap(machines, "_run_execution", _running)


def _error_name(body: dict[str, Any]) -> str:
    if body.get("__type") == _THROTTLED:
        return f"Lambda.{_THROTTLED}"
    return str(body.get("errorType", "Lambda.Unknown"))


def _finding(find: Callable[..., Any]) -> Callable[..., Any]:
    """Compute the delay before MiniStack does, and pass it as the interval."""

    def find_with_delay(retriers: list[dict[str, Any]], error: str, counts: dict[int, int]) -> Any:
        retrier, index = find(retriers, error, counts)
        if retrier is None:
            return retrier, index
        return {**retrier, "IntervalSeconds": delay(retrier, counts.get(index, 0)), "BackoffRate": 1.0}, index

    return find_with_delay


def _matching(matches: Callable[..., Any]) -> Callable[..., Any]:
    def match(named: list[str], error: str) -> bool:
        return bool(error in named if error in _NOT_IN_ALL else matches(named, error))

    return match


def delay(retrier: dict[str, Any], retries: int) -> float:
    """Return the seconds before the next attempt, after a number of retries."""
    longest = float(retrier.get("IntervalSeconds", 1)) * float(retrier.get("BackoffRate", 2.0)) ** retries
    longest = min(longest, float(retrier.get("MaxDelaySeconds", longest)))
    return random.uniform(0, longest) if retrier.get("JitterStrategy") == "FULL" else longest  # noqa: S311


def _check_size(result: Any, name: str) -> Any:
    if len(json.dumps(result, ensure_ascii=False).encode()) > LIMIT:
        raise module("services.stepfunctions")._ExecutionError(  # noqa: SLF001
            "States.DataLimitExceeded",
            f"The state/task '{name}' returned a result with a size exceeding the maximum number of bytes service "
            "limit.",
        )
    return result


def _running(run: Callable[..., Any]) -> Callable[..., Any]:
    def run_as(execution_arn: str) -> Any:
        execution = module("services.stepfunctions")._executions.get(execution_arn) or {}  # noqa: SLF001
        _role.set((machine_of(execution) or {}).get("roleArn"))
        return run(execution_arn)

    return run_as


def _calling(call: Callable[..., Any]) -> Callable[..., Any]:
    record_of = member(module("services.lambda_svc"), "_get_func_record_for_ref")

    def call_if_allowed(reference: str, event: Any) -> Any:
        role = _role.get()
        config = record_of(reference)[1]
        if role is not None and config and roles.are_enforced():
            function = reference if reference.startswith("arn:") else config.get("FunctionArn", reference)
            if not roles.may(role, "lambda:InvokeFunction", function, "states"):
                error = module("services.stepfunctions")._ExecutionError  # noqa: SLF001
                raise error("Lambda.AWSLambdaException", _refusal(role, function))
        return _check_size(call(reference, event), reference.rsplit(":", 1)[-1])

    return call_if_allowed


def _refusal(role: str, function: str) -> str:
    return (
        f"User: {roles.as_caller(role, 'states')} is not authorized to perform: lambda:InvokeFunction on resource: "
        f"{function} because no identity-based policy allows the lambda:InvokeFunction action (Service: Lambda, Status "
        "Code: 403)"
    )
