"""A discard: which records it is about, and the ledger file that says who decided this, and why."""

import gzip
import io
from dataclasses import dataclass
from datetime import datetime

from botocore.exceptions import ClientError
from msgspec import Struct

from custody.audit.object_state import ObjectState
from custody.audit.reader import AuditReader
from custody.errors import CommandFailed
from custody.terminal.text import plural
from custody.terminal.times import stamp
from functions.shared.model.ids import record_id
from functions.shared.model.keys import DeadLetterKey, LedgerKey
from functions.shared.model.ledger import (
    DeadLetter,
    Decision,
    DiscardCounts,
    DiscardedLine,
    DiscardHeader,
    LedgerHeader,
    RejectedLine,
)
from functions.shared.model.messages import FORMAT
from functions.shared.model.records import Rejected
from functions.shared.records.strict_json import encode_struct

_LISTED = 1000
"""The records that a document lists; the ledger file has all."""


class DiscardResult(Struct, frozen=True):
    """A dead letter that was discarded, by id, and the S3 URI of the ledger file that says so.

    `counts` is null if the batch was never read. `records` lists the ids of the first 1,000 discarded records,
    `records_more` is the number of the others. `by` is the ARN of who discarded them.
    """

    dead_letter: str
    ledger: str
    counts: DiscardCounts | None
    records: list[str]
    records_more: int
    reason: str
    by: str


class ObjectDiscardDocument(Struct, frozen=True):
    """What was discarded of a bulk object, by the dead letter of the whole.

    `still_open` is the number of dead letters of chunks that are left because the command was interrupted, or failed.
    """

    dead_letter: str
    discards: list[DiscardResult]
    still_open: int


@dataclass(frozen=True)
class LatestDelivery:
    """The latest committed ledger file of a batch up to an attempt, and its rejected records."""

    key: LedgerKey
    header: LedgerHeader
    rejected: tuple[RejectedLine, ...]


@dataclass(frozen=True)
class Discard:
    """A decision to discard a dead letter; `delivery` is None if no attempt has delivered any record of the batch."""

    dead_letter: DeadLetterKey
    body: DeadLetter
    delivery: LatestDelivery | None
    reason: str
    by: str
    at: datetime

    @property
    def key(self) -> LedgerKey:
        """The key of its ledger file: beside that of the same attempt, if there is one."""
        return LedgerKey(self.dead_letter.object_id, self.dead_letter.start, self.dead_letter.attempt, discards=True)

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """The records that are known to be rejected, by the ledger or else by the dead letter."""
        return self.delivery.rejected if self.delivery else self.body.rejected

    @property
    def counts(self) -> DiscardCounts | None:
        """The records of the batch; None if it was never read, and for what is left of a bulk object."""
        if self.dead_letter.is_of_whole:
            return None
        if self.delivery:
            received, written = self.delivery.header.counts.received, self.delivery.header.counts.written
        elif self.body.received is not None:
            received, written = self.body.received, 0
        else:
            return None
        return DiscardCounts(received, written, 0, received - written)

    def __str__(self) -> str:
        """Describe what is discarded, such as `2 records`."""
        counts = self.counts
        if self.dead_letter.is_of_whole:
            return "the chunks that were never committed"
        if counts is None:
            return "the whole batch, which was never read"
        records = plural(counts.discarded, "record")
        if self.delivery is None and counts.discarded != self.body.rejected_count:
            return f"the whole batch of {records}"
        if self.delivery and self.delivery.key.attempt < self.dead_letter.attempt:
            return f"{records} ({counts.written} of the batch were written by attempt {self.delivery.key.attempt})"
        return records

    def result(self, audit_bucket: str) -> DiscardResult:
        """Describe it, once it is committed in an audit bucket."""
        listed = self.rejected[:_LISTED]
        return DiscardResult(
            self.dead_letter.id,
            f"s3://{audit_bucket}/{self.key.key}",
            self.counts,
            [record_id(self.dead_letter.object_id, record.position) for record in listed],
            len(self.rejected) - len(listed),
            self.reason,
            self.by,
        )

    def ledger_file(self) -> bytes:
        """Encode the ledger file: a header, then a line per rejected record, gzipped."""
        body = self.body
        header = DiscardHeader(
            format=FORMAT,
            object=body.object,
            chunk=body.chunk,
            dataset=body.dataset,
            contract=body.contract,
            code=body.code,
            execution=body.execution.arn,
            redrive_of=body.redrive_of,
            parent=body.parent,
            attempt=self.dead_letter.attempt,
            recorded_at=stamp(self.at),
            counts=self.counts,
            discarded=Decision(self.dead_letter.key, self.reason, self.by),
        )
        file = io.BytesIO()
        with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as zipped:
            zipped.write(encode_struct(header) + b"\n")
            for record in self.rejected:
                line = DiscardedLine(record.position, record.offset, record.length, record.sha256)
                zipped.write(encode_struct(line) + b"\n")
        return file.getvalue()


def latest_delivery(state: ObjectState, dead_letter: DeadLetterKey) -> LatestDelivery | None:
    """Read the ledger file of a dead letter's attempt, or the latest before it; None if there is none.

    Raises Unreadable.
    """
    keys = state.by_start.get(dead_letter.start, [])
    keys = [key for key in keys if key.attempt <= dead_letter.attempt and not key.discards]
    if not keys or dead_letter.is_of_whole:
        return None
    rejected = tuple(line for line in state.audit.lines(keys[-1]) if isinstance(line, RejectedLine))
    return LatestDelivery(keys[-1], state.audit.header(keys[-1]), rejected)


def commit(audit: AuditReader, discard: Discard) -> None:
    """Write the ledger file of a discard; raise CommandFailed if it exists."""
    key = discard.key.key
    try:
        audit.s3.put_object(
            Bucket=audit.bucket, Key=key, Body=discard.ledger_file(), ContentType="application/gzip", IfNoneMatch="*"
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "PreconditionFailed":
            raise
        raise CommandFailed(
            f"Somebody else has just discarded {discard.dead_letter.id}: s3://{audit.bucket}/{key}."
        ) from error
