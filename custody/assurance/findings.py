"""What the verification of an object finds, and its verdict."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

_KEPT = 10
"""The number of findings kept per object: one is enough to be broken, and there may be one per record."""


class Result(StrEnum):
    """The result of a check; `expired` means that the raw version is gone or archived."""

    HOLDS = "holds"
    EXPIRED = "expired"
    BROKEN = "broken"


_WORST_FIRST = (Result.BROKEN, Result.EXPIRED, Result.HOLDS)


class ObjectVerdict(Struct, frozen=True):
    """The verdict on an object: `records` is how many were checked, `where` has a sentence for each finding."""

    object: str
    result: Result
    records: int
    where: list[str]


class VerifyDocument(Struct, frozen=True):
    """Whether the stored objects match the ledger: every object that was checked, and their number by result."""

    objects: list[ObjectVerdict]
    counts: dict[Result, int]


class Findings:
    """Collects the findings on an object: of each result the first few, and their number."""

    def __init__(self) -> None:
        self._first: dict[Result, list[str]] = defaultdict(list)
        self._number = Counter[Result]()

    def add(self, result: Result, message: str) -> None:
        """Add a finding."""
        self._number[result] += 1
        if len(self._first[result]) < _KEPT:
            self._first[result].append(message)

    def add_broken(self, messages: Iterable[str]) -> None:
        """Add findings that break the object."""
        for message in messages:
            self.add(Result.BROKEN, message)

    def verdict(self, object_id: str, records: int) -> ObjectVerdict:
        """Return the verdict, the worst findings first."""
        where = [message for result in _WORST_FIRST for message in self._first[result]][:_KEPT]
        more = [f"and {number} more"] if (number := self._number.total() - len(where)) else []
        worst = next((result for result in _WORST_FIRST if self._number[result]), Result.HOLDS)
        return ObjectVerdict(object_id, worst, records, where + more)
