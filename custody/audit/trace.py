"""Trace an object or a record through the ledger and its executions, with the place of everything that was read."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from typing import Literal

from botocore.exceptions import ClientError
from msgspec import UNSET, Struct, UnsetType, convert
from msgspec.structs import asdict

from custody.audit.identifiers import Subject
from custody.audit.object_state import ObjectState
from custody.audit.object_versions import record_bytes
from custody.audit.reader import AuditReader, Unreadable
from custody.errors import CommandFailed
from custody.executions.pipeline import NOT_STARTED, ExecutionState, Pipeline
from custody.executions.timeline import Timeline, Timelines, by_start, why_unavailable
from functions.shared.model.chunking import PLAIN_LINES
from functions.shared.model.ids import RawObject, record_id
from functions.shared.model.keys import WHOLE, DeadLetterKey, LedgerKey
from functions.shared.model.ledger import (
    AuditFile,
    CommittedChunk,
    DeadLetter,
    LedgerHeader,
    Output,
    RecordLine,
    StoredObject,
    SummaryHeader,
    WrittenLine,
)
from functions.shared.model.messages import Batch, Counts
from functions.shared.model.records import Rejected

LISTED = 10
"""How many rejected records of an object are listed, and how many discards."""


class TracedAttempt(Struct, frozen=True):
    """A ledger file of a batch, by S3 URI; `discarded` if it is a discard."""

    attempt: int
    discarded: bool
    ledger: str


class TracedDiscard(Struct, frozen=True):
    """A discard: `start` is the byte at which the chunk begins, null for all that was left of an object.

    `ledger` is the S3 URI of its ledger file; `at`, `by` and `reason` are null if that cannot be read.
    """

    start: int | None
    ledger: str
    at: str | None = None
    by: str | None = None
    reason: str | None = None


class TracedDeadLetter(Struct, frozen=True):
    """A dead letter, by the id that `custody dead-letters show` takes."""

    id: str
    open: bool
    console: str | None


class ConsoleLinks(Struct, frozen=True):
    """Links into the S3 console, to what was read; each is null on embedded AWS, or if there is no such object."""

    raw: str | None
    output: str | None
    ledger: str | None


class DeliveredRecord(Output, frozen=True):
    """The place of a record in a processed object, and the SHA-256 of its bytes there."""

    offset: int
    length: int
    sha256: str


class TracedRejection(Rejected, frozen=True):
    """A rejected record of an object; `outcome` is `discarded` if it was discarded since."""

    record: str
    outcome: Literal["rejected", "discarded"]


class UnwrittenChunk(Struct, frozen=True):
    """A chunk that failed or has rejected records; `attempt` and `counts` are null if it was never committed."""

    start: int
    outcome: Literal["committed", "failed", "discarded"]
    attempt: int | None
    counts: Counts | None


class TracedChunks(Struct, frozen=True):
    """The chunks of a bulk object; `failed` only once the object is summarized."""

    total: int
    committed: int
    not_written: list[UnwrittenChunk]
    failed: int | UnsetType = UNSET


class RecordTrace(Struct, frozen=True, kw_only=True):
    """A record: its place, its outcome, and its bytes before and after.

    `header` and `line` are those of its ledger file; `ledger_line` is the line as it is there. `received_text` and
    `written_text` are UTF-8, with escapes for other bytes, and null if those bytes are gone. `executions` are those of
    its chunk, if it is in one; then the `parent` in the header is that of the whole object.
    """

    record: str
    uri: str
    attempts: list[TracedAttempt]
    execution: str
    status: str | None
    outcome: Literal["written", "rejected", "discarded"]
    header: AuditFile
    line: RecordLine
    discarded: TracedDiscard | None
    output: DeliveredRecord | None
    received_text: str | None
    written_text: str | None
    ledger: str
    ledger_line: str
    dead_letters: list[TracedDeadLetter]
    links: ConsoleLinks
    executions: list[Timeline]


class ObjectTrace(Struct, frozen=True, kw_only=True):
    """An object: its state, its outcome, its dead letters and its executions.

    `status` is that of the latest execution or NOT STARTED, and null if Step Functions does not report it. `counts`,
    `rejected`, `output` and `ledger` have values once all its records have an outcome; a bulk object has an output per
    chunk, so its `output` is null. `rejected` and `discards` list the first ten.
    """

    object: StoredObject
    uri: str
    other_versions: list[str]
    dataset: str | None
    status: str | None
    error: str | None
    attempt: int
    counts: Counts | None
    chunks: TracedChunks | None
    rejected: list[TracedRejection]
    discards: list[TracedDiscard]
    discards_more: int
    execution: str | None
    output: Output | None
    ledger: str | None
    dead_letters: list[TracedDeadLetter]
    links: ConsoleLinks
    executions: list[Timeline]


def trace(audit: AuditReader, timelines: Timelines, subject: Subject) -> RecordTrace | ObjectTrace:
    """Trace the record or object that was named; raise CommandFailed if nothing is known about it."""
    known = _Evidence(audit, timelines, subject)
    return _trace_object(known) if subject.position is None else _trace_record(known, subject.position)


@dataclass(frozen=True)
class _Evidence:
    """What is known of an object, each fact fetched when it is first asked for."""

    audit: AuditReader
    timelines: Timelines
    subject: Subject

    @cached_property
    def state(self) -> ObjectState:
        return ObjectState(self.audit, self.subject.object_id)

    @property
    def pipeline(self) -> Pipeline:
        return self.timelines.pipeline

    @cached_property
    def key(self) -> LedgerKey | None:
        """The summary, or else the ledger file of the first committed batch."""
        return self.state.summary or next(iter(self.state.committed.values()), None)

    @cached_property
    def header(self) -> LedgerHeader | None:
        return self.state.header(self.key) if self.key else None

    @cached_property
    def source(self) -> LedgerHeader | DeadLetter | None:
        """The header or, without one, the latest dead letter; None if the audit bucket does not have the object."""
        dead_letters = self.state.dead_letters
        return self.header or (self.audit.read(dead_letters[-1]) if dead_letters else None)

    @cached_property
    def outcome(self) -> LedgerHeader | None:
        """The header, if it is of the whole object."""
        return self.header if not self.chunk_bytes or self.state.summary else None

    @cached_property
    def raw(self) -> RawObject:
        batch = None if self.source else self._input
        raw = self.source.raw if self.source else batch.object if batch else self.subject.raw
        if raw is None:
            raise CommandFailed(
                f"{self.subject.object_id} has no ledger file, no dead letter and no execution; `custody reconcile` "
                "classifies every object"
            )
        return raw

    @cached_property
    def chunk_bytes(self) -> int:
        """The size of the chunks; 0 if the object is one batch."""
        if isinstance(self.header, SummaryHeader):
            return self.header.chunk_bytes
        if self.source and self.source.chunk:
            return self.source.chunk.bytes
        if self.header:
            return 0
        if self._input and self._input.plan:
            return self._input.plan.chunk_bytes
        of_chunk = next((key for key in self.state.dead_letters if not key.is_of_whole and key.start), None)
        chunk = self.audit.read(of_chunk).chunk if of_chunk else None
        return chunk.bytes if chunk else 0

    @property
    def executions(self) -> tuple[ExecutionState, ...]:
        """The executions that Step Functions reports, oldest first."""
        return self._reported[0]

    @property
    def refusal(self) -> str | None:
        """The error with which Step Functions refused to report them."""
        return self._reported[1]

    @cached_property
    def execution(self) -> str | None:
        """The ARN of the latest execution, as far as is known."""
        if self.executions:
            return self.executions[-1].arn
        if self.source:
            return self.source.object_execution
        return self._first_arns[0] if self.refusal else None

    @property
    def status(self) -> str | None:
        """The status of that execution; None if Step Functions does not report it."""
        if self.executions:
            return self.executions[-1].status
        return None if self.source or self.refusal else NOT_STARTED

    @cached_property
    def _first_arns(self) -> list[str]:
        """The ARNs that the first execution may have: of either machine, as long as nothing tells which it was."""
        object_id = self.subject.object_id
        if self.source:
            return [f"{self.source.object_execution.rpartition(':')[0]}:{object_id}"]
        machines = (False, True)[: len(self.pipeline.machines)]
        return [self.pipeline.arn_of(object_id, is_bulk=is_bulk) for is_bulk in machines]

    @cached_property
    def _reported(self) -> tuple[tuple[ExecutionState, ...], str | None]:
        object_id, highest = self.subject.object_id, self.state.attempt
        try:
            for first in self._first_arns:
                reported = self.pipeline.history(object_id, first, 0 if self.source else None, highest)
                if self.source and (named := self.source.object_execution) not in {each.arn for each in reported}:
                    # Somebody started it with another name.
                    reported += self.pipeline.history(object_id, named, self.source.attempt, highest)
                if reported:
                    distinct = {each.arn: each for each in reported}
                    return tuple(sorted(distinct.values(), key=lambda each: each.started_at)), None
        except ClientError as error:
            # Whoever may read the ledger may not be allowed to call Step Functions, which also throttles.
            return (), str(error)
        return (), None

    @cached_property
    def _input(self) -> Batch | None:
        """The input of the latest execution; None if it is not known, or not Custody's."""
        return self.executions[-1].batch if self.executions else None

    @cached_property
    def discarded(self) -> frozenset[int]:
        """The starts of the batches whose discard is in force."""
        return frozenset(key.start for key in self.state.discards)

    def timelines_of_object(self) -> list[Timeline]:
        """Read the timelines of all executions, oldest first, with the one that only the audit bucket knows."""
        timelines = [self.timelines.of(execution) for execution in self.executions]
        if self.execution is None or any(timeline.arn == self.execution for timeline in timelines):
            return timelines
        return [self.timelines.unavailable(self.execution, why_unavailable(self.refusal)), *timelines]

    def timelines_of_chunk(self, start: int) -> list[Timeline]:
        """Read the timelines of the executions of a chunk, which its ledger files and dead letters name."""
        arns: dict[str, None] = {}
        for key in self.state.by_start[start]:
            with suppress(Unreadable):
                if not key.discards:
                    arns[self.state.header(key).execution] = None
        for dead_letter in self.dead_letter_keys(start):
            with suppress(Unreadable):
                arns[self.audit.read(dead_letter).execution.arn] = None
        return by_start(map(self.timelines.by_arn, arns))

    def dead_letter_keys(self, start: int) -> list[DeadLetterKey]:
        return [key for key in self.state.dead_letters if key.start == start]

    def dead_letters(self, keys: list[DeadLetterKey]) -> list[TracedDeadLetter]:
        """Describe dead letters, the one to act on first: that of the whole object."""
        still_open = frozenset(self.state.open_among(keys))
        link = partial(self.timelines.links.object, self.audit.bucket)
        return [
            TracedDeadLetter(key.id, key in still_open, link(key.key))
            for key in sorted(keys, key=lambda key: not key.is_of_whole)
        ]

    def links(self, output: Output | None, ledger: LedgerKey | None) -> ConsoleLinks:
        link, raw = self.timelines.links.object, self.raw
        return ConsoleLinks(
            link(raw.bucket, raw.key, raw.version_id),
            link(output.bucket, output.key, output.version_id) if output else None,
            link(self.audit.bucket, ledger.key) if ledger else None,
        )

    def discard(self, key: LedgerKey) -> TracedDiscard:
        start, uri = None if key.start == WHOLE else key.start, self.audit.uri(key)
        try:
            header = self.audit.discard_header(key)
        except Unreadable:
            return TracedDiscard(start, uri)
        return TracedDiscard(start, uri, header.recorded_at, header.discarded.by, header.discarded.reason)


