"""An on-failure destination receives the record that AWS sends, if the role of the function allows it.

MiniStack's record lacks the request id, the version, the time and the true number of attempts, and each attempt has
another request id: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
"""

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from local.patches import roles
from local.patches.patch import change, member, module

_request_id: ContextVar[str | None] = ContextVar("request_id_of_the_asynchronous_invocation", default=None)
_log = logging.getLogger(__name__)


def apply() -> None:
    """Keep one request id for all attempts, count them, and complete the record."""
    service = module("services.lambda_svc")
    member(service, "new_uuid")
    change(
        service,
        "_execute_function",
        {"request_id = new_uuid()": "request_id = _local_async_request_id.get() or new_uuid()"},
        {"_local_async_request_id": _request_id},
    )
    change(
        service,
        "invoke_async_with_retry",
        {
            "last_result = None": "last_result = None\n        _local_async_request_id.set(new_uuid())",
            "last_result = _execute_function(func, event)": (
                "last_result = {**_execute_function(func, event), 'attempts': attempt + 1,"
                " 'exhausted': attempt == int(max_retries)}"
            ),
        },
    )
    change(
        service,
        "_route_async_failure",
        {
            "body = json.dumps(envelope)": (
                "config = _functions.get(func_name, {}).get('config', {})\n"
                "        if not _local_may_send(config, target_arn):\n            return\n"
                "        body = json.dumps(_local_complete(envelope, config, result))"
            ),
        },
        {"_local_may_send": _may_send, "_local_complete": _complete},
    )


def _may_send(config: dict[str, Any], target: str) -> bool:
    role, name = config.get("Role", ""), config.get("FunctionName", "")
    if not roles.are_enforced() or roles.may(role, "sqs:SendMessage", target, name):
        return True
    _log.warning("The role of %s does not allow sqs:SendMessage to %s: the failed event is lost", name, target)
    return False


def _complete(record: dict[str, Any], config: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    version = config.get("Version", "$LATEST")
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record |= {"version": "1.0", "timestamp": now}
    record["requestContext"] |= {
        "requestId": _request_id.get(),
        "functionArn": f"{config.get('FunctionArn', '')}:{version}",
        "condition": "RetriesExhausted" if result.get("exhausted") else "EventAgeExceeded",
        "approximateInvokeCount": result.get("attempts"),
    }
    record["responseContext"]["executedVersion"] = version
    return record
