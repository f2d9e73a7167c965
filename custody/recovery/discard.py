"""Discard dead letters, each only if nothing speaks against it. Nothing is changed or deleted.

A discard is a ledger file that says who decided this, and why, beside that of the same attempt. Discarding a bulk
object discards each of its chunks that has an open dead letter; and then, if some chunks have no ledger file, what is
left of the object.
"""

import gzip
import io
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from botocore.exceptions import ClientError
from msgspec import Struct

from custody.assurance.verify_batch import differences_in_processed
from custody.audit.dead_letters import resolution
from custody.audit.ledger_lines import buffered
from custody.audit.object_state import ObjectState
from custody.audit.object_versions import GONE
from custody.audit.reader import AuditReader
from custody.concurrency import map_ordered
from custody.errors import CommandFailed
from custody.executions.pipeline import Pipeline
from custody.terminal.text import plural
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

_LISTED = 20
"""The records that a result lists; the ledger file has all."""


class DiscardResult(Struct, frozen=True):
    """A dead letter that was discarded, by id, and the S3 URI of the ledger file that says so.

    `summary` says what was discarded, of which object. `counts` is null if the batch was never read. `records` lists
    the ids of the first 20 discarded records. `by` is the ARN of who discarded them.
    """

    dead_letter: str
    summary: str
    ledger: str
    counts: DiscardCounts | None
    records: list[str]
    reason: str
    by: str


class RefusedDiscard(Struct, frozen=True, order=True):
    """A dead letter that was not discarded, by id, and why."""

    dead_letter: str
    why: str


class DiscardDocument(Struct, frozen=True):
    """What was discarded, and how many dead letters are still open: refused, or not begun when the command ended.

    `refused` says why, if several were to be discarded.
    """

    discards: list[DiscardResult]
    refused: list[RefusedDiscard]
    still_open: int


@dataclass(frozen=True)
class Discard:
    """A decision to discard a dead letter.

    `delivery` and `delivered` are the latest committed ledger file of its batch up to its attempt, and its rejected
    records; None if no attempt has delivered any record.
    """

    dead_letter: DeadLetterKey
    body: DeadLetter
    reason: str
    by: str
    delivery: tuple[LedgerKey, LedgerHeader] | None = None
    delivered: tuple[RejectedLine, ...] = ()

    @property
    def key(self) -> LedgerKey:
        """The key of its ledger file."""
        return LedgerKey(self.dead_letter.object_id, self.dead_letter.start, self.dead_letter.attempt, discards=True)

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """The records that are known to be rejected, by the ledger or else by the dead letter."""
        return self.delivered if self.delivery else self.body.rejected

    @property
    def counts(self) -> DiscardCounts | None:
        """The records of the batch; None if it was never read, and for what is left of a bulk object."""
        if self.delivery:
            received, written = self.delivery[1].counts.received, self.delivery[1].counts.written
        elif self.body.received is not None and not self.dead_letter.is_of_whole:
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
        if self.delivery and self.delivery[0].attempt < self.dead_letter.attempt:
            return f"{records} ({counts.written} of the batch were written by attempt {self.delivery[0].attempt})"
        return records

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
            recorded_at=stamp(datetime.now(UTC)),
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


