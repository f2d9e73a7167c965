"""Give up the records of a dead letter: a ledger file says who decided so, and why. Nothing is deleted or changed.

To give up a bulk object is to give up each chunk of it that has an open dead letter, beside its own ledger file; and then,
if some chunks have neither, what is left of the object.
"""

import gzip
import io
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from custody.assurance.verify_batch import differences_in_processed
from custody.audit.dead_letters import resolution
from custody.audit.ledger_lines import Readable, buffered
from custody.audit.object_state import ObjectState
from custody.audit.raw_object import GONE
from custody.audit.reader import AuditReader
from custody.errors import CommandFailed
from custody.terminal.text import visible
from custody.terminal.times import stamp
from functions.shared.model.ids import record_id
from functions.shared.model.keys import DeadLetterKey, LedgerKey, latest, processed_key
from functions.shared.model.ledger import (
    DeadLetter,
    Decision,
    DiscardCounts,
    DiscardedLine,
    DiscardHeader,
    LedgerHeader,
    RejectedLine,
    WrittenLine,
)
from functions.shared.model.messages import FORMAT, Batch, Chunk
from functions.shared.model.records import Rejected
from functions.shared.records.strict_json import encode_struct

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient


@dataclass(frozen=True)
class Committed:
    """What the ledger says by now of a batch, by the latest file that a step committed; of its lines, the rejected."""

    entry: LedgerKey
    header: LedgerHeader
    rejected: tuple[RejectedLine, ...]


@dataclass(frozen=True)
class Discard:
    """A decision to give up what a dead letter tells of.

    `committed` is what the attempt of the dead letter, or the latest before it, delivered and committed; None if none did. `by` is
    the ARN of who decided, `at` is UTC.
    """

    dead_letter: DeadLetterKey
    body: DeadLetter
    committed: Committed | None
    reason: str
    by: str
    at: datetime

    @property
    def entry(self) -> LedgerKey:
        """Where it is committed: beside the ledger file of the same attempt, if there is one."""
        return LedgerKey(self.dead_letter.object_id, self.dead_letter.start, self.dead_letter.attempt, discards=True)

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """The records that are known to be rejected, by the ledger or else by the dead letter; the latest word counts."""
        return self.committed.rejected if self.committed else self.body.rejected

    @property
    def counts(self) -> DiscardCounts | None:
        """Count the records of the batch, received = written + rejected + discarded; None if it was never read.

        None also for what is left of a bulk object: some of its chunks were never read.
        """
        if self.dead_letter.is_of_whole:
            return None
        if self.committed:
            committed = self.committed.header.counts
            received, written = committed.received, committed.written
        elif self.body.received is not None:
            received, written = self.body.received, 0
        else:
            return None
        return DiscardCounts(received, written, 0, received - written)

    def __str__(self) -> str:
        """Say what is given up, such as `2 records`."""
        counts = self.counts
        if self.dead_letter.is_of_whole:
            return "the chunks that were never committed"
        if counts is None:
            return "the whole batch, which was never read"
        records = f"{counts.discarded:,} record{'' if counts.discarded == 1 else 's'}"
        if self.committed is None and counts.discarded != self.body.rejected_count:
            return f"the whole batch of {records}"
        if self.committed and self.committed.entry.attempt < self.dead_letter.attempt:
            return f"{records} ({counts.written} of the batch were written by attempt {self.committed.entry.attempt})"
        return records

    def ledger_file(self) -> bytes:
        """Write it as a ledger file: a header, then a line a rejected record, gzipped."""
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


def require_open(audit: AuditReader, dead_letter: DeadLetterKey) -> None:
    """Raise CommandFailed for a dead letter that is closed, and say by what."""
    state = ObjectState(audit, dead_letter.object_id, since=dead_letter.day)
    if resolved_by := resolution(state, dead_letter):
        raise CommandFailed(
            f"The dead letter {dead_letter.id} is already resolved: {visible(resolved_by)}. There is nothing to discard."
        )


