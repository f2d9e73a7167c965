"""How a dead letter is retried: decided from what is known of its batch, and nothing else."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from custody.executions.pipeline import ExecutionState
from custody.recovery.redrive_plan import (
    BatchState,
    Candidate,
    Method,
    Outcome,
    Redrive,
    choose_candidates,
    decide,
)
from functions.shared.model.ids import RawObject
from functions.shared.model.keys import WHOLE, DeadLetterKey
from functions.shared.model.messages import Batch, Chunk, Plan

RAW = RawObject("raw", "mission/a.json", "v1", 60, "etag")
ARN = f"arn:aws:states:us-east-1:123456789012:execution:pipeline:{RAW.id}"
STARTED = datetime(2026, 11, 23, 9, tzinfo=UTC)


def a_candidate(attempt: int = 0, execution: str = ARN, *, start: int = 0, is_open: bool = True) -> Candidate:
    dead_letter = DeadLetterKey(RAW.id, start, attempt, "2026-11-23", "Write")
    return Candidate(dead_letter, is_open, RAW, Chunk(start, 100) if start else None, execution, "AccessRefused")


def execution(status: str = "FAILED", attempt: int = 0, *, arn: str = ARN, stuck: str | None = None) -> ExecutionState:
    return ExecutionState(arn, status, attempt, attempt, STARTED, stuck)


@pytest.mark.parametrize(
    ("executions", "arn", "attempt", "redrives"),
    [
        ([execution()], ARN, 1, 0),
        ([execution(attempt=2)], ARN, 3, 2),
        ([execution(), execution(attempt=1, arn=f"{ARN}-r1")], f"{ARN}-r1", 2, 1),
    ],
    ids=["failed", "redriven before", "the latest of two"],
)
def test_a_failed_execution_of_the_same_definition_is_redriven(
    executions: list[ExecutionState], arn: str, attempt: int, redrives: int
) -> None:
    plan = decide(BatchState(a_candidate(), executions=tuple(executions), is_unchanged=True))

    assert (plan.how, plan.execution, plan.attempt, plan.redrives) == (Method.NATIVE, arn, attempt, redrives)


@pytest.mark.parametrize(
    ("executions", "is_unchanged", "why"),
    [
        ((), False, "no longer in the history"),
        ((execution("SUCCEEDED", stuck="Execution is SUCCEEDED"),), False, "succeeded, with rejected records"),
        ((execution(stuck="Execution redrivable period exceeded"),), True, "redrivable period exceeded"),
        ((execution(),), False, "the state machine has changed"),
    ],
    ids=["forgotten", "tolerated", "too late", "changed"],
)
def test_otherwise_a_new_execution_does_the_work_again(
    executions: tuple[ExecutionState, ...], is_unchanged: bool, why: str
) -> None:
    plan = decide(BatchState(a_candidate(), executions=executions, is_unchanged=is_unchanged))

    assert (plan.how, plan.attempt) == (Method.NEW, 1)
    assert why in plan.why
    assert plan.batch == Batch(RAW, None, 1, redrive_of=ARN)


@pytest.mark.parametrize(
    ("state", "attempt"),
    [
        (BatchState(a_candidate(3)), 4),
        (BatchState(a_candidate(), committed=5), 6),
        (BatchState(a_candidate(), executions=(execution(attempt=7),)), 8),
        # A redrive of the execution would do all the work, and then fail to commit it.
        (BatchState(a_candidate(), committed=1, executions=(execution(),), is_unchanged=True), 2),
    ],
    ids=["dead_letters", "ledger", "executions", "the next attempt of the execution is taken"],
)
def test_a_new_attempt_is_higher_than_all_that_are_known(state: BatchState, attempt: int) -> None:
    plan = decide(state)

    assert (plan.how, plan.attempt) == (Method.NEW, attempt)


@pytest.mark.parametrize("status", ["RUNNING", "PENDING_REDRIVE"])
def test_nothing_is_started_beside_a_running_execution(status: str) -> None:
    later = execution(status, 1, arn=f"{ARN}-r1")
    plan = decide(BatchState(a_candidate(), executions=(execution(), later), is_unchanged=True))

    assert (plan.how, plan.starts, plan.execution) == (Outcome.IN_FLIGHT, False, f"{ARN}-r1")


def test_a_resolved_dead_letter_leaves_nothing_to_do() -> None:
    state = BatchState(a_candidate(is_open=False), (Outcome.RESOLVED, "attempt 1 was committed"), 0, (execution(),))
    plan = decide(state)

    assert (plan.how, plan.starts, plan.why) == (Outcome.RESOLVED, False, "attempt 1 was committed")


def test_the_client_token_is_the_same_until_the_execution_is_redriven() -> None:
    plan, again = (Redrive(a_candidate(), Method.NATIVE, "", 1, ARN, redrives=0) for _ in range(2))
    later = Redrive(a_candidate(), Method.NATIVE, "", 2, ARN, redrives=1)

    assert plan.token == again.token != later.token
    assert len(plan.token) <= 64, "Step Functions takes no more"


def a_bulk_candidate(start: int, attempt: int = 0, *, is_open: bool = True) -> Candidate:
    dead_letter = DeadLetterKey(RAW.id, start, attempt, "2026-11-23", "Write")
    return Candidate(dead_letter, is_open, RAW, None, ARN, "AccessRefused", is_bulk=True)


def test_a_new_execution_of_a_bulk_object_processes_what_is_left() -> None:
    left = Plan(200, (200, 400))
    assert decide(BatchState(a_bulk_candidate(WHOLE), left=left)).batch == Batch(
        RAW, None, 1, redrive_of=ARN, plan=left
    )


OTHER = a_candidate(start=4096, execution=f"{ARN}-other")


@pytest.mark.parametrize(
    ("candidates", "chosen"),
    [
        ([a_candidate(0, is_open=False), a_candidate(1), a_candidate(0)], [a_candidate(1)]),
        ([a_candidate(0), a_candidate(1, is_open=False)], [a_candidate(0)]),
        ([a_candidate(start=0), a_candidate(start=4096)], [a_candidate(start=0)]),
        ([a_candidate(), OTHER], [a_candidate(), OTHER]),
        ([a_bulk_candidate(0), a_bulk_candidate(WHOLE), a_bulk_candidate(200)], [a_bulk_candidate(WHOLE)]),
        ([a_bulk_candidate(0), a_bulk_candidate(WHOLE, is_open=False)], [a_bulk_candidate(0)]),
    ],
    ids=[
        "one batch: the latest",
        "open first",
        "one execution",
        "two executions",
        "one bulk object",
        "open chunk first",
    ],
)
def test_one_dead_letter_stands_for_all_that_a_redrive_does(
    candidates: list[Candidate], chosen: list[Candidate]
) -> None:
    assert choose_candidates(candidates) == chosen


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        ("SUCCEEDED", None, Outcome.SUCCEEDED),
        ("FAILED", "RecordsRejected", Outcome.REJECTED),
        ("FAILED", "AccessRefused", Outcome.FAILED),
        ("ABORTED", None, Outcome.FAILED),
        ("RUNNING", None, Outcome.RUNNING),
        (None, None, Outcome.REFUSED),
    ],
)
def test_the_outcome_follows_from_status_and_error(status: str | None, error: str | None, outcome: Outcome) -> None:
    how = Outcome.REFUSED if status is None else Method.NATIVE
    assert Redrive(a_candidate(), how, "", 1, ARN, status=status, error=error).outcome is outcome


def test_an_execution_is_parsed_from_what_step_functions_describes() -> None:
    described: Any = {
        "executionArn": ARN,
        "status": "FAILED",
        "startDate": STARTED,
        "input": json.dumps(Batch(RAW, attempt=2).encode()),
        "redriveCount": 3,
        "redriveStatus": "NOT_REDRIVABLE",
        "redriveStatusReason": "Execution redrivable period exceeded",
        "error": "AccessRefused",
    }
    parsed = ExecutionState.of(described)

    assert (parsed.attempt, parsed.redrives, parsed.stuck) == (5, 3, "Execution redrivable period exceeded")
    assert (parsed.day, parsed.is_running, parsed.error) == ("2026-11-23", False, "AccessRefused")
