"""Read the records of an object, each with its place and hash: JSON Lines, a JSON document, or several in sequence.

The bytes decide the format, except that names with `json_lines_suffixes` are JSON Lines, because chunks of them are
read independently. Lines and sequences are streamed, so that memory does not grow with the object; only one document,
or one array of records, is read as a whole.
"""

import hashlib
import json
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import IO, TYPE_CHECKING, Any, Self

from msgspec import Struct

from functions.shared.errors import ObjectTooLarge
from functions.shared.model.chunking import has_suffix, suffixes
from functions.shared.model.records import Record, Span, Violation
from functions.shared.records.formats import GZIP, LONGEST, foreign_format
from functions.shared.records.gzip_lines import Damaged, spool, unpacked
from functions.shared.records.jsonl import AT_A_TIME, BOM, LF, SPACE, Line, lines
from functions.shared.records.strict_json import UNSURE, Malformed, Reader, decode_quickly, malformed

if TYPE_CHECKING:
    from functions.shared.runtime import Environment

PIECE_BYTES = 2**20
"""How much of a stream is in memory at a time."""

_GZIP_SUFFIX = ".gz"
_RENAME = ", which cannot be divided; upload it under a name that ends in .gz"
_NO_DOCUMENT = frozenset({"json", "utf-8"})
_SPACE = re.compile(r"[ \t\n\r]*")
_SCANNER = json.JSONDecoder(object_pairs_hook=bool, parse_float=bool, parse_int=bool, parse_constant=bool)
"""Finds the end of a document without building it."""


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
    """Maximum sizes in bytes, decompressed: of a JSON document, and of a batch; and the suffixes of JSON Lines."""

    document: int
    batch: int
    suffixes: tuple[str, ...] = ()

    @classmethod
    def of(cls, environment: "Environment") -> Self:
        """Return the limits of a deployment."""
        lines = suffixes(environment.json_lines_suffixes)
        return cls(environment.document_limit_bytes, environment.chunk_bytes, lines)


def of_chunk(pieces: Iterable[bytes], start: int, end: int, limits: Limits) -> Pages:
    """Read the lines that begin in a chunk of an object; `pieces` start where `jsonl.reach` says.

    A line of more bytes than a document may have is a rejected record, with the hash of its first bytes only.
    """
    reader = Reader()
    for page in lines(pieces, start, end, limits.document):
        yield _page(page, reader)


def of_object(pieces: Iterable[bytes], key: str, limits: Limits) -> Pages:
    """Read an object that is one batch, gunzipped if its first bytes are those of gzip.

    Several lines, of which the first is a document by itself, are JSON Lines. Anything else is one document, whose
    position is 0 (of an array, each element is a record, and its index the position), or a sequence of documents, each
    at the byte where it begins; what cannot be parsed further is one rejected record. So is an object that is empty,
    damaged, or of another format. Raises ObjectTooLarge beyond the limits.
    """
    stream = iter(pieces)
    first = _filled(b"", stream, LONGEST)
    stream = chain([first], stream)
    if not first.startswith(GZIP):
        yield from _of_plain(stream, key, limits)
        return
    with spool() as plain:
        beginning = bytearray()
        try:
            _decompress(stream, plain, beginning, key, limits)
        except Damaged as damaged:
            for piece in stream:  # the hash is that of the object, not of what precedes the damage
                beginning += piece[: max(0, limits.document - len(beginning))]
            yield [_whole(bytes(beginning), Violation("", "gzip", f"a whole gzip stream; {damaged}"))]
            return
        plain.seek(0)
        yield from _of_plain(iter(partial(plain.read, PIECE_BYTES), b""), key, limits)


def _decompress(stream: Iterable[bytes], plain: IO[bytes], beginning: bytearray, key: str, limits: Limits) -> None:
    """Decompress a gzip stream whose end shows whether it is whole; `beginning` receives its first bytes."""

    def compressed() -> Iterator[bytes]:
        for piece in stream:
            beginning.extend(piece[: max(0, limits.document - len(beginning))])
            yield piece

    for piece in unpacked(compressed()):
        plain.write(piece)
        if plain.tell() > limits.batch:
            raise ObjectTooLarge(f"{key} has more than {limits.batch:,} bytes when decompressed (chunk_bytes)")


def as_read(body: bytes, end: int) -> bytes:
    """Return the first bytes of an object as they are read: decompressed if it is an undamaged gzip stream."""
    if not body.startswith(GZIP):
        return body[:end]
    kept = bytearray()
    try:
        for piece in unpacked([body]):
            kept += piece[: max(0, end - len(kept))]
    except Damaged:
        return body[:end]
    return bytes(kept)


def refuse_format(beginning: bytes, *, is_divided: bool = False) -> Pages | None:
    """Return the only record of an object in another format, which its first bytes show; None for any other object."""
    name = foreign_format(beginning)
    if not name:
        return None
    advice = _RENAME if is_divided and beginning.startswith(GZIP) else ""
    return iter([[_whole(beginning, Violation("", "format", f"JSON in UTF-8; this is {name}{advice}"))]])