def require_at_rest(
    stepfunctions: "SFNClient", audit: AuditReader, dead_letter: DeadLetterKey, body: DeadLetter
) -> None:
    """Raise CommandFailed while an execution is at work on the batch: that of the dead letter, or one that redrives it."""
    if arn := under_way(stepfunctions, audit, dead_letter, body):
        raise CommandFailed(
            f"A redrive of {dead_letter.id} is under way: {arn} is RUNNING. "
            "Wait until it has ended; if there is a dead letter then, discard that."
        )


def under_way(
    stepfunctions: "SFNClient", audit: AuditReader, dead_letter: DeadLetterKey, body: DeadLetter
) -> str | None:
    """Name the execution that is at work on the batch of a dead letter, its own or one that redrives it; None if none is.

    A chunk is at work while any chunk of its object is: it is the execution of all of them that does it again.
    """
    execution = body.object_execution
    machine, _, _ = execution.rpartition(":")
    last = dead_letter.attempt
    if dead_letter.is_of_whole or body.parent:
        # Other chunks may have been tried again since, and this one not.
        last = max(last, ObjectState(audit, dead_letter.object_id).attempt or 0)
    later = (f"{machine}:{dead_letter.object_id}-r{attempt + 1}" for attempt in range(dead_letter.attempt, last + 1))
    return next((arn for arn in (execution, *later) if _is_running(stepfunctions, arn)), None)


@dataclass(frozen=True)
class Discarder:
    """Gives dead letters up, one by one: each is looked at, and committed only if nothing speaks against it.

    `only` is the position of the one record that is to be given up; None if it is all that the dead letters tell of.
    """

    audit: AuditReader
    processed: str
    state: ObjectState
    reason: str
    by: str
    only: int | None = None

    def discard(self, dead_letter: DeadLetterKey) -> Discard:
        """Book the discard of a dead letter; raise CommandFailed if it may not be given up, or Unreadable.

        It may not if consumers read its records, or if it gives up more than was named.
        """
        committed = latest_committed(self.audit, dead_letter, self.state)
        decision = Discard(
            dead_letter, self.audit.read(dead_letter), committed, self.reason, self.by, datetime.now(UTC)
        )
        if self.only is not None:
            require_alone(decision, self.only)
        require_claimed(self.audit, self.processed, decision)
        commit(self.audit, decision)
        return decision


def require_alone(decision: Discard, position: int) -> None:
    """Raise CommandFailed if a discard gives up more than the record at a position: nobody has named the others."""
    counts = decision.counts
    is_alone = counts is not None and counts.discarded == 1
    if not is_alone or [record.position for record in decision.rejected] != [position]:
        raise CommandFailed(
            f"{record_id(decision.dead_letter.object_id, position)} is not alone in its dead letter, which gives up {decision}. "
            f"To give up all of that: custody dead-letters discard {decision.dead_letter.id} --reason TEXT"
        )


def open_chunks(audit: AuditReader, dead_letter: DeadLetterKey) -> list[DeadLetterKey]:
    """Give the open dead letters of the chunks of a bulk object, one a chunk, if it is the dead letter of such an object."""
    if not dead_letter.is_of_whole:
        return []
    still_open = ObjectState(audit, dead_letter.object_id).open_dead_letters
    return list({each.start: each for each in still_open if not each.is_of_whole}.values())


def latest_committed(audit: AuditReader, dead_letter: DeadLetterKey, state: ObjectState) -> Committed | None:
    """Read what the attempt of a dead letter delivered and committed, or else the latest before it; None if none did.

    Raises Unreadable.
    """
    entries = [
        entry
        for entry in state.by_start.get(dead_letter.start, [])
        if entry.attempt <= dead_letter.attempt and not entry.discards
    ]
    if not entries or dead_letter.is_of_whole:
        return None
    rejected = tuple(line for line in audit.lines(entries[-1]) if isinstance(line, RejectedLine))
    return Committed(entries[-1], audit.header(entries[-1]), rejected)