def _trace_object(known: _Evidence) -> ObjectTrace:
    state, outcome, raw = known.state, known.outcome, known.raw
    output = outcome.output if outcome and not known.chunk_bytes else None
    ledger = known.key if outcome else None
    return ObjectTrace(
        object=StoredObject.of(raw),
        uri=raw.uri,
        other_versions=list(known.subject.other_versions),
        dataset=known.source.dataset if known.source else None,
        status=known.status,
        error=known.executions[-1].error if known.executions else None,
        attempt=outcome.attempt if outcome else state.attempt or 0,
        counts=outcome.counts if outcome else None,
        chunks=_chunks(known) if known.chunk_bytes else None,
        rejected=list(islice(_rejected(known), LISTED)) if outcome else [],
        discards=[known.discard(key) for key in state.discards[:LISTED]],
        discards_more=max(0, len(state.discards) - LISTED),
        execution=known.execution,
        output=output,
        ledger=known.audit.uri(ledger) if ledger else None,
        dead_letters=known.dead_letters(state.dead_letters),
        links=known.links(output, ledger),
        executions=known.timelines_of_object(),
    )


def _rejected(known: _Evidence) -> Iterator[TracedRejection]:
    """Stream the rejected records, those discarded since included."""
    for key, line in known.state.rejected():
        outcome: Literal["rejected", "discarded"] = "discarded" if key.start in known.discarded else "rejected"
        yield TracedRejection(**asdict(line), record=record_id(key.object_id, line.position), outcome=outcome)


