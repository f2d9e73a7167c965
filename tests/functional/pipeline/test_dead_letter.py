"""DeadLetter: a dead letter for every failure, the original error again, and resumption after a redrive."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.dead_letter.handler import handle
from functions.shared import aws
from functions.shared.errors import AccessRefused, AttemptTaken, MessageRefused, RecordsRejected, StepFailed
from functions.validate.handler import handle as validate
from functions.write.handler import handle as write
from tests.support.buckets import ENTERED_AT, EXECUTION_ARN, STARTED_AT, Buckets, called_with
from tests.support.stages import BAD, GOOD, transformed, validated


@dataclass
class StepFunctions:
    """A client of Step Functions that answers about the execution."""

    redrives: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    refusal: str | None = None

    def describe_execution(self, **_: Any) -> dict[str, Any]:
        return self._answer({"redriveCount": self.redrives})

    def get_execution_history(self, **asked: Any) -> dict[str, Any]:
        assert asked["reverseOrder"], "the last state is the one in which it ended"
        assert not asked["includeExecutionData"], "no payload is fetched"
        return self._answer({"events": self.history})

    def _answer(self, answer: dict[str, Any]) -> dict[str, Any]:
        if self.refusal:
            refused = {"HTTPStatusCode": 400}
            raise ClientError({"Error": {"Code": self.refusal}, "ResponseMetadata": refused}, "any")  # type: ignore[typeddict-item]  # the rest of the metadata is not read
        return answer


@pytest.fixture(autouse=True)
def machine(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> StepFunctions:  # noqa: ARG001 - the client of Step Functions is replaced after this
    machine = StepFunctions()
    monkeypatch.setattr(aws, "_stepfunctions", lambda: machine)
    return machine


def failed(
    message: dict[str, Any], step: str, error: str, cause: str = "a cause", *, redrives: int = 0, **more: Any
) -> dict[str, Any]:
    caught = json.dumps({"errorMessage": cause, "errorType": error, **more})
    return called_with(
        message | {"failure": {step: {"Error": error, "Cause": caught}}}, "DeadLetter", redrives=redrives
    )


def ended(message: dict[str, Any], status: str, *, redrives: int = 0, **more: Any) -> dict[str, Any]:
    detail = {
        "executionArn": EXECUTION_ARN,
        "status": status,
        "startDate": 1795424400000,
        "stopDate": 1795424401250,
        "input": json.dumps(message),
        "redriveCount": redrives,
    }
    return {"source": "aws.states", "detail-type": "Step Functions Execution Status Change", "detail": detail | more}


def entered(state: str, at: str = ENTERED_AT) -> dict[str, Any]:
    return {
        "type": "TaskStateEntered",
        "timestamp": datetime.fromisoformat(at),
        "stateEnteredEventDetails": {"name": state},
    }


def test_a_batch_that_was_not_read_has_a_dead_letter(buckets: Buckets) -> None:
    batch = buckets.upload("mission/a.json", GOOD)
    with pytest.raises(AccessRefused, match="GetObject was answered AccessDenied"):
        handle(failed(batch.encode(), "Validate", "AccessRefused", "GetObject was answered AccessDenied"), None)

    dead_letter = buckets.dead_letter()
    assert dead_letter["object"]["version_id"] == batch.object.version_id
    assert (dead_letter["dataset"], dead_letter["received"], dead_letter["rejected"]) == ("mission", None, [])
    assert dead_letter["code"] == {"validate": "v-code"}, "it is known which code was deployed, though none has read it"
    assert "role of the function" in dead_letter["advice"]
    day = STARTED_AT[:10]
    assert buckets.keys("audit") == [f"dead-letters/dt={day}/{batch.object.id}/000000000000000.0.Validate.json"]


def test_a_retry_writes_no_second_dead_letter_and_raises_the_same_error(buckets: Buckets) -> None:
    event = failed(buckets.upload("mission/a.json", GOOD).encode(), "Write", "AccessRefused")
    for _ in range(2):
        with pytest.raises(AccessRefused, match="a cause"):
            handle(event, None)
    assert len(buckets.s3.list_object_versions(Bucket="audit")["Versions"]) == 1


def test_a_retry_commits_what_a_crash_left_uncommitted(buckets: Buckets) -> None:
    batch = buckets.upload("mission/bad.json", BAD)
    with pytest.raises(RecordsRejected):
        validate(called_with(batch.encode(), "Validate"), None)
    event = failed(batch.encode(), "Validate", "RecordsRejected")
    with pytest.raises(RecordsRejected):
        handle(event, None)
    (ledger_key,) = [key for key in buckets.keys("audit") if key.startswith("ledger/")]
    buckets.s3.delete_object(Bucket="audit", Key=ledger_key)

    with pytest.raises(RecordsRejected):
        handle(event, None)
    assert buckets.ledger()[0]["counts"] == {"received": 1, "written": 0, "rejected": 1}


def test_a_dead_letter_is_written_even_if_the_staged_batch_is_gone(buckets: Buckets) -> None:
    batch = buckets.upload("mission/bad.json", BAD)
    with pytest.raises(RecordsRejected):
        handle(failed(batch.encode(), "Validate", "RecordsRejected"), None)
    assert buckets.dead_letter()["received"] is None


def test_an_engine_error_is_recorded_by_name_but_raised_as_step_failed(buckets: Buckets) -> None:
    message = transformed(buckets, "mission/a.json", GOOD)
    caught = {"Error": "States.Timeout", "Cause": ""}
    with pytest.raises(StepFailed, match=r"^States\.Timeout at Write"):
        handle(called_with(message | {"failure": {"Write": caught}}, "DeadLetter"), None)
    dead_letter = buckets.dead_letter()
    assert (dead_letter["error"], dead_letter["received"]) == ("States.Timeout", 1)


def test_an_error_that_a_retry_names_is_raised_as_step_failed(buckets: Buckets) -> None:
    message = validated(buckets, "mission/a.json", GOOD)
    with pytest.raises(StepFailed, match="ServiceUnavailable at Transform: busy"):
        handle(failed(message, "Transform", "ServiceUnavailable", "busy"), None)
    assert buckets.dead_letter()["error"] == "ServiceUnavailable"


@pytest.mark.parametrize("failure", [None, {}, {"Validate": {}}, "odd"])
def test_a_call_without_a_failure_is_refused(buckets: Buckets, failure: Any) -> None:
    message = buckets.upload("mission/a.json", GOOD).encode() | {"failure": failure}
    with pytest.raises(MessageRefused, match="without a failure"):
        handle(called_with(message, "DeadLetter"), None)


def test_a_long_cause_is_truncated(buckets: Buckets) -> None:
    with pytest.raises(AccessRefused):
        handle(failed(buckets.upload("mission/a.json", GOOD).encode(), "Write", "AccessRefused", "x" * 30_000), None)
    assert len(buckets.dead_letter()["cause"]) == 8192


# A redrive calls DeadLetter again, with the same input and a higher count of redrives.


def test_a_redrive_resumes_at_the_failed_step_with_its_input(buckets: Buckets) -> None:
    message = transformed(buckets, "mission/a.json", GOOD)
    with pytest.raises(AccessRefused):
        handle(failed(message, "Write", "AccessRefused"), None)

    answer = handle(failed(message, "Write", "AccessRefused", redrives=1), None)
    assert answer == message | {"attempt": 1, "resume": "Write"}
    assert write(called_with(answer, "Write", redrives=1), None)["counts"]["written"] == 1
    assert buckets.ledger()[0]["attempt"] == 1


@pytest.mark.parametrize("error", ["RecordsRejected", "UnknownDataset", "ObjectTooLarge", "ObjectMissing"])
def test_a_redrive_after_a_data_error_resumes_at_validate(buckets: Buckets, error: str) -> None:
    message = validated(buckets, "mission/a.json", GOOD)
    with pytest.raises(Exception, match="a cause"):
        handle(failed(message, "Transform", error), None)

    answer = handle(failed(message, "Transform", error, redrives=1), None)
    assert answer == {name: message[name] for name in ("format", "object", "chunk", "redrive_of", "parent", "plan")} | {
        "attempt": 1,
        "resume": "Validate",
    }


def test_a_redrive_after_rejects_at_write_resumes_at_validate(
    buckets: Buckets,
) -> None:
    message = transformed(buckets, "mission/mixed.json", b"[" + GOOD + b"," + BAD + b"]")
    with pytest.raises(RecordsRejected):
        write(called_with(message, "Write"), None)
    with pytest.raises(RecordsRejected):
        handle(failed(message, "Write", "RecordsRejected"), None)

    assert buckets.dead_letter()["error"] == "RecordsRejected", "one dead letter, and that is Write's"
    assert handle(failed(message, "Write", "RecordsRejected", redrives=1), None)["resume"] == "Validate"


def test_a_failed_write_has_a_dead_letter_beside_that_of_its_rejects(
    buckets: Buckets,
) -> None:
    message = transformed(buckets, "mission/mixed.json", b"[" + GOOD + b"," + BAD + b"]")
    with pytest.raises(RecordsRejected):
        write(called_with(message, "Write"), None)
    with pytest.raises(AccessRefused):
        handle(failed(message, "Write", "AccessRefused"), None)

    names = sorted(key.rpartition(".0.")[2] for key in buckets.keys("audit") if key.startswith("dead-letters/"))
    assert names == ["Rejected.json", "Write.json"]


def test_each_failure_after_a_redrive_has_its_own_dead_letter(buckets: Buckets) -> None:
    message = transformed(buckets, "mission/a.json", GOOD)
    for redrives in range(4):
        event = failed(message, "Write", "AccessRefused", redrives=redrives)
        for _ in range(2):
            with pytest.raises(AccessRefused):
                handle(event, None)
        message = handle(failed(message, "Write", "AccessRefused", redrives=redrives + 1), None)

    attempts = [key.split("/")[-1].split(".")[1] for key in buckets.keys("audit")]
    assert attempts == ["0", "1", "2", "3"]
    assert message["attempt"] == 4


def test_a_redrive_resumes_despite_an_outdated_redrive_count(buckets: Buckets, machine: StepFunctions) -> None:
    event = failed(validated(buckets, "mission/a.json", GOOD), "Transform", "AccessRefused")
    with pytest.raises(Exception, match="a cause"):
        handle(event, None)
    machine.redrives = 1
    answer = handle(event, None)
    assert (answer["resume"], answer["attempt"]) == ("Transform", 1)


@pytest.mark.parametrize("refusal", ["ThrottlingException", "AccessDeniedException", "ExecutionDoesNotExist"])
def test_the_error_is_raised_again_if_the_redrive_count_is_unknown(
    buckets: Buckets, machine: StepFunctions, refusal: str
) -> None:
    event = failed(validated(buckets, "mission/a.json", GOOD), "Transform", "AccessRefused")
    machine.refusal = refusal
    for _ in range(2):
        with pytest.raises(Exception, match="a cause"):
            handle(event, None)


def test_a_redrive_after_a_lost_dead_letter_writes_it_and_fails_again(
    buckets: Buckets,
) -> None:
    message = validated(buckets, "mission/a.json", GOOD)
    with pytest.raises(Exception, match="a cause"):
        handle(failed(message, "Transform", "AccessRefused", redrives=1), None)
    assert buckets.dead_letter()["attempt"] == 1
    assert handle(failed(message, "Transform", "AccessRefused", redrives=2), None)["attempt"] == 2


def test_a_redrive_of_a_failed_dead_letter_state_writes_it_and_resumes(
    buckets: Buckets,
) -> None:
    event = failed(validated(buckets, "mission/a.json", GOOD), "Transform", "AccessRefused", redrives=1)
    event["execution"]["RedriveTime"] = "2026-11-23T10:00:00.000Z"
    for _ in range(2):
        answer = handle(event, None)
        assert (answer["resume"], answer["attempt"]) == ("Transform", 1)
    dead_letter = buckets.dead_letter()
    assert (dead_letter["attempt"], dead_letter["error"]) == (0, "AccessRefused")


def test_a_failure_in_a_state_entered_after_the_redrive_is_new(buckets: Buckets) -> None:
    event = failed(validated(buckets, "mission/a.json", GOOD), "Transform", "AccessRefused", redrives=1)
    event["execution"]["RedriveTime"] = STARTED_AT
    with pytest.raises(Exception, match="a cause"):
        handle(event, None)
    assert buckets.dead_letter()["attempt"] == 1


def test_an_attempt_committed_by_another_execution_is_refused(buckets: Buckets) -> None:
    batch = buckets.upload("mission/bad.json", BAD)
    with pytest.raises(RecordsRejected):
        validate(called_with(batch.encode(), "Validate"), None)
    event = failed(batch.encode(), "Validate", "RecordsRejected")
    with pytest.raises(RecordsRejected):
        handle(event, None)
    event["execution"]["Id"] = EXECUTION_ARN + "-r1"
    with pytest.raises(AttemptTaken, match=f"was committed by {EXECUTION_ARN}"):
        handle(event, None)


# Events of EventBridge: ends that no Catch saw.


@pytest.mark.parametrize(
    ("status", "name", "error"),
    [("ABORTED", "Aborted", "ExecutionAborted"), ("TIMED_OUT", "TimedOut", "ExecutionTimedOut")],
)
def test_an_aborted_or_timed_out_execution_has_a_dead_letter(
    buckets: Buckets, machine: StepFunctions, status: str, name: str, error: str
) -> None:
    batch = buckets.upload("mission/a.json", GOOD)
    machine.history = [
        {"type": "ExecutionAborted"},
        {"type": "TaskScheduled"},
        entered("Transform"),
        entered("Validate"),
    ]
    for _ in range(2):
        handle(ended(batch.encode(), status, cause="by hand"), None)

    dead_letter = buckets.dead_letter()
    assert buckets.keys("audit") == [
        f"dead-letters/dt={STARTED_AT[:10]}/{batch.object.id}/000000000000000.0.{name}.json"
    ]
    assert (dead_letter["error"], dead_letter["step"], dead_letter["cause"]) == (error, "Transform", "by hand")
    assert dead_letter["execution"]["arn"] == EXECUTION_ARN
    assert dead_letter["recorded_at"] == "2026-11-23T09:00:01.250Z"
    assert "redrive" in dead_letter["advice"]


def test_an_end_after_a_redrive_has_its_own_dead_letter(buckets: Buckets) -> None:
    batch = buckets.upload("mission/a.json", GOOD)
    for redrives in range(2):
        handle(ended(batch.encode(), "ABORTED", redrives=redrives), None)
    assert [key[-14:] for key in buckets.keys("audit")] == ["0.Aborted.json", "1.Aborted.json"]


def test_a_recorded_end_has_no_second_dead_letter(buckets: Buckets) -> None:
    batch = buckets.upload("mission/a.json", GOOD)
    with pytest.raises(AccessRefused):
        handle(failed(batch.encode(), "Validate", "AccessRefused"), None)
    answer = handle(ended(batch.encode(), "FAILED", error="AccessRefused", cause="a cause"), None)

    assert answer == {"counts": {"dead_letters": 0}}
    assert buckets.dead_letter()["step"] == "Validate"


@pytest.mark.parametrize(("error", "dead_letters"), [("RecordsRejected", 0), ("AccessRefused", 1)])
def test_the_dead_letter_of_rejects_records_no_other_end(buckets: Buckets, error: str, dead_letters: int) -> None:
    message = transformed(buckets, "mission/mixed.json", b"[" + GOOD + b"," + BAD + b"]")
    with pytest.raises(RecordsRejected):
        write(called_with(message, "Write"), None)
    begun = {name: message[name] for name in ("format", "object", "chunk", "attempt")}
    assert handle(ended(begun, "FAILED", error=error, cause="a cause"), None) == {
        "counts": {"dead_letters": dead_letters}
    }


def test_the_engines_cause_of_an_end_is_not_kept(buckets: Buckets) -> None:
    batch = buckets.upload("mission/a.json", GOOD)
    cause = 'the path could not be found in the input {"source": "MASINT"}'
    handle(ended(batch.encode(), "FAILED", error="States.Runtime", cause=cause), None)

    dead_letter = buckets.dead_letter()
    assert dead_letter["error"] == "States.Runtime"
    assert "MASINT" not in json.dumps(dead_letter)


def test_an_end_has_a_dead_letter_even_without_its_history(buckets: Buckets, machine: StepFunctions) -> None:
    machine.refusal = "AccessDeniedException"
    handle(ended(buckets.upload("mission/a.json", GOOD).encode(), "ABORTED"), None)
    assert buckets.dead_letter()["cause"] == "no cause was given"


def test_a_redrive_after_an_end_is_the_next_attempt_of_the_step(buckets: Buckets) -> None:
    message = transformed(buckets, "mission/a.json", GOOD)
    begun = {name: message[name] for name in ("format", "object", "chunk", "attempt")}
    handle(ended(begun, "ABORTED"), None)
    write(called_with(message, "Write", redrives=1), None)
    assert buckets.ledger()[0]["attempt"] == 1


def test_a_failure_after_the_redrive_of_an_end_is_new(buckets: Buckets) -> None:
    message = transformed(buckets, "mission/a.json", GOOD)
    begun = {name: message[name] for name in ("format", "object", "chunk", "attempt")}
    handle(ended(begun, "ABORTED"), None)
    with pytest.raises(AccessRefused):
        handle(failed(message, "Write", "AccessRefused", redrives=1), None)
    assert handle(failed(message, "Write", "AccessRefused", redrives=2), None)["attempt"] == 2


def without(*path: str) -> Callable[[dict[str, Any]], None]:
    def cut(event: dict[str, Any]) -> None:
        for name in path[:-1]:
            event = event[name]
        del event[path[-1]]

    return cut


@pytest.mark.parametrize(
    "spoil",
    [
        without("detail", "input"),
        without("detail", "stopDate"),
        without("detail", "executionArn"),
        lambda event: event["detail"].update(status="RUNNING"),
        lambda event: event["detail"].update(input="not JSON"),
    ],
)
def test_an_event_that_is_not_a_failed_execution_is_refused(
    buckets: Buckets, spoil: Callable[[dict[str, Any]], None]
) -> None:
    event = ended(buckets.upload("mission/a.json", GOOD).encode(), "ABORTED")
    spoil(event)
    with pytest.raises(MessageRefused):
        handle(event, None)
    assert buckets.keys("audit") == []


def test_rejects_after_the_redrive_of_an_end_are_a_new_failure(
    buckets: Buckets,
) -> None:
    message = transformed(buckets, "mission/mixed.json", b"[" + GOOD + b"," + BAD + b"]")
    for redrives in range(2):  # stopped after it had committed, then redriven at Write with the same message
        with pytest.raises(RecordsRejected):
            write(called_with(message, "Write", redrives=redrives), None)
    with pytest.raises(RecordsRejected):
        handle(failed(message, "Write", "RecordsRejected", redrives=1), None)
    answer = handle(failed(message, "Write", "RecordsRejected", redrives=2), None)
    assert (answer["attempt"], answer["resume"]) == (2, "Validate")


def test_nothing_resumes_in_a_definition_without_resume(buckets: Buckets) -> None:
    event = failed(validated(buckets, "mission/a.json", GOOD), "Transform", "AccessRefused")
    del event["resumable"]
    for redrives in range(2):
        event["execution"]["RedriveCount"] = redrives
        with pytest.raises(AccessRefused):
            handle(event, None)
    assert [key.split(".")[1] for key in buckets.keys("audit")] == ["0", "1"]


def test_a_refused_message_is_made_anew_by_a_redrive(buckets: Buckets) -> None:
    event = failed(validated(buckets, "mission/a.json", GOOD), "Transform", "MessageRefused")
    with pytest.raises(MessageRefused):
        handle(event, None)
    event["execution"]["RedriveCount"] = 1
    assert handle(event, None)["resume"] == "Validate"


def test_a_dead_letter_written_by_a_redrive_is_complete(
    buckets: Buckets,
) -> None:
    batch = buckets.upload("mission/bad.json", BAD)
    with pytest.raises(RecordsRejected):
        validate(called_with(batch.encode(), "Validate"), None)
    event = failed(batch.encode(), "Validate", "RecordsRejected", redrives=2)
    event["execution"]["RedriveTime"] = "2026-11-23T10:00:00.000Z"

    assert handle(event, None)["attempt"] == 2
    dead_letter = buckets.dead_letter()
    assert (dead_letter["attempt"], dead_letter["received"], len(dead_letter["rejected"])) == (0, 1, 1)
    assert buckets.ledger()[0]["attempt"] == 0


def test_a_dead_letter_is_written_without_access_to_the_staged_batch(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = transformed(buckets, "mission/a.json", GOOD) | {"claim": {"bucket": "b", "key": "k", "version_id": "v"}}

    def refuse(*_: Any) -> Any:
        raise AccessRefused("GetObject was answered AccessDenied")

    monkeypatch.setattr(aws, "streamed", refuse)
    with pytest.raises(StepFailed):
        handle(failed(message, "Write", "States.Timeout"), None)
    assert buckets.dead_letter()["received"] is None


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
    message = validated(buckets, "mission/a.json", GOOD)
    with pytest.raises(StepFailed) as raised:
        handle(called_with(message | {"failure": {"Transform": {"Error": error, "Cause": cause}}}, "DeadLetter"), None)
    assert ("MASINT" in buckets.dead_letter()["cause"]) is kept
    assert ("MASINT" in str(raised.value)) is kept


def test_the_state_of_an_end_is_that_of_its_time_however_late_the_event(
    buckets: Buckets, machine: StepFunctions
) -> None:
    machine.history = [entered("DeadLetter", "2026-11-23T11:00:00+00:00"), entered("Validate")]
    handle(ended(buckets.upload("mission/a.json", GOOD).encode(), "ABORTED"), None)
    assert buckets.dead_letter()["step"] == "Validate"


def test_the_end_of_a_new_execution_belongs_to_its_own_attempt(buckets: Buckets) -> None:
    begun = buckets.upload("mission/a.json", GOOD).encode() | {"attempt": 3, "redrive_of": EXECUTION_ARN}
    handle(ended(begun, "ABORTED", redrives=1), None)
    dead_letter = buckets.dead_letter()
    assert (dead_letter["attempt"], dead_letter["redrive_of"], dead_letter["execution"]["redrives"]) == (
        4,
        EXECUTION_ARN,
        1,
    )


def test_the_dead_letter_of_an_end_keeps_the_message_of_our_errors(buckets: Buckets) -> None:
    cause = json.dumps({"errorMessage": "PutObject was answered AccessDenied", "stackTrace": ["…"]})
    handle(ended(buckets.upload("mission/a.json", GOOD).encode(), "FAILED", error="AccessRefused", cause=cause), None)
    assert buckets.dead_letter()["cause"] == "PutObject was answered AccessDenied"


def test_an_end_without_an_error_says_so(buckets: Buckets) -> None:
    event = ended(buckets.upload("mission/a.json", GOOD).encode(), "FAILED", error=None, cause=None)
    del event["detail"]["redriveCount"]
    handle(event, None)
    dead_letter = buckets.dead_letter()
    assert (dead_letter["error"], dead_letter["attempt"]) == ("Unknown", 0)
    assert dead_letter["cause"].startswith("no error was given")


@pytest.mark.parametrize("begun", [{}, [], "x", None, {"format": 1, "object": None}])
def test_an_execution_without_a_batch_has_no_dead_letter(buckets: Buckets, begun: Any) -> None:
    assert handle(ended(begun, "FAILED", error="MessageRefused", cause="a cause"), None) == {
        "counts": {"dead_letters": 0}
    }
    assert buckets.keys("audit") == []


def test_an_end_of_a_batch_in_another_format_is_refused(buckets: Buckets) -> None:
    with pytest.raises(MessageRefused, match="format 1"):
        handle(ended(buckets.upload("mission/a.json", GOOD).encode() | {"format": 2}, "ABORTED"), None)
