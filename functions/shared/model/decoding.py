"""Decode JSON into the Structs of the model: an error names the place in the document, and never quotes a value."""

from typing import Any, TypeVar

from msgspec import MsgspecError, ValidationError, convert
from msgspec.json import Decoder

Shape = TypeVar("Shape")

_QUOTING = {
    "Invalid enum value": "Not one of the values allowed",
    "Invalid value": "Not one of the values allowed",
    "Object contains unknown field": "Object contains an unknown field",
}
"""How the messages of msgspec that quote the document begin, and what to say instead."""


class Undecodable(ValueError):
    """A document does not have the shape it should have: which part, and what was expected there."""


def decode(body: bytes, decoder: Decoder[Shape]) -> Shape:
    """Decode bytes; raise Undecodable."""
    try:
        return decoder.decode(body)
    except (MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(describe(error)) from error


def from_builtins(value: Any, shape: type[Shape]) -> Shape:
    """Validate parsed JSON against a shape; raise Undecodable."""
    try:
        return convert(value, shape)
    except (ValidationError, RecursionError) as error:
        raise Undecodable(describe(error)) from error


def describe(error: Exception) -> str:
    """Describe why a document cannot be decoded, without any value of it."""
    if isinstance(error, UnicodeDecodeError):
        return f"invalid UTF-8 at byte {error.start}"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    text, at, place = str(error).partition(" - at ")
    text = next((instead for beginning, instead in _QUOTING.items() if text.startswith(beginning)), text)
    return f"{text}{at}{place}"