def require_claimed(audit: AuditReader, processed: str, decision: Discard) -> None:
    """Raise CommandFailed if consumers read what no ledger file claims: then the ledger would say `discarded` of it.

    That is so if Write delivered, and could not commit. An empty processed object delivers nothing.
    """
    modified = _modified(audit.s3, decision.body)
    if modified is None:
        return
    if decision.dead_letter.is_of_whole:
        key = _unclaimed(audit, processed, decision, modified)
    else:
        batch = Batch(decision.body.raw, decision.body.chunk)
        key = processed_key(batch, decision.body.dataset, modified)
        if _is_claimed(audit, processed, decision, key):
            key = None
    if key:
        raise CommandFailed(
            f"The batch of {decision.dead_letter.id} has delivered what no ledger file claims: s3://{processed}/{key}; "
            f"redrive it instead: custody redrive {decision.dead_letter.id}"
        )


def _is_claimed(audit: AuditReader, processed: str, decision: Discard, key: str) -> bool:
    try:
        answer = audit.s3.get_object(Bucket=processed, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in GONE:
            return True
        raise
    with closing(answer["Body"]) as stream:
        return answer["ContentLength"] == 0 or _claims(audit, decision.committed, key, buffered(stream))


def _unclaimed(audit: AuditReader, processed: str, decision: Discard, modified: str) -> str | None:
    """Find a chunk that was delivered and that no ledger file tells of; give its key."""
    raw, dataset = decision.body.raw, decision.body.dataset
    committed = (start for start in latest(audit.ledger_keys(raw.id)))
    known = {processed_key(Batch(raw, Chunk(start, 0)), dataset, modified) for start in committed}
    prefix = processed_key(Batch(raw, Chunk(0, 0)), dataset, modified).rpartition(f"{raw.id}.")[0] + f"{raw.id}."
    pages = audit.s3.get_paginator("list_objects_v2").paginate(Bucket=processed, Prefix=prefix)
    delivered = (found["Key"] for page in pages for found in page.get("Contents", []) if found["Size"])
    return next((key for key in delivered if key not in known), None)


def _claims(audit: AuditReader, committed: Committed | None, key: str, stream: Readable) -> bool:
    """Say whether a ledger file tells just what is in the processed object of a key."""
    if committed is None or committed.header.output is None or committed.header.output.key != key:
        return False
    with closing(audit.lines(committed.entry)) as lines:
        written = (line for line in lines if isinstance(line, WrittenLine))
        return not any(differences_in_processed(stream, committed.entry.object_id, written))


def _modified(s3: "S3Client", body: DeadLetter) -> str | None:
    """Say when the raw version came, whose day is part of where it is delivered; None if it is gone."""
    raw = body.raw
    try:
        modified = s3.head_object(Bucket=raw.bucket, Key=raw.key, VersionId=raw.version_id)["LastModified"]
    except ClientError as error:
        if error.response["Error"]["Code"] in GONE:
            return None
        raise
    return modified.astimezone(UTC).isoformat()


def commit(audit: AuditReader, discard: Discard) -> None:
    """Put the ledger file, unless there is one; raise CommandFailed if there is."""
    key = discard.entry.key
    try:
        audit.s3.put_object(
            Bucket=audit.bucket, Key=key, Body=discard.ledger_file(), ContentType="application/gzip", IfNoneMatch="*"
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "PreconditionFailed":
            raise
        raise CommandFailed(
            f"Somebody else has discarded {discard.dead_letter.id} just now: s3://{audit.bucket}/{key}."
        ) from error


def _is_running(stepfunctions: "SFNClient", arn: str) -> bool:
    try:
        return stepfunctions.describe_execution(executionArn=arn)["status"] == "RUNNING"
    except stepfunctions.exceptions.ExecutionDoesNotExist:
        return False