def _of_plain(stream: Iterator[bytes], key: str, limits: Limits) -> Pages:
    """Read what is not, or no longer, gzipped."""
    first = _filled(b"", stream, LONGEST)
    stream = chain([first], stream)
    if foreign_format(first):
        yield from refuse_format(_filled(b"", stream, limits.document)[: limits.document]) or ()
        return
    if not has_suffix(key.lower().removesuffix(_GZIP_SUFFIX), limits.suffixes):
        beginning = _beginning(stream, limits.document)
        stream = chain([beginning], stream)
        if not _looks_like_lines(beginning, limits.document):
            yield from _documents(stream, key, limits.document)
            return
    pages = of_chunk(stream, 0, 2**63, limits)
    yield next(pages, [_NOTHING])
    yield from pages


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
    if first is None or second is None or first.is_too_long:
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


def _documents(stream: Iterator[bytes], key: str, limit: int) -> Pages:
    """Read one document, or several in sequence."""
    body = _filled(b"", stream, limit)
    if body.strip(SPACE + LF) in {b"", BOM}:
        yield [_NOTHING]
        return
    reader = Reader()
    text = body.decode("latin-1")
    start = _skip(text, len(BOM) if body.startswith(BOM) else 0)
    spans = _elements(text, start) if len(body) <= limit and text[start] == "[" else None
    del text
    if spans is None:
        yield from _sequence(body, start, stream, key, limit)
        return
    elements = zip(*[iter(spans)] * 2, strict=True)
    cut = (Line(number, begin, body[begin:end]) for number, (begin, end) in enumerate(elements))
    while page := list(islice(cut, AT_A_TIME)):
        yield _page(page, reader)


def _sequence(body: bytes, at: int, stream: Iterator[bytes], key: str, limit: int) -> Pages:
    """Read documents that follow one another; memory holds a window of the stream, somewhat more than a document.

    Scanned as Latin-1, a character is a byte; only what is read is decoded as UTF-8.
    """
    reader, base, first = Reader(), 0, at
    page, size = list[Line](), 0
    text = body.decode("latin-1")
    while at < len(text):
        is_last, end, failure = len(body) <= limit, len(text), None
        try:
            end = _end_of_document(text, at)
        except (json.JSONDecodeError, RecursionError) as error:
            failure = error
        if end == len(text) and not is_last and at > 0:
            body, base, at = _filled(body[at:], stream, limit), base + at, 0
            text = body.decode("latin-1")
            continue
        is_first, after = base + at == first, _skip(text, end)
        if not is_last and (end - at > limit or (failure and is_first)):
            raise ObjectTooLarge(
                f"{key} is not JSON Lines, and the document at byte {base + at} has more than {limit:,} bytes, "
                "decompressed (document_limit_bytes)"
            )
        if failure:
            if page:
                yield _page(page, reader)
            begin = 0 if is_first else at
            if isinstance(failure, json.JSONDecodeError):
                failure.pos = len(body[begin : failure.pos].decode(errors="replace"))
            violation = malformed(failure).violation
            yield [Raw(base + begin, base + begin, body[begin : begin + limit], None, (violation,))]
            return
        is_single = is_first and is_last and after == len(text)
        page.append(Line(0 if is_single else base + at, base + at, body[at:end]))
        size += end - at
        if len(page) == AT_A_TIME or size > PIECE_BYTES:
            yield _page(page, reader)
            page, size = [], 0
        at = after
    if page:
        yield _page(page, reader)


def _filled(body: bytes, stream: Iterator[bytes], limit: int) -> bytes:
    """Append to a body until it has more than `limit` bytes, or the stream ends."""
    pieces, size = [body], len(body)
    while size <= limit and (piece := next(stream, b"")):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def _not_utf8(error: UnicodeDecodeError) -> Violation:
    return Violation("", "utf-8", f"{error.reason} at byte {error.start}")


def _whole(body: bytes, violation: Violation) -> Raw:
    return Raw(0, 0, body, None, (violation,))


def _elements(text: str, start: int) -> "array[int] | None":
    """Return where each element of an array begins and ends; None unless the text is one array."""
    spans, at = array("Q"), _skip(text, start + 1)
    try:
        while text[at] != "]" or spans:
            end = _end_of_document(text, at)
            spans.extend((at, end))
            at = _skip(text, end)
            if text[at] == "]":
                break
            if text[at] != ",":
                return None
            at = _skip(text, at + 1)
    except (IndexError, json.JSONDecodeError, RecursionError):
        return None
    return spans if _skip(text, at + 1) == len(text) else None


def _end_of_document(text: str, at: int) -> int:
    return _SCANNER.raw_decode(text, at)[1]


def _skip(text: str, start: int) -> int:
    space = _SPACE.match(text, start)
    return space.end() if space else start


def _expect_end(text: str, end: int) -> None:
    if (rest := _skip(text, end)) != len(text):
        raise Malformed("json", f"Extra data at character {rest}")
