"""Verify a batch: each line of its ledger file against the bytes of the raw version, and those that consumers read.

The three are read once and side by side, and no record is kept: a ledger file may have a million lines.
"""

from collections.abc import Iterable, Iterator
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
    tally = _Tally(key.key, range(chunk.start, chunk.start + chunk.bytes) if chunk else None)
    with ExitStack() as stack:
        source = _RawObject(s3, raw, stack, findings)
        delivery = _Delivery(s3, header.output, stack)
        for line in tally.count(records(lines)):
            source.compare(line)
            if isinstance(line, WrittenLine):
                delivery.compare(raw.id, line)
        findings.add_broken(tally.differences(header.counts))
        delivery.report(findings, tally.written)
    return tally.lines


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
    processed = _ProcessedBytes(stream)
    for line in written:
        if difference := processed.difference(line):
            yield f"record {record_id(object_id, line.position)}: {difference}"
    yield from processed.rest()


class _Tally:
    """Counts the lines of a ledger file as they pass, and checks that they are in order and belong to its chunk.

    `chunk` is the range of bytes in which a record may begin; None if the batch is a whole object.
    """

    def __init__(self, key: str, chunk: range | None) -> None:
        self._key = key
        self._chunk = chunk
        self._last = -1
        self._is_ordered = self._is_inside = True
        self.lines = self.written = self.rejected = 0

    def count(self, lines: Iterable[RecordLine]) -> Iterator[RecordLine]:
        for line in lines:
            self.lines += 1
            self.written += isinstance(line, WrittenLine)
            self.rejected += isinstance(line, RejectedLine)
            self._is_ordered &= line.position > self._last
            self._last = line.position
            self._is_inside &= self._chunk is None or line.position in self._chunk
            yield line

    def differences(self, counts: Counts) -> Iterator[str]:
        """Compare the lines with the counts in the header."""
        counted = Counts(self.written + self.rejected, self.written, self.rejected)
        if counts != counted or counted.received != self.lines:
            yield (
                f"the ledger file {self._key} counts {format_counts(counts)}, but its {self.lines} lines make "
                f"{format_counts(counted)}"
            )
        if not self._is_ordered:
            yield f"the ledger file {self._key} does not have each record once, in order of position"
        if not self._is_inside:
            yield f"the ledger file {self._key} claims a record that does not begin in its chunk"


class _RawObject:
    """The raw version, opened at the first record."""

    def __init__(self, s3: "S3Client", raw: RawObject, stack: ExitStack, findings: Findings) -> None:
        self._s3 = s3
        self._raw = raw
        self._stack = stack
        self._findings = findings
        self._stream: Readable | None = None
        self._at: int | None = None

    def compare(self, line: RecordLine) -> None:
        """Compare the bytes of a record with its hash in the ledger."""
        if self._at is None:
            self._at = line.offset
            if stream := unless_gone(lambda: open_span(self._s3, self._raw, line.offset)):
                self._stream = self._stack.enter_context(closing(buffered(stream)))
            else:
                self._findings.add(Result.EXPIRED, f"the raw version is gone: {self._raw.uri}")
        if self._stream and (difference := self._difference(self._stream, self._at, line)):
            self._findings.add(Result.BROKEN, f"record {record_id(self._raw.id, line.position)}: {difference}")

    def _difference(self, stream: Readable, at: int, line: RecordLine) -> str | None:
        if line.offset < at:
            return "by the ledger it begins before the previous record ends"
        _hash(stream, line.offset - at)
        digest = _hash(stream, line.length)
        self._at = line.offset + line.length
        return None if digest == line.sha256 else "its bytes in the raw object are not those in the ledger"


class _Delivery:
    """What consumers read, the current version, compared with what was committed.

    Of the records that differ only the first is named: an object that was replaced may have a million.
    """

    def __init__(self, s3: "S3Client", output: Output | None, stack: ExitStack) -> None:
        self._s3 = s3
        self._output = output
        self._differing = 0
        self._first = ""
        self._version: str | None = None
        self._processed: _ProcessedBytes | None = None
        if not output:
            return
        if answer := unless_gone(lambda: s3.get_object(Bucket=output.bucket, Key=output.key)):
            self._version = answer.get("VersionId")
            self._processed = _ProcessedBytes(stack.enter_context(closing(buffered(answer["Body"]))))

    def compare(self, object_id: str, line: WrittenLine) -> None:
        if self._processed and (difference := self._processed.difference(line)):
            self._differing += 1
            self._first = self._first or f"record {record_id(object_id, line.position)}: {difference}"

    def report(self, findings: Findings, written: int) -> None:
        """Add what was found, after the last record."""
        output = self._output
        if not output:
            if written:
                findings.add(Result.BROKEN, f"the ledger names no processed object for {written} written records")
            return
        uri = f"s3://{output.bucket}/{output.key}"
        if self._processed is None:
            findings.add(Result.BROKEN, _why_missing(self._s3, output, uri))
            return
        differences = [*self._differences(), *self._processed.rest()]
        if self._version != output.version_id:
            bytes_are = "other bytes than" if differences else "the same bytes as"
            message = f"{uri}: replaced: its version {self._version} has {bytes_are} the committed {output.version_id}"
            findings.add(Result.BROKEN if differences else Result.HOLDS, message)
        findings.add_broken(differences)

    def _differences(self) -> Iterator[str]:
        """Name the first record that differs, and count the others."""
        if self._differing:
            others = self._differing - 1
            yield self._first + (
                f"; and {plural(others, 'more record')} of the same processed object" if others else ""
            )


class _ProcessedBytes:
    """The bytes of a processed object, compared with each line of a written record."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._at = 0
        self._is_lost = False

    def difference(self, line: WrittenLine) -> str | None:
        """Compare a record; None if it is as written, or follows one that the ledger misplaced."""
        if self._is_lost:
            return None
        output = line.output
        if output.offset != self._at:
            self._is_lost = True
            return f"by the ledger it begins at byte {output.offset}, not right after the previous record"
        digest, end = _hash(self._stream, output.length), self._stream.read(1)
        self._at = output.offset + output.length + 1
        if digest != output.sha256:
            return "its line in the processed object is not the one that was written"
        return None if end == b"\n" else "its line in the processed object does not end where it did"

    def rest(self) -> Iterator[str]:
        """Find bytes after the last record."""
        if not self._is_lost and self._stream.read(1):
            yield "the processed object has more bytes after its last record"


def format_counts(counts: Counts) -> str:
    """Format counts, such as `3 received, 2 written, 1 rejected`."""
    return f"{counts.received:,} received, {counts.written:,} written, {counts.rejected:,} rejected"


def _why_missing(s3: "S3Client", output: Output, uri: str) -> str:
    """Explain whether a processed object is gone forever, or only hidden; nothing may expire it."""
    if not unless_gone(lambda: s3.head_object(Bucket=output.bucket, Key=output.key, VersionId=output.version_id)):
        return f"{uri}: permanently deleted, with its version {output.version_id}"
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
