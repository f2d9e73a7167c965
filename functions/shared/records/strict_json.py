"""Read JSON documents strictly, and write them compactly: what cannot be written back unchanged is not accepted."""

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from itertools import chain
from typing import Any

import jiter
import msgspec

from functions.shared.model.records import Span, Violation

_ALWAYS_EXACT = 16
"""Characters of a number that a double always holds: 15 digits, and a point."""

_SMALLEST_PRECISE = 1e-300
"""Above it a double holds 15 digits; the smallest ones hold fewer (IEEE 754, subnormal numbers)."""

_INTEGER_LIMIT = 2**53
"""Up to here a double holds every integer (IEEE 754)."""

_NOT_ZERO = re.compile(r"-?[0.]*[1-9]")

_LARGE = 2**20
"""Above it, looking inside a text takes as much memory as its document, so it comes first."""

NESTING_LIMIT = 100
"""How deep a document may nest: less than the limit of every JSON library on a record's way."""


class Malformed(Exception):
    """A text is not a JSON document; `violation` says why."""

    def __init__(self, rule: str, limit: str) -> None:
        super().__init__(f"{rule}: {limit}")
        self.violation = Violation("", rule, limit)


def malformed(error: json.JSONDecodeError | RecursionError) -> Malformed:
    """Translate what decoding raises."""
    if isinstance(error, RecursionError):
        return Malformed("nesting", f"at most {NESTING_LIMIT} levels")
    return Malformed("json", f"{error.msg.removesuffix(' at')} at character {error.pos}")


class Reader:
    """Reads documents from a text, one after the other, and collects what is wrong with the last, each rule once."""

    def __init__(self) -> None:
        self._violations: dict[Violation, None] = {}
        self._decoder = json.JSONDecoder(
            object_pairs_hook=self._object, parse_constant=self._constant, parse_float=self._float
        )

    def read(self, text: str, start: int) -> tuple[Any, int, tuple[Violation, ...]]:
        """Read the document that begins at a character: the document, where it ends, and its violations.

        Raises Malformed if there is no document.
        """
        self._violations = {}
        try:
            document, end = self._decoder.raw_decode(text, start)
        except (json.JSONDecodeError, RecursionError) as error:
            raise malformed(error) from error
        except ValueError as error:
            raise Malformed("number", "an integer of at most 4300 digits") from error
        if (
            text.count("[", start, end) + text.count("{", start, end) > NESTING_LIMIT
            and _depth(document) > NESTING_LIMIT
        ):
            self._violations[Violation("", "nesting", f"at most {NESTING_LIMIT} levels")] = None
        if "\\u" in text[start:end] and _has_lone_surrogate(document):
            self._violations[Violation("", "unicode", "no lone surrogate")] = None
        return document, end, tuple(self._violations)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            self._violations[Violation("", "unique-keys", "each key of an object once")] = None
        return members

    def _constant(self, _: str) -> None:
        self._violations[Violation("", "number", "no NaN and no Infinity")] = None

    def _float(self, digits: str) -> float | Decimal:
        number = float(digits)
        if math.isinf(number) or (number == 0.0 and _NOT_ZERO.match(digits)):
            self._violations[Violation("", "number", "within the range of a double")] = None
            return number
        return exact(digits)


def exact(digits: str) -> float | Decimal:
    """Parse a number with a point or an exponent: a float if that is the same number, otherwise a Decimal."""
    number = float(digits)
    if number == 0.0 or (len(digits) <= _ALWAYS_EXACT and abs(number) > _SMALLEST_PRECISE):
        # Zero is zero, whatever its exponent; callers have excluded numbers that only round to it.
        return number
    return number if Decimal(digits) == Decimal(repr(number)) else Decimal(digits)


def _exact_or_unsure(digits: str) -> float | Decimal:
    number = float(digits)
    if len(digits) <= _ALWAYS_EXACT and _SMALLEST_PRECISE < abs(number) < math.inf:
        return number
    if math.isinf(number) or (number == 0.0 and _NOT_ZERO.match(digits)):
        raise ValueError(digits)
    return exact(digits)


_decode_exactly: Callable[[bytes], Any] = msgspec.json.Decoder(float_hook=_exact_or_unsure).decode
_decode_doubles: Callable[[bytes], Any] = msgspec.json.Decoder().decode
_has_each_key_once = partial(jiter.from_json, catch_duplicate_keys=True, allow_inf_nan=False)

_AS_NUMBERS = bytes(
    ord("0") if chr(code) in "0123456789." else ord("e") if chr(code) in "eE" else ord(" ") for code in range(256)
)
_LONG, _WITH_EXPONENT = b"0" * _ALWAYS_EXACT, b"0e"

UNSURE = (msgspec.MsgspecError, ValueError, RecursionError)


