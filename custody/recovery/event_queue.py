"""Events that a function could not handle, and that wait in start-dlq or dead-letter-dlq: list or replay them.

A message is the record that Lambda makes of a failed asynchronous call, an event that EventBridge could not deliver, or
an event, of S3 or of EventBridge, that the buffer has moved there; the last two as they came:
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
"""

import json
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct
from msgspec.structs import replace

from custody.deployment.queue_depth import depth
from custody.session import Session

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import ChangeMessageVisibilityBatchRequestEntryTypeDef, MessageTypeDef

HIDDEN_SECONDS = 300
"""How long a message stays hidden from others if this process dies; at its end it releases what it leaves."""

_BATCH = 10
"""Messages that SQS takes or gives in one call."""

_WAIT_SECONDS = 1
"""A wait, however short, makes SQS ask all of its servers."""

_RETRIES_EXHAUSTED = "all retries failed; see the log of the function"

_ERROR_ATTRIBUTES = ("ERROR_CODE", "ERROR_MESSAGE")
"""The attributes of a message in which EventBridge says why it could not deliver."""

_COUNTED = {
    "started": "started",
    "started_before": "already started",
    "dead_letters": "dead letter written",
    "skipped": "marker skipped",
}
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
        with closing(handle_queue(sqs, url, function, None if dry_run else lambda_)) as events:
            log.events.extend(events)
        log.hidden += before.hidden_beside(len(log.events) - received)


def handle_queue(
    sqs: "SQSClient", queue_url: str, function: str, lambda_: "LambdaClient | None"
) -> Generator[EventResult, None, None]:
    """List the events of a queue or, with a client of Lambda, invoke a function again with each.

    A message is deleted once the function has accepted its event. Those that are left become visible again at the end.
    """
    seen: set[str] = set()
    handles: dict[str, str] = {}
    try:
        # What was received stays hidden until the end, or it would be received again.
        while messages := sqs.receive_message(
            QueueUrl=queue_url,
            MaxNumberOfMessages=_BATCH,
            WaitTimeSeconds=_WAIT_SECONDS,
            MessageAttributeNames=_ERROR_ATTRIBUTES,
            VisibilityTimeout=HIDDEN_SECONDS,
        ).get("Messages", []):
            handles.update((message["MessageId"], message["ReceiptHandle"]) for message in messages)
            for message in messages:
                # One that took longer than HIDDEN_SECONDS comes again.
                if message["MessageId"] not in seen:
                    seen.add(message["MessageId"])
                    result = _handle(sqs, queue_url, function, lambda_, message)
                    if result.done:
                        del handles[result.message]
                    yield result
    finally:
        _release(sqs, queue_url, list(handles.values()))


def _handle(
    sqs: "SQSClient", queue_url: str, function: str, lambda_: "LambdaClient | None", message: "MessageTypeDef"
) -> EventResult:
    """List a message or, with a client of Lambda, replay and then delete it."""
    listed, event = _parse(message, function)
    if lambda_ is None:
        return listed
    if event is None:
        return replace(listed, done=False)
    result, is_accepted = _invoke(lambda_, function, event)
    try:
        if is_accepted:
            sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    except (ClientError, BotoCoreError) as error:
        result, is_accepted = f"accepted, but still in the queue: {error}", False
    return replace(listed, result=result, done=is_accepted)


def _release(sqs: "SQSClient", queue_url: str, handles: list[str]) -> None:
    """Make messages visible again; what SQS refuses becomes visible by itself."""
    for start in range(0, len(handles), _BATCH):
        entries: list[ChangeMessageVisibilityBatchRequestEntryTypeDef] = [
            {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": 0}
            for number, handle in enumerate(handles[start : start + _BATCH])
        ]
        try:
            sqs.change_message_visibility_batch(QueueUrl=queue_url, Entries=entries)
        except ClientError:
            continue
        except BotoCoreError:
            # SQS cannot be reached: each further call would take as long to fail.
            return


def _invoke(lambda_: "LambdaClient", function: str, event: dict[str, Any]) -> tuple[str, bool]:
    """Invoke a function with an event; return what came of it, and whether the function accepted it."""
    try:
        response = lambda_.invoke(FunctionName=function, Payload=json.dumps(event).encode())
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


def _parse(message: "MessageTypeDef", function: str) -> tuple[EventResult, dict[str, Any] | None]:
    """Return why a message waits, and the event that its function was called with; None if it is not of Custody."""
    event, why = None, "this is not an event of Custody: find out who sent it, and delete it"
    try:
        body = json.loads(message["Body"])
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict):
        if isinstance(call := body.get("requestPayload"), dict):
            event, why = call, _error(body.get("responsePayload"))
        elif "detail" in body:
            event, why = body, _eventbridge_error(message)
        elif isinstance(records := body.get("Records"), list) and records and all(map(_is_of_s3, records)):
            event, why = body, _RETRIES_EXHAUSTED
    return EventResult(message["MessageId"], function, _objects(event) if event else (), why), event


def _eventbridge_error(message: "MessageTypeDef") -> str:
    """Say why an event of EventBridge waits: it could not be delivered, or all retries failed.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
    """
    attributes = message.get("MessageAttributes", {})
    error = ": ".join(attributes[name].get("StringValue", "") for name in _ERROR_ATTRIBUTES if name in attributes)
    return f"EventBridge could not deliver it: {error}" if error else _RETRIES_EXHAUSTED


def _is_of_s3(record: Any) -> bool:
    return isinstance(record, dict) and "s3" in record


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
