"""What a check of the ledger finds, and how bad it is."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

_TOLD = 10
"""How many findings an object keeps; one is enough to be broken, and there may be one a record."""


class Result(IntEnum):
    """What becomes of a check; the worst one counts."""

    HOLDS = 0
    EXPIRED = 1
    BROKEN = 2

    def __str__(self) -> str:
        """Name it as people read it."""
        return self.name.lower()


@dataclass(frozen=True)
class Finding:
    """Something to tell of an object: a line for people, and how bad it is."""

    result: Result
    said: str


@dataclass(frozen=True)
class Verdict:
    """What came of an object: `records` is how many were checked, `findings` the first few things to tell."""

    object_id: str
    records: int
    findings: tuple[Finding, ...]
    untold: int = 0

    @property
    def result(self) -> Result:
        """The worst of it."""
        return max((finding.result for finding in self.findings), default=Result.HOLDS)

    @property
    def where(self) -> list[str]:
        """A line for each finding."""
        more = [f"and {self.untold} more"] if self.untold else []
        return [finding.said for finding in self.findings] + more

    def encode(self) -> dict[str, Any]:
        """Give the JSON shape of `--json`."""
        return {"object": self.object_id, "result": str(self.result), "records": self.records, "where": self.where}


class Findings:
    """Gathers findings: of each kind the first few, and how many there are."""

    def __init__(self) -> None:
        self.first: dict[Result, list[Finding]] = defaultdict(list)
        self.number = Counter[Result]()

    def add(self, result: Result, said: str) -> None:
        """Take down a finding."""
        self.number[result] += 1
        if len(self.first[result]) < _TOLD:
            self.first[result].append(Finding(result, said))

    def broken(self, said: str | Iterable[str]) -> None:
        """Take down what is broken."""
        for each in [said] if isinstance(said, str) else said:
            self.add(Result.BROKEN, each)

    def verdict(self, object_id: str, records: int) -> Verdict:
        """Judge an object by what was gathered: the worst comes first."""
        found = [finding for result in sorted(Result, reverse=True) for finding in self.first[result]]
        return Verdict(object_id, records, tuple(found[:_TOLD]), max(0, self.number.total() - _TOLD))