@dataclass(frozen=True)
class Discarder:
    """Discards dead letters, each only if nothing speaks against it.

    `only` is the position of the one record to discard; None for all of a dead letter. `results` and `still_open` are
    updated by the thread that has committed a discard, so an interrupt loses none.
    """

    audit: AuditReader
    pipeline: Pipeline
    processed: str
    reason: str
    by: str
    only: int | None = None
    results: list[DiscardResult] = field(default_factory=list)
    refused: list[RefusedDiscard] = field(default_factory=list)
    still_open: set[DeadLetterKey] = field(default_factory=set)

    @property
    def document(self) -> DiscardDocument:
        """What was discarded so far."""
        results = sorted(self.results, key=lambda each: each.dead_letter)
        return DiscardDocument(results, sorted(self.refused), len(self.still_open))

    def discard_objects(self, dead_letters: Sequence[Sequence[DeadLetterKey]]) -> None:
        """Discard the dead letters of objects, several objects at a time; go on after those that are refused."""
        self.still_open.update(key for of_object in dead_letters for key in of_object)
        with closing(map_ordered(self._discard_or_refuse, dead_letters)) as discarded:
            for _ in discarded:
                pass

    def _discard_or_refuse(self, dead_letters: Sequence[DeadLetterKey]) -> None:
        for key in dead_letters:
            try:
                self.discard(key)
            except CommandFailed as error:
                self.refused.append(RefusedDiscard(key.id, str(error)))

    def discard(self, dead_letter: DeadLetterKey) -> None:
        """Discard a dead letter; that of a whole object after those of its chunks, unless they resolve it.

        Raises CommandFailed if it is resolved, if an execution is processing its batch, if consumers may read its
        records, or if it is about more than was named; or Unreadable.
        """
        require_open(self.audit, dead_letter)
        require_idle(self.pipeline, self.audit, dead_letter, self.audit.read(dead_letter))
        state = ObjectState(self.audit, dead_letter.object_id)
        chunks: list[DeadLetterKey] = []
        if dead_letter.is_of_whole:
            chunks = list({key.start: key for key in state.open_dead_letters if not key.is_of_whole}.values())
        self.still_open.update([*chunks, dead_letter])
        self._discard_all(state, chunks)
        if dead_letter.is_of_whole:
            now = ObjectState(self.audit, dead_letter.object_id, since=dead_letter.day)
            if resolution(now, dead_letter) is not None:
                self.still_open.difference_update([*chunks, dead_letter])
                return
        self._discard_all(state, [dead_letter])

    def _discard_all(self, state: ObjectState, dead_letters: Sequence[DeadLetterKey]) -> None:
        # Closing waits for those that have begun.
        with closing(map_ordered(partial(self._discard, state), dead_letters)) as discarded:
            for _ in discarded:
                pass

    def _discard(self, state: ObjectState, dead_letter: DeadLetterKey) -> None:
        discard = self._prepare(state, dead_letter)
        if self.only is not None:
            _require_single(discard, self.only)
        if key := self._unclaimed(discard):
            raise CommandFailed(
                f"The batch of {dead_letter.id} has delivered a processed object that no ledger file claims: "
                f"s3://{self.processed}/{key}. Redrive it instead: custody redrive {dead_letter.id}"
            )
        commit(self.audit, discard)
        result = DiscardResult(
            dead_letter=dead_letter.id,
            summary=f"{discard}, of {discard.body.object.uri}",
            ledger=f"s3://{self.audit.bucket}/{discard.key.key}",
            counts=discard.counts,
            records=[record_id(dead_letter.object_id, record.position) for record in discard.rejected[:_LISTED]],
            reason=self.reason,
            by=self.by,
        )
        self.results.append(result)
        self.still_open.discard(dead_letter)

    def _prepare(self, state: ObjectState, dead_letter: DeadLetterKey) -> Discard:
        """Read a dead letter, and the ledger file of its attempt, or the latest before it; raise Unreadable."""
        audit = self.audit
        discard = Discard(dead_letter, audit.read(dead_letter), self.reason, self.by)
        keys = state.by_start.get(dead_letter.start, [])
        keys = [key for key in keys if key.attempt <= dead_letter.attempt and not key.discards]
        if not keys or dead_letter.is_of_whole:
            return discard
        rejected = tuple(line for line in audit.lines(keys[-1]) if isinstance(line, RejectedLine))
        return replace(discard, delivery=(keys[-1], audit.header(keys[-1])), delivered=rejected)

    def _unclaimed(self, discard: Discard) -> str | None:
        """Return the key of a processed object that consumers can read, and no ledger file claims; None without one.

        That happens if Write delivered, and could not commit: the ledger would have it as discarded. An empty processed
        object delivers nothing.
        """
        s3, body, raw = self.audit.s3, discard.body, discard.body.object
        try:
            # The day of arrival is part of the key.
            head = s3.head_object(Bucket=raw.bucket, Key=raw.key, VersionId=raw.version_id)
            modified = head["LastModified"].astimezone(UTC).isoformat()
            if discard.dead_letter.is_of_whole:
                return self._unclaimed_chunk(discard, modified)
            key = processed_key(Batch(raw, body.chunk), body.dataset, modified)
            response = s3.get_object(Bucket=self.processed, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in GONE:
                return None
            raise
        with closing(response["Body"]) as stream:
            if response["ContentLength"] == 0:
                return None
            if discard.delivery is None or (output := discard.delivery[1].output) is None or output.key != key:
                return key
            with closing(self.audit.lines(discard.delivery[0])) as lines:
                written = (line for line in lines if isinstance(line, WrittenLine))
                return key if any(differences_in_processed(buffered(stream), raw.id, written)) else None

    def _unclaimed_chunk(self, discard: Discard, modified: str) -> str | None:
        """Return the key of a chunk that was delivered and never committed; None if there is none."""
        audit, raw, dataset = self.audit, discard.body.object, discard.body.dataset
        starts = latest(audit.ledger_keys(raw.id))
        committed = {processed_key(Batch(raw, Chunk(start, 0)), dataset, modified) for start in starts}
        prefix = processed_key(Batch(raw, Chunk(0, 0)), dataset, modified).rpartition(f"{raw.id}.")[0] + f"{raw.id}."
        pages = audit.s3.get_paginator("list_objects_v2").paginate(Bucket=self.processed, Prefix=prefix)
        delivered = (entry["Key"] for page in pages for entry in page.get("Contents", []) if entry["Size"])
        return next((key for key in delivered if key not in committed), None)


def require_open(audit: AuditReader, dead_letter: DeadLetterKey) -> None:
    """Raise CommandFailed for a resolved dead letter."""
    state = ObjectState(audit, dead_letter.object_id, since=dead_letter.day)
    if resolved_by := resolution(state, dead_letter):
        raise CommandFailed(
            f"The dead letter {dead_letter.id} is already resolved: {resolved_by}. Nothing was discarded."
        )


def require_idle(pipeline: Pipeline, audit: AuditReader, dead_letter: DeadLetterKey, body: DeadLetter) -> None:
    """Raise CommandFailed while an execution is processing the batch of a dead letter."""
    if arn := running_execution(pipeline, audit, dead_letter, body):
        raise CommandFailed(
            f"A redrive of {dead_letter.id} is running: {arn}. Wait until it has ended; if it leaves a dead letter, "
            "discard that."
        )


def running_execution(
    pipeline: Pipeline, audit: AuditReader, dead_letter: DeadLetterKey, body: DeadLetter
) -> str | None:
    """Return the ARN of the execution that is processing the batch of a dead letter: its own, or one that redrives it.

    For a chunk it is that of the whole object, which processes all chunks that are left.
    """
    highest = None
    if dead_letter.is_of_whole or body.parent:
        # Other chunks may have been redriven since, and this one not.
        highest = ObjectState(audit, dead_letter.object_id).attempt
    executions = pipeline.history(dead_letter.object_id, body.object_execution, dead_letter.attempt, highest)
    return next((execution.arn for execution in executions if execution.is_running), None)


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


def _require_single(discard: Discard, position: int) -> None:
    """Raise CommandFailed if a discard is about more than the record at a position: nobody has named the others."""
    counts = discard.counts
    is_single = counts is not None and counts.discarded == 1
    if not is_single or [record.position for record in discard.rejected] != [position]:
        dead_letter = discard.dead_letter
        raise CommandFailed(
            f"The dead letter of {record_id(dead_letter.object_id, position)} is about more than this record: "
            f"{discard}. To discard all of that: custody dead-letters discard {dead_letter.id} --reason TEXT"
        )
