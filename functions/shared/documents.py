"""JSON documents, strictly read and compactly written: what cannot be written back unchanged is not accepted."""

import json
import math
from collections.abc import Iterator
from typing import Any

from functions.shared.messages import Violation

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

    def _float(self, digits: str) -> float:
        number = float(digits)
        if math.isinf(number):
            self._violations.append(Violation("", "number", "within the range of a double"))
        return number


def encode(document: Any) -> bytes:
    """Write a document as compact UTF-8; raise ValueError or TypeError for what is not JSON."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


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
