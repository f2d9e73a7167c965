"""The totals of a bulk object: from the headers of its ledger files to the outcome of each chunk."""

from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from functions.shared.audit import chunk_totals
from functions.shared.audit.chunk_totals import processed_at, summary_of, to_repeat, totals
from functions.shared.audit.dead_letter import Failure, resumes_at
from functions.shared.errors import ChunksFailed, RecordsRejected
from functions.shared.model.ids import RawObject
from functions.shared.model.keys import LedgerKey, discarded, latest
from functions.shared.model.ledger import ChunkCounts, ChunkLine, CommittedChunk, FailedChunk, LedgerHeader
from functions.shared.model.messages import FORMAT, Batch, Chunk, Counts, Execution, Plan, Step
from functions.summarize import summary

RAW = RawObject("raw", "mission/a.jsonl", "v", 25, "e")
WHOLE = Plan(10, (0, 10, 20))
BATCH = Batch(RAW, plan=WHOLE)
ARN = "arn:aws:states:eu-central-1:1:execution:pipeline:a"


def header(start: int, attempt: int = 0, *, written: int = 1, rejected: int = 0, size: int = 10) -> LedgerHeader:
    return LedgerHeader(
        format=FORMAT,
        object=RAW,
        chunk=Chunk(start, size),
        dataset="mission",
        contract="urn:contract",
        code={},
        redrive_of=None,
        parent=None,
        attempt=attempt,
        recorded_at="2026-11-23T09:00:00Z",
        execution=ARN,
        counts=Counts(written + rejected, written, rejected),
        output=None,
    )


def committed(*headers: LedgerHeader) -> dict[int, LedgerHeader]:
    return {each.chunk.start: each for each in headers if each.chunk}


def line(start: int, *, rejected: int = 0) -> CommittedChunk:
    return CommittedChunk(start, 0, Counts(1 + rejected, 1, rejected), ARN, "urn:contract", None)


def keys(*names: str) -> list[LedgerKey]:
    return [*filter(None, (LedgerKey.parse(f"ledger/{RAW.id}/{name}.jsonl.gz") for name in names))]


def step_of(attempt: int, message: dict[str, Any]) -> Step:
    batch = replace(BATCH, attempt=attempt)
    return Step("DeadLetter", message, batch, Execution(ARN, "2026-11-23T09:00:00.000Z"), "2026-11-23T09:00:01.000Z")


@given(st.permutations([(start, attempt) for start in (0, 10, 20) for attempt in (0, 2, 10)]))
def test_the_latest_ledger_file_of_a_chunk_is_that_of_the_highest_attempt(names: list[tuple[int, int]]) -> None:
    listed = keys(*(f"{start:015d}.{attempt}" for start, attempt in names))
    assert latest(listed) == {start: LedgerKey(RAW.id, start, 10) for start in (0, 10, 20)}
    assert latest(keys("000000000000000.0.discarded", "unknown")) == {}, "a discard is not a commit"


def test_an_object_is_complete_if_each_chunk_is_committed_and_one_without_a_ledger_file_failed() -> None:
    result = totals(WHOLE, WHOLE, 0, committed(header(0), header(10, rejected=2), header(20, written=0)))

    assert result.chunk_counts == ChunkCounts(total=3, committed=3, failed=0)
    assert result.counts == Counts(4, 2, 2)
    assert not result.failed
    assert [chunk.start for chunk in result.rejecting] == [10]
    result = totals(WHOLE, WHOLE, 0, committed(header(0), header(20)))

    assert result.chunks[1] == FailedChunk(10)
    assert result.chunk_counts == ChunkCounts(total=3, committed=2, failed=1)


def test_a_chunk_that_was_processed_again_must_have_been_committed_again() -> None:
    again = replace(WHOLE, chunks=(10, 20))
    result = totals(WHOLE, again, 1, committed(header(0), header(10), header(20, attempt=1)))

    assert [chunk.start for chunk in result.failed] == [10]
    assert result.failed == [FailedChunk(10, 0, Counts(1, 1, 0))]
    assert result.counts == Counts(3, 3, 0), "what an earlier attempt delivered is still there, and counts"
    by_itself = totals(Plan(10, (0,)), Plan(10, (0,)), 1, committed(header(0, attempt=2)))
    assert not by_itself.failed, "a child that was redriven by itself has a later attempt"


