"""What a batch asks of S3 if all goes well: as docs/scaling.md says, and the same however large the batch is."""

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient
from msgspec.structs import replace

from functions.shared.errors import RecordsRejected
from functions.shared.model.messages import Batch, Chunk
from functions.transform.handler import handle as transform
from functions.validate.handler import handle as validate
from functions.write.handler import handle as write
from tests.support.buckets import Buckets, called_with
from tests.support.stages import BAD, GOOD

DOCUMENT = (Path(__file__).parents[3] / "docs" / "scaling.md").read_text(encoding="utf-8")
STEPS = {"Validate": validate, "Transform": transform, "Write": write}
ASKED = (
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
    call = BaseClient._make_api_call  # type: ignore[attr-defined]  # noqa: SLF001 - the one way of every request

    def counted(self: BaseClient, operation: str, asked: dict[str, Any]) -> Any:
        seen[asked.get("Bucket", ""), operation] += 1
        return call(self, operation, asked)

    monkeypatch.setattr(BaseClient, "_make_api_call", counted)
    return seen


ONE_REJECTED = b"\n".join([GOOD, BAD])


def carried(batch: Batch, requests: Requests) -> tuple[int, ...]:
    """Carry a batch through all steps; give the requests in the order of the table."""
    requests.clear()
    message = batch.encode()
    with suppress(RecordsRejected):
        for name, step in STEPS.items():
            message = step(called_with(message, name), None)
    assert set(requests) <= set(ASKED), "the table has a column for each"
    return tuple(requests[asked] for asked in ASKED)


def row(name: str, found: tuple[int, ...]) -> str:
    return f"| {name} | {' | '.join(map(str, found))} |"


def test_a_batch_that_travels_in_its_messages(buckets: Buckets, requests: Requests) -> None:
    found = carried(buckets.upload("a.json", GOOD), requests)

    assert row("travels in its messages", found) in DOCUMENT


@pytest.mark.parametrize("records", [2_000, 20_000])
def test_a_batch_that_is_staged(buckets: Buckets, requests: Requests, records: int) -> None:
    found = carried(buckets.upload("a.jsonl", b"\n".join([GOOD] * records)), requests)

    assert row("is staged", found) in DOCUMENT


def test_a_chunk(buckets: Buckets, requests: Requests) -> None:
    whole = buckets.upload("a.jsonl", b"\n".join([GOOD] * 20_000))
    found = carried(replace(whole, chunk=Chunk(600_000, 300_000), parent="arn"), requests)

    assert row("is staged", found) in DOCUMENT, "as any other batch"


def test_a_batch_with_rejected_records_has_a_dead_letter_too(buckets: Buckets, requests: Requests) -> None:
    good = carried(buckets.upload("a.jsonl", GOOD), requests)
    rejected = carried(buckets.upload("b.jsonl", ONE_REJECTED), requests)

    assert rejected == (*good[:-1], good[-1] + 1)
