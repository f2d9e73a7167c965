"""JSON documents, strictly read and compactly written: what cannot be written back unchanged is not accepted."""

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
    if number == 0.0 or (len(digits) <= _ALWAYS_EXACT and abs(number) > _SMALLEST_PRECISE):
        # Zero is zero, whatever its exponent; a number that only seems to be is not asked for here.
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


def at_sight(lines: Sequence[bytes]) -> list[Any]:
    """Read texts of which each is plainly one good document, in a fraction of the time that a `Reader` takes.

    Raises one of UNSURE if any is not: `Reader` tells what is wrong with it, if anything is.
    """
    page = b"\n".join(lines)
    documents = list(map(_decode_exactly if _may_be_inexact(page) else _decode_doubles, lines))
    if _are_plain(page, documents):
        return documents
    for line, document in zip(lines, documents, strict=True):
        if not _are_plain(line, [document]):
            _look_inside(line)
    return documents


def _may_be_inexact(page: bytes) -> bool:
    """Say whether there may be a number that a double does not hold: one with many digits, or with an exponent."""
    numbers = page.translate(_AS_NUMBERS)
    return _LONG in numbers or _WITH_EXPONENT in numbers


def _are_plain(page: bytes, documents: Sequence[Any]) -> bool:
    """Say whether all are objects in which nothing is nested, and no key is there twice.

    Each member has its colon, and there may be more of them: as many colons as keys, and no array, can be nothing else.
    """
    return (
        _OBJECTS.issuperset(map(type, documents)) and b"[" not in page and page.count(b":") == sum(map(len, documents))
    )


def _look_inside(line: bytes) -> None:
    if line.count(b"[") + line.count(b"{") > NESTING_LIMIT:
        raise ValueError("it may be nested too deep")
    if b"{" in line:
        _has_each_key_once(line)


_decode = msgspec.json.Decoder(float_hook=exact).decode


def decode(body: bytes) -> Any:
    """Read a document that `encode` has written."""
    return _decode(body)


def is_exact_elsewhere(body: bytes) -> bool:
    """Say whether a document comes through other hands unchanged, which read every number as a double."""
    numbers: list[bool] = []
    json.loads(
        body,
        parse_float=lambda digits: numbers.append(isinstance(exact(digits), float)),
        parse_int=lambda digits: numbers.append(abs(int(digits)) <= _INTEGER_LIMIT),
    )
    return all(numbers)


write_span: Callable[[Span], bytes] = msgspec.json.Encoder().encode
"""Write where a record lies, as JSON."""

read_span: Callable[[bytes], Span] = msgspec.json.Decoder(Span).decode
"""Read where a record lies; raise msgspec.DecodeError for anything else."""

_encode = msgspec.json.Encoder(decimal_format="number").encode

encode_struct: Callable[[msgspec.Struct], bytes] = _encode
"""Write a Struct of the model, of which all values are JSON."""

_OBJECTS = frozenset({dict})
_TEXT = frozenset({str})
_SCALARS = frozenset({str, int, float, bool, type(None)})


def encode(document: Any) -> bytes:
    """Write a document as compact UTF-8, a Decimal as the number that it is.

    Raises TypeError or ValueError for what is not JSON: also for what the library would write as something else, such
    as a date as text, a set as an array or NaN as null.
    """
    (body,) = encode_all([document])
    return body


def encode_all(documents: Sequence[Any]) -> list[bytes]:
    """Write documents as `encode` does, in less time than one by one; what it raises does not tell which it was."""
    bodies = list(map(_encode, documents))
    if not _are_flat(documents):
        for document in documents:
            _require_json(document)
    if b"null" in b"".join(bodies):
        for document in documents:
            _require_numbers(document)
    return bodies


def _are_flat(documents: Sequence[Any]) -> bool:
    """Say whether all are objects of nothing but text, numbers, booleans and null; asked of many at a time, by kind."""
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
    depth, level = 0, [document]
    while level := [child for parent in level for child in _children(parent)]:
        depth += 1
    return depth


def _has_lone_surrogate(document: Any) -> bool:
    try:
        json.dumps(document, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return True
    return False
