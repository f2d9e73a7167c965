"""Find the place in a record that a violation is about, and cut a line around it."""

import re
from dataclasses import dataclass
from json import JSONDecoder

from custody.terminal.text import visible
from functions.shared.model.records import Violation

_WINDOW = 160
_CONTEXT_BEFORE = 0.4
"""The share of a window before the place, if the text has as much."""

_SPACE = re.compile(r"[ \t\n\r]*")
_RULES_OF_TEXT = frozenset({"json", "utf-8"})
"""The rules for bytes that are not a JSON document: their limit names the place."""

_NAMED_PLACE = re.compile(r" at (character|byte) (\d+)$")
_INDEX = re.compile(r"0|[1-9][0-9]*")

_VALUES = JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
"""Finds the end of a value; numbers stay text, so that none is too long."""


@dataclass(frozen=True)
class Excerpt:
    """A line of a record: the place to point at, and the text around it; nothing in it moves a cursor."""

    before: str
    marked: str
    after: str


def place(body: bytes, violation: Violation) -> tuple[str, int, int]:
    """Decode a record, and find where the characters that a violation is about begin and end.

    Bytes that are not UTF-8 become escapes, as Python writes them.
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
    """Find where the value at a JSON Pointer (RFC 6901) begins and ends.

    It is the whole text if there is no such value, or if the text is not JSON.
    """
    try:
        at = _skip(text, 0)
        for token in pointer.split("/")[1:]:
            at = _member(text, at, token.replace("~1", "/").replace("~0", "~"))
        return at, _end(text, at)
    except (LookupError, ValueError, StopIteration, RecursionError):
        return 0, len(text)


def excerpt(text: str, start: int, end: int, width: int = _WINDOW) -> Excerpt:
    """Cut a line of about `width` characters around a place, with invisible characters made visible.

    A place that is longer than the line is cut at its end.
    """
    marked = visible(text[start : min(end, start + width)])
    is_cut = end > start + width or len(marked) > width
    marked = marked[:width]
    before, after = visible(text[max(0, start - width) : start]), visible(text[end : end + width])
    room = width - len(marked)
    kept = min(len(before), max(int(room * _CONTEXT_BEFORE), room - len(after)))
    is_cut_before = kept < len(before) or start > width
    is_cut_after = not is_cut and (room - kept < len(after) or end + width < len(text))
    return Excerpt(
        ("…" if is_cut_before else "") + before[len(before) - kept :],
        marked + ("…" if is_cut else ""),
        after[: 0 if is_cut else room - kept] + ("…" if is_cut_after else ""),
    )


def _member(text: str, at: int, token: str) -> int:
    """Find where a member or element begins; of two members with the same name, the last."""
    if text[at] == "[":
        return _element(text, at, token)
    member = None
    if text[at] != "{":
        raise LookupError(token)
    at = _skip(text, at + 1)
    while text[at] == '"':
        name, at = _VALUES.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
        if name == token:
            member = at
        at = _skip(text, _end(text, at))
        at = _skip(text, at + 1) if text[at] == "," else at
    if member is None:
        raise LookupError(token)
    return member


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
