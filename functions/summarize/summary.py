"""Decide what the summary of a bulk object says, and how its execution ends; the handler does it."""

from collections.abc import Sequence
from typing import IO

from msgspec import to_builtins
from msgspec.structs import replace

from functions.shared.audit.chunk_totals import ChunkTotals
from functions.shared.audit.ledger_file import batch_fields, ledger_file
from functions.shared.errors import ChunksFailed, DataError, MessageRefused, RecordsRejected
from functions.shared.model import tolerance
from functions.shared.model.chunking import whole
from functions.shared.model.keys import LedgerKey
from functions.shared.model.ledger import ChunkLine, SummaryHeader
from functions.shared.model.messages import Batch, Json, Plan, Step
from functions.shared.records.gzip_lines import Packed
from functions.shared.records.strict_json import encode_struct

STAGE = "summarize"

LISTED = 10
"""How many chunks an error message lists; the summary lists all."""


def plans(batch: Batch) -> tuple[Plan, Plan]:
    """Return the plan of the whole object, and that of the chunks that were processed now.

    Raises MessageRefused if the object is not divided into chunks.
    """
    if batch.plan is None:
        raise MessageRefused(
            f"Summarize was called for s3://{batch.object.bucket}/{batch.object.key}, which is not divided into "
            "chunks; start the execution with the input that the start function makes"
        )
    return whole(batch.object, batch.plan.chunk_bytes), batch.plan


def summary(step: Step, totals: ChunkTotals, *, dataset: str, code_version: str) -> IO[bytes]:
    """Return the summary: the header of a ledger file, with the chunks counted, then a line a chunk.

    A retry of the step returns the same bytes.
    """
    header = SummaryHeader(
        **batch_fields(step),
        dataset=dataset,
        contract=None,
        code={STAGE: code_version},
        execution=step.execution.arn,
        counts=totals.counts,
        output=None,
        chunk_bytes=plans(step.batch)[0].chunk_bytes,
        chunks=totals.chunk_counts,
    )
    with Packed() as lines:
        for chunk in totals.chunks:
            lines.add(encode_struct(chunk) + b"\n")
        return ledger_file(header, lines)


def failure(totals: ChunkTotals, tolerated_percent: float) -> DataError | None:
    """Return the error with which the object ends: chunks failed, or more records were rejected than are tolerated."""
    counts = totals.open_counts
    reasons = "their dead letters say why: `custody dead-letters`"
    if totals.failed:
        starts, failed, total = _list(totals.failed), len(totals.failed), len(totals.chunks)
        return ChunksFailed(f"{failed} of {total} chunks failed, starting at byte {starts}; {reasons}")
    if not tolerance.is_tolerable(counts, tolerated_percent):
        chunks = f"in chunks starting at byte {_list(totals.rejecting)}"
        return RecordsRejected(f"{counts.rejected} of {counts.received} records rejected, {chunks}; {reasons}")
    if not totals.counts.received and not totals.discarded:
        return RecordsRejected("the object holds no records: all of its lines are blank")
    return None


def report(step: Step, totals: ChunkTotals, *, dataset: str, audit_bucket: str) -> Json:
    """Return the output of the execution, which its status-change event carries too."""
    return replace(step.batch, plan=None).encode() | {
        "dataset": dataset,
        "counts": totals.counts.encode(),
        "chunks": to_builtins(totals.chunk_counts),
        "ledger": {"bucket": audit_bucket, "key": LedgerKey.of(step.batch).key},
    }


def _list(chunks: Sequence[ChunkLine]) -> str:
    more = [f"and {len(chunks) - LISTED} more"] if len(chunks) > LISTED else []
    return ", ".join([*(f"{chunk.start}" for chunk in chunks[:LISTED]), *more])
