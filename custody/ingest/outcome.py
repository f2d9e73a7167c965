"""The outcome of an uploaded object: counts, and the records that matter, however many there are."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from msgspec import Struct
from msgspec.structs import asdict, replace

from custody.audit.ledger_lines import RecordOutcome
from custody.audit.object_state import ObjectState
from custody.audit.reader import AuditReader
from custody.errors import ALL_WRITTEN, SOME_REJECTED, SOME_WITHOUT_OUTCOME
from custody.executions.pipeline import NOT_STARTED, RUNNING, SUCCEEDED, ExecutionState
from custody.executions.timeline import error_message
from functions.shared.model.ids import RawObject
from functions.shared.model.ledger import ChunkCounts, Output, SummaryHeader
from functions.shared.model.messages import Counts

LISTED = 1000
"""An object of at most this many records has each of them listed; a larger one its first rejected records."""


SHOWN = 20
"""Of at most this many uploads, people see each outcome; of more those that need attention, this many."""


class UploadedFile(Struct, frozen=True):
    """A file that was uploaded, the object that it became, and the ARN that its execution has or will have."""

    file: str
    object: RawObject
    execution: str


class FileOutcome(UploadedFile, frozen=True):
    """The outcome of an uploaded file.

    `status` is that of the execution, or NOT STARTED. `counts` is null until records are committed. `chunks` is null
    until the summary of a bulk object is committed, and for one batch; `planned_chunks` is its number of chunks, and
    `committed` how many of the batches are in the ledger. Of more than 1,000 records, `records` lists the
    first 1,000 rejected ones; `records_more` is the number of those not listed. `output` is null for several batches.
    `dead_letter` is an S3 URI.
    """

    status: str
    counts: Counts | None = None
    chunks: ChunkCounts | None = None
    records: tuple[RecordOutcome, ...] = ()
    records_more: int = 0
    output: Output | None = None
    error: str | None = None
    cause: str | None = None
    dead_letter: str | None = None
    planned_chunks: int | None = None
    committed: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether the execution has ended."""
        return self.status not in {*RUNNING, NOT_STARTED}

    @property
    def is_summarized(self) -> bool:
        """Whether people see counts instead of single records."""
        counts = self.counts
        return counts is not None and (counts.received > LISTED or self.planned_chunks is not None)

    @property
    def is_complete(self) -> bool:
        """Whether each record has an outcome."""
        if self.planned_chunks is not None:
            return self.chunks is not None and not self.chunks.failed
        return self.counts is not None or self.status == SUCCEEDED

    @property
    def code(self) -> int:
        """The exit code for this object alone."""
        if not self.is_complete:
            return SOME_WITHOUT_OUTCOME
        return SOME_REJECTED if self.counts and self.counts.rejected else ALL_WRITTEN


class PutUploads(Struct, frozen=True):
    """What `custody put --no-wait` uploaded: an object per FILE, in their order."""

    objects: list[UploadedFile]


class PutOutcomes(Struct, frozen=True):
    """What `custody put` uploaded, and its outcome: an object per FILE, in their order."""

    objects: list[FileOutcome]


@dataclass
class Tally:
    """Totals over the outcomes of uploads, and the outcomes that people see.

    Those are all outcomes of few uploads; and of many the first that need attention, with their first records.
    """

    uploads: int
    codes: Counter[int] = field(default_factory=Counter)
    counts: Counts = field(default_factory=Counts)
    shown: list[FileOutcome] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    not_started: int = 0

    @classmethod
    def of(cls, outcomes: Sequence[FileOutcome]) -> "Tally":
        """Count outcomes."""
        tally = cls(len(outcomes))
        for outcome in outcomes:
            tally.add(outcome)
        return tally

    @property
    def is_large(self) -> bool:
        """Whether there are too many outcomes to show each."""
        return self.uploads > SHOWN

    def add(self, outcome: FileOutcome) -> FileOutcome:
        """Count an outcome, and return it."""
        self.codes[outcome.code] += 1
        self.counts += outcome.counts or Counts()
        if not outcome.has_ended:
            self.unfinished.append(outcome.object.id)
            self.not_started += outcome.status == NOT_STARTED
        if not self.is_large:
            self.shown.append(outcome)
        elif outcome.code and len(self.shown) < SHOWN:
            rejected = [record for record in outcome.records if record.outcome == "rejected"]
            self.shown.append(replace(outcome, records=tuple(rejected[:SHOWN])))
        return outcome


def read_outcome(
    audit: AuditReader, upload: UploadedFile, execution: ExecutionState | None, chunks: int | None
) -> FileOutcome:
    """Read the outcome of an upload from its execution, its ledger files and its dead letters; raise Unreadable."""
    state = ObjectState(audit, upload.object.id)
    summary = state.header(state.summary) if state.summary else None
    counts, records = None, tuple[RecordOutcome, ...]()
    for batch in state.batches:
        counts = (counts or Counts()) + batch.counts
    if counts:
        every = (RecordOutcome.of(line, state.object_id) for batch in state.batches for line in audit.lines(batch.key))
        records = tuple(every if counts.received <= LISTED else islice(state.rejected(), LISTED))
    dead_letters = audit.dead_letters(execution.day, upload.object.id) if execution else ()
    dead_letter = max(dead_letters, key=lambda key: (key.attempt, key.is_of_whole, key), default=None)
    return FileOutcome(
        **asdict(upload),
        status=execution.status if execution else NOT_STARTED,
        counts=counts,
        chunks=summary.chunks if isinstance(summary, SummaryHeader) else None,
        records=records,
        records_more=(counts.received if counts else 0) - len(records),
        output=state.batches[0].output if len(state.batches) == 1 else None,
        error=execution.error if execution else None,
        cause=error_message(execution.cause) if execution else None,
        dead_letter=audit.uri(dead_letter) if dead_letter else None,
        planned_chunks=chunks,
        committed=len(state.batches),
    )
