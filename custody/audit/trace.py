"""Trace an object or a record through the ledger and its executions."""

from contextlib import suppress
from itertools import islice

from botocore.exceptions import ClientError
from msgspec import Struct, convert

from custody.audit.ledger_lines import RecordOutcome
from custody.audit.object_state import DeadLetterState, ObjectState, totals_of
from custody.audit.object_versions import record_bytes
from custody.audit.reader import AuditReader, Unreadable
from custody.audit.subject import Subject
from custody.errors import SOME_WITHOUT_OUTCOME, USAGE, CommandFailed
from custody.executions.listing import Totals
from custody.executions.pipeline import ExecutionState
from custody.executions.timeline import EXPIRED, Timeline, Timelines, by_start, why_unavailable
from functions.shared.model.ids import RawObject
from functions.shared.model.keys import WHOLE, DeadLetterKey, LedgerKey
from functions.shared.model.ledger import (
    AuditFile,
    ChunkCounts,
    ChunkLine,
    DeadLetter,
    LedgerHeader,
    Output,
    WrittenLine,
)
from functions.shared.model.messages import Counts

LISTED = 10
"""How many rejected records of an object are listed, and how many discards."""


class RecordTrace(Struct, frozen=True, kw_only=True):
    """A record: its place, its outcome, and its bytes before and after.

    `header` is that of its ledger file, `output` the processed object of its batch, and `ledger_files` are the S3 URIs
    of all ledger files of the batch, by attempt. `discarded` says when it was discarded, by whom and why.
    `received_text` and `written_text` are UTF-8, with escapes for other bytes, and null if those bytes are gone.
    `executions` are those of its chunk, if it is in one; then the `parent` in the header is that of the whole object.
    """

    record: RecordOutcome
    header: AuditFile
    discarded: str | None
    output: Output | None
    received_text: str | None
    written_text: str | None
    ledger_files: list[str]
    dead_letters: list[DeadLetterState]
    executions: list[Timeline]


class ObjectTrace(Struct, frozen=True, kw_only=True):
    """An object: its outcome, its dead letters and its executions, the latest last; none if it was not started.

    `counts`, `rejected`, `output` and `ledger` have values once all its records have an outcome; a bulk object has an
    output per chunk, so its `output` is null. `chunks_to_redo` failed or have rejected records, and were not discarded
    since. `rejected` and `discards` list the first ten.
    """

    object: RawObject
    other_versions: list[str]
    dataset: str | None
    attempt: int
    counts: Counts | None
    chunks: ChunkCounts | None
    chunks_to_redo: list[ChunkLine]
    rejected: list[RecordOutcome]
    discards: list[str]
    discards_more: int
    output: Output | None
    ledger: str | None
    dead_letters: list[DeadLetterState]
    executions: list[Timeline]


def trace(audit: AuditReader, timelines: Timelines, subject: Subject) -> RecordTrace | ObjectTrace:
    """Trace the record or object that was named; raise CommandFailed if nothing is known about it, or Unreadable."""
    state = ObjectState(audit, subject.object_id)
    if subject.position is None:
        return _trace_object(state, timelines, subject)
    return _trace_record(state, timelines, subject, subject.position)


def _trace_object(state: ObjectState, timelines: Timelines, subject: Subject) -> ObjectTrace:
    outcome, discards = state.outcome, state.discards
    file = outcome or state.latest_file or next(map(state.header, state.committed.values()), None)
    raw, executions = _executions(state, timelines, file)
    raw = raw or subject.raw
    if raw is None and state.latest_dead_letter:
        # Step Functions no longer has its execution either: say what is wrong with this file.
        raw = state.audit.read(state.latest_dead_letter).object
    if raw is None:
        raise CommandFailed(
            f"{subject} has no ledger file, no dead letter and no execution; `custody reconcile` classifies every "
            "object",
            USAGE,
        )
    ledger, totals = state.outcome_key if outcome else None, totals_of(outcome) if outcome else Totals()
    return ObjectTrace(
        object=raw,
        other_versions=list(subject.other_versions),
        dataset=file.dataset if file else None,
        attempt=outcome.attempt if outcome else state.attempt or 0,
        counts=totals.counts,
        chunks=totals.chunks,
        chunks_to_redo=state.chunks_to_redo(),
        rejected=list(islice(state.rejected(), LISTED)) if outcome else [],
        discards=[_describe_discard(state, key) for key in discards[:LISTED]],
        discards_more=max(0, len(discards) - LISTED),
        output=outcome.output if outcome else None,
        ledger=state.audit.uri(ledger) if ledger else None,
        dead_letters=_dead_letters(state, state.dead_letters),
        executions=executions,
    )


