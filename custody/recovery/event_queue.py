"""Events that a function could not handle, and that wait in a queue: look at them, or give them to it once more.

A message is the record that Lambda makes of a failed asynchronous call, an event that EventBridge could not deliver, or
an event, of S3 or of EventBridge, that the buffer has moved there; the last two as they came:
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
"""

import json
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote_plus

from botocore.exceptions import BotoCoreError, ClientError

from custody.terminal.signals import held_back

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import ChangeMessageVisibilityBatchRequestEntryTypeDef, MessageTypeDef

AT_WORK_SECONDS = 60
"""How long nobody else sees a message that is given to its function; extended while others are at work."""

LOOKED_AT_SECONDS = 10
"""How long nobody else sees a message that is only looked at; extended while there are more."""

_EXTENDED_AFTER = 0.2
"""The share of that time after which it is extended."""

_BATCH = 10
"""Messages that SQS takes or gives in one call."""

_WAIT_SECONDS = 1
"""A wait, however short, makes SQS ask all of its servers."""

_TRIED = "all tries failed; the log of the function says why"

_NAMED_ERROR = ("ERROR_CODE", "ERROR_MESSAGE")
"""The attributes of a message in which EventBridge says why it could not deliver."""

_WORDS = {"started": "started", "started_before": "was started before", "dead_letters": "its dead letter is written"}
"""What the functions count, for people."""


@dataclass(frozen=True)
class Waiting:
    """A message of a queue: `event` is what the function was called with; None if the message is nothing of ours."""

    message_id: str
    event: dict[str, Any] | None
    about: tuple[str, ...]
    error: str


@dataclass(frozen=True)
class Depth:
    """How many messages a queue has, about: those that can be received, and those that somebody has just received."""

    visible: int
    hidden: int

    @property
    def total(self) -> int:
        """All that are in the queue."""
        return self.visible + self.hidden

    def hidden_beside(self, received: int) -> int:
        """Say how many somebody else has, if so many were received since; SQS may be behind by as much as a minute."""
        return max(0, min(self.hidden, self.total - received))


@dataclass(frozen=True)
class Replayed:
    """What became of a message: `counts` is what the function answered; None if it did not accept the event.

    `error` says why it did not or, if it did, why the message is in the queue still.
    """

    waiting: Waiting
    counts: dict[str, int] | None
    error: str | None = None

    @property
    def is_done(self) -> bool:
        """Whether the event was accepted, and the message is gone."""
        return self.counts is not None and self.error is None

    @property
    def became(self) -> str:
        """What became of it, for people."""
        if self.counts is None:
            return f"still refused: {self.error}"
        told = [
            f"{number} {_WORDS.get(name, name)}" if number > 1 else _WORDS.get(name, name)
            for name, number in self.counts.items()
            if number
        ]
        return self.error or ", ".join(told) or "nothing was left to do"


def replay(
    sqs: "SQSClient", lambda_: "LambdaClient", queue_url: str, function_name: str
) -> Generator[Replayed, None, None]:
    """Give each event of a queue to its function again; a message is deleted only when the function has accepted it.

    A message that is left can be seen by others again when this has ended.
    """
    with _Queue(sqs, queue_url, AT_WORK_SECONDS) as queue:
        for waiting in queue.messages():
            replayed = _replay(lambda_, function_name, waiting)
            if replayed.counts is not None:
                try:
                    queue.delete(waiting)
                except (ClientError, BotoCoreError) as error:
                    replayed = Replayed(waiting, replayed.counts, f"accepted, but still in the queue: {error}")
            yield replayed


def look(sqs: "SQSClient", queue_url: str) -> Generator[Waiting, None, None]:
    """Give each message of a queue, and leave it there."""
    with _Queue(sqs, queue_url, LOOKED_AT_SECONDS) as queue:
        yield from queue.messages()


def depth(sqs: "SQSClient", queue_url: str) -> Depth:
    """Count the messages of a queue."""
    found = sqs.get_queue_attributes(
        QueueUrl=queue_url, AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    )["Attributes"]
    return Depth(int(found["ApproximateNumberOfMessages"]), int(found["ApproximateNumberOfMessagesNotVisible"]))


