"""Summarize: the summary of a bulk object, and the decision whether the object as a whole is a success."""

import gzip
import json
from typing import Any

import pytest
from msgspec.structs import replace

from functions.shared import aws
from functions.shared.audit import ledger_file
from functions.shared.errors import AccessRefused, AttemptTaken, ChunksFailed, MessageRefused, RecordsRejected
from functions.shared.model.keys import LedgerKey
from functions.shared.model.messages import Batch, Plan
from functions.summarize import handler
from functions.summarize.handler import handle
from tests.support.buckets import ENTERED_AT, EXECUTION_ARN, Buckets, called_with, parse_ledger_file
from tests.support.executions import arn_of, chunk_of, commit
from tests.support.failures import refuse_access

CHUNK = 10
STARTS = (0, 10, 20)


def commit_all(
    buckets: Buckets, batch: Batch, *, written: tuple[int, ...] = (1, 1, 1), rejected: tuple[int, ...] = (0, 0, 0)
) -> list[str]:
    """Commit all three chunks; return the keys of their ledger files."""
    counts = zip(STARTS, written, rejected, strict=True)
    return [commit(buckets, chunk_of(batch, start), written=good, rejected=bad) for start, good, bad in counts]


def summarize(batch: Batch, *, redrives: int = 0, **more: Any) -> Any:
    return handle(called_with(batch.encode() | more, "Summarize", redrives=redrives), None)


def summary(buckets: Buckets, batch: Batch, attempt: int = 0) -> tuple[Any, list[Any]]:
    return parse_ledger_file(buckets.body("audit", f"ledger/{batch.object.id}/object.{attempt}.jsonl.gz"))


