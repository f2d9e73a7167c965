"""Lines of text, gzipped as they come: however many there are, only some are in memory at a time."""

from collections.abc import Iterable, Iterator
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import IO, Self, cast

from isal import isal_zlib

_GZIP_FORMAT = 31
_FASTEST = 1

DAMAGED = (EOFError, cast("type[Exception]", isal_zlib.error))
"""What reading raises of a gzip stream that is not whole."""

_SLICE_BYTES = 2**12
_GATHERED_BYTES = 2**17
"""In larger pieces igzip is quicker."""

HELD_BYTES = 2**23
"""A file of more bytes than this lies in the temporary storage of the function, where S3's client reads it from."""


def spool() -> IO[bytes]:
    """Make a file that lies in memory while it is small; it is gone when it is closed."""
    return SpooledTemporaryFile(max_size=HELD_BYTES)


class Packed:
    """A file of lines, gzipped; whole once it is `finished`."""

    def __init__(self) -> None:
        self.file = spool()
        self._compressor = isal_zlib.compressobj(_FASTEST, wbits=_GZIP_FORMAT)
        self._waiting = bytearray()

    def add(self, lines: bytes) -> None:
        """Take some lines, each with its ending."""
        self._waiting += lines
        if len(self._waiting) >= _GATHERED_BYTES:
            self.file.write(self._compressor.compress(self._waiting))
            self._waiting.clear()

    def finished(self) -> IO[bytes]:
        """Give the file, which takes no more lines."""
        self.file.write(self._compressor.compress(self._waiting) + self._compressor.flush())
        self.file.seek(0)
        return self.file

    def __enter__(self) -> Self:
        """Use it until it is closed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.file.close()


def pack(body: bytes) -> bytes:
    """Gzip some bytes; behind one another, such pieces are one gzip stream (RFC 1952)."""
    compressor = isal_zlib.compressobj(_FASTEST, wbits=_GZIP_FORMAT)
    packed: bytes = compressor.compress(body) + compressor.flush()
    return packed


def unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress every member of a gzip stream, piece by piece; raise one of DAMAGED if it is not whole."""
    member = isal_zlib.decompressobj(wbits=_GZIP_FORMAT)
    is_between = True
    for piece in _slices(pieces):
        rest = piece
        while rest:
            is_between = False
            if plain := member.decompress(rest):
                yield plain
            rest = member.unused_data
            if member.eof:
                member, is_between = isal_zlib.decompressobj(wbits=_GZIP_FORMAT), True
    if not is_between:
        raise EOFError("the gzip stream ends too soon")


def _slices(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Give a stream in slices so small that what each decompresses to is not much either."""
    for piece in pieces:
        for start in range(0, len(piece), _SLICE_BYTES):
            yield piece[start : start + _SLICE_BYTES]


def lines(pieces: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Cut a stream into its lines, some at a time, without their endings."""
    waiting: list[bytes] = []
    for piece in pieces:
        whole, ending, rest = piece.rpartition(b"\n")
        if ending:
            yield b"".join([*waiting, whole]).split(b"\n")
            waiting = []
        if rest:
            waiting.append(rest)
    if waiting:
        yield [b"".join(waiting)]