class _Queue:
    """A queue that is read once through; on exit, others can see at once what is left in it.

    What was received stays hidden until then, or it would be received again; but never for long, should nobody come to
    the exit.
    """

    def __init__(self, sqs: "SQSClient", url: str, seconds: int) -> None:
        self._sqs = sqs
        self._url = url
        self._seconds = seconds
        self._seen: set[str] = set()
        self._hidden: dict[str, str] = {}
        self._extended = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with held_back():
            self._hide(0)

    def messages(self) -> Iterator[Waiting]:
        """Give each message once; end when the queue has no other."""
        while fresh := [message for message in self._receive() if message["MessageId"] not in self._seen]:
            self._seen.update(message["MessageId"] for message in fresh)
            for message in fresh:
                self._extend()
                yield _waiting(message)

    def delete(self, waiting: Waiting) -> None:
        """Delete a message; raise what SQS answers."""
        self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=self._hidden[waiting.message_id])
        del self._hidden[waiting.message_id]

    def _receive(self) -> "list[MessageTypeDef]":
        self._extend()
        # An answer that is lost on its way would hide its messages from everybody.
        with held_back():
            found = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=_BATCH,
                WaitTimeSeconds=_WAIT_SECONDS,
                MessageAttributeNames=_NAMED_ERROR,
                VisibilityTimeout=self._seconds,
            ).get("Messages", [])
            self._hidden.update((message["MessageId"], message["ReceiptHandle"]) for message in found)
        return found

    def _extend(self) -> None:
        now = time.monotonic()
        if now - self._extended >= self._seconds * _EXTENDED_AFTER:
            self._hide(self._seconds)
            self._extended = now

    def _hide(self, seconds: int) -> None:
        """Let nobody else see for so long what was received; what SQS does not take comes back by itself."""
        handles = iter(list(self._hidden.values()))
        while some := list(islice(handles, _BATCH)):
            entries: list[ChangeMessageVisibilityBatchRequestEntryTypeDef] = [
                {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
                for number, handle in enumerate(some)
            ]
            try:
                self._sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)
            except ClientError:
                continue
            except BotoCoreError:
                # SQS cannot be reached: each further call would take as long to find that out.
                return


def _replay(lambda_: "LambdaClient", function_name: str, waiting: Waiting) -> Replayed:
    if waiting.event is None:
        return Replayed(waiting, None, waiting.error)
    try:
        answer = lambda_.invoke(FunctionName=function_name, Payload=json.dumps(waiting.event).encode())
        said = json.loads(answer["Payload"].read() or b"null")
    except (ClientError, BotoCoreError) as error:
        return Replayed(waiting, None, str(error))
    except ValueError:
        return Replayed(waiting, None, "the function did not answer in JSON")
    if answer.get("FunctionError"):
        return Replayed(waiting, None, _told(said))
    counts = said.get("counts") if isinstance(said, dict) else None
    return Replayed(waiting, counts if isinstance(counts, dict) else {})


def _waiting(message: "MessageTypeDef") -> Waiting:
    message_id = message["MessageId"]
    try:
        body = json.loads(message["Body"])
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict) and isinstance(body.get("requestPayload"), dict):
        event = body["requestPayload"]
        return Waiting(message_id, event, _about(event), _told(body.get("responsePayload")))
    if isinstance(body, dict) and "detail" in body:
        return Waiting(message_id, body, _about(body), _why_of_eventbridge(message))
    if isinstance(body, dict) and _is_of_s3(body.get("Records")):
        return Waiting(message_id, body, _about(body), _TRIED)
    return Waiting(message_id, None, (), "this is no event of Custody: see who sent it, and delete it")


def _why_of_eventbridge(message: "MessageTypeDef") -> str:
    """Say why an event of EventBridge waits: it names its error where it could not deliver, and else it is tried out.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
    """
    told = message.get("MessageAttributes", {})
    said = ": ".join(told[name].get("StringValue", "") for name in _NAMED_ERROR if name in told)
    return f"EventBridge could not deliver it: {said}" if said else _TRIED


def _is_of_s3(records: Any) -> bool:
    return (
        isinstance(records, list)
        and bool(records)
        and all(isinstance(record, dict) and "s3" in record for record in records)
    )


def _told(answer: Any) -> str:
    """Say what a function failed of."""
    if not isinstance(answer, dict):
        return "the function did not say why"
    return f"{answer.get('errorType', 'an error')}: {answer.get('errorMessage', '')}"


def _about(event: dict[str, Any]) -> tuple[str, ...]:
    """Name the objects that an event tells of; nothing is sure of its form, for it was refused before."""
    try:
        if "detail" in event:
            told = event["detail"]
            found = told["object"] if "object" in told else json.loads(told["input"])["object"]
            return (str(found["key"]),)
        return tuple(unquote_plus(str(record["s3"]["object"]["key"])) for record in event["Records"])
    except (LookupError, TypeError, ValueError, RecursionError):
        return ()
