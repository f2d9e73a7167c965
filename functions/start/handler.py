"""Start an execution for each object that arrived in the raw bucket.

An event comes directly, from S3 or EventBridge: Lambda calls again, twice, when this raises, and puts the event into
the start-dlq after that (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html). Or
it comes in messages of the buffer: those that are named in the answer come again, until the buffer moves them to the
start-dlq itself (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html).
"""

from collections import Counter
from typing import Any

from msgspec import Struct

from functions.shared import aws, runtime
from functions.shared.errors import CustodyError
from functions.shared.model.chunking import cut
from functions.shared.model.messages import Batch
from functions.shared.records.strict_json import encode
from functions.start import s3_events


class Environment(Struct, frozen=True):
    """The environment variables of this function."""

    pipeline_arn: str
    bulk_arn: str
    chunk_bytes: int


ENVIRONMENT = runtime.environment(Environment)


@runtime.observed
def handle(event: dict[str, Any], _: Any) -> dict[str, Any]:
    """Start what has not been started: the objects of an event, or of each message of the buffer.

    Raises MessageRefused, AccessRefused, CallRefused or ServiceUnavailable for an event, and never for messages.
    """
    messages = s3_events.messages(event)
    return {"counts": _start_all(event)} if messages is None else _start_each(messages)


def _start_each(messages: list[s3_events.Message]) -> dict[str, Any]:
    """Handle each message by itself, and name those that failed: they alone come again.

    Powertools could do this too, but to import its batch utility takes 45 ms of every cold start.
    """
    failed, counts = [], Counter[str]()
    for message in messages:
        try:
            counts.update(_start_all(message.event()))
        except CustodyError as error:
            runtime.logger.warning("comes again", message_id=message.id, error=type(error).__name__, cause=str(error))
            failed.append({"itemIdentifier": message.id})
    runtime.logger.info("started", counts={**counts, "come_again": len(failed)})
    return {"batchItemFailures": failed}


def _start_all(event: dict[str, Any]) -> dict[str, int]:
    """Try every record of an event before raising for those that failed."""
    accepted, failures = [], []
    for record in s3_events.records(event):
        try:
            accepted.append(_start(record))
        except CustodyError as failure:
            failures.append(failure)
    if failures:
        raise failures[0]
    return {"started": accepted.count(True), "started_before": accepted.count(False)}


def _start(record: dict[str, Any]) -> bool:
    raw = s3_events.raw_object(record)
    batch = Batch(raw, plan=cut(raw, ENVIRONMENT.chunk_bytes))
    machine = ENVIRONMENT.bulk_arn if batch.plan else ENVIRONMENT.pipeline_arn
    return aws.start_execution(machine, raw.id, encode(batch.encode()).decode())
