"""Records as they travel between the steps, and why a step rejects one."""

import json
from collections.abc import Sequence
from typing import Any, Self

from msgspec import Struct
from msgspec.structs import asdict

from functions.shared.model.ids import Count


class Violation(Struct, frozen=True, gc=False):
    """A rule that a record breaks: where (JSON Pointer), which, and the rule's own limit; never the record's value."""

    pointer: str
    rule: str
    limit: Any = None

    def __str__(self) -> str:
        """Format as one line, such as `/confidence: maximum 1`."""
        limit = self.limit if isinstance(self.limit, str) else json.dumps(self.limit)
        return f"{self.pointer or '/'}: {self.rule}" + ("" if self.limit is None else f" {limit}")


class Span(Struct, frozen=True, gc=False):
    """Where a record lies in its object: position, byte offset, length in bytes, and the SHA-256 of those bytes."""

    position: Count
    offset: Count
    length: Count
    sha256: str


class Record(Struct, frozen=True, gc=False):
    """An accepted record: its place, and its JSON document as the last step left it."""

    span: Span
    document: Any


class Rejected(Span, frozen=True, gc=False):
    """A rejected record: its place, the stage that rejected it, and all its violations."""

    stage: str
    violations: tuple[Violation, ...]

    @classmethod
    def at(cls, span: Span, stage: str, violations: tuple[Violation, ...]) -> Self:
        """Reject the record at a place."""
        return cls(span.position, span.offset, span.length, span.sha256, stage, violations)

    def encode(self) -> dict[str, Any]:
        """Return the JSON shape, with the limits of the violations as they are."""
        return asdict(self) | {"violations": [asdict(violation) for violation in self.violations]}


class Page(Struct, frozen=True):
    """Consecutive records of a batch: the accepted and the rejected, each ordered by position."""

    records: Sequence[Record]
    rejected: Sequence[Rejected] = ()


class Rejection(Exception):
    """Raised by a transform to reject one record; the rest of the batch goes on.

    `limit` is what the rule asks for. It is kept forever, so it must not quote the record.
    """

    def __init__(self, pointer: str, rule: str, limit: Any = None) -> None:
        super().__init__(pointer, rule)
        self.violation = Violation(pointer, rule, limit)
