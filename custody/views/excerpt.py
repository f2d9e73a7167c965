"""Point at the place in a record that a violation is about. No input or output happens here."""

import re
from dataclasses import dataclass
from json import JSONDecoder

from custody.terminal.text import visible
from functions.shared.model.records import Violation

_WINDOW = 160
_CONTEXT_BEFORE = 0.4
"""The share of a window that comes before the place, if there is so much."""

_SPACE = re.compile(r"[ \t\n\r]*")
_RULES_OF_TEXT = frozenset({"json", "utf-8"})
"""What a record breaks that is no document: its limit names the place."""

_NAMED_PLACE = re.compile(r" at (character|byte) (\d+)$")
_INDEX = re.compile(r"0|[1-9][0-9]*")

_VALUES = JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
"""Finds where a value ends; numbers stay text, so that none is too long."""


@dataclass(frozen=True)
class Excerpt:
    """A line of a record: the place that is pointed at, and what stands around it; nothing in it moves a cursor."""

    before: str
    marked: str
    after: str


def place(body: bytes, violation: Violation) -> tuple[str, int, int]:
    """Read a record as text, and find the characters that a violation is about: where they begin, and end.

    A byte that is no UTF-8 is shown in the text as Python would write it.
    """
    text = body.decode(errors="backslashreplace")
    named = _NAMED_PLACE.search(str(violation.limit)) if violation.rule in _RULES_OF_TEXT else None
    if not named:
        return text, *locate(text, violation.pointer)
    unit, number = named[1], int(named[2])
    if unit == "character":
        return text, min(number, len(text)), min(number + 1, len(text))
    start = len(body[:number].decode(errors="backslashreplace"))
    return text, start, start + len(body[number : number + 1].decode(errors="backslashreplace"))


def locate(text: str, pointer: str) -> tuple[int, int]:
    """Find the value that a JSON Pointer (RFC 6901) names: the characters at which it begins, and ends.

    It is the whole text if there is no such value, or if the text is no JSON.
    """
    try:
        at = _skip(text, 0)
        for token in pointer.split("/")[1:]:
            at = _member(text, at, token.replace("~1", "/").replace("~0", "~"))
        return at, _end(text, at)
    except (LookupError, ValueError, StopIteration, RecursionError):
        return 0, len(text)


def excerpt(text: str, start: int, end: int, width: int = _WINDOW) -> Excerpt:
    """Cut a line of about `width` characters around a place, and make what cannot be seen visible.

    Each character stays one character. A place that is longer than the line is cut at its end.
    """
    shown = min(end, start + width)
    room = width - (shown - start)
    first = max(0, min(start - int(room * _CONTEXT_BEFORE), len(text) - width))
    last = min(len(text), max(shown, first + width))
    before = ("…" if first else "") + visible(text[first:start])
    marked = visible(text[start:shown]) + ("…" if shown < end else "")
    after = visible(text[shown:last]) + ("…" if shown == end and last < len(text) else "")
    return Excerpt(before, marked, after)


def _member(text: str, at: int, token: str) -> int:
    """Say where the member of an object or the element of an array begins; of two of the same name, the last."""
    if text[at] == "[":
        return _element(text, at, token)
    found = None
    if text[at] != "{":
        raise LookupError(token)
    at = _skip(text, at + 1)
    while text[at] == '"':
        name, at = _VALUES.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
        if name == token:
            found = at
        at = _skip(text, _end(text, at))
        at = _skip(text, at + 1) if text[at] == "," else at
    if found is None:
        raise LookupError(token)
    return found


def _element(text: str, at: int, token: str) -> int:
    if not _INDEX.fullmatch(token):
        raise LookupError(token)
    at = _skip(text, at + 1)
    for _ in range(int(token)):
        at = _skip(text, _end(text, at))
        if text[at] != ",":
            raise LookupError(token)
        at = _skip(text, at + 1)
    if text[at] == "]":
        raise LookupError(token)
    return at


def _end(text: str, at: int) -> int:
    _, end = _VALUES.raw_decode(text, at)
    return end


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at
