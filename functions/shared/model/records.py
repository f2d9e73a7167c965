"""Records as they travel between the steps, and why a step rejects one."""

from collections.abc import Iterable, Sequence
from heapq import nsmallest
from typing import Any, Self

from msgspec import Struct
from msgspec.json import Encoder, format  # noqa: A004

from functions.shared.model.ids import Count

LISTED_VIOLATIONS = 20
"""How many violations of a record are kept; their number is kept besides."""
LONGEST = 400
"""Characters of a pointer, and of a limit as JSON, that are kept: they may be as long as a record and a contract."""
_ENCODE = Encoder(decimal_format="number").encode


class Violation(Struct, frozen=True, gc=False):
    """A rule that a record breaks: where (JSON Pointer), which, and the rule's own limit; never the record's value."""

    pointer: str
    rule: str
    limit: Any = None

    def __str__(self) -> str:
        """Format as one line, such as `/confidence: maximum 1`."""
        limit = self.limit if isinstance(self.limit, str) else format(_ENCODE(self.limit), indent=0).decode()
        return f"{self.pointer or '/'}: {self.rule}" + ("" if self.limit is None else f" {limit}")

    @classmethod
    def short(cls, pointer: str, rule: str, limit: Any = None) -> Self:
        """Return a violation of bounded size.

        A long limit is named by its size; instead of a long pointer, that of the deepest value around is kept. Raises
        TypeError or ValueError for a limit that is not JSON.
        """
        while len(pointer) > LONGEST:
            pointer = pointer.rpartition("/")[0]
        return cls(pointer, rule, short_limit(limit))


def short_limit(limit: Any) -> Any:
    """Return the limit of a rule, or its size if it is too long to be kept with every record."""
    if isinstance(limit, str):
        return limit if len(limit) <= LONGEST else f"of {len(limit):,} characters"
    if isinstance(limit, list | dict) and len(limit) > LONGEST:
        return f"of {len(limit):,} {'values' if isinstance(limit, list) else 'members'}"
    size = len(_ENCODE(limit))
    return limit if size <= LONGEST else f"of {size:,} bytes of JSON"


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
    """A rejected record: its place, the stage that rejected it, and its violations.

    `violations` are the first 20 by pointer, and `violations_total` is the number of all; None if only the first was
    looked for, because the record has too many values.
    """

    stage: str
    violations: tuple[Violation, ...]
    violations_total: Count | None

    @classmethod
    def at(cls, span: Span, stage: str, violations: Iterable[Violation], total: int | None = 1) -> Self:
        """Reject the record at a place."""
        listed = nsmallest(LISTED_VIOLATIONS, violations, key=lambda each: (each.pointer, each.rule, str(each.limit)))
        return cls(span.position, span.offset, span.length, span.sha256, stage, tuple(listed), total)

    def described(self) -> list[str]:
        """Describe the violations, a line each, and how many more there are."""
        return describe_violations(self.violations, self.violations_total)


def describe_violations(violations: Iterable[Violation], total: int | None) -> list[str]:
    """Describe violations, a line each, and how many more there are of the `total`, None if that is not known."""
    lines = list(map(str, violations))
    if total is None:
        return [*lines, "perhaps more: the record has too many values to look for all"]
    return [*lines, f"and {total - len(lines):,} more"] if total > len(lines) else lines


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
