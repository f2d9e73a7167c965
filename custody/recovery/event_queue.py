"""Events that a function could not handle, and that wait in start-dlq or dead-letter-dlq: list or replay them.

A message is the record that Lambda makes of a failed asynchronous call, an event that EventBridge could not deliver, or
an event, of S3 or of EventBridge, that the buffer has moved there; the last two as they came:
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
"""

import json
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote_plus

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from custody.deployment.queue_depth import depth
from custody.session import Session
from custody.terminal.signals import held_back

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import ChangeMessageVisibilityBatchRequestEntryTypeDef, MessageTypeDef

REPLAY_SECONDS = 60
"""How long a message is hidden from others while its function handles it; extended while others are handled."""

LIST_SECONDS = 10
"""How long a message is hidden from others while it is listed; extended while there are more."""

_EXTENDED_AFTER = 0.2
"""The share of that time after which it is extended."""

_BATCH = 10
"""Messages that SQS takes or gives in one call."""

_WAIT_SECONDS = 1
"""A wait, however short, makes SQS ask all of its servers."""

_RETRIES_EXHAUSTED = "all retries failed; see the log of the function"

_ERROR_ATTRIBUTES = ("ERROR_CODE", "ERROR_MESSAGE")
"""The attributes of a message in which EventBridge says why it could not deliver."""

_COUNTED = {"started": "started", "started_before": "already started", "dead_letters": "dead letter written"}
"""What the functions count, for people."""


class EventResult(Struct, frozen=True):
    """An event in a queue: the id of its message, its function, and the keys of the objects that it is about.

    `result` is why it waits or, after a replay, what came of it. `done` is whether it was handled, null if only listed.
    """

    message: str
    function: str
    objects: tuple[str, ...]
    result: str
    done: bool | None = None


