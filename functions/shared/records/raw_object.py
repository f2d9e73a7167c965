"""Read the records of a batch from the raw bucket, and no more of its object than that."""

from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct

from functions.shared import aws
from functions.shared.errors import ObjectTooLarge
from functions.shared.model.chunking import BULK_FROM, MOST_CHUNKS, is_plain_lines
from functions.shared.model.messages import Batch
from functions.shared.records import jsonl, reader
from functions.shared.records.reader import Limits, Pages


class Source(Struct, frozen=True):
    """The records of a batch, a page at a time; `last_modified` is that of the raw version (ISO 8601, UTC)."""

    pages: Pages
    last_modified: str


@contextmanager
def opened(batch: Batch, limits: Limits) -> Iterator[Source]:
    """Open the records of a batch, at the exact version of its object.

    Raises ObjectTooLarge, ObjectMissing, AccessRefused, CallRefused or ServiceUnavailable, also while they are read.
    """
    raw = batch.object
    _require_fits(batch, limits)
    if batch.chunk is None:
        with aws.streamed(raw.bucket, raw.key, raw.version_id) as stored:
            yield Source(reader.of_object(stored.pieces, raw.key, limits), stored.last_modified)
        return
    start, end = batch.chunk.start, min(batch.chunk.start + batch.chunk.bytes, raw.size)
    with aws.streamed(raw.bucket, raw.key, raw.version_id, jsonl.reach(start, end, limits.document)) as stored:
        yield Source(reader.of_chunk(stored.pieces, start, end, limits), stored.last_modified)


def _require_fits(batch: Batch, limits: Limits) -> None:
    """Raise ObjectTooLarge if the size alone shows it; for a compressed object, only reading it does."""
    raw = batch.object
    if batch.chunk:
        return
    if is_plain_lines(raw.key):
        # A larger one that is not divided would be more chunks than an object may have.
        most = BULK_FROM
        why = (
            f"{MOST_CHUNKS:,} chunks of {limits.gzipped:,} bytes (chunk_bytes); raise that, deploy, and upload it "
            "again: only a new object is divided anew"
        )
    elif reader.may_be_gzipped(raw.key):
        most, why = limits.gzipped, f"{limits.gzipped:,} bytes (chunk_bytes), gzipped or not"
    else:
        most, why = limits.document, f"{limits.document:,} bytes (document_limit_bytes)"
    if raw.size > most:
        raise ObjectTooLarge(f"{raw.uri} has {raw.size:,} bytes; one such object may have {why}")
