"""What an on-failure destination or a dead-letter queue receives is what AWS sends.

MiniStack's record lacks the request id, the version, the time and the true number of attempts, sends the same record to
dead-letter queues, and gives every attempt another request id. The record is described in
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html: a destination gets the invocation's
record; a dead-letter queue gets the event itself, with attributes. A function's role must be allowed to send it.
"""

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from local.patches import roles
from local.patches.patch import change, member, module

_request_id: ContextVar[str | None] = ContextVar("request_id_of_the_asynchronous_invocation", default=None)
_SEND = {"sqs": "sqs:SendMessage", "sns": "sns:Publish", "lambda": "lambda:InvokeFunction"}
_ATTRIBUTE_LIMIT = 1024
_log = logging.getLogger(__name__)


def fill() -> None:
    """Keep one request id over all attempts, count them, and send what AWS sends."""
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
                "        body, attributes = _local_message(envelope, config, target_arn, result)"
            ),
            '"message_attributes": {},': '"message_attributes": attributes,',
        },
        {"_local_may_send": _may_send, "_local_message": _message},
    )


def _may_send(config: dict[str, Any], target: str) -> bool:
    action = _SEND.get(target.split(":")[2], "")
    if not roles.are_enforced() or roles.may(config.get("Role", ""), action, target, config.get("FunctionName", "")):
        return True
    _log.warning(
        "The role of %s may not %s to %s: the failed event is lost", config.get("FunctionName"), action, target
    )
    return False


def _message(
    record: dict[str, Any], config: dict[str, Any], target: str, result: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Give the body to send, and its attributes; `record` is completed in place, for functions get it as it is."""
    failure = result.get("body") or {}
    if (config.get("DeadLetterConfig") or {}).get("TargetArn") == target:
        attributes = {
            "RequestID": _text(_request_id.get() or ""),
            "ErrorCode": _text("200"),
            "ErrorMessage": _text(str(failure.get("errorMessage", ""))[:_ATTRIBUTE_LIMIT]),
        }
        return json.dumps(record["requestPayload"]), attributes
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
    return json.dumps(record), {}


def _text(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}
