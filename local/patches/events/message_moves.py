"""Messages of a dead-letter queue are moved back to where they came from.

MiniStack has none of the three actions. A move is done at once here, whatever pace is asked for:
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
"""

import json
import time
import uuid
from collections import defaultdict
from typing import Any

from local.patches.patch import PatchError, member, module

_NEW = {"receive_count": 0, "receipt_handle": None, "first_receive_at": None}
_NO_SOURCE = "CouldNotDetermineMessageSource"
_SHOWN = 10
_SOURCE = "DeadLetterQueueSourceArn"
# What has been moved from each dead-letter queue, by its ARN, the last first.
_done: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)


def fill() -> None:
    """Add the actions."""
    queues = module("services.sqs")
    for name in ("_queue_by_arn", "_queues", "_queues_lock", "_Err", "esm_wake"):
        member(queues, name)
    actions = {"StartMessageMoveTask": _start, "ListMessageMoveTasks": _list, "CancelMessageMoveTask": _cancel}
    handlers = member(queues, "_HANDLERS")
    if set(actions) & set(handlers):
        raise PatchError("services.sqs._HANDLERS", "it has a message move action of its own")
    handlers.update(actions)


def _start(request: dict[str, Any], _url: str) -> dict[str, str]:
    queues = module("services.sqs")
    source, wanted = _dead_letters(request), request.get("DestinationArn")
    pace = request.get("MaxNumberOfMessagesPerSecond")
    handle = str(uuid.uuid4())
    with queues._queues_lock:  # noqa: SLF001
        task: dict[str, Any] = {
            "SourceArn": request["SourceArn"],
            "StartedTimestamp": int(time.time() * 1000),
            "ApproximateNumberOfMessagesToMove": len(source["messages"]),
            **({"DestinationArn": wanted} if wanted else {}),
            **({"MaxNumberOfMessagesPerSecond": pace} if pace else {}),
        }
        kept = [message for message in source["messages"] if not _moved(message, wanted)]
        moved = len(source["messages"]) - len(kept)
        source["messages"] = kept
        stays = any(message["visible_at"] <= time.time() for message in kept)
        ended = {"Status": "FAILED", "FailureReason": _NO_SOURCE} if stays else {"Status": "COMPLETED"}
    _done[request["SourceArn"]].insert(0, task | ended | {"ApproximateNumberOfMessagesMoved": moved})
    queues.esm_wake.set()
    return {"TaskHandle": handle}


def _moved(message: dict[str, Any], wanted: str | None) -> bool:
    """Send a message anew; False when it is being received by somebody else, or nobody knows where it came from."""
    queues, now = module("services.sqs"), time.time()
    system = message.get("sys", {})
    target = queues._queue_by_arn(wanted or system.get(_SOURCE, ""))  # noqa: SLF001
    if target is None or message["visible_at"] > now:
        return False
    sent = {key: value for key, value in system.items() if key != _SOURCE} | {"SentTimestamp": str(int(now * 1000))}
    new = {"id": str(uuid.uuid4()), "sent_at": now, "visible_at": now, "enqueued_at": now, "sys": sent}
    target["messages"].append(message | _NEW | new)
    return True


def _list(request: dict[str, Any], _url: str) -> dict[str, Any]:
    _dead_letters(request)
    return {"Results": _done[request["SourceArn"]][: min(int(request.get("MaxResults") or 1), _SHOWN)]}


def _cancel(_request: dict[str, Any], _url: str) -> dict[str, Any]:
    error = module("services.sqs")._Err  # noqa: SLF001
    raise error("ResourceNotFoundException", "There is no such task that runs.", 404)


def _dead_letters(request: dict[str, Any]) -> dict[str, Any]:
    """Find the queue named as the source; it must be the dead-letter queue of another."""
    queues, arn = module("services.sqs"), request.get("SourceArn", "")
    found = queues._queue_by_arn(arn)  # noqa: SLF001
    if found is None:
        missing = "The resource that you specified for the SourceArn parameter doesn't exist."
        raise queues._Err("ResourceNotFoundException", missing, 404)  # noqa: SLF001
    policies = (queue["attributes"].get("RedrivePolicy") or "{}" for queue in queues._queues.values())  # noqa: SLF001
    if arn not in {json.loads(policy).get("deadLetterTargetArn") for policy in policies}:
        not_one = "Source queue must be configured as a Dead Letter Queue."
        raise queues._Err("InvalidParameterValue", not_one)  # noqa: SLF001
    dead: dict[str, Any] = found
    return dead