def _chunks(known: _Evidence) -> TracedChunks:
    unwritten = []
    for line in known.state.chunks.values():
        is_committed = isinstance(line, CommittedChunk)
        if not (is_committed and line.counts and not line.counts.rejected):
            outcome: Literal["committed", "failed", "discarded"] = "committed" if is_committed else "failed"
            outcome = "discarded" if line.start in known.discarded else outcome
            unwritten.append(UnwrittenChunk(line.start, outcome, line.attempt, line.counts))
    if isinstance(known.outcome, SummaryHeader):
        totals = known.outcome.chunks
        return TracedChunks(totals.total, totals.committed, unwritten, totals.failed)
    return TracedChunks(-(-known.raw.size // known.chunk_bytes), len(known.state.committed), unwritten)


def _trace_record(known: _Evidence, position: int) -> RecordTrace:
    """Trace a record: only the ledger file of its chunk is read, up to the record."""
    name, raw, chunk_bytes = record_id(known.subject.object_id, position), known.raw, known.chunk_bytes
    if raw.key.lower().endswith(PLAIN_LINES) and position >= raw.size:
        raise CommandFailed(
            f"There is no record {name}: its position is the byte at which it begins, and {raw.uri} has "
            f"{raw.size:,} bytes."
        )
    start = position // chunk_bytes * chunk_bytes if chunk_bytes else 0
    keys = known.state.by_start.get(start, [])
    key = max(keys, key=lambda each: (not each.discards, each.attempt), default=None)
    if key is None:
        raise CommandFailed(_why_no_ledger_file(known, name, start))
    if entry := known.audit.line_at(key, position):
        body, line = entry
        return _describe_record(known, key, line, body.decode().removesuffix("\n"))
    if key.discards:
        discard = known.discard(key)
        raise CommandFailed(
            f"{name} has no outcome of its own: {_part(known)} was never committed, and was discarded on {discard.at} "
            f"by {discard.by}: {discard.reason}"
        )
    raise CommandFailed(f"There is no record {name}: {key.key} lists every record of its batch, but not this one.")


def _why_no_ledger_file(known: _Evidence, name: str, start: int) -> str:
    line, part = known.state.chunks.get(start), _part(known)
    if line is not None and line.attempt is not None:
        return f"{name} has no ledger file, though {part} was committed. See custody verify {known.raw.id}"
    dead_letters = known.dead_letter_keys(start) or known.state.dead_letters
    status = f", and {known.execution} is {known.status}" if known.status else ""
    see = f"custody dead-letters show {dead_letters[-1].id}" if dead_letters else "custody reconcile"
    return f"{name} has no outcome: {part} is not committed{status}. See {see}"


def _part(known: _Evidence) -> str:
    return "its chunk" if known.chunk_bytes else "its object"


def _describe_record(known: _Evidence, key: LedgerKey, line: RecordLine, text: str) -> RecordTrace:
    audit, keys = known.audit, known.state.by_start[key.start]
    header = audit.discard_header(key) if key.discards else known.state.header(key)
    is_written, raw = isinstance(line, WrittenLine), header.raw
    discard = keys[-1] if keys[-1].discards and not is_written else None
    output, written = None, None
    if isinstance(line, WrittenLine) and header.output:
        output = DeliveredRecord(**asdict(header.output), **asdict(line.output))
        written = record_bytes(audit.s3, header.output, line.output)
    return RecordTrace(
        record=record_id(key.object_id, line.position),
        uri=raw.uri,
        attempts=[TracedAttempt(each.attempt, each.discards, audit.uri(each)) for each in keys],
        execution=header.execution,
        status=known.status,
        outcome="written" if is_written else "discarded" if discard else "rejected",
        header=convert(header, AuditFile, from_attributes=True),
        line=line,
        discarded=known.discard(discard) if discard else None,
        output=output,
        received_text=_text(record_bytes(audit.s3, raw, line)),
        written_text=_text(written),
        ledger=audit.uri(key),
        ledger_line=text,
        dead_letters=known.dead_letters(known.dead_letter_keys(key.start)),
        links=known.links(output, key),
        executions=known.timelines_of_chunk(key.start) if header.chunk else known.timelines_of_object(),
    )


def _text(body: bytes | None) -> str | None:
    return None if body is None else body.decode(errors="backslashreplace")
