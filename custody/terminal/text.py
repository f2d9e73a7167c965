"""Text for people: counts with their noun, and foreign text that can neither move a cursor nor hide anything."""

from collections.abc import Iterator
from itertools import chain
from unicodedata import category

_CONTROL_PICTURES = 0x2400
_DELETE = "\x7f"
_DELETE_PICTURE = "\u2421"

_BLANK = frozenset(
    map(chr, chain((0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0), range(0x180B, 0x1810)))
) | frozenset(map(chr, chain(range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))))
"""Characters that count as printable and show nothing: fillers, and variation selectors."""

_MARKS = 4
"""The combining marks that a character may have: more than any script needs would cover the lines around it."""


def plural(number: int, noun: str, nouns: str | None = None) -> str:
    """Format a count with its noun, such as `1 record` or `2,000 records`."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def visible(text: str) -> str:
    """Escape each character that shows nothing, moves a cursor or changes the direction of the text around it.

    Control characters become their pictures (`␛`), all others Python's escapes. What is escaped stays as it is.
    """
    return text if text.isascii() and text.isprintable() else "".join(_glyphs(text))


def _glyphs(text: str) -> Iterator[str]:
    marks = _MARKS
    for character in text:
        marks = marks + 1 if category(character) in {"Mn", "Me"} else 0
        is_shown = character.isprintable() and character not in _BLANK and marks <= _MARKS
        yield character if is_shown else _escape(character)


def _escape(character: str) -> str:
    if character < " ":
        return chr(_CONTROL_PICTURES + ord(character))
    return _DELETE_PICTURE if character == _DELETE else character.encode("unicode_escape").decode()
