"""JSON documents, strictly read and compactly written: what cannot be written back unchanged is not accepted."""

import json
import math
import re
import secrets
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from functions.shared.messages import Violation

_ALWAYS_EXACT = 16
"""Characters of a number that a double always holds: 15 digits, and a point."""

_INTEGER_LIMIT = 2**53
"""Up to here a double holds every integer (IEEE 754)."""

_NOT_ZERO = re.compile(r"-?[0.]*[1-9]")
_MARK = secrets.token_hex(8)
_MARKED = re.compile(f'"{_MARK}([^"]*)"')

NESTING_LIMIT = 100
"""How deep a document may nest: what every JSON library on a record's way still bears."""


class Malformed(Exception):
    """A text is no JSON document; `violation` says why."""

    def __init__(self, rule: str, limit: str) -> None:
        super().__init__(f"{rule}: {limit}")
        self.violation = Violation("", rule, limit)


class Reader:
    """Reads documents out of a text, one after the other, and collects what is wrong with the last one."""

    def __init__(self) -> None:
        self._violations: list[Violation] = []
        self._decoder = json.JSONDecoder(
            object_pairs_hook=self._object, parse_constant=self._constant, parse_float=self._float
        )

    def read(self, text: str, start: int) -> tuple[Any, int, tuple[Violation, ...]]:
        """Read the document that begins at a character: the document, where it ends, and its violations.

        Raises Malformed where no document can be made out.
        """
        self._violations = []
        try:
            document, end = self._decoder.raw_decode(text, start)
        except json.JSONDecodeError as error:
            raise Malformed("json", f"{error.msg} at character {error.pos}") from error
        except RecursionError as error:
            raise Malformed("nesting", f"at most {NESTING_LIMIT} levels") from error
        except ValueError as error:
            raise Malformed("number", "an integer of at most 4300 digits") from error
        if (
            text.count("[", start, end) + text.count("{", start, end) > NESTING_LIMIT
            and _depth(document) > NESTING_LIMIT
        ):
            self._violations.append(Violation("", "nesting", f"at most {NESTING_LIMIT} levels"))
        if "\\u" in text[start:end] and _has_lone_surrogate(document):
            self._violations.append(Violation("", "unicode", "no lone surrogate"))
        return document, end, tuple(self._violations)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            self._violations.append(Violation("", "unique-keys", "each key of an object once"))
        return found

    def _constant(self, _: str) -> None:
        self._violations.append(Violation("", "number", "no NaN and no Infinity"))

    def _float(self, digits: str) -> float | Decimal:
        number = float(digits)
        if math.isinf(number) or (number == 0.0 and _NOT_ZERO.match(digits)):
            self._violations.append(Violation("", "number", "within the range of a double"))
            return number
        return exact(digits)


def exact(digits: str) -> float | Decimal:
    """Read a number with a point or an exponent: a float if that is the same number, and a Decimal if it is not."""
    number = float(digits)
    if len(digits) <= _ALWAYS_EXACT or Decimal(digits) == Decimal(repr(number)):
        return number
    return Decimal(digits)


def decode(body: bytes) -> Any:
    """Read a document that `encode` has written."""
    return json.loads(body, parse_float=exact)


def is_exact_elsewhere(body: bytes) -> bool:
    """Say whether a document comes through other hands unchanged, which read every number as a double."""
    numbers: list[bool] = []
    json.loads(
        body,
        parse_float=lambda digits: numbers.append(isinstance(exact(digits), float)),
        parse_int=lambda digits: numbers.append(abs(int(digits)) <= _INTEGER_LIMIT),
    )
    return all(numbers)


def encode(document: Any) -> bytes:
    """Write a document as compact UTF-8; raise ValueError or TypeError for what is not JSON.

    A Decimal is written as the number that it is. The standard library can only put a text in its place; that is marked
    so that no text of a record can be like it, and the marks are taken away.
    """
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_marked)
    return (_MARKED.sub(r"\1", text) if _MARK in text else text).encode()


def _marked(value: Any) -> str:
    if not isinstance(value, Decimal) or not value.is_finite():
        raise TypeError(f"a {type(value).__name__} is not JSON")
    return f"{_MARK}{value}"


def _children(document: Any) -> Iterator[Any]:
    if isinstance(document, dict):
        yield from document.values()
    elif isinstance(document, list):
        yield from document


def _depth(document: Any) -> int:
    depth, level = 0, [document]
    while level := [child for parent in level for child in _children(parent)]:
        depth += 1
    return depth


def _has_lone_surrogate(document: Any) -> bool:
    try:
        encode(document)
    except UnicodeEncodeError:
        return True
    except ValueError:
        return False
    return False
