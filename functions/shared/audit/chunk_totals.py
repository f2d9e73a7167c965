"""The totals of a bulk object: the outcome of each of its chunks, by the headers of their ledger files.

Summarize writes them to the summary, from which DeadLetter reads the chunks that a redrive must process again.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from functions.shared.model.keys import LedgerKey
from functions.shared.model.ledger import ChunkCounts, ChunkLine, CommittedChunk, FailedChunk, LedgerHeader
from functions.shared.model.messages import Batch, Chunk, Counts, Json, Plan, Step

CHUNKS_ATTEMPT = "chunks_attempt"
"""The part of a message with the attempt at which the chunks were processed, where only Summarize is repeated."""


class ChunkTotals(Struct, frozen=True):
    """The outcomes of all chunks of an object, in order; an operator has `discarded` some of those that failed."""

    chunks: tuple[ChunkLine, ...]
    discarded: frozenset[int] = frozenset()

    @property
    def counts(self) -> Counts:
        """The records of all chunks that were ever committed, by the last attempt of each."""
        return sum((chunk.counts for chunk in self.chunks if chunk.counts), Counts())

    @property
    def chunk_counts(self) -> ChunkCounts:
        """The chunks by outcome."""
        failed = sum(isinstance(chunk, FailedChunk) for chunk in self.chunks)
        return ChunkCounts(len(self.chunks), len(self.chunks) - failed, failed)

    @property
    def failed(self) -> list[ChunkLine]:
        """The chunks that failed and have not been discarded since."""
        return [chunk for chunk in self._open if isinstance(chunk, FailedChunk)]

    @property
    def rejecting(self) -> list[ChunkLine]:
        """The chunks with rejected records that have not been discarded since."""
        return [chunk for chunk in self._open if chunk.counts and chunk.counts.rejected]

    @property
    def open_counts(self) -> Counts:
        """The counts without the rejected records that were discarded since."""
        rejected = sum(chunk.counts.rejected for chunk in self.rejecting if chunk.counts)
        return Counts(self.counts.written + rejected, self.counts.written, rejected)

    @property
    def _open(self) -> list[ChunkLine]:
        return [chunk for chunk in self.chunks if chunk.start not in self.discarded]


def totals(
    whole: Plan,
    processed: Plan,
    since: int,
    committed: Mapping[int, LedgerHeader],
    discarded: frozenset[int] = frozenset(),
) -> ChunkTotals:
    """Return the outcome of each chunk of the whole object.

    The chunks of `processed` were processed at the attempt `since`, and must have been committed then or by a redrive
    of their own; the others were finished earlier, and any commit counts. A commit of a chunk of another size does not.
    """
    due = frozenset(processed.chunks)

    def outcome(start: int) -> ChunkLine:
        header = committed.get(start)
        if header is None or header.chunk != Chunk(start, whole.chunk_bytes):
            return FailedChunk(start)
        if start in due and header.attempt < since:
            return FailedChunk(start, header.attempt, header.counts)
        return CommittedChunk(start, header.attempt, header.counts, header.execution, header.contract, header.output)

    return ChunkTotals(tuple(outcome(start) for start in whole.chunks), discarded)


def summary_of(step: Step, keys: Iterable[LedgerKey]) -> LedgerKey | None:
    """Return the latest summary, from the attempt of the chunks up to the current one; None if there is none."""
    attempts = range(processed_at(step.message), step.batch.attempt + 1)
    return max((key for key in keys if key.is_summary and key.attempt in attempts), default=None)


def processed_at(message: Json) -> int:
    """Return the attempt at which the chunks of a message were processed: an earlier commit is not their outcome."""
    attempt: int = message[CHUNKS_ATTEMPT if CHUNKS_ATTEMPT in message else "attempt"]
    return attempt


def to_repeat(batch: Batch, lines: Iterable[ChunkLine], discarded: frozenset[int] = frozenset()) -> Batch:
    """Reduce the plan of a batch to the chunks that failed or have rejected records, by the lines of a summary.

    Chunks that were discarded since are done. If the summary has no chunk to repeat, the plan stays as it is.
    """
    again = [line.start for line in lines if isinstance(line, FailedChunk) or line.counts.rejected]
    if batch.plan is None or not again:
        return batch
    chunks = tuple(start for start in again if start not in discarded)
    return replace(batch, plan=replace(batch.plan, chunks=chunks))