def test_the_commit_of_a_chunk_of_another_size_does_not_count() -> None:
    result = totals(WHOLE, replace(WHOLE, chunks=()), 1, committed(header(0, size=20), header(10), header(20)))

    assert [chunk.start for chunk in result.failed] == [0]
    assert result.counts == Counts(2, 2, 0)


def test_only_chunks_that_failed_or_have_rejected_records_are_processed_again() -> None:
    lines: list[ChunkLine] = [line(0), line(10, rejected=1), FailedChunk(20), FailedChunk(30, 0, Counts(1, 1, 0))]
    batch = Batch(RAW, plan=Plan(10, (0, 10, 20, 30)))

    assert to_repeat(batch, lines).plan == Plan(10, (10, 20, 30))


def test_a_discarded_chunk_is_not_processed_again_unless_it_was_processed_since() -> None:
    names = [
        *("000000000000000.0", "000000000000000.0.discarded"),
        *("000000000000010.0.discarded", "000000000000010.1"),
        "000000000000020.1.discarded",
    ]
    done = discarded(keys(*names))

    assert done == {0, 20}
    lines: list[ChunkLine] = [line(0, rejected=1), line(10, rejected=1), FailedChunk(20)]
    assert to_repeat(BATCH, lines, done).plan == Plan(10, (10,))
    assert to_repeat(BATCH, lines[:1], done).plan == Plan(10, ()), "only Summarize is left to do"


def test_without_a_plan_or_a_chunk_to_repeat_in_the_summary_all_are_processed_again() -> None:
    assert to_repeat(BATCH, []) == to_repeat(BATCH, [line(0)]) == BATCH
    assert to_repeat(Batch(RAW), [FailedChunk(0)]) == Batch(RAW)


def test_the_chunks_were_processed_at_the_attempt_of_the_message_unless_it_names_another() -> None:
    assert processed_at(BATCH.encode() | {"attempt": 2}) == 2
    assert processed_at(BATCH.encode() | {"attempt": 2, chunk_totals.CHUNKS_ATTEMPT: 1}) == 1


def test_the_summary_of_a_failure_is_the_latest_since_the_chunks_were_processed() -> None:
    listed = keys("object.0", "object.1", "object.2", "object.3.discarded")
    message = BATCH.encode() | {"attempt": 1}

    assert summary_of(step_of(3, message), listed) == listed[2]
    assert summary_of(step_of(3, message), listed[:1]) is None
    assert summary_of(step_of(1, message), listed) == listed[1]


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
        ("Transform", "TransformFailed", "Validate"),
        ("Transform", "AccessRefused", "Transform"),
        ("Enrich", "TransformFailed", "Validate"),
        ("Enrich", "AccessRefused", "Enrich"),
    ],
)
def test_a_redrive_resumes_where_the_input_of_the_failed_step_is_made_anew_if_that_may_be_at_fault(
    step: str, error: str, state: str
) -> None:
    assert resumes_at(Failure(step, error, "a cause")) == state


def test_discarded_records_no_longer_count_against_the_object() -> None:
    totals_of = partial(totals, WHOLE, WHOLE, 0, committed(header(0, rejected=1), header(10)))

    assert isinstance(summary.failure(totals_of(), 0), ChunksFailed)
    still_rejecting = totals_of(frozenset({20}))
    assert isinstance(summary.failure(still_rejecting, 0), RecordsRejected)
    resolved = totals_of(frozenset({0, 20}))
    assert summary.failure(resolved, 0) is None
    assert (resolved.counts, resolved.chunk_counts.failed) == (Counts(3, 2, 1), 1), "the ledger keeps what happened"


def test_an_object_without_any_record_is_rejected_as_in_one_batch() -> None:
    empty = committed(*(header(start, written=0) for start in WHOLE.chunks))
    assert isinstance(summary.failure(totals(WHOLE, WHOLE, 0, empty), 100), RecordsRejected)
