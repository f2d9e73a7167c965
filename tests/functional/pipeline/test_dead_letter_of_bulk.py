"""DeadLetter of a bulk object: a dead letter for the object and for each chunk; a redrive runs again what is needed."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from functions.dead_letter.handler import handle
from functions.shared import aws
from functions.shared.errors import AccessRefused, ChunksFailed, DataError, RecordsRejected, StepFailed
from functions.shared.model.messages import Batch, Plan
from functions.summarize.handler import handle as summarize
from tests.support.buckets import EXECUTION_ARN, STARTED_AT, Buckets, called_with
from tests.support.executions import chunk_of, commit
from tests.support.failures import (
    REDRIVEN_AT,
    StepFunctions,
    ended,
    entered,
    failed,
    failed_in_engine,
    record,
    refuse_access,
    resume,
)
from tests.support.stages import BAD, call

STARTS = (0, 10, 20)


pytestmark = pytest.mark.usefixtures("step_functions")


def summarize_and_fail(batch: Batch, *, redrives: int = 0, **more: Any) -> dict[str, Any]:
    """Let Summarize fail, then DeadLetter record it; return the message that DeadLetter was called with."""
    message = batch.encode() | more
    with pytest.raises(DataError) as raised:
        summarize(called_with(message, "Summarize", redrives=redrives), None)
    record(message, "Summarize", type(raised.value).__name__, str(raised.value), redrives=redrives)
    return message


def redriven(message: dict[str, Any], step: str, error: str, *, redrives: int = 1) -> Any:
    return resume(message, step, error, redrives=redrives, redriven_at=REDRIVEN_AT)


def dead_letters(buckets: Buckets) -> list[str]:
    return [key.rpartition("/")[2] for key in buckets.keys("audit", "dead-letters/")]


def test_an_object_with_failed_chunks_has_a_dead_letter_and_a_redrive_processes_only_these(
    buckets: Buckets, batch: Batch
) -> None:
    commit(buckets, chunk_of(batch, 0))
    message = summarize_and_fail(batch)

    assert buckets.keys("audit", "dead-letters/") == [
        f"dead-letters/dt={STARTED_AT[:10]}/{batch.object.id}/object.0.Summarize.json"
    ]
    dead_letter = buckets.dead_letter()
    assert (dead_letter["step"], dead_letter["error"]) == ("Summarize", "ChunksFailed")
    assert dead_letter["resumes_at"] == "ProcessChunks"
    assert dead_letter["cause"].startswith("2 of 3 chunks failed, starting at byte 10, 20;")
    assert (dead_letter["chunk"], dead_letter["parent"], dead_letter["rejected"]) == (None, None, [])
    assert dead_letter["code"] == {"summarize": "s-code"}
    assert "only these chunks are processed again" in dead_letter["advice"]

    assert redriven(message, "Summarize", "ChunksFailed") == message | {
        "attempt": 1,
        "plan": {"chunk_bytes": 10, "chunks": [10, 20]},
        "resume": "ProcessChunks",
    }


def test_a_redrive_after_rejects_processes_only_rejecting_chunks(buckets: Buckets, batch: Batch) -> None:
    for start in STARTS:
        commit(buckets, chunk_of(batch, start), rejected=1 if start == 10 else 0)
    message = summarize_and_fail(batch)

    assert dead_letters(buckets) == ["object.0.Summarize.json"], "not Rejected: Summarize has written none"
    answer = redriven(message, "Summarize", "RecordsRejected")
    assert (answer["plan"]["chunks"], answer["resume"], answer["attempt"]) == ([10], "ProcessChunks", 1)


def test_each_redrive_processes_fewer_chunks_and_records_its_failure(buckets: Buckets, batch: Batch) -> None:
    commit(buckets, chunk_of(batch, 0))
    message = summarize_and_fail(batch)
    again = Batch.decode(redriven(message, "Summarize", "ChunksFailed"))
    commit(buckets, chunk_of(batch, 20, attempt=1))
    message = summarize_and_fail(again, redrives=1)

    assert dead_letters(buckets) == ["object.0.Summarize.json", "object.1.Summarize.json"]
    assert redriven(message, "Summarize", "ChunksFailed", redrives=2)["plan"]["chunks"] == [10]


def test_a_redrive_after_a_stop_in_the_map_reads_the_latest_summary(buckets: Buckets, batch: Batch) -> None:
    # It was stopped in the Map, and redriven: Summarize's attempt is 1, though its message still says 0.
    commit(buckets, chunk_of(batch, 0))
    message = summarize_and_fail(batch, redrives=1)

    answer = redriven(message, "Summarize", "ChunksFailed", redrives=2)
    assert (answer["attempt"], answer["plan"]["chunks"]) == (2, [10, 20])


def test_without_a_summary_or_access_to_it_all_chunks_are_processed_again(
    buckets: Buckets, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(buckets, chunk_of(batch, 0))
    message = summarize_and_fail(batch)
    with monkeypatch.context() as refused:
        refused.setattr(aws, "read", refuse_access)
        assert redriven(message, "Summarize", "ChunksFailed")["plan"]["chunks"] == list(STARTS)
    buckets.hide("audit", f"ledger/{batch.object.id}/object.0.jsonl.gz")
    assert redriven(message, "Summarize", "ChunksFailed")["plan"]["chunks"] == list(STARTS)


def test_the_summary_of_another_execution_is_ignored(buckets: Buckets, batch: Batch) -> None:
    commit(buckets, chunk_of(batch, 0))
    with pytest.raises(ChunksFailed):
        summarize(called_with(batch.encode(), "Summarize"), None)
    event = failed(batch.encode(), "Summarize", "ChunksFailed", redrives=1)
    event["execution"] |= {"RedriveTime": REDRIVEN_AT, "Id": f"{EXECUTION_ARN}-r1"}

    assert handle(event, None)["plan"]["chunks"] == list(STARTS)


def test_each_failure_of_summarize_itself_has_a_dead_letter_and_only_summarize_is_repeated(
    buckets: Buckets, batch: Batch
) -> None:
    for start in STARTS:
        commit(buckets, chunk_of(batch, start))
    message = batch.encode()
    for redrives in range(3):
        record(message, "Summarize", "AccessRefused", redrives=redrives)
        message = redriven(message, "Summarize", "AccessRefused", redrives=redrives + 1)

    assert dead_letters(buckets) == [f"object.{attempt}.Summarize.json" for attempt in range(3)]
    assert message == batch.encode() | {"attempt": 3, "chunks_attempt": 0, "resume": "Summarize"}
    assert summarize(called_with(message, "Summarize", redrives=3), None)["chunks"]["committed"] == 3


def test_chunks_resume_with_their_own_attempt_after_summarize_was_repeated(buckets: Buckets, batch: Batch) -> None:
    for start in STARTS[:2]:
        commit(buckets, chunk_of(batch, start))
    record(batch.encode(), "Summarize", "AccessRefused")
    again = redriven(batch.encode(), "Summarize", "AccessRefused")
    message = summarize_and_fail(Batch.decode(again), redrives=1, chunks_attempt=0)

    answer = redriven(message, "Summarize", "ChunksFailed", redrives=2)
    assert answer == batch.encode() | {
        "attempt": 2,
        "plan": {"chunk_bytes": 10, "chunks": [20]},
        "resume": "ProcessChunks",
    }


def test_a_failed_map_is_run_again_unchanged(buckets: Buckets, batch: Batch) -> None:
    event = failed_in_engine(batch.encode(), "ProcessChunks", "States.DataLimitExceeded", "the answers are too large")
    with pytest.raises(StepFailed, match="DataLimitExceeded at ProcessChunks"):
        handle(event, None)

    assert dead_letters(buckets) == ["object.0.ProcessChunks.json"]
    event["execution"] |= {"RedriveCount": 1, "RedriveTime": REDRIVEN_AT}
    assert handle(event, None) == batch.encode() | {"attempt": 1, "resume": "ProcessChunks"}


# A chunk has a dead letter of its own, and never resumes.


def of_a_chunk(message: dict[str, Any], step: str, error: str, *, redrives: int = 0) -> dict[str, Any]:
    event = failed(message, step, error, redrives=redrives)
    del event["resumable"]
    event["state"]["Name"] = "DeadLetterChunk"
    return event


def test_a_failed_chunk_has_a_dead_letter_under_its_start_and_never_resumes_by_itself(
    buckets: Buckets, batch: Batch, step_functions: StepFunctions
) -> None:
    step_functions.refusal = "it asks"
    for redrives in range(3):
        event = of_a_chunk(chunk_of(batch, 10).encode(), "Write", "AccessRefused", redrives=redrives)
        event["execution"]["RedriveTime"] = REDRIVEN_AT
        for _ in range(2):
            with pytest.raises(AccessRefused):
                handle(event, None)

    assert dead_letters(buckets) == [f"000000000000010.{attempt}.Write.json" for attempt in range(3)]
    dead_letter = json.loads(buckets.body("audit", buckets.keys("audit", "dead-letters/")[0]))
    assert (dead_letter["chunk"], dead_letter["parent"]) == ({"start": 10, "bytes": 10}, EXECUTION_ARN)
    assert dead_letter["step"] == "Write"


def test_a_wholly_rejected_chunk_is_committed_for_summarize(buckets: Buckets) -> None:
    body = BAD + b"\n" + BAD + b"\n"
    size = len(BAD) + 1
    batch = replace(buckets.upload("mission/bad.jsonl", body), plan=Plan(size, (0, size)))
    for start in (0, size):
        chunk = chunk_of(batch, start).encode()
        with pytest.raises(RecordsRejected, match="1 of 1 records rejected"):
            call("Validate", chunk)
        with pytest.raises(RecordsRejected):
            handle(of_a_chunk(chunk, "Validate", "RecordsRejected"), None)

    with pytest.raises(RecordsRejected, match="2 of 2 records rejected, in chunks starting at byte 0"):
        summarize(called_with(batch.encode(), "Summarize"), None)


# Events of EventBridge.


@pytest.mark.parametrize(
    ("history", "step"),
    [
        ([entered("ProcessChunks")], "ProcessChunks"),
        ([entered("Summarize"), entered("ProcessChunks")], "Summarize"),
        ([], "ProcessChunks"),
    ],
)
def test_an_aborted_bulk_execution_has_a_dead_letter(
    buckets: Buckets, batch: Batch, step_functions: StepFunctions, history: list[Any], step: str
) -> None:
    step_functions.history = history
    handle(ended(batch.encode(), "ABORTED", redrives=1), None)

    assert dead_letters(buckets) == ["object.1.Aborted.json"]
    dead_letter = buckets.dead_letter()
    assert (dead_letter["step"], dead_letter["resumes_at"]) == (step, step)


def test_a_recorded_end_of_the_object_has_no_second_dead_letter(buckets: Buckets, batch: Batch) -> None:
    summarize_and_fail(batch)
    answer = handle(ended(batch.encode(), "FAILED", error="ChunksFailed", cause="a cause"), None)

    assert answer == {"counts": {"dead_letters": 0}}
    assert dead_letters(buckets) == ["object.0.Summarize.json"]


def test_dead_letters_of_chunks_do_not_record_the_end_of_the_object(buckets: Buckets, batch: Batch) -> None:
    with pytest.raises(AccessRefused):
        handle(of_a_chunk(chunk_of(batch, 0).encode(), "Write", "AccessRefused"), None)
    handle(ended(batch.encode(), "FAILED", error="States.Runtime", cause="a cause"), None)

    assert dead_letters(buckets) == ["000000000000000.0.Write.json", "object.0.Failed.json"]
