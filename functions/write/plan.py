"""What to put where for a batch: decided here as data, carried out by the handler."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from functions.shared import ledger, outcomes
from functions.shared.documents import encode
from functions.shared.errors import RecordsRejected
from functions.shared.ledger import Failure, Output, Written
from functions.shared.messages import Contents, Json, Step

STAGE = "write"


@dataclass(frozen=True, slots=True)
class Put:
    """An object to put: its key, its bytes and their media type."""

    key: str
    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """The processed object of a batch, and where in it each record lies."""

    put: Put
    written: tuple[Written, ...]


def deliver(step: Step, contents: Contents) -> Delivery:
    """Lay the records of a batch out as JSON Lines: always the whole truth of the batch."""
    lines: list[bytes] = []
    written: list[Written] = []
    offset = 0
    for record in contents.records:
        line = encode(record.document)
        written.append(Written(record.span, offset, len(line), hashlib.sha256(line).hexdigest()))
        lines.append(line + b"\n")
        offset += len(line) + 1
    return Delivery(
        Put(
            ledger.processed_key(step.batch, contents.dataset, contents.last_modified),
            b"".join(lines),
            "application/jsonl",
        ),
        tuple(written),
    )


def taken_back(delivery: Delivery, booked: Iterable[Json]) -> list[Put]:
    """Say what to put in the place of what earlier attempts delivered elsewhere, by the headers of their ledger files.

    The default dataset is part of a key, and may have been changed since.
    """
    keys = {header["output"]["key"] for header in booked if header["output"]}
    return [Put(key, b"", delivery.put.content_type) for key in sorted(keys - {delivery.put.key})]


def letter(step: Step, contents: Contents) -> Put | None:
    """Say which letter stands beside the delivery; None if no record was rejected."""
    if not contents.rejected:
        return None
    failure = Failure(step.name, RecordsRejected.__name__, str(outcomes.rejection(step.batch, contents)))
    body = ledger.letter(step, failure, contents.dataset, contents)
    return Put(ledger.letter_key(step.batch, ledger.REJECTED, step.execution), body, "application/json")


def report(step: Step, contents: Contents, output: Output | None, audit_bucket: str) -> Json:
    """Say what became of the batch: the output of the execution, which its status-change event carries too."""
    letter = ledger.letter_key(step.batch, ledger.REJECTED, step.execution) if contents.rejected else None
    return step.batch.encode() | {
        "dataset": contents.dataset,
        "counts": ledger.counts(len(contents.records), len(contents.rejected)),
        "output": asdict(output) if output else None,
        "ledger": {"bucket": audit_bucket, "key": ledger.ledger_key(step.batch)},
        "letter": {"bucket": audit_bucket, "key": letter} if letter else None,
    }
