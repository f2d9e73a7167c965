"""Verify a batch: each line of its ledger file against the bytes of the raw version, and those that consumers read.

The three are read once and side by side, and no record is kept: a ledger file may have a million lines.
"""

from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

from msgspec.structs import replace

from custody.assurance.findings import Findings, Result
from custody.audit.ledger_lines import Readable, buffered, records
from custody.audit.object_versions import open_span, unless_gone
from custody.terminal.text import plural
from functions.shared.model.ids import RawObject, record_id
from functions.shared.model.keys import LedgerKey
from functions.shared.model.ledger import LedgerHeader, Output, RecordLine, RejectedLine, WrittenLine
from functions.shared.model.messages import Counts

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_PIECE_BYTES = 1 << 20


def verify_batch(
    s3: "S3Client", key: LedgerKey, header: LedgerHeader, lines: Iterator[bytes], findings: Findings
) -> int:
    """Verify a batch by its ledger file, add what is found, and return how many records were checked.

    Raises one of UNREADABLE at a line that cannot be decoded.
    """
    raw, chunk = header.object, header.chunk
    if (derived := replace(raw, id="").id) != key.object_id:
        findings.add(Result.BROKEN, f"the ledger file {key.key} is of another object: {derived}")
        return 0
    if (start := chunk.start if chunk else 0) != key.start:
        findings.add(Result.BROKEN, f"the ledger file {key.key} is of another chunk, the one at byte {start:,}")
        return 0
    # Each generator passes the lines on to the next, so the ledger file and both objects are read side by side.
    tally = Counter[str]()
    counted = _counted(records(lines), range(chunk.start, chunk.start + chunk.bytes) if chunk else None, tally)
    with closing(_compared_with_raw(s3, raw, counted, findings, is_divided=chunk is not None)) as compared:
        _compare_with_processed(s3, header.output, raw.id, compared, findings)
    findings.add_broken(_contradictions(key.key, header.counts, tally))
    return tally["lines"]


def delivered_elsewhere(s3: "S3Client", output: Output | None, earlier: Iterable[Output]) -> Iterator[str]:
    """Find what earlier attempts delivered elsewhere and was not removed: the default dataset may have changed."""
    places = dict.fromkeys((each.bucket, each.key) for each in earlier)
    if output:
        places.pop((output.bucket, output.key), None)
    for bucket, key in places:
        current = unless_gone(partial(s3.head_object, Bucket=bucket, Key=key))
        if current and current["ContentLength"]:
            yield f"the records of an earlier attempt are still delivered at s3://{bucket}/{key}"


def differences_in_processed(stream: Readable, object_id: str, written: Iterable[WrittenLine]) -> Iterator[str]:
    """Compare a processed object with the ledger: it must have these lines, and nothing else."""
    at, is_lost = 0, False
    for line in written:
        output, name = line.output, f"record {record_id(object_id, line.position)}"
        if not is_lost and output.offset != at:
            yield f"{name}: by the ledger it begins at byte {output.offset}, not right after the previous record"
            is_lost = True
        if is_lost:
            # What follows a record that the ledger misplaced cannot be compared.
            continue
        digest, end = _hash(stream, output.length), stream.read(1)
        at = output.offset + output.length + 1
        if digest != output.sha256:
            yield f"{name}: its line in the processed object is not the one that was written"
        elif end != b"\n":
            yield f"{name}: its line in the processed object does not end where it did"
    if not is_lost and stream.read(1):
        yield "the processed object has more bytes after its last record"


def _counted(lines: Iterable[RecordLine], chunk: range | None, tally: Counter[str]) -> Iterator[RecordLine]:
    """Count lines as they pass: by outcome, and those that are out of order or do not begin in their chunk."""
    last = -1
    for line in lines:
        tally["lines"] += 1
        tally["written"] += isinstance(line, WrittenLine)
        tally["rejected"] += isinstance(line, RejectedLine)
        tally["misplaced"] += line.position <= last
        tally["outside"] += chunk is not None and line.position not in chunk
        last = line.position
        yield line


