"""The lines of a ledger file, read one by one: there may be a million of them, and none is kept.

A line that is not of its form is told by JSON Schema; those that are, are told apart by msgspec, which is a hundred
times as fast.
"""

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from typing import Annotated, Any, Protocol, cast

from msgspec import DecodeError, Meta, Struct, to_builtins
from msgspec.json import Decoder

from custody.audit import forms
from functions.shared.model.messages import Json, Violation

OF_NO_FILE = (OSError, EOFError, zlib.error, ValueError, RecursionError)
"""What reading raises for bytes that are no gzip, no JSON, nested too deep, or of another form."""

_BUFFER_BYTES = 1 << 18

Count = Annotated[int, Meta(ge=0)]


class Readable(Protocol):
    """A stream of bytes, read once."""

    def read(self, amt: int, /) -> bytes:
        """Read at most so many bytes."""
        ...


class Place(Struct, frozen=True, gc=False):
    """Where a written record lies in its processed object."""

    offset: Count
    length: Count
    sha256: str


class Written(Struct, frozen=True, gc=False, tag_field="outcome", tag="written"):
    """A record that was delivered."""

    position: Count
    offset: Count
    length: Count
    sha256: str
    output: Place


class Rejected(Struct, frozen=True, gc=False, tag_field="outcome", tag="rejected"):
    """A record that a stage has set aside, with all that it breaks."""

    position: Count
    offset: Count
    length: Count
    sha256: str
    stage: str
    violations: tuple[Violation, ...]


class Discarded(Struct, frozen=True, gc=False, tag_field="outcome", tag="discarded"):
    """A record that an operator gave up."""

    position: Count
    offset: Count
    length: Count
    sha256: str


class Counts(Struct, frozen=True, gc=False):
    """How many records: received = written + rejected."""

    received: Count
    written: Count
    rejected: Count


class CommittedChunk(Struct, frozen=True, gc=False, tag_field="outcome", tag="committed"):
    """A chunk, as the summary of its object tells of it: by the ledger file of its latest attempt."""

    start: Count
    attempt: Count
    counts: Counts
    execution: str
    output: Json | None


class FailedChunk(Struct, frozen=True, gc=False, tag_field="outcome", tag="failed"):
    """A chunk that its attempt did not commit; `attempt` and `counts` are those of an earlier one that did."""

    start: Count
    attempt: Count | None = None
    counts: Counts | None = None


RecordLine = Written | Rejected | Discarded
ChunkLine = CommittedChunk | FailedChunk

_RECORD: Decoder[RecordLine] = Decoder(cast("type[RecordLine]", RecordLine))
_CHUNK: Decoder[ChunkLine] = Decoder(cast("type[ChunkLine]", ChunkLine))


def shape(counts: Counts) -> dict[str, int]:
    """Give the JSON shape of counts."""
    return {"received": counts.received, "written": counts.written, "rejected": counts.rejected}


def added(one: Counts, other: Counts) -> Counts:
    """Add two counts up."""
    return Counts(one.received + other.received, one.written + other.written, one.rejected + other.rejected)


def encode(line: RecordLine) -> Json:
    """Give the JSON shape of a line."""
    shape: Json = to_builtins(line)
    return shape


def of_dead_letter(record: Json) -> Rejected:
    """Read a rejected record as a dead letter lists it."""
    violations = tuple(Violation(**each) for each in record["violations"])
    return Rejected(
        record["position"], record["offset"], record["length"], record["sha256"], record["stage"], violations
    )


def opened(stream: Readable) -> tuple[Any, Iterator[bytes]]:
    """Open a ledger file: its header, not yet looked at, and its lines as they stand there; raise one of OF_NO_FILE."""
    file = buffered(gzip.GzipFile(fileobj=cast("Any", stream)))
    return json.loads(file.readline()), file


def records(lines: Iterator[bytes]) -> Iterator[RecordLine]:
    """Read the lines of a ledger file; raise one of OF_NO_FILE at the first that is none."""
    for number, body in enumerate(lines, 2):
        try:
            yield _RECORD.decode(body)
        except DecodeError as error:
            raise forms.of_no_line(body, number, forms.record_line) from error


def chunks(lines: Iterator[bytes]) -> Iterator[ChunkLine]:
    """Read the lines of the summary of a bulk object; raise one of OF_NO_FILE at the first that is none."""
    for number, body in enumerate(lines, 2):
        try:
            yield _CHUNK.decode(body)
        except DecodeError as error:
            raise forms.of_no_line(body, number, forms.chunk_line) from error


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
