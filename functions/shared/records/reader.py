"""Read the records of an object, each with its place and hash, from a JSON document or JSON Lines.

JSON Lines are read as a stream, so that memory does not grow with the object; a JSON document is read as a whole.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import IO, Any

from msgspec import Struct

from functions.shared.errors import ObjectTooLarge
from functions.shared.model.chunking import PLAIN_LINES
from functions.shared.model.records import Record, Span, Violation
from functions.shared.records.gzip_lines import DAMAGED, spool, unpacked
from functions.shared.records.jsonl import AT_A_TIME, BOM, LF, SPACE, Line, lines
from functions.shared.records.strict_json import UNSURE, Malformed, Reader, decode_quickly

PIECE_BYTES = 2**20
"""How much of a stream is in memory at a time."""

_BOM = "\ufeff"
_GZIP = ".gz"
_GZIP_BEGIN = b"\x1f\x8b"
_DOCUMENT = (".json",)
_NO_DOCUMENT = frozenset({"json", "utf-8"})
_SPACE = re.compile(r"[ \t\n\r]*")


class Raw(Struct, frozen=True, gc=False):
    """A record as it was read: its place, its bytes, its document, and what is wrong with it as JSON."""

    position: int
    offset: int
    body: bytes
    document: Any
    violations: tuple[Violation, ...] = ()

    @property
    def span(self) -> Span:
        """The place of the record, and the hash of its bytes."""
        return Span(self.position, self.offset, len(self.body), hashlib.sha256(self.body).hexdigest())

    @property
    def record(self) -> Record:
        """The record, if it is accepted."""
        return Record(self.span, self.document)


Pages = Iterator[list[Raw]]

_NOTHING = Raw(0, 0, b"", None, (Violation("", "json", "a document; the object is empty"),))
"""The record of an empty object."""


class Limits(Struct, frozen=True):
    """Maximum sizes in bytes, decompressed: of a JSON document (an object or a line), and of gzipped JSON Lines."""

    document: int
    gzipped: int


def of_chunk(pieces: Iterable[bytes], start: int, end: int, limits: Limits) -> Pages:
    """Read the lines that begin in a chunk of an object; `pieces` start where `jsonl.reach` says.

    A line of more bytes than a document may have is a rejected record, with the hash of its first bytes only.
    """
    reader = Reader()
    for page in lines(pieces, start, end, limits.document):
        yield _page(page, reader)


def of_object(pieces: Iterable[bytes], key: str, limits: Limits) -> Pages:
    """Read an object in the format of its key: `.json` is one document, `.jsonl` and `.ndjson` are JSON Lines.

    Each may be gzipped, with `.gz` appended. Any other key has its format detected. An object that is empty, or cannot
    be decompressed, is one rejected record at position 0. Raises ObjectTooLarge beyond the limits.
    """
    stream = iter(pieces)
    first = next(stream, b"")
    stream = chain([first], stream)
    if not is_gzipped(first, key):
        yield from _of_plain(stream, key.lower(), key, limits)
        return
    with spool() as plain:
        beginning = bytearray()
        try:
            _decompress(stream, plain, beginning, key, limits)
        except DAMAGED:
            for piece in stream:  # the hash is that of the object, not of what precedes the damage
                beginning += piece[: max(0, limits.document - len(beginning))]
            yield [_whole(bytes(beginning), Violation("", "gzip", "a whole and undamaged gzip stream"))]
            return
        plain.seek(0)
        yield from _of_plain(iter(partial(plain.read, PIECE_BYTES), b""), key.lower().removesuffix(_GZIP), key, limits)


def _decompress(stream: Iterable[bytes], plain: IO[bytes], beginning: bytearray, key: str, limits: Limits) -> None:
    """Decompress a gzip stream whose end shows whether it is whole; `beginning` receives its first bytes."""

    def compressed() -> Iterator[bytes]:
        for piece in stream:
            beginning.extend(piece[: max(0, limits.document - len(beginning))])
            yield piece

    for piece in unpacked(compressed()):
        plain.write(piece)
        if plain.tell() > limits.gzipped:
            raise ObjectTooLarge(f"{key} has more than {limits.gzipped:,} bytes when decompressed (chunk_bytes)")


def may_be_gzipped(key: str) -> bool:
    """Return whether an object of this key may be gzipped, so that offsets in it count decompressed bytes."""
    return not key.lower().endswith(_DOCUMENT + PLAIN_LINES)


def is_gzipped(body: bytes, key: str) -> bool:
    """Return whether an object is gzipped, by its key, or else by its first bytes (RFC 1952)."""
    return key.lower().endswith(_GZIP) or (may_be_gzipped(key) and body.startswith(_GZIP_BEGIN))


def as_read(body: bytes, key: str, end: int) -> bytes:
    """Return the first bytes of an object as they are read: decompressed if it is an undamaged gzip stream."""
    if not is_gzipped(body, key):
        return body[:end]
    kept = bytearray()
    try:
        for piece in unpacked([body]):
            kept += piece[: max(0, end - len(kept))]
    except DAMAGED:
        return body[:end]
    return bytes(kept)


def _of_plain(stream: Iterator[bytes], ending: str, key: str, limits: Limits) -> Pages:
    """Read what is not, or no longer, gzipped; `ending` is the key that names the format."""
    if not ending.endswith(PLAIN_LINES + _DOCUMENT):
        beginning = _beginning(stream, limits.document)
        stream = chain([beginning], stream)
        ending = PLAIN_LINES[0] if _looks_like_lines(beginning, limits.document) else _DOCUMENT[0]
    if ending.endswith(PLAIN_LINES):
        yield from _lines_or_nothing(stream, limits)
    else:
        yield from _document(_gathered(stream, key, limits.document))


def _lines_or_nothing(stream: Iterable[bytes], limits: Limits) -> Pages:
    pages = of_chunk(stream, 0, 2**63, limits)
    yield next(pages, [_NOTHING])
    yield from pages


def _gathered(stream: Iterable[bytes], key: str, limit: int) -> bytes:
    body = bytearray()
    for piece in stream:
        body += piece
        if len(body) > limit:
            raise ObjectTooLarge(
                f"{key} is a JSON document of more than {limit:,} bytes, decompressed (document_limit_bytes)"
            )
    return bytes(body)


def _beginning(stream: Iterator[bytes], limit: int) -> bytes:
    """Read as much of a stream as shows whether it is JSON Lines: a line, and something after it."""
    beginning = b""
    for piece in stream:
        beginning += piece
        if len(beginning) > limit or beginning.lstrip().partition(LF)[2].strip():
            break
    return beginning


def _looks_like_lines(beginning: bytes, limit: int) -> bool:
    """Return whether an object is JSON Lines: more than one line, of which the first is a document by itself."""
    some = chain.from_iterable(lines([beginning], 0, len(beginning), limit))
    first, second = next(some, None), next(some, None)
    if first is None or second is None:
        return False
    return not any(violation.rule in _NO_DOCUMENT for violation in _line(first, Reader()).violations)


def _page(page: Sequence[Line], reader: Reader) -> list[Raw]:
    documents = _quickly(page)
    if documents is None or any(line.is_too_long for line in page):
        return [_line(line, reader) for line in page]
    return [
        Raw(line.position, line.offset, line.body, document) for line, document in zip(page, documents, strict=True)
    ]


def _line(line: Line, reader: Reader) -> Raw:
    if line.is_too_long:
        violation = Violation("", "line-length", f"at most {len(line.body)} bytes (document_limit_bytes)")
        return Raw(line.position, line.offset, line.body, None, (violation,))
    position, offset, body = line.position, line.offset, line.body
    documents = _quickly([line])
    if documents is not None:
        return Raw(position, offset, body, documents[0])
    try:
        text = body.decode()
        document, end, violations = reader.read(text, _skip(text, 0))
        _expect_end(text, end)
    except UnicodeDecodeError as error:
        return Raw(position, offset, body, None, (_not_utf8(error),))
    except Malformed as malformed:
        return Raw(position, offset, body, None, (malformed.violation,))
    return Raw(position, offset, body, document, violations)


def _quickly(page: Sequence[Line]) -> list[Any] | None:
    """Decode lines with the fast decoder; return None if one of them needs the strict reader."""
    try:
        return decode_quickly([line.body for line in page])
    except UNSURE:
        return None


def _document(body: bytes) -> Pages:
    """Read a JSON document: each element of an array is a record, and anything else is one record at position 0.

    A body that is not a document is one record, with the violation that says why; `[]` has no records. An array is read
    twice: only its end shows whether it is a document, and all of its elements would take many times its memory.
    """
    if body.strip(SPACE + LF) in {b"", BOM}:
        yield [_NOTHING]
        return
    try:
        text = body.decode()
        for _ in _elements(text):
            pass
    except UnicodeDecodeError as error:
        yield [_whole(body, _not_utf8(error))]
        return
    except Malformed as malformed:
        yield [_whole(body, malformed.violation)]
        return
    elements = _elements(text)
    while page := list(islice(elements, AT_A_TIME)):
        yield page


def _not_utf8(error: UnicodeDecodeError) -> Violation:
    return Violation("", "utf-8", f"{error.reason} at byte {error.start}")


def _whole(body: bytes, violation: Violation) -> Raw:
    return Raw(0, 0, body, None, (violation,))


def _elements(text: str) -> Iterator[Raw]:
    """Read a document, element by element; raise Malformed where it turns out not to be one."""
    start = _skip(text, len(_BOM) if text.startswith(_BOM) else 0)
    reader = Reader()
    if text[start] == "[":
        yield from _array(text, start, reader)
        return
    document, end, violations = reader.read(text, start)
    _expect_end(text, end)
    yield Raw(0, len(text[:start].encode()), text[start:end].encode(), document, violations)


def _array(text: str, start: int, reader: Reader) -> Iterator[Raw]:
    at, offset, counted, number = _skip(text, start + 1), 0, 0, 0
    if text[at : at + 1] == "]":
        _expect_end(text, at + 1)
        return
    while True:
        document, end, violations = reader.read(text, at)
        offset += len(text[counted:at].encode())
        body = text[at:end].encode()
        yield Raw(number, offset, body, document, violations)
        offset, counted, number = offset + len(body), end, number + 1
        at = _skip(text, end)
        if text[at : at + 1] == "]":
            _expect_end(text, at + 1)
            return
        if text[at : at + 1] != ",":
            raise Malformed("json", f"Expecting ',' delimiter at character {at}")
        at = _skip(text, at + 1)


def _skip(text: str, start: int) -> int:
    space = _SPACE.match(text, start)
    return space.end() if space else start


def _expect_end(text: str, end: int) -> None:
    if (rest := _skip(text, end)) != len(text):
        raise Malformed("json", f"Extra data at character {rest}")
