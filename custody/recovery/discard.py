"""Discard dead letters, each only if nothing speaks against it. Nothing is changed or deleted.

Discarding a bulk object discards each of its chunks that has an open dead letter, beside its own ledger file; and then,
if some chunks have neither, what is left of the object.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from custody.assurance.verify_batch import differences_in_processed
from custody.audit.dead_letters import resolution
from custody.audit.ledger_lines import Readable, buffered
from custody.audit.object_state import ObjectState
from custody.audit.object_versions import GONE
from custody.audit.reader import AuditReader
from custody.concurrency import map_ordered
from custody.errors import CommandFailed
from custody.executions.pipeline import Pipeline
from custody.recovery.discard_file import Discard, LatestDelivery, commit, latest_delivery
from custody.terminal.text import visible
from functions.shared.model.ids import record_id
from functions.shared.model.keys import DeadLetterKey, latest, processed_key
from functions.shared.model.ledger import DeadLetter, WrittenLine
from functions.shared.model.messages import Batch, Chunk

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class Discarder:
    """Discards dead letters of an object, each only if nothing speaks against it.

    `only` is the position of the one record to discard; None for all of the dead letter. `note` is called for one
    committed discard after the other, by the thread that has committed it, so an interrupt loses none.
    """

    state: ObjectState
    processed: str
    reason: str
    by: str
    note: Callable[[Discard], object]
    only: int | None = None
    _lock: Lock = field(default_factory=Lock)

    def discard(self, dead_letter: DeadLetterKey, chunks: Sequence[DeadLetterKey] = ()) -> None:
        """Discard the dead letters of chunks, then a dead letter, unless that is resolved with its chunks.

        Raises CommandFailed if consumers may read its records, or if it is about more than was named; or Unreadable.
        """
        self._discard_all(chunks)
        if dead_letter.is_of_whole:
            state = ObjectState(self.state.audit, dead_letter.object_id, since=dead_letter.day)
            if resolution(state, dead_letter) is not None:
                return
        self._discard_all([dead_letter])

    def _discard_all(self, dead_letters: Sequence[DeadLetterKey]) -> None:
        # Closing waits for those that have begun.
        with closing(map_ordered(self._discard, dead_letters)) as discarded:
            for _ in discarded:
                pass

    def _discard(self, dead_letter: DeadLetterKey) -> None:
        audit = self.state.audit
        body, delivery = audit.read(dead_letter), latest_delivery(self.state, dead_letter)
        discard = Discard(dead_letter, body, delivery, self.reason, self.by, datetime.now(UTC))
        if self.only is not None:
            require_single(discard, self.only)
        require_claimed(audit, self.processed, discard)
        commit(audit, discard)
        with self._lock:
            self.note(discard)


def open_chunks(state: ObjectState, dead_letter: DeadLetterKey) -> list[DeadLetterKey]:
    """List the open dead letters of the chunks, one per chunk, if a dead letter is that of a whole object."""
    if not dead_letter.is_of_whole:
        return []
    return list({key.start: key for key in state.open_dead_letters if not key.is_of_whole}.values())


def require_open(audit: AuditReader, dead_letter: DeadLetterKey) -> None:
    """Raise CommandFailed for a resolved dead letter."""
    state = ObjectState(audit, dead_letter.object_id, since=dead_letter.day)
    if resolved_by := resolution(state, dead_letter):
        raise CommandFailed(
            f"The dead letter {dead_letter.id} is already resolved: {visible(resolved_by)}. Nothing was discarded."
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


def require_single(discard: Discard, position: int) -> None:
    """Raise CommandFailed if a discard is about more than the record at a position: nobody has named the others."""
    counts = discard.counts
    is_single = counts is not None and counts.discarded == 1
    if not is_single or [record.position for record in discard.rejected] != [position]:
        dead_letter = discard.dead_letter
        raise CommandFailed(
            f"The dead letter of {record_id(dead_letter.object_id, position)} is about more than this record: "
            f"{discard}. To discard all of that: custody dead-letters discard {dead_letter.id} --reason TEXT"
        )


def require_claimed(audit: AuditReader, processed: str, discard: Discard) -> None:
    """Raise CommandFailed if consumers can read what no ledger file claims: the ledger would have it as discarded.

    That happens if Write delivered, and could not commit. An empty processed object delivers nothing.
    """
    modified = _modified(audit.s3, discard.body)
    if modified is None:
        return
    body = discard.body
    if discard.dead_letter.is_of_whole:
        key = _unclaimed_chunk(audit, processed, discard, modified)
    else:
        key = processed_key(Batch(body.object, body.chunk), body.dataset, modified)
        if _is_claimed(audit, processed, discard, key):
            key = None
    if key:
        raise CommandFailed(
            f"The batch of {discard.dead_letter.id} has delivered a processed object that no ledger file claims: "
            f"s3://{processed}/{key}. Redrive it instead: custody redrive {discard.dead_letter.id}"
        )


def _is_claimed(audit: AuditReader, processed: str, discard: Discard, key: str) -> bool:
    try:
        response = audit.s3.get_object(Bucket=processed, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in GONE:
            return True
        raise
    with closing(response["Body"]) as stream:
        return response["ContentLength"] == 0 or _claims(audit, discard.delivery, key, buffered(stream))


def _unclaimed_chunk(audit: AuditReader, processed: str, discard: Discard, modified: str) -> str | None:
    """Return the key of a chunk that was delivered and never committed; None if there is none."""
    raw, dataset = discard.body.object, discard.body.dataset
    starts = latest(audit.ledger_keys(raw.id))
    committed = {processed_key(Batch(raw, Chunk(start, 0)), dataset, modified) for start in starts}
    prefix = processed_key(Batch(raw, Chunk(0, 0)), dataset, modified).rpartition(f"{raw.id}.")[0] + f"{raw.id}."
    pages = audit.s3.get_paginator("list_objects_v2").paginate(Bucket=processed, Prefix=prefix)
    delivered = (entry["Key"] for page in pages for entry in page.get("Contents", []) if entry["Size"])
    return next((key for key in delivered if key not in committed), None)


def _claims(audit: AuditReader, delivery: LatestDelivery | None, key: str, stream: Readable) -> bool:
    """Tell whether a ledger file lists just what is in a processed object."""
    if delivery is None or delivery.header.output is None or delivery.header.output.key != key:
        return False
    with closing(audit.lines(delivery.key)) as lines:
        written = (line for line in lines if isinstance(line, WrittenLine))
        return not any(differences_in_processed(stream, delivery.key.object_id, written))


def _modified(s3: "S3Client", body: DeadLetter) -> str | None:
    """Return the arrival of the raw version, whose day is part of the processed key; None if the version is gone."""
    raw = body.object
    try:
        modified = s3.head_object(Bucket=raw.bucket, Key=raw.key, VersionId=raw.version_id)["LastModified"]
    except ClientError as error:
        if error.response["Error"]["Code"] in GONE:
            return None
        raise
    return modified.astimezone(UTC).isoformat()
