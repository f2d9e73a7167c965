"""Follow one object through the ledger and its executions: what it came to, step by step, and where all of it lies."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from msgspec import to_builtins

from custody.audit.identifiers import Named
from custody.audit.object_state import ObjectState
from custody.audit.reader import AuditReader, Unreadable
from custody.executions.timeline import Timelines, why_untold
from custody.ingest.outcome import committed_batches, rejected_records
from functions.shared.model.ids import record_id
from functions.shared.model.keys import WHOLE, DeadLetterKey, LedgerKey
from functions.shared.model.ledger import CommittedChunk, StoredObject, SummaryHeader
from functions.shared.model.messages import Json

LISTED = 10
"""How many rejected records of an object are listed, and how many discards."""


def of_object(audit: AuditReader, timelines: Timelines, wanted: Named) -> Json:
    """Tell of one object: its state, its commits, its dead letters and its executions; raise CommandFailed if nothing does."""
    known = ObjectState.read(audit, timelines.pipeline, wanted)
    header = known.header if known.is_closed else None
    discards = known.discards
    output = to_builtins(header.output) if header and not known.chunk_bytes else None
    ledger = known.last if header else None
    return {
        "object": to_builtins(StoredObject.of(known.raw)),
        "uri": known.raw.uri,
        "other_versions": list(wanted.others),
        "dataset": known.told.dataset if known.told else None,
        "status": known.run.status,
        "error": known.run.error,
        # Before the ledger of a bulk object are closed, its first chunk tells which it is, and no more.
        "attempt": header.attempt if header else known.attempt,
        "counts": to_builtins(header.counts) if header else None,
        "chunks": _chunks(known) if known.chunk_bytes else None,
        "rejected": list(islice(_rejected(known), LISTED)) if header else [],
        "discards": [discard_of(audit, each) for each in discards[:LISTED]],
        "discards_more": max(0, len(discards) - LISTED),
        "execution": known.run.arn,
        "output": output,
        "ledger": f"s3://{audit.bucket}/{ledger.key}" if ledger else None,
        "dead_letters": dead_letters_of(known, timelines, known.dead_letters),
        "links": links_of(known, timelines, output, ledger),
        "executions": executions_of(known, timelines),
    }


def _rejected(known: ObjectState) -> Iterator[Json]:
    """Give the rejected records, those that were discarded since too; no more is read than is asked for."""
    given_up = frozenset(entry.start for entry in known.discards)
    for entry, line in rejected_records(known.audit, committed_batches(known.audit, known.resolution)):
        outcome = {"outcome": "discarded"} if entry.start in given_up else {}
        yield {"record": record_id(entry.object_id, line.position)} | to_builtins(line) | outcome


def _chunks(known: ObjectState) -> Json:
    """Count the chunks, and name those that are not written whole."""
    given_up = frozenset(entry.start for entry in known.discards)
    left = [
        {
            "start": line.start,
            "outcome": _outcome(line.start in given_up, isinstance(line, CommittedChunk)),
            "attempt": line.attempt,
            "counts": to_builtins(line.counts),
        }
        for line in known.resolution.chunks.values()
        if not isinstance(line, CommittedChunk) or line.counts.rejected
    ]
    counted = (
        to_builtins(known.header.chunks)
        if known.is_closed and isinstance(known.header, SummaryHeader)
        else {"total": known.chunks, "committed": len(known.committed)}
    )
    return {**counted, "not_written": left}


def _outcome(is_given_up: bool, is_committed: bool) -> str:  # noqa: FBT001 - two facts of a chunk
    if is_given_up:
        return "discarded"
    return "committed" if is_committed else "failed"


def dead_letters_of(known: ObjectState, timelines: Timelines, dead_letters: list[DeadLetterKey]) -> list[Json]:
    """Tell of dead letters: first of the one to act on, that of all chunks, if there is one."""
    are_open = frozenset(known.resolution.open_among(dead_letters))
    ordered = sorted(dead_letters, key=lambda dead_letter: not dead_letter.is_of_whole)
    return [
        {
            "id": dead_letter.id,
            "open": dead_letter in are_open,
            "console": timelines.links.object(known.audit.bucket, dead_letter.key),
        }
        for dead_letter in ordered
    ]


def links_of(known: ObjectState, timelines: Timelines, output: Any, ledger: LedgerKey | None) -> Json:
    """Link to the raw version, to what is delivered and to the ledger file, as far as there are any."""
    link, raw = timelines.links.object, known.raw
    return {
        "raw": link(raw.bucket, raw.key, raw.version_id),
        "output": link(output["bucket"], output["key"], output["version_id"]) if output else None,
        "ledger": link(known.audit.bucket, ledger.key) if ledger else None,
    }


def executions_of(known: ObjectState, timelines: Timelines) -> list[Json]:
    """Tell of every execution that worked on an object, oldest first, also of one that only the ledger know."""
    told = [timelines.told(one) for one in known.executions]
    named = known.run.arn if known.told or known.untold else None
    if named is None or any(one["arn"] == named for one in told):
        return told
    why = why_untold(known.untold)
    return [timelines.untold(named, why), *told]


def discard_of(audit: AuditReader, entry: LedgerKey) -> Json:
    """Say who discarded a batch, when and why: null if that cannot be read; `start` is null for all that was left."""
    told = {"start": None if entry.start == WHOLE else entry.start, "ledger": f"s3://{audit.bucket}/{entry.key}"}
    try:
        header = audit.discard_header(entry)
    except Unreadable:
        return told | dict.fromkeys(("at", "by", "reason"))
    return told | {
        "at": header.recorded_at,
        "by": header.discarded.by,
        "reason": header.discarded.reason,
    }