@dataclass
class EventLog:
    """The events seen so far; `hidden` is the number of messages that somebody else has just received."""

    events: list[EventResult] = field(default_factory=list)
    hidden: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether every event was handled."""
        return not self.hidden and all(event.done is not False for event in self.events)


def handle_events(session: Session, log: EventLog, *, dry_run: bool) -> None:
    """Replay the events of both queues or, with `dry_run`, list them; log each as soon as it is handled."""
    sqs, deployment = session.target.client("sqs"), session.deployment
    lambda_ = session.target.client("lambda")
    for function, url in (
        (deployment.start_function, deployment.start_dlq_url),
        (deployment.dead_letter_function, deployment.dead_letter_dlq_url),
    ):
        before, received = depth(sqs, url), len(log.events)
        # Closed whatever happens: otherwise received messages stay hidden until the generator is collected.
        with closing(look(sqs, url, function) if dry_run else replay(sqs, lambda_, url, function)) as events:
            log.events.extend(events)
        log.hidden += before.hidden_beside(len(log.events) - received)


def replay(
    sqs: "SQSClient", lambda_: "LambdaClient", queue_url: str, function: str
) -> Generator[EventResult, None, None]:
    """Invoke a function again with each event of a queue; a message is deleted once the function has accepted it.

    The messages that are left become visible again at the end.
    """
    with _Queue(sqs, queue_url, REPLAY_SECONDS) as queue:
        for message in queue.messages():
            result, is_accepted = _invoke(lambda_, function, message)
            if is_accepted:
                try:
                    queue.delete(message)
                except (ClientError, BotoCoreError) as error:
                    result, is_accepted = f"accepted, but still in the queue: {error}", False
            yield EventResult(message.id, function, message.objects, result, is_accepted)


def look(sqs: "SQSClient", queue_url: str, function: str) -> Generator[EventResult, None, None]:
    """List the events of a queue, and leave them there."""
    with _Queue(sqs, queue_url, LIST_SECONDS) as queue:
        for message in queue.messages():
            yield EventResult(message.id, function, message.objects, message.error)


@dataclass(frozen=True)
class _Message:
    """A message of a queue: `event` is what the function was called with; None if it is no event of Custody."""

    id: str
    event: dict[str, Any] | None
    objects: tuple[str, ...]
    error: str


class _Queue:
    """A queue that is read through once; on exit, what is left in it becomes visible again.

    Until then what was received stays hidden, or it would be received again; but not for long, should the process die.
    """

    def __init__(self, sqs: "SQSClient", url: str, seconds: int) -> None:
        self._sqs = sqs
        self._url = url
        self._seconds = seconds
        self._seen: set[str] = set()
        self._handles: dict[str, str] = {}
        self._extended = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with held_back():
            self._hide(0)

    def messages(self) -> Iterator[_Message]:
        """Yield each message once; end when the queue has no other."""
        while new := [message for message in self._receive() if message["MessageId"] not in self._seen]:
            self._seen.update(message["MessageId"] for message in new)
            for message in new:
                self._extend()
                yield _parse(message)

    def delete(self, message: _Message) -> None:
        """Delete a message; raise ClientError or BotoCoreError."""
        self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=self._handles[message.id])
        del self._handles[message.id]

    def _receive(self) -> "list[MessageTypeDef]":
        self._extend()
        # An answer lost to an interrupt would hide its messages from everybody.
        with held_back():
            messages = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=_BATCH,
                WaitTimeSeconds=_WAIT_SECONDS,
                MessageAttributeNames=_ERROR_ATTRIBUTES,
                VisibilityTimeout=self._seconds,
            ).get("Messages", [])
            self._handles.update((message["MessageId"], message["ReceiptHandle"]) for message in messages)
        return messages

    def _extend(self) -> None:
        now = time.monotonic()
        if now - self._extended >= self._seconds * _EXTENDED_AFTER:
            self._hide(self._seconds)
            self._extended = now

    def _hide(self, seconds: int) -> None:
        """Hide what was received for so long; what SQS refuses becomes visible by itself."""
        handles = iter(list(self._handles.values()))
        while batch := list(islice(handles, _BATCH)):
            entries: list[ChangeMessageVisibilityBatchRequestEntryTypeDef] = [
                {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
                for number, handle in enumerate(batch)
            ]
            try:
                self._sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)
            except ClientError:
                continue
            except BotoCoreError:
                # SQS cannot be reached: each further call would take as long to fail.
                return


def _invoke(lambda_: "LambdaClient", function: str, message: _Message) -> tuple[str, bool]:
    """Invoke a function with an event; return what came of it, and whether the function accepted it."""
    if message.event is None:
        return message.error, False
    try:
        response = lambda_.invoke(FunctionName=function, Payload=json.dumps(message.event).encode())
        answer = json.loads(response["Payload"].read() or b"null")
    except (ClientError, BotoCoreError) as error:
        return f"still refused: {error}", False
    except ValueError:
        return "still refused: the answer of the function is not JSON", False
    if response.get("FunctionError"):
        return f"still refused: {_error(answer)}", False
    counts = answer.get("counts") if isinstance(answer, dict) else None
    counted = counts.items() if isinstance(counts, dict) else ()
    parts = [f"{number} " * (number > 1) + _COUNTED.get(name, name) for name, number in counted if number]
    return ", ".join(parts) or "nothing was left to do", True


def _parse(message: "MessageTypeDef") -> _Message:
    message_id = message["MessageId"]
    try:
        body = json.loads(message["Body"])
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict):
        if isinstance(event := body.get("requestPayload"), dict):
            return _Message(message_id, event, _objects(event), _error(body.get("responsePayload")))
        if "detail" in body:
            return _Message(message_id, body, _objects(body), _eventbridge_error(message))
        if _is_of_s3(body.get("Records")):
            return _Message(message_id, body, _objects(body), _RETRIES_EXHAUSTED)
    return _Message(message_id, None, (), "this is not an event of Custody: find out who sent it, and delete it")


def _eventbridge_error(message: "MessageTypeDef") -> str:
    """Say why an event of EventBridge waits: it could not be delivered, or all retries failed.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
    """
    attributes = message.get("MessageAttributes", {})
    error = ": ".join(attributes[name].get("StringValue", "") for name in _ERROR_ATTRIBUTES if name in attributes)
    return f"EventBridge could not deliver it: {error}" if error else _RETRIES_EXHAUSTED


def _is_of_s3(records: Any) -> bool:
    return (
        isinstance(records, list)
        and bool(records)
        and all(isinstance(record, dict) and "s3" in record for record in records)
    )


def _error(answer: Any) -> str:
    if not isinstance(answer, dict):
        return "the function did not say why"
    return f"{answer.get('errorType', 'an error')}: {answer.get('errorMessage', '')}"


def _objects(event: dict[str, Any]) -> tuple[str, ...]:
    """List the keys of the objects that an event is about; its form is unknown, for a function has refused it."""
    try:
        if "detail" in event:
            detail = event["detail"]
            described = detail["object"] if "object" in detail else json.loads(detail["input"])["object"]
            return (str(described["key"]),)
        return tuple(unquote_plus(str(record["s3"]["object"]["key"])) for record in event["Records"])
    except (LookupError, TypeError, ValueError, RecursionError):
        return ()