def _trace_record(state: ObjectState, timelines: Timelines, subject: Subject, position: int) -> RecordTrace:
    """Trace a record: only the ledger file of its chunk is read, up to the record."""
    audit, start = state.audit, state.batch_at(position)
    keys = [] if start is None else state.by_start.get(start, [])
    key = max(keys, key=lambda each: (not each.discards, each.attempt), default=None)
    if key is None:
        raise CommandFailed(
            f"{subject} has no outcome: no ledger file is about its batch. See its object: custody trace "
            f"{state.object_id}",
            SOME_WITHOUT_OUTCOME if state.keys else USAGE,
        )
    line = audit.line_at(key, position) if key.discards else state.line_at(key, position)
    if line is None:
        raise CommandFailed(
            f"{subject} has no outcome of its own: its batch was never committed, and was discarded"
            f" {state.describe_discard(key)}"
        )
    header = audit.discard_header(key) if key.discards else state.header(key)
    is_discarded = keys[-1].discards and not isinstance(line, WrittenLine)
    output = header.output if isinstance(line, WrittenLine) else None
    written = record_bytes(audit.s3, output, line.output) if output and isinstance(line, WrittenLine) else None
    dead_letters = [each for each in state.dead_letters if each.start == start]
    return RecordTrace(
        record=RecordOutcome.of(line, state.object_id, is_discarded=is_discarded),
        header=convert(header, AuditFile, from_attributes=True),
        discarded=state.describe_discard(keys[-1]) if is_discarded else None,
        output=output,
        received_text=_text(record_bytes(audit.s3, header.object, line, is_divided=header.chunk is not None)),
        written_text=_text(written),
        ledger_files=list(map(audit.uri, keys)),
        dead_letters=_dead_letters(state, dead_letters),
        executions=_executions_of_chunk(state, timelines, [*keys, *dead_letters])
        if header.chunk
        else _executions(state, timelines, state.outcome or state.latest_file)[1],
    )


def _executions(
    state: ObjectState, timelines: Timelines, file: LedgerHeader | DeadLetter | None
) -> tuple[RawObject | None, list[Timeline]]:
    """Read the timelines of all executions of an object, oldest first; also return the raw object, if that is known.

    `file` is what the audit bucket has of the object: it names one of the executions.
    """
    pipeline, object_id, raw = timelines.pipeline, state.object_id, file.object if file else None
    named = file.object_execution if file else pipeline.arn_of(object_id)
    searches: list[tuple[str, int | None]] = [(named, None)]
    if file:
        # Somebody may have started it with another name.
        searches = [(f"{named.rpartition(':')[0]}:{object_id}", 0), (named, file.attempt)]
    elif pipeline.bulk_arn:
        searches.append((pipeline.arn_of(object_id, is_bulk=True), None))
    reported = dict[str, ExecutionState]()
    try:
        for arn, attempt in searches:
            if arn not in reported and (file or not reported):
                reported |= {each.arn: each for each in pipeline.history(object_id, arn, attempt, state.attempt)}
    except ClientError as error:
        # Whoever may read the ledger may not be allowed to call Step Functions, which also throttles.
        return raw, [timelines.unavailable(named, why_unavailable(str(error)))]
    if file and not reported:
        return raw, [timelines.unavailable(named, EXPIRED)]
    executions = sorted(reported.values(), key=lambda each: each.started_at)
    batch = executions[-1].batch if executions else None
    return raw or (batch.object if batch else None), list(map(timelines.of, executions))


def _executions_of_chunk(
    state: ObjectState, timelines: Timelines, keys: list[LedgerKey | DeadLetterKey]
) -> list[Timeline]:
    """Read the timelines of the executions that the ledger files and dead letters of a chunk name."""
    arns: dict[str, None] = {}
    for key in keys:
        with suppress(Unreadable):
            if isinstance(key, DeadLetterKey):
                arns[state.audit.read(key).execution.arn] = None
            elif not key.discards:
                arns[state.header(key).execution] = None
    return by_start(map(timelines.by_arn, arns))


def _dead_letters(state: ObjectState, keys: list[DeadLetterKey]) -> list[DeadLetterState]:
    """Describe dead letters, the one to act on first: that of the whole object."""
    still_open = frozenset(state.open_among(keys))
    return [DeadLetterState(key.id, key in still_open) for key in sorted(keys, key=lambda key: not key.is_of_whole)]


def _describe_discard(state: ObjectState, key: LedgerKey) -> str:
    chunk = f"the chunk at byte {key.start:,}, " if state.is_bulk and key.start != WHOLE else ""
    return f"{chunk}{state.describe_discard(key)}"


def _text(body: bytes | None) -> str | None:
    return None if body is None else body.decode(errors="backslashreplace")
