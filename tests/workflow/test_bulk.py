"""Every way through the bulk machine: chunks that are done, chunks that fail, and each Retry and Catch of its own."""

from typing import Any

import pytest

from functions.shared.errors import AccessRefused, ServiceUnavailable
from functions.transform import core
from tests.support.buckets import parse_ledger_file
from tests.support.steps import BULK, STEPS
from tests.workflow.conftest import BAD, GOOD, LINE, EngineError, Run, Workflow, lines, named

SUMMARIZE: dict[str, Any] = BULK["States"]["Summarize"]
RETRIED = [(error, retry["MaxAttempts"]) for retry in SUMMARIZE["Retry"][1:] for error in retry["ErrorEquals"]]
"""All but throttling, which is retried until the machine times out."""


def run(workflow: Workflow, *records: Any) -> Run:
    """Run an object in which each chunk holds two records."""
    return workflow.run("mission/large.jsonl", lines(*records), chunk_bytes=2 * LINE)


def summary(workflow: Workflow) -> tuple[Any, list[Any]]:
    (key,) = [key for key in workflow.buckets.keys("audit", "ledger/") if "/object." in key]
    return parse_ledger_file(workflow.buckets.body("audit", key))


def delivered(workflow: Workflow) -> list[int]:
    """Count the records in each processed object, by the start of its chunk."""
    keys = workflow.buckets.keys("processed")
    return [len(workflow.buckets.body("processed", key).splitlines()) for key in keys]


def dead_letters(workflow: Workflow) -> list[str]:
    return [key.rpartition("/")[2] for key in workflow.buckets.keys("audit", "dead-letters/")]


def test_all_chunks_are_delivered_and_summarized(workflow: Workflow) -> None:
    done = run(workflow, *[GOOD] * 5)

    assert done.status == "SUCCEEDED", done.cause
    assert done.states == ["ProcessChunks", "Summarize"]
    assert done.output["counts"] == {"received": 5, "written": 5, "rejected": 0}
    assert done.output["chunks"] == {"total": 3, "committed": 3, "failed": 0}
    assert "failure" not in done.output
    assert delivered(workflow) == [2, 2, 1]
    assert workflow.calls == dict.fromkeys(STEPS, 3) | {"Summarize": 1}
    assert dead_letters(workflow) == []
    header, chunks = summary(workflow)
    assert header["counts"] == done.output["counts"]
    assert [(chunk["start"], chunk["counts"]["written"]) for chunk in chunks] == [(0, 2), (2 * LINE, 2), (4 * LINE, 1)]


def test_a_rejected_record_stops_no_other_and_fails_the_object(workflow: Workflow) -> None:
    done = run(workflow, GOOD, GOOD, GOOD, BAD, GOOD)

    assert (done.status, done.error) == ("FAILED", "RecordsRejected")
    assert done.states == ["ProcessChunks", "Summarize", "DeadLetter"]
    assert f"1 of 5 records rejected, in chunks starting at byte {2 * LINE}" in done.cause
    assert delivered(workflow) == [2, 1, 1]
    assert dead_letters(workflow) == [f"{2 * LINE:015d}.0.Rejected.json", "object.0.Summarize.json"]


def test_a_wholly_rejected_chunk_is_committed(workflow: Workflow) -> None:
    done = run(workflow, BAD, BAD, GOOD, GOOD)

    assert (done.status, done.error) == ("FAILED", "RecordsRejected")
    assert delivered(workflow) == [2]
    assert summary(workflow)[0]["chunks"] == {"total": 2, "committed": 2, "failed": 0}
    assert dead_letters(workflow) == [f"{0:015d}.0.Validate.json", "object.0.Summarize.json"]


@pytest.mark.parametrize("step", STEPS)
def test_a_failed_chunk_stops_no_other_and_has_a_dead_letter(workflow: Workflow, step: str) -> None:
    workflow.fail(step, AccessRefused("no"))
    done = run(workflow, *[GOOD] * 5)

    assert (done.status, done.error) == ("FAILED", "ChunksFailed")
    assert done.states == ["ProcessChunks", "Summarize", "DeadLetter"]
    assert delivered(workflow) == [2, 1]
    assert dead_letters(workflow) == [f"{0:015d}.0.{step}.json", "object.0.Summarize.json"]
    _, chunks = summary(workflow)
    assert [chunk["outcome"] for chunk in chunks] == ["failed", "committed", "committed"]


def test_a_bug_in_every_chunk_leaves_a_dead_letter_for_each(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "load", lambda _: lambda record: int(record["source"]))
    done = run(workflow, *[GOOD] * 5)

    assert (done.status, done.error) == ("FAILED", "ChunksFailed")
    assert len([name for name in dead_letters(workflow) if name.endswith(".0.Transform.json")]) == 3
    assert summary(workflow)[0]["chunks"]["failed"] == 3


def test_steps_and_summarize_are_retried(workflow: Workflow) -> None:
    for state in ("Write", "Summarize"):
        workflow.fail(state, *[ServiceUnavailable("busy")] * 6)
    done = run(workflow, *[GOOD] * 5)

    assert done.status == "SUCCEEDED", done.cause
    assert (workflow.calls["Write"], workflow.calls["Summarize"]) == (3 + 6, 1 + 6)
    assert summary(workflow)


@pytest.mark.parametrize(("error", "attempts"), RETRIED)
def test_a_failed_summarize_has_a_dead_letter_and_keeps_deliveries(
    workflow: Workflow, error: str, attempts: int
) -> None:
    workflow.fail("Summarize", *[named(error)] * (attempts + 1))
    done = run(workflow, GOOD, GOOD, GOOD)

    assert workflow.calls["Summarize"] == attempts + 1
    assert (done.status, done.error) == ("FAILED", "StepFailed")
    assert done.states == ["ProcessChunks", "Summarize", "DeadLetter"]
    dead_letter = workflow.buckets.dead_letter()
    assert (dead_letter["step"], dead_letter["error"], dead_letter["resumes_at"]) == ("Summarize", error, "Summarize")
    assert delivered(workflow) == [2, 1]


def test_a_result_of_summarize_that_is_too_large_is_caught(workflow: Workflow) -> None:
    workflow.fail("Summarize", EngineError("States.DataLimitExceeded"))
    done = run(workflow, GOOD, GOOD, GOOD)

    assert done.states == ["ProcessChunks", "Summarize", "DeadLetter"]
    assert workflow.buckets.dead_letter()["error"] == "States.DataLimitExceeded"
