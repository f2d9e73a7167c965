"""Tasks may invoke only what their role allows, fail with the errors of AWS, and are retried as on AWS.

- MiniStack never looks at the role; on AWS the Task fails with Lambda.AWSLambdaException:
  https://docs.aws.amazon.com/step-functions/latest/dg/lambda-iam.html. Services other than Lambda are not checked.
- A throttled function is Lambda.TooManyRequestsException, not Lambda.Unknown:
  https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html#bp-lambda-serviceexception
- A result of more than 256 KiB fails with States.DataLimitExceeded, of a Task as of a Distributed Map:
  https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
- Retry honours MaxDelaySeconds and JitterStrategy, and States.ALL does not match States.DataLimitExceeded and
  States.Runtime: https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
- An execution that has ended retries nothing.
"""

import json
import random
from collections.abc import Callable
from typing import Any

from local.patches import roles
from local.patches.patch import change, module, wrap
from local.patches.step_functions.executions import has_ended, running_role

LIMIT = 256 * 1024
_UNKNOWN = 'body.get("errorType", "Lambda.Unknown")'
_NOT_IN_ALL = ("States.DataLimitExceeded", "States.Runtime")
machines = module("services.stepfunctions")


def apply() -> None:
    """Check the role before a call and the size after it, name its error, and compute the delay of a retry."""
    throttled = '"Lambda.TooManyRequestsException" if body.get("__type") == "TooManyRequestsException"'
    change(machines, "_call_lambda", {_UNKNOWN: f"{throttled} else {_UNKNOWN}"})
    wrap(machines, "_call_lambda", _call)
    wrap(machines, "_find_matching_retrier", _find)
    wrap(machines, "_error_matches", _match)


def _find(find: Callable[..., Any], retriers: list[dict[str, Any]], error: str, counts: dict[int, int]) -> Any:
    """Compute the delay before MiniStack does, and pass it as the interval."""
    retrier, index = (None, -1) if has_ended() else find(retriers, error, counts)
    if retrier is not None:
        retrier = {**retrier, "IntervalSeconds": delay(retrier, counts.get(index, 0)), "BackoffRate": 1.0}
    return retrier, index


def _match(matches: Callable[..., Any], named: list[str], error: str) -> bool:
    return bool(error in named if error in _NOT_IN_ALL else matches(named, error))


def delay(retrier: dict[str, Any], retries: int) -> float:
    """Return the seconds before the next attempt, after a number of retries."""
    longest = float(retrier.get("IntervalSeconds", 1)) * float(retrier.get("BackoffRate", 2.0)) ** retries
    longest = min(longest, float(retrier.get("MaxDelaySeconds", longest)))
    return random.uniform(0, longest) if retrier.get("JitterStrategy") == "FULL" else longest  # noqa: S311


def check_size(result: Any, name: str) -> Any:
    """Return a result, unless it exceeds the limit of a state."""
    if len(json.dumps(result, ensure_ascii=False).encode()) > LIMIT:
        raise machines._ExecutionError(
            "States.DataLimitExceeded",
            f"The state/task '{name}' returned a result with a size exceeding the maximum number of bytes service "
            "limit.",
        )
    return result


def _call(call: Callable[..., Any], reference: str, event: Any) -> Any:
    role, config = running_role(), module("services.lambda_svc")._get_func_record_for_ref(reference)[1]
    if role is not None and config and roles.are_enforced():
        function = reference if reference.startswith("arn:") else config.get("FunctionArn", reference)
        if not roles.may(role, "lambda:InvokeFunction", function, "states"):
            refusal = f"{roles.as_caller(role, 'states')} is not authorized to perform: lambda:InvokeFunction"
            raise machines._ExecutionError("Lambda.AWSLambdaException", f"User: {refusal} on resource: {function}")
    return check_size(call(reference, event), reference.rsplit(":", 1)[-1])
