"""Read the lines of a ledger file one by one: there may be a million of them, and none is kept."""

import gzip
import io
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar, cast

from msgspec.json import Decoder

from functions.shared.audit.ledger_file import UNREADABLE
from functions.shared.model.decoding import Undecodable, decode
from functions.shared.model.keys import LedgerKey
from functions.shared.model.ledger import AuditFile, ChunkLine, DiscardHeader, LedgerHeader, RecordLine, SummaryHeader

__all__ = [
    "UNREADABLE",
    "Readable",
    "buffered",
    "chunks",
    "committed_header",
    "discard_header",
    "opened",
    "records",
    "summary_header",
]

_BUFFER_BYTES = 1 << 18

_HEADER = Decoder(LedgerHeader)
_SUMMARY = Decoder(SummaryHeader)
_DISCARD = Decoder(DiscardHeader)
_RECORD: Decoder[RecordLine] = Decoder(RecordLine)
_CHUNK: Decoder[ChunkLine] = Decoder(ChunkLine)

_Line = TypeVar("_Line")
_File = TypeVar("_File", bound=AuditFile)


class Readable(Protocol):
    """A stream of bytes, read once."""

    def read(self, amt: int, /) -> bytes:
        """Read at most so many bytes."""
        ...


def opened(stream: Readable) -> tuple[bytes, Iterator[bytes]]:
    """Open a ledger file: return its header and its lines, undecoded; raise one of UNREADABLE."""
    file = buffered(gzip.GzipFile(fileobj=cast("Any", stream)))
    return file.readline(), file


def committed_header(line: bytes, key: LedgerKey) -> LedgerHeader:
    """Decode the header of a ledger file that a step committed; raise Undecodable."""
    if key.is_summary:
        return summary_header(line, key)
    return require_same(decode(line, _HEADER), key.object_id, key.attempt)


def summary_header(line: bytes, key: LedgerKey) -> SummaryHeader:
    """Decode the header of the summary of a bulk object; raise Undecodable."""
    return require_same(decode(line, _SUMMARY), key.object_id, key.attempt)


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
    return io.BufferedReader(_Raw(stream), _BUFFER_BYTES)


class _Raw(io.RawIOBase):
    """A stream as the standard library buffers it."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream

    def readable(self) -> bool:
        """It can be read, and nothing else."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read as many bytes as there are, up to what the buffer holds."""
        piece = self._stream.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        """Close the stream too."""
        if not self.closed:
            self._stream.close()
        super().close()
