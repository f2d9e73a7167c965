"""Text for people: counts with their noun, and characters that would move a cursor made visible."""

_CONTROL_PICTURES = 0x2400
_DELETE = 0x7F
_DELETE_PICTURE = "\u2421"
_UNPRINTABLE = "\ufffd"


def plural(number: int, noun: str, nouns: str | None = None) -> str:
    """Format a count with its noun, such as `1 record` or `2,000 records`."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def visible(text: str) -> str:
    """Replace each control or unprintable character by a visible symbol."""
    return "".join(map(_glyph, text))


def _glyph(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if code < ord(" "):
        return chr(_CONTROL_PICTURES + code)
    return _DELETE_PICTURE if code == _DELETE else _UNPRINTABLE
