"""What to write of a bulk object, and how it ends: decided here, carried out by the handler."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import IO

from functions.shared.audit import ledger_file
from functions.shared.audit.chunk_totals import ChunkState, ChunkTotals
from functions.shared.errors import ChunksFailed, DataError, MessageRefused, RecordsRejected
from functions.shared.model import tolerance
from functions.shared.model.chunking import is_plain_lines, whole
from functions.shared.model.messages import Batch, Counts, Facts, Json, Plan, Step
from functions.shared.records.gzip_lines import Packed
from functions.shared.records.strict_json import encode

STAGE = "summarize"

TOLD = 10
"""How many chunks an error message tells of; the summary tells of all."""


def plans(batch: Batch) -> tuple[Plan, Plan]:
    """Give the plan of the whole object, and that of the chunks that were processed now.

    Raises MessageRefused if the object is not one that is cut into chunks.
    """
    if batch.plan is None or not is_plain_lines(batch.object.key):
        raise MessageRefused(
            f"Summarize was called for s3://{batch.object.bucket}/{batch.object.key}, which is not cut into chunks; "
            "start it with the input that the start function makes"
        )
    return whole(batch.object, batch.plan.chunk_bytes), batch.plan


def summary(step: Step, closing: ChunkTotals, *, dataset: str, code_version: str) -> IO[bytes]:
    """Write the summary: a header as of any ledger file, with the chunks counted, then a line a chunk.

    A retry of the step writes the same bytes.
    """
    of_object, _ = plans(step.batch)
    facts = Facts(dataset, last_modified="", contract="", code={STAGE: code_version})
    header = ledger_file.header(
        step, facts, closing.counts, contract=None, chunk_bytes=of_object.chunk_bytes, chunks=closing.chunks
    )
    with Packed() as lines:
        for chunk in closing.chunk_states:
            lines.add(encode(chunk.encode()) + b"\n")
        return ledger_file.ledger_file(header, lines)


def shortfall(closing: ChunkTotals, tolerated_percent: float) -> DataError | None:
    """Make the error that the object ends with: of chunks that failed, or else of more rejects than are tolerated."""
    counts = closing.judged
    dead_letters = "their dead letters say why, see `custody dead-letters`"
    if closing.unsettled:
        starts = _told(closing.unsettled, lambda chunk: f"{chunk.start}")
        failed, of_all = len(closing.unsettled), len(closing.chunk_states)
        return ChunksFailed(f"{failed} of {of_all} chunks failed, those that begin at byte {starts}; {dead_letters}")
    if not tolerance.is_tolerable(counts, tolerated_percent):
        shares = _told(closing.rejecting, _share)
        return RecordsRejected(f"{counts.rejected} of {counts.received} records rejected: {shares}; {dead_letters}")
    if not closing.counts.received and not closing.discarded:
        return RecordsRejected("the object holds no record: none of its lines has more than white space")
    return None


def report(step: Step, closing: ChunkTotals, *, dataset: str, audit_bucket: str) -> Json:
    """Say what became of the object: the output of the execution, which its status-change event carries too."""
    return replace(step.batch, plan=None).encode() | {
        "dataset": dataset,
        "counts": closing.counts.encode(),
        "chunks": closing.chunks,
        "ledger": {"bucket": audit_bucket, "key": ledger_file.ledger_key(step.batch)},
    }


def _share(chunk: ChunkState) -> str:
    counts = chunk.commit.counts if chunk.commit else Counts()
    return f"{counts.rejected} of {counts.received} in the chunk at byte {chunk.start}"


def _told(chunk_states: Sequence[ChunkState], tell: Callable[[ChunkState], str]) -> str:
    more = [f"and {len(chunk_states) - TOLD} more"] if len(chunk_states) > TOLD else []
    return ", ".join([*map(tell, chunk_states[:TOLD]), *more])
