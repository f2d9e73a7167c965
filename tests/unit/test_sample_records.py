"""Sample records: as many as are asked for, the same on every run, with the invalid ones spread evenly."""

import json
from itertools import pairwise
from typing import Any

import pytest

from functions.validate import contracts
from samples.records import lines


def parsed(line: str) -> Any:
    """Parse a line as JSON; None if it is not JSON (NaN is not)."""
    try:
        return json.loads(line, parse_constant=lambda _: 1 / 0)
    except (ValueError, ZeroDivisionError):
        return None


@pytest.mark.parametrize(
    ("records", "bad", "malformed"), [(1, 0, 0), (1, 1, 0), (1, 0, 1), (1000, 10, 3), (999, 500, 499), (2500, 7, 0)]
)
def test_as_many_are_invalid_as_were_asked_for(records: int, bad: int, malformed: int) -> None:
    documents = [parsed(line) for line in lines(records, bad, malformed)]
    validator = contracts.load("mission").validator
    valid = [document for document in documents if document is not None and validator.is_valid(document)]
    assert len(documents) == records
    assert documents.count(None) == malformed
    assert len(valid) == records - bad - malformed


def test_the_invalid_ones_are_spread_evenly() -> None:
    validator = contracts.load("mission").validator
    invalid = [number for number, line in enumerate(lines(1000, bad=10)) if not validator.is_valid(parsed(line))]
    assert {after - before for before, after in pairwise(invalid)} == {100}
