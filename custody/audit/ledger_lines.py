"""Read the lines of a ledger file one by one: there may be a million of them, and none is kept."""

import gzip
import io
from collections.abc import Iterator
from typing import Any, Literal, Protocol, Self, TypeVar, cast

from msgspec import UNSET, UnsetType
from msgspec.json import Decoder
from msgspec.structs import asdict

from functions.shared.model.decoding import Undecodable, decode
from functions.shared.model.ids import record_id
from functions.shared.model.keys import LedgerKey
from functions.shared.model.ledger import (
    AuditFile,
    ChunkLine,
    DiscardHeader,
    LedgerHeader,
    OutputSpan,
    RecordLine,
    SummaryHeader,
)
from functions.shared.model.records import Span, Violation, describe_violations
from functions.shared.records.strict_json import exact

_BUFFER_BYTES = 1 << 18

_HEADER = Decoder(LedgerHeader)
_SUMMARY = Decoder(SummaryHeader)
_DISCARD = Decoder(DiscardHeader)
_RECORD: Decoder[RecordLine] = Decoder(RecordLine, float_hook=exact)
_CHUNK: Decoder[ChunkLine] = Decoder(ChunkLine)

_Line = TypeVar("_Line")
_File = TypeVar("_File", bound=AuditFile)


class RecordOutcome(Span, frozen=True, kw_only=True):
    """A record, by its record id, and its outcome.

    A rejected record has its stage and violations, also if it was discarded since; a written one has its place in the
    processed object.
    """

    record: str
    outcome: Literal["written", "rejected", "discarded"]
    stage: str | UnsetType = UNSET
    violations: tuple[Violation, ...] | UnsetType = UNSET
    violations_total: int | UnsetType | None = UNSET
    output: OutputSpan | UnsetType = UNSET

    @classmethod
    def of(cls, line: RecordLine, object_id: str, *, is_discarded: bool = False) -> Self:
        """Return the outcome in the line of a record."""
        outcome: Any = "discarded" if is_discarded else line.__struct_config__.tag
        return cls(**asdict(line), record=record_id(object_id, line.position), outcome=outcome)

    def described(self) -> list[str]:
        """Describe the violations, a line each, and how many more there are; none unless it was rejected."""
        if isinstance(self.violations, UnsetType) or isinstance(self.violations_total, UnsetType):
            return []
        return describe_violations(self.violations, self.violations_total)


class Readable(Protocol):
    """A stream of bytes, read once."""

    def read(self, amt: int, /) -> bytes:
        """Read up to `amt` bytes."""
        ...


def opened(stream: Readable) -> tuple[bytes, Iterator[bytes]]:
    """Open a ledger file: return its header and its lines, undecoded; raise one of UNREADABLE."""
    file = buffered(gzip.GzipFile(fileobj=cast("Any", stream)))
    return file.readline(), file


def committed_header(line: bytes, key: LedgerKey) -> LedgerHeader:
    """Decode the header of a ledger file that a step committed; raise Undecodable."""
    header = decode(line, _SUMMARY) if key.is_summary else decode(line, _HEADER)
    return require_same(header, key.object_id, key.attempt)


def discard_header(line: bytes, key: LedgerKey) -> DiscardHeader:
    """Decode the header of a ledger file with which an operator discards records; raise Undecodable."""
    return require_same(decode(line, _DISCARD), key.object_id, key.attempt)


def require_same(file: _File, object_id: str, attempt: int) -> _File:
    """Return what was decoded; raise Undecodable if it is not about the object and attempt of its key."""
    if (file.object.id, file.attempt) != (object_id, attempt):
        raise Undecodable("it describes another object or attempt than its key")
    return file


def records(lines: Iterator[bytes]) -> Iterator[RecordLine]:
    """Decode the lines of a ledger file; raise one of UNREADABLE at the first that cannot be."""
    return _decoded(lines, _RECORD)


def chunks(lines: Iterator[bytes]) -> Iterator[ChunkLine]:
    """Decode the lines of the summary of a bulk object; raise one of UNREADABLE at the first that cannot be."""
    return _decoded(lines, _CHUNK)


def _decoded(lines: Iterator[bytes], decoder: Decoder[_Line]) -> Iterator[_Line]:
    for number, line in enumerate(lines, 2):
        try:
            yield decode(line, decoder)
        except Undecodable as error:
            raise Undecodable(f"line {number}: {error}") from error


def buffered(stream: Any) -> io.BufferedReader:
    """Read a stream in large pieces, however small those are that are asked for."""
    return io.BufferedReader(stream, _BUFFER_BYTES)
