"""Gzip lines of text as a stream: however many there are, only some are in memory at a time."""

from collections.abc import Iterable, Iterator
from tempfile import SpooledTemporaryFile
from typing import IO, Self, cast

from isal import isal_zlib

_GZIP_FORMAT = 31
_FASTEST = 1
_FIRST_BYTE = b"\x1f"
_ERROR = cast("type[Exception]", isal_zlib.error)

_SLICE_BYTES = 2**12
_GATHERED_BYTES = 2**17
"""igzip is faster on larger pieces."""

HELD_BYTES = 2**23
"""A larger file is moved to the temporary storage of the function, from which it is uploaded."""


class Damaged(ValueError):
    """A gzip stream is damaged; the message says how."""


def spool() -> IO[bytes]:
    """Open a temporary file, in memory while it is small."""
    return SpooledTemporaryFile(max_size=HELD_BYTES)


class Packed:
    """A gzipped file of lines; complete once it is `finished`."""

    def __init__(self) -> None:
        self.file = spool()
        self._compressor = isal_zlib.compressobj(_FASTEST, wbits=_GZIP_FORMAT)
        self._waiting = bytearray()

    def add(self, lines: bytes) -> None:
        """Add lines, each with its ending."""
        self._waiting += lines
        if len(self._waiting) >= _GATHERED_BYTES:
            self.file.write(self._compressor.compress(self._waiting))
            self._waiting.clear()

    def finished(self) -> IO[bytes]:
        """Return the complete file; no more lines can be added."""
        self.file.write(self._compressor.compress(self._waiting) + self._compressor.flush())
        self.file.seek(0)
        return self.file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def pack(body: bytes) -> bytes:
    """Gzip bytes; concatenated results are one gzip stream (RFC 1952)."""
    compressor = isal_zlib.compressobj(_FASTEST, wbits=_GZIP_FORMAT)
    packed: bytes = compressor.compress(body) + compressor.flush()
    return packed


def unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress every member of a gzip stream, piece by piece; raise Damaged."""
    member = isal_zlib.decompressobj(wbits=_GZIP_FORMAT)
    is_between, is_first = True, True
    for piece in _slices(pieces):
        rest = piece
        while rest := rest.lstrip(b"\0") if is_between else rest:  # RFC 1952 permits no padding, but some tools add it
            if is_between and not is_first and not rest.startswith(_FIRST_BYTE):
                raise Damaged("other bytes follow it")
            is_between = is_first = False
            try:
                plain = member.decompress(rest)
            except _ERROR as error:
                raise Damaged("this one is damaged") from error
            if plain:
                yield plain
            rest = member.unused_data
            if member.eof:
                member, is_between = isal_zlib.decompressobj(wbits=_GZIP_FORMAT), True
    if not is_between:
        raise Damaged("this one is truncated")


def _slices(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Cut a stream into slices so small that each decompresses to little."""
    for piece in pieces:
        for start in range(0, len(piece), _SLICE_BYTES):
            yield piece[start : start + _SLICE_BYTES]


def lines(pieces: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Split a stream into lines, some at a time, without their endings."""
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
