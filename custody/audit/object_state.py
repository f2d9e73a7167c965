"""The state of one object: its ledger files, its dead letters and which of them are open, and its executions.

Nothing in the audit bucket is ever changed or deleted, so whether a dead letter is open is derived. It is resolved once
the ledger has its attempt or a later one as written or discarded, or a later dead letter has taken its place. A dead
letter of a bulk object that reports no more than failed chunks or rejected records summarizes those of its chunks: it
is open while one of them is.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from botocore.exceptions import ClientError
from msgspec import Struct

from custody.audit.ledger_lines import RecordOutcome
from custody.audit.reader import AuditReader, Unreadable
from custody.concurrency import map_ordered
from custody.errors import USAGE, CommandFailed
from custody.executions.listing import Totals
from custody.executions.pipeline import ExecutionState, Pipeline
from functions.shared.errors import AttemptTaken, ChunksFailed, RecordsRejected
from functions.shared.model.ids import record_id
from functions.shared.model.keys import WHOLE, DeadLetterKey, LedgerKey, discarded, latest
from functions.shared.model.ledger import (
    AuditFile,
    ChunkLine,
    CommittedChunk,
    DeadLetter,
    LedgerHeader,
    Output,
    RecordLine,
    RejectedLine,
    SummaryHeader,
)
from functions.shared.model.messages import Counts

SUMMARIZING = frozenset({ChunksFailed.__name__, RecordsRejected.__name__})
"""The errors of a bulk object that report nothing but those of its chunks."""


class DeadLetterState(Struct, frozen=True):
    """A dead letter, by id, and whether it is open."""

    id: str
    open: bool


@dataclass(frozen=True)
class CommittedBatch:
    """The latest ledger file of a batch, and what its header, or the summary of the object, says of it."""

    key: LedgerKey
    counts: Counts
    output: Output | None


@dataclass(frozen=True)
class ObjectState:
    """All that is known of an object. Each fact is fetched when it is first asked for, and once.

    `since` is a day before which the object has no dead letter. `is_large` says that an upload of this size would now
    be cut into chunks: it decides whether an object is bulk where the audit bucket does not.
    """

    audit: AuditReader
    object_id: str
    since: str = ""
    is_large: bool = False
    _headers: dict[LedgerKey, LedgerHeader | Unreadable] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def ledger_keys(self) -> list[LedgerKey]:
        """All ledger files, by batch and attempt."""
        return self.audit.ledger_keys(self.object_id)

    @cached_property
    def dead_letters(self) -> list[DeadLetterKey]:
        """All dead letters, by batch and attempt."""
        return self.audit.dead_letters_of(self.object_id, self.since)

    @property
    def keys(self) -> list[LedgerKey | DeadLetterKey]:
        """All files in the audit bucket."""
        return [*self.ledger_keys, *self.dead_letters]

    @property
    def attempt(self) -> int | None:
        """The highest attempt in the audit bucket; None if the object is not there."""
        return max((key.attempt for key in self.keys), default=None)

    @cached_property
    def by_start(self) -> Mapping[int, list[LedgerKey]]:
        """The ledger files of each batch, by its start."""
        keys: dict[int, list[LedgerKey]] = defaultdict(list)
        for key in self.ledger_keys:
            keys[key.start].append(key)
        return keys

    @cached_property
    def committed(self) -> dict[int, LedgerKey]:
        """The latest committed ledger file of each batch, by its start."""
        return {start: key for start, key in latest(self.ledger_keys).items() if not key.is_summary}

    @cached_property
    def summary(self) -> LedgerKey | None:
        """The latest summary; None if the object has none."""
        return max((key for key in self.ledger_keys if key.is_summary), default=None)

    @cached_property
    def chunks(self) -> dict[int, ChunkLine]:
        """The chunks in the summary, by start; empty if there is none, or if it cannot be read."""
        try:
            return {line.start: line for line in self.audit.chunks(self.summary)} if self.summary else {}
        except CommandFailed:
            return {}

    @cached_property
    def discards(self) -> list[LedgerKey]:
        """The discards in force: no later attempt of their batch was committed."""
        return [keys[-1] for _, keys in sorted(self.by_start.items()) if keys[-1].discards]

    def describe_discard(self, key: LedgerKey) -> str:
        """Say when a batch was discarded, by whom and why: a phrase that follows `discarded`."""
        try:
            header = self.audit.discard_header(key)
        except Unreadable as error:
            return f"by an unknown user: {error}"
        return f"on {header.recorded_at} by {header.discarded.by}: {header.discarded.reason}"

    def header(self, key: LedgerKey) -> LedgerHeader:
        """Read the header of a committed ledger file; raise Unreadable."""
        if key not in self._headers:
            try:
                self._headers[key] = self.audit.header(key)
            except Unreadable as error:
                self._headers[key] = error
        header = self._headers[key]
        if isinstance(header, Unreadable):
            raise header
        return header

    @cached_property
    def is_bulk(self) -> bool:
        """Whether the object is cut into chunks."""
        if self.summary or any(self.committed):
            return True
        if not self.committed:
            return self.is_large or any(key.start for key in self.dead_letters)
        try:
            return self.header(self.committed[0]).chunk is not None
        except Unreadable:
            return self.is_large

    @property
    def outcome_key(self) -> LedgerKey | None:
        """The ledger file with the outcome of the whole object; None before it is committed."""
        return self.summary if self.is_bulk else self.committed.get(0)

    @property
    def outcome(self) -> LedgerHeader | None:
        """The header of that file; None before it is committed. Raises Unreadable."""
        return self.header(self.outcome_key) if self.outcome_key else None

    @cached_property
    def is_damaged(self) -> bool:
        """Whether that file cannot be read."""
        if self.outcome_key is None:
            return False
        try:
            self.header(self.outcome_key)
        except Unreadable:
            return True
        return False

    @cached_property
    def latest_file(self) -> LedgerHeader | DeadLetter | None:
        """The header of the outcome or, if that is of a later attempt, the latest dead letter; None if unreadable."""
        dead_letter, key = self.latest_dead_letter, self.outcome_key
        try:
            is_later = dead_letter and (key is None or dead_letter.attempt > key.attempt)
            return self.audit.read(dead_letter) if dead_letter and is_later else self.outcome
        except Unreadable:
            return None

    def batch_at(self, position: int) -> int | None:
        """Return the start of the batch of a record; None if the audit bucket does not have it. Raises Unreadable."""
        start = max((key.start for key in self.keys if key.start <= position), default=None)
        if start is None:
            return None
        file: AuditFile
        if start in self.committed:
            file = self.header(self.committed[start])
        elif dead_letters := [key for key in self.dead_letters if key.start == start]:
            file = self.audit.read(dead_letters[-1])
        else:
            file = self.audit.discard_header(self.by_start[start][-1])
        return None if file.chunk and position >= file.chunk.start + file.chunk.bytes else start

    def line_at(self, key: LedgerKey, position: int) -> RecordLine:
        """Read the line of a record in a ledger file; raise CommandFailed if there is no such record, or Unreadable."""
        line = self.audit.line_at(key, position)
        if line is None:
            raise CommandFailed(
                f"There is no record {record_id(self.object_id, position)}: {key.key} lists every record of its batch, "
                "but not this one.",
                USAGE,
            )
        return line

    @cached_property
    def missing_chunks(self) -> tuple[int, ...]:
        """The starts of the chunks that are committed by the summary, but have no ledger file."""
        if self.is_damaged or not isinstance(self.outcome, SummaryHeader):
            return ()
        starts = range(0, self.outcome.object.size, self.outcome.chunk_bytes)
        absent = [start for start in starts if start not in self.committed]
        return tuple(start for start in absent if (line := self.chunks.get(start)) is None or line.attempt is not None)

    @cached_property
    def is_written(self) -> bool:
        """Whether the ledger has every record of the object as written."""
        if self.is_damaged or not self.outcome or self.missing_chunks:
            return False
        return _unwritten(self.outcome) == 0

    @cached_property
    def batches(self) -> list[CommittedBatch]:
        """The committed batches, from the summary where there is one. Raises Unreadable."""
        if self.chunks:
            return [
                CommittedBatch(
                    LedgerKey(self.object_id, line.start, line.attempt), line.counts, getattr(line, "output", None)
                )
                for line in self.chunks.values()
                if line.attempt is not None and line.counts is not None
            ]
        keys = list(self.committed.values())
        headers = zip(keys, map_ordered(self.header, keys), strict=True)
        return [CommittedBatch(key, header.counts, header.output) for key, header in headers]

    def rejected(self) -> Iterator[RecordOutcome]:
        """Stream the rejected records of all batches, also if they were discarded since.

        Each ledger file is read no further than to its last one.
        """
        is_discarded = discarded(self.ledger_keys)
        for batch in self.batches:
            if batch.counts.rejected:
                with closing(self.audit.lines(batch.key)) as lines:
                    rejected = (line for line in lines if isinstance(line, RejectedLine))
                    for line in islice(rejected, batch.counts.rejected):
                        yield RecordOutcome.of(line, self.object_id, is_discarded=batch.key.start in is_discarded)

    @cached_property
    def open_dead_letters(self) -> list[DeadLetterKey]:
        """The dead letters that are open."""
        return self.open_among(self.dead_letters)

    def open_among(self, dead_letters: Iterable[DeadLetterKey]) -> list[DeadLetterKey]:
        """Select the open ones of the object's dead letters: of all, or of all since a day."""
        latest_of_batch: dict[int, list[DeadLetterKey]] = {}
        for key in sorted(dead_letters):
            keys = latest_of_batch.setdefault(key.start, [])
            if keys and keys[0].attempt < key.attempt:
                keys.clear()
            keys.append(key)
        still_open: list[DeadLetterKey] = []
        # That of the whole object sorts last, behind those of the chunks that it summarizes.
        for keys in latest_of_batch.values():
            for key in keys:
                if self.resolving_key(key) is None and not self._is_summary_resolved(key, still_open):
                    still_open.append(key)
        return still_open

    def resolving_key(self, dead_letter: DeadLetterKey) -> LedgerKey | None:
        """Find the latest ledger file that resolves a dead letter by itself; None if none does.

        A later attempt does, and so does a discard. The delivery of its own attempt does if that rejected no record,
        and if it is of the same execution: otherwise the execution of the dead letter has delivered nothing.
        """
        keys = self.by_start.get(dead_letter.start, [])
        own = (dead_letter.attempt, False)
        if later := [key for key in keys if (key.attempt, key.discards) > own]:
            return max(later)
        committed = next((key for key in keys if (key.attempt, key.discards) == own), None)
        return committed if committed and self._resolves(committed, dead_letter) else None

    @property
    def latest_dead_letter(self) -> DeadLetterKey | None:
        """The dead letter of the highest attempt, that of a whole bulk object before those of its chunks.

        None once every record is written: then it is not looked for.
        """
        keys = [] if self.is_written else self.dead_letters
        return max(keys, key=lambda key: (key.attempt, key.is_of_whole), default=None)

    def chunks_to_redo(self) -> list[ChunkLine]:
        """List the chunks that failed or have rejected records, unless these were discarded since."""
        is_discarded = discarded(self.ledger_keys)
        return [
            line
            for line in self.chunks.values()
            if (not isinstance(line, CommittedChunk) or line.counts.rejected) and line.start not in is_discarded
        ]

    def chunk_bytes(self, pipeline: Pipeline, execution: str) -> int:
        """Return the size of the chunks: that of the summary or else of an execution, or that of new objects."""
        header = None if self.is_damaged else self.outcome
        size = header.chunk_bytes if isinstance(header, SummaryHeader) else 0
        return size or pipeline.chunk_bytes_of(execution) or pipeline.chunk_bytes

    def executions(self, pipeline: Pipeline) -> tuple[ExecutionState, ...]:
        """Look up the execution that the audit bucket names last and those started since, the latest last."""
        return pipeline.history(self.object_id, self.last_execution(pipeline), self._execution_attempt, self.attempt)

    def last_execution(self, pipeline: Pipeline) -> str:
        """Return the ARN of the latest execution that the audit bucket names, or else of the first of the object."""
        if self.latest_file:
            return self.latest_file.object_execution
        return pipeline.arn_of(self.object_id, is_bulk=self.is_bulk)

    @property
    def _execution_attempt(self) -> int | None:
        """The highest attempt of its executions, as far as is known: a chunk that was redriven alone has counted on."""
        if self.attempt is None or (self.latest_file and not self.is_bulk):
            return self.attempt
        if self.latest_file is None:
            return 0
        return max((key.attempt for key in self.keys if key.start == WHOLE), default=0)

    def _is_summary_resolved(self, dead_letter: DeadLetterKey, still_open: list[DeadLetterKey]) -> bool:
        """Tell whether a dead letter summarizes chunks that are all resolved; what cannot be read resolves nothing."""
        if not dead_letter.is_of_whole or any(not key.is_of_whole for key in still_open) or not self.chunks:
            return False
        if self.summary is None or self.summary.attempt != dead_letter.attempt:
            return False
        if any(map(self._is_unresolved, self.chunks.values())):
            return False
        try:
            return self.audit.read(dead_letter).error in SUMMARIZING
        except CommandFailed:
            return False

    def _is_unresolved(self, line: ChunkLine) -> bool:
        """Tell whether the ledger leaves a chunk open: never committed, or with rejected records.

        A discard resolves it, and so does a later attempt: if that one rejected records, it has a dead letter of its
        own.
        """
        keys = self.by_start.get(line.start, [])
        if not keys:
            return True
        if line.attempt is None or line.counts is None or not line.counts.rejected:
            return False
        return max((key.attempt, key.discards) for key in keys) <= (line.attempt, False)

    def _resolves(self, committed: LedgerKey, dead_letter: DeadLetterKey) -> bool:
        """Tell whether the delivery of its own attempt resolves a dead letter; an unreadable file resolves nothing."""
        try:
            unwritten, execution = self._delivery(committed)
            if unwritten:
                return False
            body = self.audit.read(dead_letter)
        except CommandFailed:
            return False
        return body.execution.arn == execution and body.error != AttemptTaken.__name__

    def _delivery(self, committed: LedgerKey) -> tuple[int, str]:
        """Count what a ledger file leaves unwritten, and name its execution.

        From the summary where it has them: there may be thousands of chunks, and the summary is one file.
        """
        line = self.chunks.get(committed.start)
        if isinstance(line, CommittedChunk) and line.attempt == committed.attempt:
            return line.counts.rejected, line.execution
        header = self.header(committed)
        return _unwritten(header), header.execution


def committed_totals(audit: AuditReader, object_id: str, attempt: int, is_bulk: bool) -> Totals:  # noqa: FBT001 - a fact
    """Read what an attempt has committed; empty if there is nothing that can be read."""
    try:
        return totals_of(audit.header(LedgerKey(object_id, WHOLE if is_bulk else 0, attempt)))
    except (CommandFailed, ClientError):
        return Totals()


def totals_of(header: LedgerHeader) -> Totals:
    """Return the totals in a header."""
    return Totals(header.counts, header.chunks if isinstance(header, SummaryHeader) else None)


def _unwritten(header: LedgerHeader) -> int:
    """Count what was not written: records, and failed chunks of a summary."""
    return header.counts.rejected + (header.chunks.failed if isinstance(header, SummaryHeader) else 0)
