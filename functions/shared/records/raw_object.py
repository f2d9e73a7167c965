"""Read the records of a batch from the raw bucket, and no more of its object than that."""

from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct

from functions.shared import aws
from functions.shared.errors import ObjectTooLarge
from functions.shared.model.chunking import BULK_FROM, MOST_CHUNKS, has_suffix
from functions.shared.model.messages import Batch
from functions.shared.records import formats, jsonl, reader
from functions.shared.records.reader import Limits, Pages


class RawRecords(Struct, frozen=True):
    """The records of a batch, a page at a time; `last_modified` is that of the raw version (ISO 8601, UTC)."""

    pages: Pages
    last_modified: str


@contextmanager
def opened(batch: Batch, limits: Limits) -> Iterator[RawRecords]:
    """Open the records of a batch, at the exact version of its object.

    Raises ObjectTooLarge, ObjectMissing, AccessRefused, CallRefused or ServiceUnavailable, also while they are read.
    """
    raw = batch.object
    _require_fits(batch, limits)
    if batch.chunk is None:
        with aws.streamed(raw.bucket, raw.key, raw.version_id) as stored:
            yield RawRecords(reader.of_object(stored.pieces, raw.key, limits), stored.last_modified)
        return
    start, end = batch.chunk.start, min(batch.chunk.start + batch.chunk.bytes, raw.size)
    with aws.streamed(raw.bucket, raw.key, raw.version_id, jsonl.reach(start, end, limits.document)) as stored:
        yield RawRecords(_of_chunk(batch, stored.pieces, start, end, limits), stored.last_modified)


def _of_chunk(batch: Batch, pieces: Iterator[bytes], start: int, end: int, limits: Limits) -> Pages:
    """Read a chunk; of an object in another format, the first chunk is one rejected record, and the others are empty.

    Nothing in such an object reads as a line, so its first bytes are only read again for a page with rejected records.
    """
    pages = reader.of_chunk(pieces, start, end, limits)
    page = next(pages, [])
    if any(record.violations for record in page):
        raw = batch.object
        with aws.streamed(raw.bucket, raw.key, raw.version_id, (0, formats.LONGEST)) as stored:
            refused = reader.refuse_format(b"".join(stored.pieces), is_divided=True)
        if refused:
            yield from refused if start == 0 else ()
            return
    if page:
        yield page
        del page  # else it would be in memory as long as the others are read
    yield from pages


def _require_fits(batch: Batch, limits: Limits) -> None:
    """Raise ObjectTooLarge if the size alone shows it; of a document or a compressed object, only reading it does."""
    raw = batch.object
    most = max(limits.batch, BULK_FROM)
    if batch.chunk or raw.size <= most:
        return
    if has_suffix(raw.key, limits.suffixes):
        # A larger one that is not divided would be more chunks than an object may have.
        why = (
            f"{MOST_CHUNKS:,} chunks of {limits.batch:,} bytes (chunk_bytes); raise that, deploy, and upload it "
            "again: only a new object is divided anew"
        )
    else:
        why = f"{most:,} bytes (chunk_bytes), or as JSON Lines a name with a suffix of json_lines_suffixes"
    raise ObjectTooLarge(f"{raw.uri} has {raw.size:,} bytes; one such object may have {why}")
