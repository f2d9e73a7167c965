"""DeadLetter of a bulk object: a letter for the object and for each chunk; a redrive runs again what is needed."""

from dataclasses import replace
from typing import Any

import pytest

from functions.dead_letter.handler import handle
from functions.shared import aws
from functions.shared.errors import AccessRefused, ChunksFailed, DataError, RecordsRejected, StepFailed
from functions.shared.model.messages import Batch, Chunk, Plan
from functions.summarize.handler import handle as account
from functions.validate.handler import handle as validate
from tests.functional.pipeline.test_dead_letter import StepFunctions, ended, entered, failed
from tests.support.buckets import EXECUTION_ARN, STARTED_AT, Rooms, called_with
from tests.support.executions import book
from tests.support.stages import BAD

STARTS = (0, 10, 20)
REDRIVEN_AT = "2026-11-23T10:00:00.000Z"


@pytest.fixture(autouse=True)
def machine(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> StepFunctions:  # noqa: ARG001 - the store is taken apart after this
    machine = StepFunctions()
    monkeypatch.setattr(aws, "_stepfunctions", lambda: machine)
    return machine


@pytest.fixture
def batch(rooms: Rooms) -> Batch:
    """Give a bulk object of three chunks."""
    return replace(rooms.upload("mission/large.jsonl", b"x" * 25), plan=Plan(10, STARTS))


def of(batch: Batch, start: int, attempt: int = 0) -> Batch:
    return replace(batch, plan=None, chunk=Chunk(start, 10), attempt=attempt, parent=EXECUTION_ARN)


def account_and_fail(batch: Batch, *, redrives: int = 0, **more: Any) -> dict[str, Any]:
    """Let Account fail, then DeadLetter tell of it; give the message that DeadLetter was called with."""
    message = batch.encode() | more
    with pytest.raises(DataError) as raised:
        account(called_with(message, "Account", redrives=redrives), None)
    event = failed(message, "Account", type(raised.value).__name__, str(raised.value), redrives=redrives)
    with pytest.raises(type(raised.value)):
        handle(event, None)
    return message


def redriven(message: dict[str, Any], step: str, error: str, *, redrives: int = 1) -> Any:
    """Call DeadLetter as a redrive does, with what was caught before."""
    event = failed(message, step, error, redrives=redrives)
    event["execution"]["RedriveTime"] = REDRIVEN_AT
    return handle(event, None)


def letters(rooms: Rooms) -> list[str]:
    return [key.rpartition("/")[2] for key in rooms.keys("audit", "letters/")]


def test_chunks_that_failed_have_the_object_a_letter_of_its_own(rooms: Rooms, batch: Batch) -> None:
    book(rooms, of(batch, 0))
    account_and_fail(batch)

    assert rooms.keys("audit", "letters/") == [f"letters/dt={STARTED_AT[:10]}/{batch.object.id}/object.0.Account.json"]
    letter = rooms.letter()
    assert (letter["step"], letter["error"], letter["resumes_at"]) == ("Account", "ChunksFailed", "ProcessChunks")
    assert letter["cause"].startswith("2 of 3 chunks failed, those that begin at byte 10, 20;")
    assert (letter["chunk"], letter["parent"], letter["rejected"]) == (None, None, [])
    assert letter["code"] == {"account": "a-code"}
    assert "only these chunks are processed again" in letter["advice"]


def test_a_redrive_processes_only_the_chunks_that_failed(rooms: Rooms, batch: Batch) -> None:
    book(rooms, of(batch, 0))
    message = account_and_fail(batch)

    assert redriven(message, "Account", "ChunksFailed") == message | {
        "attempt": 1,
        "chunks": [10, 20],
        "resume": "ProcessChunks",
    }


def test_a_redrive_after_rejects_processes_only_the_chunks_that_have_some(rooms: Rooms, batch: Batch) -> None:
    for start in STARTS:
        book(rooms, of(batch, start), rejected=1 if start == 10 else 0)
    message = account_and_fail(batch)

    assert letters(rooms) == ["object.0.Account.json"], "its name is not Rejected: Account has written no letter"
    answer = redriven(message, "Account", "RecordsRejected")
    assert (answer["chunks"], answer["resume"], answer["attempt"]) == ([10], "ProcessChunks", 1)


def test_each_redrive_narrows_further_and_has_a_letter_if_it_fails_again(rooms: Rooms, batch: Batch) -> None:
    book(rooms, of(batch, 0))
    message = account_and_fail(batch)
    again = Batch.decode(redriven(message, "Account", "ChunksFailed"))
    book(rooms, of(batch, 20, attempt=1))
    message = account_and_fail(again, redrives=1)

    assert letters(rooms) == ["object.0.Account.json", "object.1.Account.json"]
    assert redriven(message, "Account", "ChunksFailed", redrives=2)["chunks"] == [10]


def test_a_redrive_of_what_ended_in_the_map_before_finds_the_summary_of_the_attempt_that_failed(
    rooms: Rooms, batch: Batch
) -> None:
    # It was stopped in the Map, and redriven: Account's attempt is 1, though its message still tells 0.
    book(rooms, of(batch, 0))
    message = account_and_fail(batch, redrives=1)

    answer = redriven(message, "Account", "ChunksFailed", redrives=2)
    assert (answer["attempt"], answer["chunks"]) == (2, [10, 20])


def test_without_a_summary_all_chunks_are_processed_again(rooms: Rooms, batch: Batch) -> None:
    book(rooms, of(batch, 0))
    message = account_and_fail(batch)
    rooms.s3.delete_object(Bucket="audit", Key=f"ledger/{batch.object.id}/object.0.jsonl.gz")

    assert redriven(message, "Account", "ChunksFailed")["chunks"] == list(STARTS)


def test_a_summary_that_may_not_be_read_does_not_hold_back_a_redrive(
    rooms: Rooms, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    book(rooms, of(batch, 0))
    message = account_and_fail(batch)

    def refuse(*_: Any) -> Any:
        raise AccessRefused("GetObject was answered AccessDenied")

    monkeypatch.setattr(aws, "read", refuse)
    assert redriven(message, "Account", "ChunksFailed")["chunks"] == list(STARTS)


def test_a_summary_of_another_execution_is_none_of_ones_own(rooms: Rooms, batch: Batch) -> None:
    book(rooms, of(batch, 0))
    with pytest.raises(ChunksFailed):
        account(called_with(batch.encode(), "Account"), None)
    event = failed(batch.encode(), "Account", "ChunksFailed", redrives=1)
    event["execution"] |= {"RedriveTime": REDRIVEN_AT, "Id": f"{EXECUTION_ARN}-r1"}

    assert handle(event, None)["chunks"] == list(STARTS)


def test_what_is_no_fault_of_the_chunks_has_account_alone_done_again(rooms: Rooms, batch: Batch) -> None:
    for start in STARTS:
        book(rooms, of(batch, start))
    event = failed(batch.encode(), "Account", "AccessRefused")
    with pytest.raises(AccessRefused):
        handle(event, None)
    answer = redriven(batch.encode(), "Account", "AccessRefused")

    assert answer == batch.encode() | {"attempt": 1, "chunks_attempt": 0, "resume": "Account"}
    assert account(called_with(answer, "Account", redrives=1), None)["chunks"]["booked"] == 3


def test_account_can_fail_as_often_as_need_be_and_each_time_has_a_letter(rooms: Rooms, batch: Batch) -> None:
    for start in STARTS:
        book(rooms, of(batch, start))
    message = batch.encode()
    for redrives in range(3):
        with pytest.raises(AccessRefused):
            handle(failed(message, "Account", "AccessRefused", redrives=redrives), None)
        message = redriven(message, "Account", "AccessRefused", redrives=redrives + 1)

    assert letters(rooms) == [f"object.{attempt}.Account.json" for attempt in range(3)]
    assert (message["attempt"], message["chunks_attempt"]) == (3, 0)


def test_after_account_alone_was_done_again_the_chunks_go_on_with_an_attempt_of_their_own(
    rooms: Rooms, batch: Batch
) -> None:
    for start in STARTS[:2]:
        book(rooms, of(batch, start))
    with pytest.raises(AccessRefused):
        handle(failed(batch.encode(), "Account", "AccessRefused"), None)
    again = redriven(batch.encode(), "Account", "AccessRefused")
    message = account_and_fail(Batch.decode(again), redrives=1, chunks_attempt=0)

    answer = redriven(message, "Account", "ChunksFailed", redrives=2)
    assert answer == batch.encode() | {"attempt": 2, "chunks": [20], "resume": "ProcessChunks"}


def test_a_map_that_fails_itself_is_run_again_as_it_was(rooms: Rooms, batch: Batch) -> None:
    caught = {"Error": "States.DataLimitExceeded", "Cause": "the answers are too large"}
    event = called_with(batch.encode() | {"failure": {"ProcessChunks": caught}}, "DeadLetter")
    with pytest.raises(StepFailed, match="DataLimitExceeded at ProcessChunks"):
        handle(event, None)

    assert letters(rooms) == ["object.0.ProcessChunks.json"]
    event["execution"] |= {"RedriveCount": 1, "RedriveTime": REDRIVEN_AT}
    assert handle(event, None) == batch.encode() | {"attempt": 1, "resume": "ProcessChunks"}


# A chunk has a letter of its own, and no way on.


def of_a_chunk(message: dict[str, Any], step: str, error: str, *, redrives: int = 0) -> dict[str, Any]:
    event = failed(message, step, error, redrives=redrives)
    del event["resumable"]
    event["state"]["Name"] = "DeadLetterChunk"
    return event


def test_a_chunk_that_failed_has_a_letter_under_its_start(rooms: Rooms, batch: Batch) -> None:
    with pytest.raises(AccessRefused):
        handle(of_a_chunk(of(batch, 10).encode(), "Write", "AccessRefused"), None)

    assert letters(rooms) == ["000000000000010.0.Write.json"]
    letter = rooms.letter()
    assert (letter["chunk"], letter["parent"]) == ({"start": 10, "bytes": 10}, EXECUTION_ARN)
    assert letter["step"] == "Write"


def test_a_chunk_never_goes_on_by_itself_nor_asks_whether_it_was_redriven(
    rooms: Rooms, batch: Batch, machine: StepFunctions
) -> None:
    machine.refusal = "it asks"
    for redrives in range(3):
        event = of_a_chunk(of(batch, 10).encode(), "Write", "AccessRefused", redrives=redrives)
        event["execution"]["RedriveTime"] = REDRIVEN_AT
        for _ in range(2):
            with pytest.raises(AccessRefused):
                handle(event, None)

    assert letters(rooms) == [f"000000000000010.{attempt}.Write.json" for attempt in range(3)]


def test_a_chunk_of_which_every_record_was_rejected_is_booked_and_so_is_there_for_account(rooms: Rooms) -> None:
    body = BAD + b"\n" + BAD + b"\n"
    size = len(BAD) + 1
    batch = replace(rooms.upload("mission/bad.jsonl", body), plan=Plan(size, (0, size)))
    for start in (0, size):
        chunk = replace(batch, plan=None, chunk=Chunk(start, size), parent=EXECUTION_ARN)
        event = called_with(chunk.encode(), "ValidateChunk")
        with pytest.raises(RecordsRejected) as raised:
            validate(event, None)
        with pytest.raises(RecordsRejected):
            handle(of_a_chunk(chunk.encode(), "Validate", "RecordsRejected"), None)
        assert "1 of 1 records rejected" in str(raised.value)

    with pytest.raises(RecordsRejected, match="2 of 2 records rejected: 1 of 1 in the chunk at byte 0"):
        account(called_with(batch.encode(), "Account"), None)


# What EventBridge tells of.


@pytest.mark.parametrize(
    ("history", "step"),
    [
        ([entered("ProcessChunks")], "ProcessChunks"),
        ([entered("Account"), entered("ProcessChunks")], "Account"),
        ([], "ProcessChunks"),
    ],
)
def test_a_bulk_execution_that_was_stopped_has_a_letter(
    rooms: Rooms, batch: Batch, machine: StepFunctions, history: list[Any], step: str
) -> None:
    machine.history = history
    handle(ended(batch.encode(), "ABORTED", redrives=1), None)

    assert letters(rooms) == ["object.1.Aborted.json"]
    letter = rooms.letter()
    assert (letter["step"], letter["resumes_at"]) == (step, step)


def test_a_bulk_execution_that_ran_out_of_time_has_a_letter(rooms: Rooms, batch: Batch) -> None:
    handle(ended(batch.encode(), "TIMED_OUT"), None)

    assert letters(rooms) == ["object.0.TimedOut.json"]
    assert rooms.letter()["error"] == "ExecutionTimedOut"


def test_an_end_of_which_the_branch_of_the_object_has_told_has_no_second_letter(rooms: Rooms, batch: Batch) -> None:
    account_and_fail(batch)
    answer = handle(ended(batch.encode(), "FAILED", error="ChunksFailed", cause="said"), None)

    assert answer == {"counts": {"letters": 0}}
    assert letters(rooms) == ["object.0.Account.json"]


def test_the_letters_of_its_chunks_do_not_tell_of_the_end_of_the_object(rooms: Rooms, batch: Batch) -> None:
    with pytest.raises(AccessRefused):
        handle(of_a_chunk(of(batch, 0).encode(), "Write", "AccessRefused"), None)
    handle(ended(batch.encode(), "FAILED", error="States.Runtime", cause="said"), None)

    assert letters(rooms) == ["000000000000000.0.Write.json", "object.0.Failed.json"]
