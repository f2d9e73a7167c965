"""Every path through the state machine: success, each Retry, each Catch."""

import gzip
import json
from typing import Any

import pytest

from functions.shared.errors import AccessRefused, RecordsRejected, ServiceUnavailable
from functions.shared.model.records import Rejection
from functions.transform import core
from tests.support.steps import PIPELINE, STEPS
from tests.workflow.conftest import BAD, GOOD, EngineError, Workflow, named

STATES: dict[str, Any] = PIPELINE["States"]
RETRIED = [
    (state, error, retrier["MaxAttempts"])
    for state, definition in STATES.items()
    for retrier in definition.get("Retry", [])
    for error in retrier["ErrorEquals"]
]
THROTTLED = "Lambda.TooManyRequestsException"
"""Retried until the machine times out: tests/unit/test_throttling.py."""


def body(*records: Any) -> bytes:
    return json.dumps(records[0] if len(records) == 1 else records).encode()


def test_an_accepted_record_passes_each_step_once_and_is_written(workflow: Workflow) -> None:
    run = workflow.run("mission/good.json", body(GOOD))

    assert run.status == "SUCCEEDED", run.cause
    assert run.states == [*STEPS]
    assert run.output["counts"] == {"received": 1, "written": 1, "rejected": 0}
    delivered = json.loads(workflow.buckets.the_only("processed", "mission/dt="))
    assert delivered == GOOD | {"confidence_band": "high"}
    header, line = workflow.buckets.ledger()
    assert (header["counts"], line["outcome"]) == (run.output["counts"], "written")
    assert workflow.buckets.keys("audit", "dead-letters/") == []


def test_an_empty_batch_succeeds_without_output(workflow: Workflow) -> None:
    run = workflow.run("mission/none.json", b"[]")

    assert run.status == "SUCCEEDED", run.cause
    assert run.output["output"] is None
    assert workflow.buckets.ledger()[0]["counts"] == {"received": 0, "written": 0, "rejected": 0}
    assert workflow.buckets.keys("processed") == []


def test_all_violations_are_in_cause_dead_letter_and_ledger(workflow: Workflow) -> None:
    run = workflow.run("mission/bad.json", body(BAD))

    assert (run.status, run.error) == ("FAILED", "RecordsRejected")
    assert run.states == ["Validate", "DeadLetter"]
    assert "/source: enum" in run.cause
    assert "/confidence: maximum 1" in run.cause
    dead_letter = workflow.buckets.dead_letter()
    assert (dead_letter["step"], dead_letter["error"]) == ("Validate", "RecordsRejected")
    violations = dead_letter["rejected"][0]["violations"]
    assert [violation["pointer"] for violation in violations] == ["/confidence", "/source"]
    header, line = workflow.buckets.ledger()
    assert header["counts"] == {"received": 1, "written": 0, "rejected": 1}
    assert line["violations"] == violations
    assert workflow.buckets.keys("processed") == []
    assert workflow.calls == {"Validate": 1, "DeadLetter": 1}, "rejected records are not retried"
    assert RecordsRejected.__name__ not in {error for _, error, _ in RETRIED}


def test_accepted_records_are_delivered_before_a_batch_fails_for_rejects(workflow: Workflow) -> None:
    run = workflow.run("mission/mixed.json", body(GOOD, BAD, GOOD))

    assert (run.status, run.error) == ("FAILED", "RecordsRejected")
    assert run.states == [*STEPS, "DeadLetter"]
    assert len(workflow.buckets.the_only("processed").splitlines()) == 2
    dead_letter = workflow.buckets.dead_letter()
    assert (dead_letter["step"], dead_letter["resumes_at"]) == ("Write", "Validate"), "a data error starts again"
    assert [line["outcome"] for line in workflow.buckets.ledger()[1:]] == ["written", "rejected", "written"]


