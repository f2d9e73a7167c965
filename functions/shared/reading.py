"""From the bytes of an object to its records, each with its place and its hash: a JSON document, or JSON Lines."""

import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from functions.shared.documents import Malformed, Reader
from functions.shared.errors import ObjectTooLarge
from functions.shared.identity import RawObject
from functions.shared.messages import Span, Violation

_BOM = "\ufeff"
_PIECE_BYTES = 2**20
_GZIP = ".gz"
_GZIP_BEGIN = b"\x1f\x8b"
_DOCUMENT = (".json",)
_LINES = (".jsonl", ".ndjson")
_LINE_SPACE = b" \t\r"
_NO_DOCUMENT = frozenset({"json", "utf-8"})
_SPACE = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True, slots=True)
class Raw:
    """A record as it was read: where it lies, the document, and what is wrong with it as JSON."""

    span: Span
    document: Any
    violations: tuple[Violation, ...] = ()


def require_fits(raw: RawObject, limit: int) -> None:
    """Raise ObjectTooLarge for an object of more bytes than one batch may have."""
    if raw.size > limit:
        raise ObjectTooLarge(f"{raw.uri} has {raw.size:,} bytes; one batch may have {limit:,} (document_limit_bytes)")


def read(body: bytes, key: str, limit: int) -> tuple[Raw, ...]:
    """Read an object in the format that its key tells: `.json` is one document, `.jsonl` and `.ndjson` are JSON Lines.

    Each of them may be gzipped, with `.gz` behind. With any other ending an object is what it looks like. One with
    nothing in it, or that cannot be decompressed, is one rejected record at position 0. Raises ObjectTooLarge if it has
    more than `limit` bytes when decompressed.
    """
    if not is_gzipped(body, key):
        return _read(body, key.lower())
    try:
        plain = _decompressed(body, limit)
    except (OSError, EOFError, zlib.error) as error:
        return (_whole(body, Violation("", "gzip", f"a whole gzip stream; {error}")),)
    if len(plain) > limit:
        raise ObjectTooLarge(f"{key} has more than {limit:,} bytes when decompressed (document_limit_bytes)")
    return _read(plain, key.lower().removesuffix(_GZIP))


def may_be_gzipped(key: str) -> bool:
    """Say whether an object of that key may be gzipped, so that offsets in it count decompressed bytes."""
    return not key.lower().endswith(_DOCUMENT + _LINES)


def is_gzipped(body: bytes, key: str) -> bool:
    """Say whether an object is gzipped: its key says so, or says nothing and its first bytes do (RFC 1952)."""
    return key.lower().endswith(_GZIP) or (may_be_gzipped(key) and body.startswith(_GZIP_BEGIN))


def as_read(body: bytes, key: str, end: int) -> bytes:
    """Give the first bytes of an object as they are read: decompressed if it is gzipped, and that can be done whole."""
    if not is_gzipped(body, key):
        return body[:end]
    kept = bytearray()
    try:
        with gzip.open(io.BytesIO(body)) as stream:
            while piece := stream.read(_PIECE_BYTES):
                kept += piece[: max(0, end - len(kept))]
    except (OSError, EOFError, zlib.error):
        return body[:end]
    return bytes(kept)


def _decompressed(body: bytes, limit: int) -> bytes:
    """Decompress every member of a gzip stream, but no more than one byte above the limit."""
    with gzip.open(io.BytesIO(body)) as stream:
        return stream.read(limit + 1)


def _read(body: bytes, key: str) -> tuple[Raw, ...]:
    if body.strip(_LINE_SPACE + b"\n") in {b"", _BOM.encode()}:
        return (_whole(body, Violation("", "json", "a document; the object is empty")),)
    if key.endswith(_LINES):
        return tuple(_lines(body))
    if key.endswith(_DOCUMENT):
        return _document(body)
    return tuple(_lines(body)) if _looks_like_lines(body) else _document(body)


def _looks_like_lines(body: bytes) -> bool:
    """Say whether an object is JSON Lines: more than one line, of which the first is a whole document by itself."""
    lines = _lines(body)
    first, second = next(lines), next(lines, None)
    return second is not None and not any(violation.rule in _NO_DOCUMENT for violation in first.violations)


def _lines(body: bytes) -> Iterator[Raw]:
    """Read JSON Lines: each line is a record, whose position is the offset of the line; blank ones are none.

    A line ends in LF; one CR before that, and a byte order mark at the very start, are no part of it.
    https://jsonlines.org/
    """
    reader = Reader()
    start = 0
    while start < len(body):
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        line = body[start:end].removesuffix(b"\r")
        offset = start
        if start == 0 and line.startswith(_BOM.encode()):
            line, offset = line.removeprefix(_BOM.encode()), len(_BOM.encode())
        if line.strip(_LINE_SPACE):
            yield _line(line, start, offset, reader)
        start = end + 1


def _line(line: bytes, position: int, offset: int, reader: Reader) -> Raw:
    span = _span(position, offset, line)
    try:
        text = line.decode()
        document, end, violations = reader.read(text, _skip(text, 0))
        _expect_end(text, end)
    except UnicodeDecodeError as error:
        return Raw(span, None, (_no_utf8(error),))
    except Malformed as malformed:
        return Raw(span, None, (malformed.violation,))
    return Raw(span, document, violations)


def _document(body: bytes) -> tuple[Raw, ...]:
    """Read a JSON document: each element of an array is a record, and anything else is one record at position 0.

    A body that is no document is one record, with the violation that says why; `[]` is no records.
    """
    try:
        return _elements(body.decode())
    except UnicodeDecodeError as error:
        return (_whole(body, _no_utf8(error)),)
    except Malformed as malformed:
        return (_whole(body, malformed.violation),)


def _no_utf8(error: UnicodeDecodeError) -> Violation:
    return Violation("", "utf-8", f"{error.reason} at byte {error.start}")


def _whole(body: bytes, violation: Violation) -> Raw:
    return Raw(_span(0, 0, body), None, (violation,))


def _span(position: int, offset: int, body: bytes) -> Span:
    return Span(position, offset, len(body), hashlib.sha256(body).hexdigest())


def _elements(text: str) -> tuple[Raw, ...]:
    start = _skip(text, len(_BOM) if text.startswith(_BOM) else 0)
    reader = Reader()
    if text[start] != "[":
        document, end, violations = reader.read(text, start)
        _expect_end(text, end)
        return (Raw(_span(0, len(text[:start].encode()), text[start:end].encode()), document, violations),)
    return _array(text, start, reader)


def _array(text: str, start: int, reader: Reader) -> tuple[Raw, ...]:
    found: list[Raw] = []
    at, offset, counted = _skip(text, start + 1), 0, 0
    if text[at : at + 1] == "]":
        _expect_end(text, at + 1)
        return ()
    while True:
        document, end, violations = reader.read(text, at)
        offset += len(text[counted:at].encode())
        body = text[at:end].encode()
        found.append(Raw(_span(len(found), offset, body), document, violations))
        offset, counted = offset + len(body), end
        at = _skip(text, end)
        if text[at : at + 1] == "]":
            _expect_end(text, at + 1)
            return tuple(found)
        if text[at : at + 1] != ",":
            raise Malformed("json", f"Expecting ',' delimiter at character {at}")
        at = _skip(text, at + 1)


def _skip(text: str, start: int) -> int:
    space = _SPACE.match(text, start)
    return space.end() if space else start


def _expect_end(text: str, end: int) -> None:
    if (rest := _skip(text, end)) != len(text):
        raise Malformed("json", f"Extra data at character {rest}")
