"""Split a stream of bytes into JSON Lines, independently of the pieces it comes in and the chunks of its object.

A line ends in LF, and belongs to the chunk that holds its first byte. https://jsonlines.org/
"""

from collections.abc import Iterable, Iterator
from itertools import islice

from msgspec import Struct

BOM = b"\xef\xbb\xbf"
LF = b"\n"
SPACE = b" \t\r"

AT_A_TIME = 128
"""Lines in a page: few enough that what is made of them stays in the processor's cache."""


class Line(Struct, frozen=True, gc=False):
    """A line without its ending: its position is where the line begins, its offset where the body does.

    The body of a line that is too long is its beginning, as much as is allowed.
    """

    position: int
    offset: int
    body: bytes
    is_too_long: bool = False


def reach(start: int, end: int, limit: int) -> tuple[int, int]:
    """Return the bytes of an object that `lines` needs for a chunk: the first, and the one after the last.

    The byte before the chunk shows whether a line begins with it; its last line may extend beyond it by a line's limit.
    """
    return max(start - 1, 0), end + limit + 1


def lines(pieces: Iterable[bytes], start: int, end: int, limit: int) -> Iterator[list[Line]]:
    """Yield the lines that begin from byte `start` up to `end`, some at a time; `pieces` start as `reach` says.

    Blank lines are skipped. A CR before the LF, and a byte order mark at the start of an object, belong to no line.
    A line may have `limit` bytes; memory holds one such line and a piece.
    """
    for position, whole in _blocks(pieces, start, end, limit):
        split = _split(position, whole, end, limit)
        while page := list(islice(split, AT_A_TIME)):
            yield page


def _blocks(pieces: Iterable[bytes], start: int, end: int, limit: int) -> Iterator[tuple[int, bytes]]:
    """Yield runs of whole lines with their positions; a line that is too long is a run of its own, truncated."""
    rest, at = b"", max(start - 1, 0)
    is_skipping = start > 0
    for piece in pieces:
        if at >= end and not is_skipping and not rest:
            return
        rest += piece
        if is_skipping:
            ending = rest.find(LF)
            at, rest = (at + len(rest), b"") if ending < 0 else (at + ending + 1, rest[ending + 1 :])
            is_skipping = ending < 0
            if at > end:
                return
            if is_skipping:
                continue
        last = rest.rfind(LF)
        if last >= 0:
            yield at, rest[:last]
            at, rest = at + last + 1, rest[last + 1 :]
        if at >= end:
            return
        if len(rest) > limit:
            yield at, rest[: limit + 1]
            at, rest, is_skipping = at + len(rest), b"", True
    if not is_skipping and rest and at < end:
        yield at, rest


def _split(position: int, block: bytes, end: int, limit: int) -> Iterator[Line]:
    has_cr = b"\r" in block
    for body in block.split(LF):
        if position >= end:
            return
        if len(body) > limit:
            yield Line(position, position, body[:limit], is_too_long=True)
        else:
            line, offset = body, position
            if position == 0 and line.startswith(BOM):
                line, offset = line[len(BOM) :], len(BOM)
            if has_cr and line.endswith(b"\r"):
                line = line[:-1]
            if line.strip(SPACE):
                yield Line(position, offset, line)
        position += len(body) + 1
