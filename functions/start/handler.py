"""Start an execution for each object that arrived in the raw bucket.

An event comes directly, from S3 or EventBridge: if this raises, Lambda retries twice, then puts the event into the
start-dlq (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html). Or it comes in messages
of the buffer queue: the messages named in the response are delivered again, until the queue moves them to the start-dlq
itself (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html).
"""

from collections import Counter
from typing import Any

from msgspec import Struct

from functions.shared import aws, runtime
from functions.shared.errors import CustodyError
from functions.shared.model.chunking import divide, suffixes
from functions.shared.model.ids import is_marker
from functions.shared.model.messages import Batch
from functions.shared.records.strict_json import encode_struct
from functions.start import s3_events


class Environment(Struct, frozen=True):
    """The environment variables of this function."""

    pipeline_arn: str
    bulk_arn: str
    chunk_bytes: int
    json_lines_suffixes: str
    skip_markers: bool


ENVIRONMENT = runtime.environment(Environment)


@runtime.observed
def handle(event: dict[str, Any], _: Any) -> dict[str, Any]:
    """Start the objects of an event, or of each message of the buffer queue, unless they were started before.

    Raises MessageRefused, AccessRefused, CallRefused or ServiceUnavailable for an event, and never for messages.
    """
    messages = s3_events.messages(event)
    return {"counts": _start_all(event)} if messages is None else _start_each(messages)


def _start_each(messages: list[s3_events.Message]) -> dict[str, Any]:
    """Handle each message by itself, and name those that failed: only they are delivered again.

    Powertools could do this too, but importing its batch utility adds 45 ms to every cold start.
    """
    failed, counts = [], Counter[str]()
    for message in messages:
        try:
            counts.update(_start_all(message.event()))
        except CustodyError as error:
            runtime.logger.warning("returned", message_id=message.id, error=type(error).__name__, cause=str(error))
            failed.append({"itemIdentifier": message.id})
    runtime.logger.info("started", counts={**counts, "returned": len(failed)})
    return {"batchItemFailures": failed}


def _start_all(event: dict[str, Any]) -> dict[str, int]:
    """Try every record of an event before raising the first error."""
    started, errors = [], []
    for record in s3_events.records(event):
        try:
            started.append(_start(record))
        except CustodyError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return {
        "started": started.count(True),
        "started_before": started.count(False),
        "skipped": started.count(None),
    }


def _start(record: dict[str, Any]) -> bool | None:
    """Return whether an object was started, and not before; None if it is skipped."""
    raw = s3_events.raw_object(record)
    if ENVIRONMENT.skip_markers and is_marker(raw.key):
        return None
    batch = Batch(raw, plan=divide(raw, ENVIRONMENT.chunk_bytes, suffixes(ENVIRONMENT.json_lines_suffixes)))
    machine = ENVIRONMENT.bulk_arn if batch.plan else ENVIRONMENT.pipeline_arn
    return aws.start_execution(machine, raw.id, encode_struct(batch).decode())
