"""A queue as event source waits for a full batch, requires the role's permissions, and honours partial batch responses.

MiniStack takes up to ten messages at once, never checks the role, and deletes the messages of a batch response that it
cannot parse; on AWS all of them count as failed, and return to the queue.
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
Permissions for the key of an encrypted queue are not checked.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from local.patches import roles
from local.patches.cloudformation.resources import replace
from local.patches.patch import change, member, module, wrap

_ACTIONS = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
_AT_ONCE = 10
_PARTIAL = "ReportBatchItemFailures"


def apply() -> None:
    """Validate a mapping when it is created, collect its batches, and decide which messages failed."""
    service, queues = module("services.lambda_svc"), module("services.sqs")
    for owner, name in ((service, "_functions"), (service, "_invalid_parameter_value"), (queues, "_queue_by_arn")):
        member(owner, name)
    wrap(service, "_create_esm", _creating)
    replace("AWS::Lambda::EventSourceMapping", {"create": _provisioning})
    receive = "_sqs._receive_messages_for_esm(queue_url, batch_size)"
    change(
        service,
        "_poll_sqs",
        {receive: "_local_batch(esm, queue, queue_url)"},
        {"_local_batch": _batch},
    )
    change(
        service,
        "_run_sqs_batch",
        {
            "failed_ids = set()": (
                'failed_ids = _local_failed(esm, result.get("body"), batch)\n    result = {**result, "body": None}'
            )
        },
        {"_local_failed": _failed_of},
    )


def _creating(create: Callable[..., Any]) -> Callable[..., Any]:
    def create_or_refuse(mapping: dict[str, Any]) -> Any:
        refusal = _refusal(mapping)
        return module("services.lambda_svc")._invalid_parameter_value(refusal) if refusal else create(mapping)  # noqa: SLF001

    return create_or_refuse


def _provisioning(create: Callable[..., Any]) -> Callable[..., Any]:
    def create_or_fail(logical_id: str, mapping: dict[str, Any], stack: str) -> Any:
        if refusal := _refusal(mapping):
            raise ValueError(f"Invalid request provided: {refusal}")
        return create(logical_id, mapping, stack)

    return create_or_fail


def _refusal(mapping: Mapping[str, Any]) -> str | None:
    """Return why AWS would refuse a mapping, unless MiniStack checks that itself."""
    source, service = mapping.get("EventSourceArn", ""), module("services.lambda_svc")
    name = service._resolve_name_and_qualifier(mapping.get("FunctionName", ""))[0]  # noqa: SLF001
    function, queue = service._functions.get(name), module("services.sqs")._queue_by_arn(source)  # noqa: SLF001
    if ":sqs:" not in source or function is None or queue is None:
        return None
    config = function["config"]
    for action in _ACTIONS:
        if roles.are_enforced() and not roles.may(config.get("Role", ""), action, source, name):
            called = action.removeprefix("sqs:")
            return f"The provided execution role does not have permissions to call {called} on SQS"
    visible, timeout = int(queue["attributes"].get("VisibilityTimeout", 30)), int(config.get("Timeout", 3))
    if visible < timeout:
        return f"Queue visibility timeout: {visible} seconds is less than Function timeout: {timeout} seconds"
    if int(mapping.get("BatchSize", _AT_ONCE)) > _AT_ONCE and not int(mapping.get("MaximumBatchingWindowInSeconds", 0)):
        return "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
    return None


def _batch(mapping: Mapping[str, Any], queue: dict[str, Any], url: str) -> list[dict[str, Any]]:
    """Receive a batch once it is full, or once the oldest message has waited for its window."""
    size, window = int(mapping.get("BatchSize", _AT_ONCE)), int(mapping.get("MaximumBatchingWindowInSeconds", 0))
    now = time.time()
    waiting = [message["visible_at"] for message in list(queue["messages"]) if message["visible_at"] <= now]
    if len(waiting) < size and now - min(waiting, default=now) < window:
        return []
    receive = module("services.sqs")._receive_messages_for_esm  # noqa: SLF001
    batch: list[dict[str, Any]] = []
    while len(batch) < size:
        more = receive(url, size - len(batch))
        if not more:
            break
        batch += more
    return batch


def _failed_of(mapping: Mapping[str, Any], answer: Any, batch: list[dict[str, Any]]) -> set[str]:
    given = {message["id"] for message in batch}
    return failed(answer, given) if _PARTIAL in (mapping.get("FunctionResponseTypes") or []) else set()


def failed(answer: Any, given: set[str]) -> set[str]:
    """Return the ids of the messages that a response marks as failed: all of them if the response is invalid."""
    try:
        response = json.loads(answer) if isinstance(answer, str) else answer
        ids = {failure["itemIdentifier"] for failure in (response or {}).get("batchItemFailures") or []}
    except (ValueError, TypeError, KeyError, AttributeError):
        return given
    return ids if ids.issubset(given) else given