def _contradictions(key: str, counts: Counts, tally: Counter[str]) -> Iterator[str]:
    """Find where a ledger file contradicts itself."""
    counted = Counts(tally["written"] + tally["rejected"], tally["written"], tally["rejected"])
    if counts != counted or counted.received != tally["lines"]:
        yield (
            f"the ledger file {key} counts {format_counts(counts)}, but its {tally['lines']} lines make "
            f"{format_counts(counted)}"
        )
    if tally["misplaced"]:
        yield f"the ledger file {key} does not have each record once, in order of position"
    if tally["outside"]:
        yield f"the ledger file {key} claims a record that does not begin in its chunk"


def _compared_with_raw(
    s3: "S3Client", raw: RawObject, lines: Iterable[RecordLine], findings: Findings, *, is_divided: bool
) -> Generator[RecordLine]:
    """Pass lines on after comparing the bytes of each record with its hash; the raw version is opened at the first."""
    at: int | None = None
    stream: Readable | None = None
    with ExitStack() as stack:
        for line in lines:
            if at is None:
                at = line.offset
                body = unless_gone(partial(open_span, s3, raw, at, is_divided=is_divided))
                stream = stack.enter_context(closing(buffered(body))) if body else None
                if stream is None:
                    findings.add(Result.EXPIRED, f"the raw version is gone or archived: {raw.uri}")
            difference = None
            if stream and line.offset < at:
                difference = "by the ledger it begins before the previous record ends"
            elif stream:
                _hash(stream, line.offset - at)
                at = line.offset + line.length
                if _hash(stream, line.length) != line.sha256:
                    difference = "its bytes in the raw object are not those in the ledger"
            if difference:
                findings.add(Result.BROKEN, f"record {record_id(raw.id, line.position)}: {difference}")
            yield line


def _compare_with_processed(
    s3: "S3Client", output: Output | None, object_id: str, lines: Iterable[RecordLine], findings: Findings
) -> None:
    """Compare what consumers read, the current version, with what was committed.

    Of the records that differ only the first is named: an object that was replaced may have a million.
    """
    written = (line for line in lines if isinstance(line, WrittenLine))
    answer = unless_gone(partial(s3.get_object, Bucket=output.bucket, Key=output.key)) if output else None
    if output is None or answer is None:
        number = sum(1 for _ in written)
        if output:
            findings.add(Result.BROKEN, _why_missing(s3, output))
        elif number:
            findings.add(Result.BROKEN, f"the ledger names no processed object for {number} written records")
        return
    first, others = "", -1
    with closing(buffered(answer["Body"])) as stream:
        for difference in differences_in_processed(stream, object_id, written):
            first, others = first or difference, others + 1
    if (version := answer.get("VersionId")) != output.version_id:
        bytes_are = "other bytes than" if first else "the same bytes as"
        uri = f"s3://{output.bucket}/{output.key}"
        message = f"{uri}: replaced: its version {version} has {bytes_are} the committed {output.version_id}"
        findings.add(Result.BROKEN if first else Result.HOLDS, message)
    if first:
        more = f"; and {plural(others, 'more difference')} in the same processed object" if others else ""
        findings.add(Result.BROKEN, first + more)


def format_counts(counts: Counts) -> str:
    """Format counts, such as `3 received, 2 written, 1 rejected`."""
    return f"{counts.received:,} received, {counts.written:,} written, {counts.rejected:,} rejected"


def _why_missing(s3: "S3Client", output: Output) -> str:
    """Explain whether a processed object is gone forever, archived or only hidden; nothing may expire it."""
    uri = f"s3://{output.bucket}/{output.key}"
    version = unless_gone(lambda: s3.head_object(Bucket=output.bucket, Key=output.key, VersionId=output.version_id))
    if version is None:
        return f"{uri}: permanently deleted, with its version {output.version_id}"
    archive: str = version.get("ArchiveStatus", "")
    if archive or version.get("StorageClass") in {"GLACIER", "DEEP_ARCHIVE"}:
        return f"{uri}: archived, so that consumers cannot read it: restore it"
    return f"{uri}: deleted: a delete marker hides it; its version {output.version_id} is still there"


def _hash(stream: Readable, length: int) -> str:
    """Read at most `length` bytes, and return their SHA-256."""
    if length <= _PIECE_BYTES:
        return sha256(stream.read(length)).hexdigest()
    digest = sha256()
    while length and (piece := stream.read(min(length, _PIECE_BYTES))):
        digest.update(piece)
        length -= len(piece)
    return digest.hexdigest()
