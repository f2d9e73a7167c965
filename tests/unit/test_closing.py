"""The ledger of a bulk object: from the headers of ledger files to what became of each chunk."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.shared.audit import chunk_totals
from functions.shared.audit.chunk_totals import (
    ChunkState,
    Commit,
    close,
    given_up,
    latest,
    narrowed,
    processed_at,
    summary_of,
)
from functions.shared.audit.ledger_file import Failure, resumes_at
from functions.shared.errors import ChunksFailed, MessageRefused, RecordsRejected
from functions.shared.model.ids import RawObject
from functions.shared.model.messages import Batch, Chunk, Counts, Execution, Plan, Step
from functions.summarize import summary

RAW = RawObject("raw", "mission/a.jsonl", "v", 25, "e")
WHOLE = Plan(10, (0, 10, 20))
BATCH = Batch(RAW, plan=WHOLE)


def header(start: int = 0, **more: Any) -> Any:
    return {
        "chunk": {"start": start, "bytes": 10},
        "attempt": 0,
        "counts": {"received": 3, "written": 2, "rejected": 1},
        "execution": "arn",
        "contract": "urn:contract",
        "output": None,
    } | more


def commit(start: int, attempt: int = 0, *, good: int = 1, rejected: int = 0, size: int = 10) -> Commit:
    return Commit(Chunk(start, size), attempt, Counts(good, rejected), "arn", "urn:contract", None)


def committed(*found: Commit) -> dict[int, Commit]:
    return {one.chunk.start: one for one in found}


def key(name: str) -> str:
    return f"ledger/{RAW.id}/{name}"


def step_of(batch: Batch, message: dict[str, Any] | None = None) -> Step:
    return Step("DeadLetter", message or batch.encode(), batch, Execution("arn", "2026-11-23T09:00:00.000Z"), "…")


def test_the_latest_ledger_file_of_a_chunk_is_that_of_the_highest_attempt() -> None:
    chunk = "000000000000010"
    keys = [key(f"{chunk}.{attempt}.jsonl.gz") for attempt in (0, 10, 2)]

    assert latest(keys) == {10: key(f"{chunk}.10.jsonl.gz")}


@pytest.mark.parametrize("name", ["object.0.jsonl.gz", "000000000000000.0.discarded.jsonl.gz", "odd"])
def test_what_is_no_ledger_file_of_a_chunk_is_passed_over(name: str) -> None:
    assert latest([key(name)]) == {}


@given(st.permutations([(start, attempt) for start in (0, 10, 20) for attempt in range(3)]))
def test_the_order_of_the_keys_does_not_matter(names: list[tuple[int, int]]) -> None:
    found = latest(key(f"{start:015d}.{attempt}.jsonl.gz") for start, attempt in names)

    assert list(found.items()) == [(start, key(f"{start:015d}.2.jsonl.gz")) for start in (0, 10, 20)]


def test_a_header_says_what_its_chunk_was_committed_with() -> None:
    output = {"bucket": "processed", "key": "k", "version_id": "v"}
    found = Commit.decode("k", header(10, attempt=2, output=output))

    assert found == Commit(Chunk(10, 10), 2, Counts(2, 1), "arn", "urn:contract", output)


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        ({"counts": {"received": 4, "written": 2, "rejected": 1}}, "do not add up"),
        ({"counts": None}, "without"),
        ({"chunk": None}, "without"),
        ({"chunk": {"start": 0}}, "without"),
    ],
)
def test_a_header_that_cannot_be_is_named_with_what_to_do(spoilt: dict[str, Any], said: str) -> None:
    with pytest.raises(MessageRefused, match=rf"the ledger file the-key has .*{said}.*put the version back"):
        Commit.decode("the-key", header(**spoilt))


def test_an_object_is_all_there_if_each_chunk_is_committed() -> None:
    found = close(WHOLE, WHOLE, 0, committed(commit(0), commit(10, rejected=2), commit(20, good=0)))

    assert found.chunks == {"total": 3, "committed": 3, "failed": 0}
    assert found.counts == Counts(2, 2)
    assert not found.failed
    assert [chunk.start for chunk in found.rejecting] == [10]


def test_a_chunk_without_a_ledger_file_failed() -> None:
    found = close(WHOLE, WHOLE, 0, committed(commit(0), commit(20)))

    assert found.chunk_states[1] == ChunkState(10, None, failed=True)
    assert found.chunks == {"total": 3, "committed": 2, "failed": 1}


def test_a_chunk_that_was_processed_again_must_have_been_committed_again() -> None:
    again = replace(WHOLE, chunks=(10, 20))
    found = close(WHOLE, again, 1, committed(commit(0), commit(10), commit(20, attempt=1)))

    assert [chunk.failed for chunk in found.chunk_states] == [False, True, False]
    assert found.counts == Counts(3, 0), "what an earlier attempt delivered is still there, and counts"


def test_a_child_that_was_redriven_by_itself_is_committed_at_a_later_attempt() -> None:
    assert not close(Plan(10, (0,)), Plan(10, (0,)), 1, committed(commit(0, attempt=2))).failed


def test_a_chunk_that_was_cut_otherwise_is_none_of_these() -> None:
    found = close(WHOLE, replace(WHOLE, chunks=()), 1, committed(commit(0, size=20), commit(10), commit(20)))

    assert [chunk.start for chunk in found.failed] == [0]
    assert found.counts == Counts(2, 0)


def test_each_chunk_has_a_line() -> None:
    chunks = [ChunkState(0, commit(0, rejected=1), failed=False), ChunkState(10, None, failed=True)]
    earlier = ChunkState(20, commit(20), failed=True)

    assert [chunk.encode() for chunk in (*chunks, earlier)] == [
        {
            "start": 0,
            "attempt": 0,
            "outcome": "committed",
            "counts": {"received": 2, "written": 1, "rejected": 1},
            "execution": "arn",
            "contract": "urn:contract",
            "output": None,
        },
        {"start": 10, "outcome": "failed"},
        {"start": 20, "attempt": 0, "outcome": "failed", "counts": {"received": 1, "written": 1, "rejected": 0}},
    ]


def test_only_chunks_that_failed_or_have_rejects_are_processed_again() -> None:
    chunks = [
        ChunkState(0, commit(0), failed=False),
        ChunkState(10, commit(10, rejected=1), failed=False),
        ChunkState(20, None, failed=True),
        ChunkState(30, commit(30), failed=True),
    ]
    batch = Batch(RAW, plan=Plan(10, (0, 10, 20, 30)))

    assert narrowed(batch, [chunk.encode() for chunk in chunks]).plan == Plan(10, (10, 20, 30))


def test_a_chunk_that_was_discarded_is_not_processed_again_unless_it_was_since() -> None:
    names = [
        "000000000000000.0.jsonl.gz",
        "000000000000000.0.discarded.jsonl.gz",
        "000000000000010.0.discarded.jsonl.gz",
        "000000000000010.1.jsonl.gz",
        "000000000000020.1.discarded.jsonl.gz",
        "object.0.jsonl.gz",
        "object.1.discarded.jsonl.gz",
    ]
    discarded = given_up([key(name) for name in names])

    assert discarded == {0, 20}
    lines = [ChunkState(start, commit(start, rejected=1), failed=start == 20).encode() for start in WHOLE.chunks]
    assert narrowed(BATCH, lines, discarded).plan == Plan(10, (10,))
    assert narrowed(BATCH, lines[:1], discarded).plan == Plan(10, ()), "Summarize alone is left to do"


@pytest.mark.parametrize("lines", [[], [ChunkState(0, commit(0), failed=False).encode()]])
def test_without_a_summary_that_tells_which_all_are_processed_again(lines: list[Any]) -> None:
    assert narrowed(BATCH, lines) == BATCH


def test_a_batch_without_a_plan_is_not_narrowed() -> None:
    assert narrowed(Batch(RAW), [{"start": 0, "outcome": "failed"}]) == Batch(RAW)


def test_the_chunks_were_processed_at_the_attempt_of_the_message_unless_that_says_otherwise() -> None:
    assert processed_at(BATCH.encode() | {"attempt": 2}) == 2
    assert processed_at(BATCH.encode() | {"attempt": 2, chunk_totals.CHUNKS_ATTEMPT: 1}) == 1


def test_the_summary_of_what_failed_is_the_latest_since_the_chunks_were_processed() -> None:
    keys = [key(f"object.{attempt}.jsonl.gz") for attempt in (0, 1, 2)] + [key("object.3.discarded.jsonl.gz")]
    message = BATCH.encode() | {"attempt": 1}

    assert summary_of(step_of(replace(BATCH, attempt=3), message), keys) == key("object.2.jsonl.gz")
    assert summary_of(step_of(replace(BATCH, attempt=3), message), keys[:1]) is None
    assert summary_of(step_of(replace(BATCH, attempt=1), message), keys) == key("object.1.jsonl.gz")


@pytest.mark.parametrize(
    ("step", "error", "state"),
    [
        ("ProcessChunks", "States.DataLimitExceeded", "ProcessChunks"),
        ("ProcessChunks", "ExecutionAborted", "ProcessChunks"),
        ("Summarize", "ChunksFailed", "ProcessChunks"),
        ("Summarize", "RecordsRejected", "ProcessChunks"),
        ("Summarize", "AccessRefused", "Summarize"),
        ("Summarize", "ObjectMissing", "Summarize"),
        ("Summarize", "MessageRefused", "Summarize"),
        ("Summarize", "ExecutionTimedOut", "Summarize"),
    ],
)
def test_a_bulk_execution_goes_on_with_its_chunks_if_these_are_at_fault(step: str, error: str, state: str) -> None:
    assert resumes_at(Failure(step, error, "said")) == state


@pytest.mark.parametrize("step", ["Transform", "Enrich"])
def test_a_batch_begins_anew_if_code_could_not_cope_with_a_record_that_code_before_it_made_or_let_through(
    step: str,
) -> None:
    assert resumes_at(Failure(step, "TransformFailed", "said")) == "Validate"
    assert resumes_at(Failure(step, "AccessRefused", "said")) == step


def test_what_was_discarded_is_no_longer_held_against_the_object() -> None:
    committed = {0: commit(0, rejected=1), 10: commit(10)}
    closing_of = partial(close, WHOLE, WHOLE, 0, committed)

    assert isinstance(summary.shortfall(closing_of(), 0), ChunksFailed)
    assert isinstance(summary.shortfall(closing_of(frozenset({20})), 0), RecordsRejected), (
        "the first chunk rejects still"
    )
    settled = closing_of(frozenset({0, 20}))
    assert summary.shortfall(settled, 0) is None
    assert (settled.counts, settled.chunks["failed"]) == (Counts(2, 1), 1), "the ledger say what happened all the same"


def test_an_object_of_which_no_line_is_a_record_is_rejected_as_in_one_batch() -> None:
    empty = {start: commit(start, good=0) for start in WHOLE.chunks}
    assert isinstance(summary.shortfall(close(WHOLE, WHOLE, 0, empty), 100), RecordsRejected)
