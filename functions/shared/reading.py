"""From the bytes of an object to its records, each with its place and its hash."""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from functions.shared.documents import Malformed, Reader
from functions.shared.errors import ObjectTooLarge
from functions.shared.identity import RawObject
from functions.shared.messages import Span, Violation

_BOM = "\ufeff"
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
        raise ObjectTooLarge(f"{raw.uri} has {raw.size:,} bytes; one batch may have {limit:,} (object_limit_bytes)")


def read(body: bytes) -> tuple[Raw, ...]:
    """Read a JSON document: each element of an array is a record, and anything else is one record at position 0.

    A body that is no document is one record, with the violation that says why; `[]` is no records.
    """
    try:
        return _elements(body.decode())
    except UnicodeDecodeError as error:
        return (_whole(body, Violation("", "utf-8", f"{error.reason} at byte {error.start}")),)
    except Malformed as malformed:
        return (_whole(body, malformed.violation),)


def _whole(body: bytes, violation: Violation) -> Raw:
    return Raw(_span(0, 0, body), None, (violation,))


def _span(position: int, offset: int, body: bytes) -> Span:
    return Span(position, offset, len(body), hashlib.sha256(body).hexdigest())


def _elements(text: str) -> tuple[Raw, ...]:
    start = _skip(text, len(_BOM) if text.startswith(_BOM) else 0)
    if start == len(text):
        raise Malformed("json", "a document; the object is empty")
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
