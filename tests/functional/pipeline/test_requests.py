"""The requests of a batch to S3 if all goes well: those that docs/scaling.md lists, however large the batch is."""

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient
from msgspec.structs import replace

from functions.shared.errors import RecordsRejected
from functions.shared.model.messages import Batch, Chunk
from tests.support.buckets import Buckets
from tests.support.stages import BAD, GOOD, through

DOCUMENT = (Path(__file__).parents[3] / "docs" / "scaling.md").read_text(encoding="utf-8")
COLUMNS = (
    ("raw", "GetObject"),
    ("staging", "PutObject"),
    ("staging", "GetObject"),
    ("processed", "PutObject"),
    ("audit", "PutObject"),
)
"""The columns of the table."""

Requests = Counter[tuple[str, str]]


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Requests:
    """Count the requests to S3, by bucket and operation."""
    seen = Requests()
    call = BaseClient._make_api_call  # type: ignore[attr-defined]  # noqa: SLF001 - every request passes through it

    def counted(self: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        seen[parameters.get("Bucket", ""), operation] += 1
        return call(self, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", counted)
    return seen


def requests_of(batch: Batch, requests: Requests) -> tuple[int, ...]:
    """Send a batch through all steps; return the numbers of requests in the order of the table."""
    requests.clear()
    with suppress(RecordsRejected):
        through(batch)
    assert set(requests) <= set(COLUMNS), "the table has a column for each"
    return tuple(requests[column] for column in COLUMNS)


@pytest.mark.parametrize(
    ("records", "chunk", "row"),
    [
        (1, None, "travels in its messages"),
        (2_000, None, "is staged"),
        (10_000, None, "is staged"),
        (10_000, Chunk(300_000, 200_000), "is staged"),
    ],
    ids=["inline", "staged", "large", "chunk"],
)
def test_a_batch_makes_the_requests_of_the_table_however_large_it_is(
    buckets: Buckets, requests: Requests, records: int, chunk: Chunk | None, row: str
) -> None:
    whole = buckets.upload("a.jsonl", b"\n".join([GOOD] * records))
    numbers = requests_of(replace(whole, chunk=chunk, parent="arn" if chunk else None), requests)

    assert f"| {row} | {' | '.join(map(str, numbers))} |" in DOCUMENT


def test_a_batch_with_rejected_records_has_a_dead_letter_too(buckets: Buckets, requests: Requests) -> None:
    accepted = requests_of(buckets.upload("a.jsonl", GOOD), requests)
    rejected = requests_of(buckets.upload("b.jsonl", GOOD + b"\n" + BAD), requests)

    assert rejected == (*accepted[:-1], accepted[-1] + 1)