def test_a_malformed_line_is_rejected_and_the_others_delivered(workflow: Workflow) -> None:
    run = workflow.run("mission/lines.jsonl", body(GOOD) + b"\n{\n" + body(GOOD))

    assert (run.status, run.error) == ("FAILED", "RecordsRejected")
    assert len(workflow.buckets.the_only("processed").splitlines()) == 2
    length = len(body(GOOD))
    assert [(line["position"], line["outcome"]) for line in workflow.buckets.ledger()[1:]] == [
        (0, "written"),
        (length + 1, "rejected"),
        (length + 3, "written"),
    ]


@pytest.mark.parametrize("content", [b"", b"not JSON", b'{"mission": NaN}', b"\xff\xfe"])
def test_an_object_that_is_not_a_document_is_one_rejected_record(workflow: Workflow, content: bytes) -> None:
    run = workflow.run("mission/unreadable.json", content)

    assert (run.status, run.error) == ("FAILED", "RecordsRejected")
    header, line = workflow.buckets.ledger()
    assert header["counts"] == {"received": 1, "written": 0, "rejected": 1}
    assert (line["position"], line["outcome"]) == (0, "rejected")


def test_a_record_that_the_transform_rejects_fails_at_transform(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def transform(_: Any) -> Any:
        raise Rejection("/mission", "known-mission")

    monkeypatch.setattr(core, "load", lambda _: transform)
    run = workflow.run("mission/untransformable.json", body(GOOD))

    assert (run.status, run.error) == ("FAILED", "RecordsRejected")
    assert run.states == ["Validate", "Transform", "DeadLetter"]
    assert workflow.buckets.dead_letter()["rejected"][0]["stage"] == "transform"
    assert workflow.buckets.ledger()[1]["stage"] == "transform"


def test_a_bug_in_a_transform_is_located_without_quoting_the_record(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "load", lambda _: lambda record: int(record["source"]))
    run = workflow.run("mission/bug.json", body(GOOD))

    assert (run.status, run.error) == ("FAILED", "TransformFailed")
    assert "ValueError" in run.cause
    assert "position 0" in run.cause
    assert "MASINT" not in run.cause + json.dumps(workflow.buckets.dead_letter())
    assert workflow.buckets.dead_letter()["resumes_at"] == "Validate", "the contract may be what has to change"


def test_an_unknown_dataset_is_named_with_the_known_ones(workflow: Workflow) -> None:
    run = workflow.run("unknown/a.json", body(GOOD))

    assert (run.status, run.error) == ("FAILED", "UnknownDataset")
    assert "'unknown'" in run.cause
    assert "mission" in run.cause
    dead_letter = workflow.buckets.dead_letter()
    assert (dead_letter["dataset"], dead_letter["received"]) == ("unknown", None)


@pytest.mark.parametrize("error", [error for state, error, _ in RETRIED if state == "DeadLetter"])
def test_dead_letter_is_retried_and_keeps_the_original_error(workflow: Workflow, error: str) -> None:
    workflow.fail("Write", AccessRefused("the processed bucket is closed"))
    workflow.fail("DeadLetter", named(error))
    run = workflow.run("mission/good.json", body(GOOD))

    assert workflow.calls["DeadLetter"] == 2
    assert len(workflow.waits) == 1
    assert run.error == workflow.buckets.dead_letter()["error"] == "AccessRefused"


@pytest.mark.parametrize(
    ("state", "error", "attempts"), [each for each in RETRIED if each[0] != "DeadLetter" and each[1] != THROTTLED]
)
def test_exhausted_retries_leave_a_dead_letter_with_the_original_error(
    workflow: Workflow, state: str, error: str, attempts: int
) -> None:
    workflow.fail(state, *[named(error)] * (attempts + 1))
    run = workflow.run("mission/good.json", body(GOOD))

    assert workflow.calls[state] == attempts + 1
    assert workflow.calls["DeadLetter"] == 1, "DeadLetter's own Retry must not match the error that it raises"
    assert (run.status, run.error) == ("FAILED", "StepFailed")
    assert error in run.cause
    dead_letter = workflow.buckets.dead_letter()
    assert (dead_letter["step"], dead_letter["error"]) == (state, error)
    assert workflow.buckets.keys("audit", "ledger/") == [], "no record has an outcome yet"


def test_throttling_uses_up_no_retry_of_another_error(workflow: Workflow) -> None:
    workflow.fail(
        "Validate", *[named(THROTTLED)] * 50, *[named("Lambda.ServiceException")] * 6, *[named(THROTTLED)] * 9
    )

    assert workflow.run("mission/good.json", body(GOOD)).status == "SUCCEEDED"


@pytest.mark.parametrize("state", STEPS)
@pytest.mark.parametrize("error", ["States.DataLimitExceeded", "Lambda.Unknown", "Runtime.ExitError"])
def test_other_engine_errors_are_caught_at_once(workflow: Workflow, state: str, error: str) -> None:
    workflow.fail(state, EngineError(error))
    run = workflow.run("mission/good.json", body(GOOD))

    assert workflow.calls[state] == 1
    assert (run.status, run.error) == ("FAILED", "StepFailed")
    assert run.states[-2:] == [state, "DeadLetter"]
    assert workflow.buckets.dead_letter()["error"] == error


@pytest.mark.parametrize("state", STEPS)
def test_a_bug_in_a_step_fails_the_execution_with_its_name_and_place(workflow: Workflow, state: str) -> None:
    workflow.fail(state, KeyError("a value from a record"))
    run = workflow.run("mission/good.json", body(GOOD))

    assert (run.status, run.error) == ("FAILED", "KeyError")
    dead_letter = workflow.buckets.dead_letter()
    assert "conftest.py" in dead_letter["cause"], "the dead letter says where it was raised"
    assert "a value from a record" not in dead_letter["cause"], "a dead letter is kept forever"


@pytest.mark.parametrize("state", STEPS)
def test_our_errors_are_not_retried_and_fail_the_execution_by_name(workflow: Workflow, state: str) -> None:
    workflow.fail(state, AccessRefused("PutObject was answered AccessDenied"))
    run = workflow.run("mission/good.json", body(GOOD))

    assert workflow.calls[state] == 1
    assert (run.status, run.error) == ("FAILED", "AccessRefused")
    assert "PutObject was answered AccessDenied" in run.cause
    assert workflow.buckets.dead_letter()["cause"] == "PutObject was answered AccessDenied"


def test_the_dead_letter_of_a_failed_write_lists_earlier_rejects(workflow: Workflow) -> None:
    workflow.fail("Write", AccessRefused("no"))
    workflow.run("mission/mixed.json", body(GOOD, BAD))

    dead_letter = workflow.buckets.dead_letter()
    assert dead_letter["received"] == 2
    assert [record["position"] for record in dead_letter["rejected"]] == [1]


def test_each_step_is_retried_and_waits_no_longer_than_its_cap(workflow: Workflow) -> None:
    for state in STEPS:
        workflow.fail(state, *[ServiceUnavailable("busy")] * 6)
    run = workflow.run("mission/good.json", body(GOOD))

    assert run.status == "SUCCEEDED"
    assert len(workflow.waits) == 6 * len(STEPS)
    assert max(workflow.waits) <= 30


def test_a_large_batch_travels_by_claim_check(workflow: Workflow) -> None:
    records = [GOOD | {"n": number} for number in range(2000)]
    run = workflow.run("mission/large.json", body(*records))

    assert run.status == "SUCCEEDED", run.cause
    assert len(workflow.buckets.the_only("processed").splitlines()) == 2000
    staged = workflow.buckets.keys("staging")
    assert [key.rsplit(".", 3)[1] for key in staged] == sorted(STEPS[1:-1]), "Validate leaves records in the raw bucket"


def test_a_large_wholly_rejected_batch_is_committed(workflow: Workflow) -> None:
    run = workflow.run("mission/large.json", body(*[BAD] * 2000))

    assert (run.status, run.error) == ("FAILED", "RecordsRejected")
    assert "2000 of 2000 records rejected" in run.cause
    dead_letter = workflow.buckets.dead_letter()
    assert (dead_letter["received"], dead_letter["rejected_count"], len(dead_letter["rejected"])) == (2000, 2000, 1000)
    assert len(workflow.buckets.ledger()) == 2001
    assert gzip.decompress(workflow.buckets.the_only("staging"))
