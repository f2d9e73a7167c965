"""Check one batch: each line of its ledger file against the bytes of the raw version, and those that consumers read.

All three are read once, beside each other, and nothing of them is kept.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from custody.assurance.compare import ProcessedBytes, RawBytes, Tally
from custody.assurance.findings import Findings, Result
from custody.audit.dead_letters import GONE, open_span
from custody.audit.ledger_lines import buffered, records
from functions.shared.model.ids import RawObject, record_id
from functions.shared.model.keys import LedgerKey
from functions.shared.model.ledger import LedgerHeader, Output, RecordLine, WrittenLine

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def prove(s3: "S3Client", entry: LedgerKey, header: LedgerHeader, lines: Iterator[bytes], findings: Findings) -> int:
    """Check a batch by its ledger file, and take down what is found; give how many records were checked.

    Raises one of UNREADABLE when a line is none.
    """
    raw, chunk = header.raw, header.chunk
    if raw.id != entry.object_id:
        findings.broken(f"the ledger file {entry.key} tells of another object: {raw.id}")
        return 0
    if (begins := chunk.start if chunk else 0) != entry.start:
        findings.broken(f"the ledger file {entry.key} tells of another chunk, the one at byte {begins:,}")
        return 0
    tally = Tally(entry.key, range(chunk.start, chunk.start + chunk.bytes) if chunk else None)
    with ExitStack() as stack:
        source = _Source(s3, raw, stack, findings)
        delivery = _Delivery(s3, header.output, stack)
        for line in tally.passing(records(lines)):
            source.compare(line)
            if isinstance(line, WrittenLine):
                delivery.compare(raw.id, line)
        findings.broken(tally.differences(header))
        delivery.tell(findings, tally.written)
    return tally.lines


class _Source:
    """The raw version, read from the first record on; opened when there is one."""

    def __init__(self, s3: "S3Client", raw: RawObject, stack: ExitStack, findings: Findings) -> None:
        self._s3 = s3
        self._raw = raw
        self._stack = stack
        self._findings = findings
        self._bytes: RawBytes | None = None
        self._is_open = False

    def compare(self, line: RecordLine) -> None:
        if not self._is_open:
            self._is_open = True
            self._bytes = self._opened(line.offset)
        if self._bytes and (said := self._bytes.difference(line)):
            self._findings.broken(f"record {record_id(self._raw.id, line.position)}: {said}")

    def _opened(self, start: int) -> RawBytes | None:
        try:
            stream = open_span(self._s3, self._raw, start)
        except ClientError as error:
            if _code(error) not in GONE:
                raise
            self._findings.add(Result.EXPIRED, f"the raw version is gone: {self._raw.uri}")
            return None
        return RawBytes(self._stack.enter_context(closing(buffered(stream))), start)


class _Delivery:
    """What consumers read, the current version, beside what was committed of it.

    Of the records that differ only the first is named: an object that was replaced may have a million.
    """

    def __init__(self, s3: "S3Client", output: Output | None, stack: ExitStack) -> None:
        self._s3 = s3
        self._output = output
        self._differing = 0
        self._first = ""
        self._version: str | None = None
        self._bytes: ProcessedBytes | None = None
        if not output:
            return
        try:
            answer = s3.get_object(Bucket=output.bucket, Key=output.key)
        except ClientError as error:
            if _code(error) not in GONE:
                raise
            return
        self._version = answer.get("VersionId")
        self._bytes = ProcessedBytes(stack.enter_context(closing(buffered(answer["Body"]))))

    def compare(self, object_id: str, line: WrittenLine) -> None:
        if self._bytes and (said := self._bytes.difference(line)):
            self._differing += 1
            self._first = self._first or f"record {record_id(object_id, line.position)}: {said}"

    def tell(self, findings: Findings, written: int) -> None:
        """Take down what was found, by the end."""
        output = self._output
        if not output:
            if written:
                findings.broken(f"the ledger names no processed object for {written} written records")
            return
        uri = f"s3://{output.bucket}/{output.key}"
        if self._bytes is None:
            findings.broken(_missing(self._s3, output, uri))
            return
        differences = [*self._differences(), *self._bytes.rest()]
        if self._version != output.version_id:
            bytes_are = "other bytes than" if differences else "the same bytes as"
            said = f"{uri}: replaced: its version {self._version} has {bytes_are} the committed {output.version_id}"
            findings.add(Result.BROKEN if differences else Result.HOLDS, said)
        findings.broken(differences)

    def _differences(self) -> Iterator[str]:
        """Name the first record that differs, and count the others."""
        if more := max(0, self._differing - 1):
            yield f"{self._first}; and {more:,} more record{'' if more == 1 else 's'} of the same processed object"
        elif self._differing:
            yield self._first


def _missing(s3: "S3Client", output: Output, uri: str) -> str:
    """Tell whether a processed object that cannot be read is gone for good, or only hidden; nothing may expire it."""
    version = output.version_id
    try:
        s3.head_object(Bucket=output.bucket, Key=output.key, VersionId=version)
    except ClientError as error:
        if _code(error) not in GONE:
            raise
        return f"{uri}: gone for good, with its version {version}"
    return f"{uri}: deleted: a delete marker hides it; its version {version} is still there"


def still_elsewhere(s3: "S3Client", output: Output | None, earlier: Iterable[Output]) -> Iterator[str]:
    """Check that what earlier attempts delivered elsewhere was taken back: the default dataset may have changed."""
    places = dict.fromkeys((each.bucket, each.key) for each in earlier)
    if output:
        places.pop((output.bucket, output.key), None)
    for bucket, key in places:
        try:
            found = s3.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if _code(error) not in GONE:
                raise
            continue
        if found["ContentLength"]:
            yield f"an earlier attempt's records are still delivered at s3://{bucket}/{key}"


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])
