"""The files of the audit bucket, which is append-only: ledger files, and dead letters.

A ledger file is a header, then a line a record; the summary of a bulk object has a line a chunk.
"""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from functions.shared.model.ids import Count, RawObject, Text
from functions.shared.model.messages import Chunk, Counts
from functions.shared.model.records import Rejected, Span

ExecutionArn = Annotated[str, Meta(pattern="^arn:.*:execution:")]


class Output(Struct, frozen=True):
    """The processed object that holds the written records of a batch."""

    bucket: Text
    key: Text
    version_id: Text


class AuditFile(Struct, frozen=True, kw_only=True):
    """What ledger files and dead letters have in common; times are ISO 8601, UTC."""

    format: Literal[1]
    object: RawObject
    chunk: Chunk | None
    dataset: str
    contract: str | None
    code: dict[str, str]
    redrive_of: str | None
    parent: ExecutionArn | None
    attempt: Count
    recorded_at: str

    def __post_init__(self) -> None:
        """Raise ValueError for a time that cannot be."""
        require_time(self.recorded_at, "recorded_at")


class LedgerHeader(AuditFile, frozen=True, kw_only=True):
    """The first line of the ledger file of a batch and attempt: all that its records share."""

    execution: ExecutionArn
    counts: Counts
    output: Output | None

    @property
    def object_execution(self) -> str:
        """The ARN of the execution of the whole object."""
        return self.parent or self.execution


class ChunkCounts(Struct, frozen=True):
    """How many chunks of an object there are, by outcome: total = committed + failed."""

    total: Count
    committed: Count
    failed: Count


class SummaryHeader(LedgerHeader, frozen=True, kw_only=True):
    """The header of the summary of a bulk object."""

    chunk_bytes: Annotated[int, Meta(ge=1)]
    chunks: ChunkCounts


class DiscardCounts(Counts, frozen=True):
    """How many records of a discarded batch there are: received = written + rejected + discarded."""

    discarded: Count = 0


class Decision(Struct, frozen=True):
    """Which dead letter was discarded, by whom (an ARN) and why."""

    dead_letter: str
    reason: str
    by: str


class DiscardHeader(AuditFile, frozen=True, kw_only=True):
    """The header of a ledger file with which an operator discards records; `counts` is None if nothing was read."""

    execution: ExecutionArn
    counts: DiscardCounts | None
    output: None = None
    discarded: Decision


class OutputSpan(Struct, frozen=True, gc=False):
    """Where a written record lies in its processed object."""

    offset: Count
    length: Count
    sha256: str


class WrittenLine(Span, frozen=True, gc=False, tag_field="outcome", tag="written"):
    """A record that was written."""

    output: OutputSpan


class RejectedLine(Rejected, frozen=True, gc=False, tag_field="outcome", tag="rejected"):
    """A record that a stage rejected."""


class DiscardedLine(Span, frozen=True, gc=False, tag_field="outcome", tag="discarded"):
    """A record that an operator discarded."""


RecordLine = WrittenLine | RejectedLine | DiscardedLine


class CommittedChunk(Struct, frozen=True, gc=False, tag_field="outcome", tag="committed"):
    """A chunk in the summary of its object, by the ledger file of its latest attempt."""

    start: Count
    attempt: Count
    counts: Counts
    execution: str
    contract: str | None
    output: Output | None


class FailedChunk(Struct, frozen=True, gc=False, omit_defaults=True, tag_field="outcome", tag="failed"):
    """A chunk that its attempt did not commit; `attempt` and `counts` are those of an earlier attempt that did."""

    start: Count
    attempt: Count | None = None
    counts: Counts | None = None


ChunkLine = CommittedChunk | FailedChunk


class ListedRecord(Rejected, frozen=True, gc=False):
    """A rejected record as a dead letter lists it, with its id."""

    record: str


class FailedExecution(Struct, frozen=True):
    """The execution that failed, and its page in the Step Functions console, if that is known."""

    arn: ExecutionArn
    started_at: str
    redrives: Count
    console: str | None

    def __post_init__(self) -> None:
        """Raise ValueError for a time that cannot be."""
        require_time(self.started_at, "started_at")


class DeadLetter(AuditFile, frozen=True, kw_only=True):
    """What failed, where, why, and how to find the records.

    `received` and `rejected_count` are None if the batch was not read. `rejected` lists the first of the rejected
    records; the ledger file of the batch has all of them.
    """

    step: str
    error: str
    cause: str
    advice: str
    resumes_at: str
    received: Count | None
    rejected_count: Count | None
    rejected: tuple[ListedRecord, ...]
    execution: FailedExecution

    @property
    def object_execution(self) -> str:
        """The ARN of the execution of the whole object."""
        return self.parent or self.execution.arn


def require_time(text: str, name: str) -> None:
    """Raise ValueError for a text that is not an ISO 8601 time with its zone."""
    try:
        is_time = datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        is_time = False
    if not is_time:
        raise ValueError(f"`{name}` is not an ISO 8601 time with a zone")
