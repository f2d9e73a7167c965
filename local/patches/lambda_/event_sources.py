"""A mapping of a queue to a function waits for its batch, asks the function's role, and reads its answer as AWS does.

MiniStack takes ten messages at most and at once, never asks the role, and deletes the messages of a partial batch
response that it cannot read: on AWS these count as failed, all of them, and come back.
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
Not checked: what the role may do with the key of an encrypted queue, and what S3 may do with it.
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
    """Check a mapping when it is made, gather its batches, and decide which messages of one have failed."""
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
    answer = "failed_ids = set()"
    change(
        service,
        "_run_sqs_batch",
        {answer: 'failed_ids = _local_failed(esm, result.get("body"), batch)\n    result = {**result, "body": None}'},
        {"_local_failed": _failed_of},
    )


def _creating(create: Callable[..., Any]) -> Callable[..., Any]:
    def created(said: dict[str, Any]) -> Any:
        refusal = _refusal(said)
        return module("services.lambda_svc")._invalid_parameter_value(refusal) if refusal else create(said)  # noqa: SLF001

    return created


def _provisioning(create: Callable[..., Any]) -> Callable[..., Any]:
    def created(logical_id: str, said: dict[str, Any], stack: str) -> Any:
        refusal = _refusal(said)
        if refusal:
            raise ValueError(f"Invalid request provided: {refusal}")
        return create(logical_id, said, stack)

    return created


def _refusal(said: Mapping[str, Any]) -> str | None:
    """Say why AWS would not map this queue to this function; what MiniStack checks itself is left to it."""
    source, service = said.get("EventSourceArn", ""), module("services.lambda_svc")
    name = service._resolve_name_and_qualifier(said.get("FunctionName", ""))[0]  # noqa: SLF001
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
    if int(said.get("BatchSize", _AT_ONCE)) > _AT_ONCE and not int(said.get("MaximumBatchingWindowInSeconds", 0)):
        return "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
    return None


def _batch(mapping: Mapping[str, Any], queue: dict[str, Any], url: str) -> list[dict[str, Any]]:
    """Receive a batch once it is full, or once its window is over for the message that has waited longest."""
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
    """Name the messages that a function's answer calls failed: all of `given` when the answer is not a valid one."""
    try:
        said = json.loads(answer) if isinstance(answer, str) else answer
        named = {one["itemIdentifier"] for one in (said or {}).get("batchItemFailures") or []}
    except (ValueError, TypeError, KeyError, AttributeError):
        return given
    return named if named.issubset(given) else given