def decode_quickly(lines: Sequence[bytes]) -> list[Any]:
    """Decode texts that are obviously one valid document each, in a fraction of the time that a `Reader` takes.

    Raises one of UNSURE if any is not: a `Reader` finds out what is wrong with it, if anything is.
    """
    for line in lines:
        if len(line) > _LARGE:
            _look_inside(line)
    page = b"\n".join(lines)
    documents = list(map(_decode_exactly if _may_be_inexact(page) else _decode_doubles, lines))
    if _are_plain(page, documents):
        return documents
    for line, document in zip(lines, documents, strict=True):
        if len(line) <= _LARGE and not _are_plain(line, [document]):
            _look_inside(line)
        if line.count(b"[") + line.count(b"{") > NESTING_LIMIT and _depth(document) > NESTING_LIMIT:
            raise ValueError("it is nested too deep")
    return documents


def _may_be_inexact(page: bytes) -> bool:
    """Return whether there may be a number that a double cannot hold: one with many digits, or with an exponent."""
    numbers = page.translate(_AS_NUMBERS)
    return _LONG in numbers or _WITH_EXPONENT in numbers


def _are_plain(page: bytes, documents: Sequence[Any]) -> bool:
    """Return whether all are objects without nesting, in which no key is repeated.

    Each member has a colon: with as many colons as keys, and no array, nothing can be nested or repeated.
    """
    return (
        _OBJECTS.issuperset(map(type, documents)) and b"[" not in page and page.count(b":") == sum(map(len, documents))
    )


def _look_inside(line: bytes) -> None:
    if b"{" in line:
        _has_each_key_once(line)


decode: Callable[[bytes], Any] = msgspec.json.Decoder(float_hook=exact).decode
"""Decode a document that `encode` has written."""


def is_exact_elsewhere(body: bytes) -> bool:
    """Return whether a document survives software that reads every number as a double."""
    numbers: list[bool] = []
    json.loads(
        body,
        parse_float=lambda digits: numbers.append(isinstance(exact(digits), float)),
        parse_int=lambda digits: numbers.append(abs(int(digits)) <= _INTEGER_LIMIT),
    )
    return all(numbers)


write_span: Callable[[Span], bytes] = msgspec.json.Encoder().encode
"""Encode the place of a record."""

read_span: Callable[[bytes], Span] = msgspec.json.Decoder(Span).decode
"""Decode the place of a record; raise msgspec.MsgspecError for anything else."""

_encode = msgspec.json.Encoder(decimal_format="number").encode

encode_struct: Callable[[msgspec.Struct], bytes] = _encode
"""Encode a Struct of the model, all of whose values are JSON."""

_CONTAINERS = frozenset({dict, list})
_OBJECTS = frozenset({dict})
_TEXT = frozenset({str})
_SCALARS = frozenset({str, int, float, bool, type(None)})


def encode(document: Any) -> bytes:
    """Encode a document as compact UTF-8, and a Decimal as a number.

    Raises TypeError or ValueError for what is not JSON, even where the library would write something else: a date as
    text, a set as an array, or NaN as null.
    """
    (body,) = encode_all([document])
    return body


def encode_all(documents: Sequence[Any]) -> list[bytes]:
    """Encode documents as `encode` does, but faster; the error does not say which document it is about."""
    bodies = list(map(_encode, documents))
    if not _are_flat(documents):
        for document in documents:
            _require_json(document)
    if b"null" in b"".join(bodies):
        for document in documents:
            _require_numbers(document)
    return bodies


def _are_flat(documents: Sequence[Any]) -> bool:
    """Return whether all are objects of text, numbers, booleans and null only; checked by type for many at a time."""
    return (
        _OBJECTS.issuperset(map(type, documents))
        and _TEXT.issuperset(map(type, chain.from_iterable(documents)))
        and _SCALARS.issuperset(map(type, chain.from_iterable(map(dict.values, documents))))
    )


def _require_json(value: Any) -> None:
    if isinstance(value, dict):
        if not _TEXT.issuperset(map(type, value)):
            raise TypeError("the keys of an object are text")
        children: Any = value.values()
    elif isinstance(value, list | tuple):
        children = value
    elif type(value) in _SCALARS or (isinstance(value, Decimal) and value.is_finite()):
        return
    else:
        raise TypeError(f"a {type(value).__name__} is not JSON")
    if not _SCALARS.issuperset(map(type, children)):
        for child in children:
            _require_json(child)


def _require_numbers(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("NaN and Infinity are not JSON")
    for child in _children(value):
        _require_numbers(child)


def _children(document: Any) -> Iterator[Any]:
    if isinstance(document, dict):
        yield from document.values()
    elif isinstance(document, list | tuple):
        yield from document


def _depth(document: Any) -> int:
    depth, level = 0, [document] if type(document) in _CONTAINERS else []
    while level:
        children = (parent.values() if type(parent) is dict else parent for parent in level)
        level = [child for child in chain.from_iterable(children) if type(child) in _CONTAINERS]
        depth += 1
    return depth


def _has_lone_surrogate(document: Any) -> bool:
    try:
        json.dumps(document, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return True
    return False