@pytest.fixture
def tolerant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tolerate that half of the records are rejected."""
    monkeypatch.setattr(handler, "ENVIRONMENT", replace(handler.ENVIRONMENT, tolerated_rejects_percent=50.0))


def test_a_summary_totals_the_committed_chunks(buckets: Buckets, batch: Batch) -> None:
    keys = commit_all(buckets, batch, written=(0, 1, 2))
    answer = summarize(batch)

    header, lines = summary(buckets, batch)
    assert header == {
        "format": 1,
        "object": batch.encode()["object"] | {"id": batch.object.id},
        "chunk": None,
        "dataset": "mission",
        "contract": None,
        "code": {"summarize": "0123456789ab"},
        "execution": EXECUTION_ARN,
        "redrive_of": None,
        "parent": None,
        "attempt": 0,
        "recorded_at": ENTERED_AT,
        "counts": {"received": 3, "written": 3, "rejected": 0},
        "output": None,
        "chunk_bytes": CHUNK,
        "chunks": {"total": 3, "committed": 3, "failed": 0},
    }
    assert lines == [
        {
            "start": start,
            "attempt": 0,
            "outcome": "committed",
            "counts": {"received": number, "written": number, "rejected": 0},
            "execution": arn_of(batch.object.id),
            "contract": "urn:contract",
            "output": None,
        }
        for number, start in enumerate(STARTS)
    ]
    assert answer == replace(batch, plan=None).encode() | {
        "dataset": "mission",
        "counts": header["counts"],
        "chunks": header["chunks"],
        "ledger": {"bucket": "audit", "key": f"ledger/{batch.object.id}/object.0.jsonl.gz"},
    }
    assert buckets.keys("audit") == [*keys, answer["ledger"]["key"]], "nothing else is written"


def test_an_object_with_failed_chunks_fails_after_its_summary(buckets: Buckets, batch: Batch) -> None:
    commit(buckets, chunk_of(batch, 10), written=2)
    with pytest.raises(ChunksFailed, match="2 of 3 chunks failed, starting at byte 0, 20; their dead letters"):
        summarize(batch)

    header, lines = summary(buckets, batch)
    assert header["chunks"] == {"total": 3, "committed": 1, "failed": 2}
    assert header["counts"] == {"received": 2, "written": 2, "rejected": 0}
    assert [line["outcome"] for line in lines] == ["failed", "committed", "failed"]
    assert lines[0] == {"start": 0, "outcome": "failed"}


def test_too_many_rejects_fail_the_object_and_name_the_chunks(buckets: Buckets, batch: Batch) -> None:
    commit_all(buckets, batch, rejected=(0, 2, 0))
    with pytest.raises(
        RecordsRejected, match="2 of 5 records rejected, in chunks starting at byte 10; their dead letters"
    ):
        summarize(batch)

    assert summary(buckets, batch)[0]["counts"] == {"received": 5, "written": 3, "rejected": 2}


@pytest.mark.usefixtures("tolerant")
def test_the_tolerance_is_a_share_of_the_whole_object(buckets: Buckets, batch: Batch) -> None:
    commit_all(buckets, batch, written=(2, 0, 2), rejected=(0, 3, 0))

    assert summarize(batch)["counts"] == {"received": 7, "written": 4, "rejected": 3}, "a chunk may be bad all through"


@pytest.mark.usefixtures("tolerant")
def test_a_wholly_rejected_object_and_failed_chunks_are_never_tolerated(
    buckets: Buckets, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(buckets, chunk_of(batch, 0), rejected=1)
    with pytest.raises(ChunksFailed):
        summarize(batch)

    buckets.empty()
    monkeypatch.setattr(handler, "ENVIRONMENT", replace(handler.ENVIRONMENT, tolerated_rejects_percent=100.0))
    commit_all(buckets, batch, written=(0, 0, 0), rejected=(1, 1, 1))
    with pytest.raises(RecordsRejected, match="3 of 3 records rejected"):
        summarize(batch)


def test_after_a_redrive_the_latest_attempt_of_each_chunk_counts(buckets: Buckets, batch: Batch) -> None:
    commit_all(buckets, batch, rejected=(0, 1, 0))
    commit(buckets, chunk_of(batch, 10, attempt=1), written=2)
    again = replace(batch, attempt=1, plan=Plan(CHUNK, (10,)))
    answer = summarize(again, redrives=1)

    assert answer["counts"] == {"received": 4, "written": 4, "rejected": 0}
    _, lines = summary(buckets, batch, attempt=1)
    assert [(line["start"], line["attempt"]) for line in lines] == [(0, 0), (10, 1), (20, 0)]


def test_a_chunk_that_failed_again_keeps_the_counts_of_an_earlier_attempt(buckets: Buckets, batch: Batch) -> None:
    commit_all(buckets, batch, rejected=(0, 1, 0))
    with pytest.raises(ChunksFailed, match="1 of 3 chunks failed, starting at byte 10;"):
        summarize(replace(batch, attempt=1, plan=Plan(CHUNK, (10,))), redrives=1)

    header, lines = summary(buckets, batch, attempt=1)
    counts = {"received": 2, "written": 1, "rejected": 1}
    assert lines[1] == {"start": 10, "attempt": 0, "outcome": "failed", "counts": counts}
    assert header["counts"] == {"received": 4, "written": 3, "rejected": 1}


def test_a_retry_writes_nothing_twice_but_a_summary_of_another_execution_is_refused(
    buckets: Buckets, batch: Batch
) -> None:
    commit_all(buckets, batch)

    assert summarize(batch) == summarize(batch)
    versions = buckets.s3.list_object_versions(Bucket="audit", Prefix=f"ledger/{batch.object.id}/object")["Versions"]
    assert len(versions) == 1

    event = called_with(batch.encode(), "Summarize", arn=f"{EXECUTION_ARN}-r0")
    with pytest.raises(AttemptTaken, match=f"attempt 0 of {batch.object.id} was committed by {EXECUTION_ARN}"):
        handle(event, None)


def test_an_outdated_summary_is_refused(buckets: Buckets, batch: Batch) -> None:
    with pytest.raises(ChunksFailed):
        summarize(batch)
    commit_all(buckets, batch)
    with pytest.raises(AttemptTaken, match="with other outcomes"):
        summarize(batch)


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(b"not gzip", id="not gzip"),
        pytest.param(gzip.compress(b"not JSON\n"), id="not JSON"),
        pytest.param(gzip.compress(b'{"format":1}\n')[:-9], id="cut off"),
        pytest.param(gzip.compress(b'{"format":1}\n'), id="another shape"),
    ],
)
def test_an_unreadable_ledger_file_is_named(buckets: Buckets, batch: Batch, damaged: bytes) -> None:
    keys = commit_all(buckets, batch)
    buckets.put("audit", keys[1], damaged)
    with pytest.raises(MessageRefused, match=rf"the ledger file {keys[1]} .*restore its first version"):
        summarize(batch)


def test_an_object_that_is_not_divided_is_refused(buckets: Buckets) -> None:
    with pytest.raises(MessageRefused, match=r"mission/a\.json, which is not divided into"):
        summarize(buckets.upload("mission/a.json", b"{}"))


def test_only_the_headers_of_ledger_files_are_read(
    buckets: Buckets, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_all(buckets, batch)
    lengths: list[int | None] = []
    read = aws.read

    def spy(bucket: str, key: str, length: int | None = None) -> bytes:
        lengths.append(length)
        return read(bucket, key, length)

    monkeypatch.setattr(aws, "read", spy)
    summarize(batch)
    assert lengths == [ledger_file.HEADER_BYTES] * 3


def test_a_refused_call_is_raised(buckets: Buckets, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    commit_all(buckets, batch)
    monkeypatch.setattr(aws, "read", refuse_access)
    with pytest.raises(AccessRefused):
        summarize(batch)
    assert not [key for key in buckets.keys("audit") if "/object." in key]


@pytest.fixture
def five_thousand(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """Upload an object of the maximum number of chunks, and fake their ledger files."""
    starts = tuple(range(0, 50_000, CHUNK))
    batch = replace(buckets.upload("mission/huge.jsonl", b"x" * 50_000), plan=Plan(CHUNK, starts))
    first = commit(buckets, chunk_of(batch, 0), written=3, rejected=1)
    head, _ = parse_ledger_file(buckets.body("audit", first))
    keys = {LedgerKey.of(chunk_of(batch, start)).key: None for start in starts}

    read_summary = aws.read

    def read(bucket: str, key: str, length: int) -> bytes:
        if key not in keys:
            return read_summary(bucket, key, length)
        start = int(key.rpartition("/")[2].partition(".")[0])
        return gzip.compress(json.dumps(head | {"chunk": {"start": start, "bytes": CHUNK}}).encode() + b"\n")

    monkeypatch.setattr(aws, "keys", lambda *_: list(keys))
    monkeypatch.setattr(aws, "read", read)
    return batch


def test_the_error_and_output_of_the_largest_object_are_short(
    five_thousand: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RecordsRejected) as raised:
        summarize(five_thousand)
    assert str(raised.value).startswith("5000 of 20000 records rejected")
    assert "and 4990 more; their dead letters say why" in str(raised.value)
    assert len(str(raised.value)) < 1_000

    monkeypatch.setattr(handler, "ENVIRONMENT", replace(handler.ENVIRONMENT, tolerated_rejects_percent=100.0))
    answer = summarize(five_thousand)
    assert answer["chunks"] == {"total": 5000, "committed": 5000, "failed": 0}
    assert len(json.dumps(answer)) < 4_096
