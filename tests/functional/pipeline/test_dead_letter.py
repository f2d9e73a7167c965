"""DeadLetter: a dead letter for every failure, the original error again, and resumption after a redrive."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from functions.dead_letter.handler import handle
from functions.shared import aws
from functions.shared.errors import AccessRefused, AttemptTaken, MessageRefused, RecordsRejected, StepFailed
from tests.support.buckets import EXECUTION_ARN, STARTED_AT, Buckets, called_with
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
from tests.support.stages import BAD, GOOD, MIXED, call, transformed, validated

pytestmark = pytest.mark.usefixtures("step_functions")


def uploaded(buckets: Buckets) -> dict[str, Any]:
    return buckets.upload("mission/a.json", GOOD).encode()


def rejected_by_validate(buckets: Buckets) -> dict[str, Any]:
    """Let Validate reject every record of a batch; return the message that it was called with."""
    message = buckets.upload("mission/bad.json", BAD).encode()
    with pytest.raises(RecordsRejected):
        call("Validate", message)
    return message


def rejected_by_write(buckets: Buckets) -> Any:
    """Let Write deliver a batch and fail for its rejected record; return the message that it was called with."""
    message = transformed(buckets, "mission/mixed.json", MIXED)
    with pytest.raises(RecordsRejected):
        call("Write", message)
    return message


def execution_input(message: dict[str, Any]) -> dict[str, Any]:
    return {name: message[name] for name in ("format", "object", "chunk", "attempt")}


def names(buckets: Buckets) -> list[str]:
    """List the dead letters by attempt and name."""
    return [key.rpartition("/")[2].partition(".")[2] for key in buckets.keys("audit", "dead-letters/")]


def test_a_batch_that_was_not_read_has_one_dead_letter_even_after_a_retry(buckets: Buckets) -> None:
    batch = buckets.upload("mission/a.json", GOOD)
    for _ in range(2):
        record(batch.encode(), "Validate", "AccessRefused", "GetObject was answered AccessDenied")
    assert len(buckets.s3.list_object_versions(Bucket="audit")["Versions"]) == 1

    dead_letter = buckets.dead_letter()
    assert dead_letter["object"]["version_id"] == batch.object.version_id
    assert (dead_letter["dataset"], dead_letter["received"], dead_letter["rejected"]) == ("mission", None, [])
    assert dead_letter["code"] == {"validate": "v-code"}, "the deployed code, although it has not read the batch"
    assert "role of the function" in dead_letter["advice"]
    day = STARTED_AT[:10]
    assert buckets.keys("audit") == [f"dead-letters/dt={day}/{batch.object.id}/000000000000000.0.Validate.json"]


def test_a_retry_commits_what_a_crash_left_uncommitted(buckets: Buckets) -> None:
    message = rejected_by_validate(buckets)
    record(message, "Validate", "RecordsRejected")
    (ledger_key,) = buckets.keys("audit", "ledger/")
    buckets.hide("audit", ledger_key)

    record(message, "Validate", "RecordsRejected")
    assert buckets.ledger()[0]["counts"] == {"received": 1, "written": 0, "rejected": 1}


def test_a_dead_letter_is_written_even_if_the_staged_batch_is_gone_or_refused(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(buckets.upload("mission/bad.json", BAD).encode(), "Validate", "RecordsRejected")
    assert buckets.dead_letter()["received"] is None
    buckets.empty()

    message = transformed(buckets, "mission/a.json", GOOD) | {"claim": {"bucket": "b", "key": "k", "version_id": "v"}}
    monkeypatch.setattr(aws, "streamed", refuse_access)
    with pytest.raises(StepFailed):
        handle(failed(message, "Write", "States.Timeout"), None)
    assert buckets.dead_letter()["received"] is None


@pytest.mark.parametrize(
    ("error", "fail", "match"),
    [
        ("States.Timeout", failed_in_engine, "^States.Timeout at Write"),
        ("ServiceUnavailable", failed, "ServiceUnavailable at Write: a cause"),
    ],
    ids=["of the engine", "that a retry names"],
)
def test_an_error_is_recorded_by_name_but_raised_as_step_failed(
    buckets: Buckets, error: str, fail: Callable[..., Any], match: str
) -> None:
    message = transformed(buckets, "mission/a.json", GOOD)
    with pytest.raises(StepFailed, match=match):
        handle(fail(message, "Write", error), None)
    dead_letter = buckets.dead_letter()
    assert (dead_letter["error"], dead_letter["received"]) == (error, 1)


@pytest.mark.parametrize(
    ("error", "cause", "kept"),
    [
        ("States.ResultPathMatchFailure", 'cannot be applied to {"source": "MASINT"}', False),
        ("Lambda.Unknown", 'Returned payload: {"source": "MASINT"}', False),
        ("Lambda.ResourceNotFoundException", "Function not found: MASINT", True),
    ],
)
def test_an_engine_cause_is_kept_only_if_it_cannot_quote_a_record(
    buckets: Buckets, error: str, cause: str, *, kept: bool
) -> None:
    with pytest.raises(StepFailed) as raised:
        handle(failed_in_engine(validated(buckets, "mission/a.json", GOOD), "Transform", error, cause), None)
    assert ("MASINT" in buckets.dead_letter()["cause"]) is kept
    assert ("MASINT" in str(raised.value)) is kept


@pytest.mark.parametrize("failure", [None, {}, {"Validate": {}}, "text"])
def test_a_call_without_a_failure_is_refused(buckets: Buckets, failure: Any) -> None:
    with pytest.raises(MessageRefused, match="without a failure"):
        handle(called_with(uploaded(buckets) | {"failure": failure}, "DeadLetter"), None)


def test_a_long_cause_is_truncated(buckets: Buckets) -> None:
    record(uploaded(buckets), "Write", "AccessRefused", "x" * 30_000)
    assert len(buckets.dead_letter()["cause"]) == 8192


def test_an_attempt_committed_by_another_execution_is_refused(buckets: Buckets) -> None:
    message = rejected_by_validate(buckets)
    record(message, "Validate", "RecordsRejected")
    event = failed(message, "Validate", "RecordsRejected")
    event["execution"]["Id"] = EXECUTION_ARN + "-r1"
    with pytest.raises(AttemptTaken, match=f"was committed by {EXECUTION_ARN}"):
        handle(event, None)


# A redrive calls DeadLetter again, with the same input and a higher count of redrives.


def test_a_redrive_resumes_at_the_failed_step_with_its_input(buckets: Buckets) -> None:
    message = transformed(buckets, "mission/a.json", GOOD)
    record(message, "Write", "AccessRefused")

    answer = resume(message, "Write", "AccessRefused")
    assert answer == message | {"attempt": 1, "resume": "Write"}
    assert call("Write", answer, redrives=1)["counts"]["written"] == 1
    assert buckets.ledger()[0]["attempt"] == 1


@pytest.mark.parametrize(
    "error", ["RecordsRejected", "UnknownDataset", "ObjectTooLarge", "ObjectMissing", "MessageRefused"]
)
def test_a_redrive_resumes_at_validate_if_the_input_may_be_at_fault(buckets: Buckets, error: str) -> None:
    message = validated(buckets, "mission/a.json", GOOD)
    record(message, "Transform", error)

    head = {name: message[name] for name in ("format", "object", "chunk", "redrive_of", "parent", "plan")}
    assert resume(message, "Transform", error) == head | {"attempt": 1, "resume": "Validate"}


def test_a_redrive_after_rejects_at_write_resumes_at_validate(buckets: Buckets) -> None:
    message = rejected_by_write(buckets)
    record(message, "Write", "RecordsRejected")

    assert names(buckets) == ["0.Rejected.json"], "the only dead letter is that of Write"
    assert resume(message, "Write", "RecordsRejected")["resume"] == "Validate"

    record(message, "Write", "AccessRefused")
    assert names(buckets) == ["0.Rejected.json", "0.Write.json"]


def test_each_failure_after_a_redrive_has_its_own_dead_letter(buckets: Buckets) -> None:
    message = transformed(buckets, "mission/a.json", GOOD)
    for redrives in range(4):
        for _ in range(2):
            record(message, "Write", "AccessRefused", redrives=redrives)
        message = resume(message, "Write", "AccessRefused", redrives=redrives + 1)

    assert names(buckets) == [f"{attempt}.Write.json" for attempt in range(4)]
    assert message["attempt"] == 4


def test_a_redrive_resumes_despite_an_outdated_redrive_count(buckets: Buckets, step_functions: StepFunctions) -> None:
    message = validated(buckets, "mission/a.json", GOOD)
    record(message, "Transform", "AccessRefused")
    step_functions.redrives = 1
    answer = resume(message, "Transform", "AccessRefused", redrives=0)
    assert (answer["resume"], answer["attempt"]) == ("Transform", 1)


@pytest.mark.parametrize("refusal", ["ThrottlingException", "AccessDeniedException", "ExecutionDoesNotExist"])
def test_the_error_is_raised_again_if_the_redrive_count_is_unknown(
    buckets: Buckets, step_functions: StepFunctions, refusal: str
) -> None:
    message = validated(buckets, "mission/a.json", GOOD)
    step_functions.refusal = refusal
    for _ in range(2):
        record(message, "Transform", "AccessRefused")


def test_a_redrive_of_a_failed_dead_letter_state_writes_it_and_resumes(buckets: Buckets) -> None:
    message = validated(buckets, "mission/a.json", GOOD)
    for _ in range(2):
        answer = resume(message, "Transform", "AccessRefused", redriven_at=REDRIVEN_AT)
        assert (answer["resume"], answer["attempt"]) == ("Transform", 1)
    dead_letter = buckets.dead_letter()
    assert (dead_letter["attempt"], dead_letter["error"]) == (0, "AccessRefused")


def test_a_dead_letter_written_by_a_redrive_is_complete(buckets: Buckets) -> None:
    message = rejected_by_validate(buckets)

    assert resume(message, "Validate", "RecordsRejected", redrives=2, redriven_at=REDRIVEN_AT)["attempt"] == 2
    dead_letter = buckets.dead_letter()
    assert (dead_letter["attempt"], dead_letter["received"], len(dead_letter["rejected"])) == (0, 1, 1)
    assert buckets.ledger()[0]["attempt"] == 0


@pytest.mark.parametrize("redriven_at", [None, STARTED_AT], ids=["unknown time", "before the state"])
def test_a_failure_in_a_state_entered_after_the_redrive_is_new(buckets: Buckets, redriven_at: str | None) -> None:
    message = validated(buckets, "mission/a.json", GOOD)
    with pytest.raises(AccessRefused, match="a cause"):
        resume(message, "Transform", "AccessRefused", redriven_at=redriven_at)
    assert buckets.dead_letter()["attempt"] == 1
    assert resume(message, "Transform", "AccessRefused", redrives=2)["attempt"] == 2


def test_nothing_resumes_in_a_definition_without_resume(buckets: Buckets) -> None:
    event = failed(validated(buckets, "mission/a.json", GOOD), "Transform", "AccessRefused")
    del event["resumable"]
    for redrives in range(2):
        event["execution"]["RedriveCount"] = redrives
        with pytest.raises(AccessRefused):
            handle(event, None)
    assert names(buckets) == ["0.Transform.json", "1.Transform.json"]


# Events of EventBridge: ends that no Catch saw.


@pytest.mark.parametrize(
    ("status", "name", "error"),
    [("ABORTED", "Aborted", "ExecutionAborted"), ("TIMED_OUT", "TimedOut", "ExecutionTimedOut")],
)
def test_an_aborted_or_timed_out_execution_has_a_dead_letter(
    buckets: Buckets, step_functions: StepFunctions, status: str, name: str, error: str
) -> None:
    batch = buckets.upload("mission/a.json", GOOD)
    others = [{"type": "ExecutionAborted"}, {"type": "TaskScheduled"}]
    step_functions.history = [*others, entered("Transform"), entered("Validate")]
    for _ in range(2):
        handle(ended(batch.encode(), status, cause="by hand"), None)

    dead_letter = buckets.dead_letter()
    day = STARTED_AT[:10]
    assert buckets.keys("audit") == [f"dead-letters/dt={day}/{batch.object.id}/000000000000000.0.{name}.json"]
    assert (dead_letter["error"], dead_letter["step"], dead_letter["cause"]) == (error, "Transform", "by hand")
    assert dead_letter["execution"]["arn"] == EXECUTION_ARN
    assert dead_letter["recorded_at"] == "2026-11-23T09:00:01.250Z"
    assert "redrive" in dead_letter["advice"]


def test_the_state_of_an_end_is_that_of_its_time_however_late_the_event_if_the_history_is_known(
    buckets: Buckets, step_functions: StepFunctions
) -> None:
    step_functions.history = [entered("DeadLetter", "2026-11-23T11:00:00+00:00"), entered("Validate")]
    message = uploaded(buckets)
    handle(ended(message, "ABORTED"), None)
    dead_letter = buckets.dead_letter()
    assert (dead_letter["step"], dead_letter["cause"]) == ("Validate", "no cause was given")

    step_functions.refusal = "AccessDeniedException"
    handle(ended(message, "ABORTED", redrives=1), None)
    assert names(buckets) == ["0.Aborted.json", "1.Aborted.json"]


def test_a_recorded_end_has_no_second_dead_letter(buckets: Buckets) -> None:
    message = uploaded(buckets)
    record(message, "Validate", "AccessRefused")

    answer = handle(ended(message, "FAILED", error="AccessRefused", cause="a cause"), None)
    assert answer == {"counts": {"dead_letters": 0}}
    assert buckets.dead_letter()["step"] == "Validate"


@pytest.mark.parametrize(("error", "dead_letters"), [("RecordsRejected", 0), ("AccessRefused", 1)])
def test_the_dead_letter_of_rejects_records_no_other_end(buckets: Buckets, error: str, dead_letters: int) -> None:
    event = ended(execution_input(rejected_by_write(buckets)), "FAILED", error=error, cause="a cause")
    assert handle(event, None) == {"counts": {"dead_letters": dead_letters}}


@pytest.mark.parametrize(
    ("error", "cause", "recorded"),
    [
        pytest.param(
            "AccessRefused",
            json.dumps({"errorMessage": "PutObject was answered AccessDenied", "stackTrace": ["…"]}),
            ("AccessRefused", "PutObject was answered AccessDenied"),
            id="an error of ours keeps its message",
        ),
        pytest.param(
            "States.Runtime",
            'the path could not be found in the input {"source": "MASINT"}',
            ("States.Runtime", "States.Runtime (see the execution's history for its message)"),
            id="the cause of the engine may quote a record",
        ),
        pytest.param(
            None,
            None,
            ("Unknown", "no error was given (see the execution's history for its message)"),
            id="no error",
        ),
    ],
)
def test_the_cause_of_an_end_quotes_no_record(
    buckets: Buckets, error: str | None, cause: str | None, recorded: tuple[str, str]
) -> None:
    event = ended(uploaded(buckets), "FAILED", error=error, cause=cause)
    del event["detail"]["redriveCount"]
    handle(event, None)

    dead_letter = buckets.dead_letter()
    assert (dead_letter["error"], dead_letter["cause"]) == recorded
    assert dead_letter["attempt"] == 0
    assert "MASINT" not in json.dumps(dead_letter)


def test_a_failure_after_the_redrive_of_an_end_is_new_and_what_it_writes_the_next_attempt(buckets: Buckets) -> None:
    message = transformed(buckets, "mission/a.json", GOOD)
    handle(ended(execution_input(message), "ABORTED"), None)
    record(message, "Write", "AccessRefused", redrives=1)
    assert resume(message, "Write", "AccessRefused", redrives=2)["attempt"] == 2
    call("Write", message, redrives=1)
    assert buckets.ledger()[0]["attempt"] == 1


def test_rejects_after_the_redrive_of_an_end_are_a_new_failure(buckets: Buckets) -> None:
    message = rejected_by_write(buckets)  # then stopped, and redriven at Write with the same message
    with pytest.raises(RecordsRejected):
        call("Write", message, redrives=1)
    record(message, "Write", "RecordsRejected", redrives=1)
    answer = resume(message, "Write", "RecordsRejected", redrives=2)
    assert (answer["attempt"], answer["resume"]) == (2, "Validate")


def test_the_end_of_a_new_execution_belongs_to_its_own_attempt(buckets: Buckets) -> None:
    handle(ended(uploaded(buckets) | {"attempt": 3, "redrive_of": EXECUTION_ARN}, "ABORTED", redrives=1), None)
    dead_letter = buckets.dead_letter()
    assert (dead_letter["attempt"], dead_letter["redrive_of"]) == (4, EXECUTION_ARN)
    assert dead_letter["execution"]["redrives"] == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda event: event["detail"].pop("input"),
        lambda event: event["detail"].pop("stopDate"),
        lambda event: event["detail"].pop("executionArn"),
        lambda event: event["detail"].update(status="RUNNING"),
        lambda event: event["detail"].update(input="not JSON"),
    ],
)
def test_an_event_that_is_not_a_failed_execution_is_refused(
    buckets: Buckets, spoil: Callable[[dict[str, Any]], None]
) -> None:
    event = ended(uploaded(buckets), "ABORTED")
    spoil(event)
    with pytest.raises(MessageRefused):
        handle(event, None)
    assert buckets.keys("audit") == []


@pytest.mark.parametrize("message", [{}, [], "x", None, {"format": 1, "object": None}])
def test_an_execution_without_a_batch_has_no_dead_letter(buckets: Buckets, message: Any) -> None:
    answer = handle(ended(message, "FAILED", error="MessageRefused", cause="a cause"), None)
    assert answer == {"counts": {"dead_letters": 0}}
    assert buckets.keys("audit") == []


def test_an_end_of_a_batch_in_another_format_is_refused(buckets: Buckets) -> None:
    with pytest.raises(MessageRefused, match="format 1"):
        handle(ended(uploaded(buckets) | {"format": 2}, "ABORTED"), None)
