"""How a dead letter is retried: decided from what is known of its batch, and nothing else."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from custody.executions.pipeline import ExecutionState
from custody.recovery.redrive_plan import BatchState, Method, Outcome, Redrive, choose_candidates, decide
from functions.shared.model.ids import RawObject
from functions.shared.model.keys import WHOLE, DeadLetterKey
from functions.shared.model.messages import Batch, Chunk, Plan

RAW = RawObject("raw", "mission/a.json", "v1", 60, "etag")
ARN = f"arn:aws:states:us-east-1:123456789012:execution:pipeline:{RAW.id}"
STARTED = datetime(2026, 11, 23, 9, tzinfo=UTC)


def a_candidate(
    attempt: int = 0, execution: str = ARN, *, start: int = 0, is_open: bool = True, is_bulk: bool = False
) -> Redrive:
    key = DeadLetterKey(RAW.id, start, attempt, "2026-11-23", "Write")
    return Redrive(
        dead_letter=key.id,
        object=RAW,
        execution=execution,
        key=key,
        is_open=is_open,
        chunk=Chunk(start, 100) if start and not is_bulk else None,
        error_before="AccessRefused",
        is_bulk=is_bulk,
    )


def decided(state: BatchState, candidate: Redrive | None = None, *, is_unchanged: bool = False) -> Redrive:
    """Return a candidate as it is decided."""
    redrive = candidate or a_candidate()
    decide(redrive, state, is_unchanged=is_unchanged)
    return redrive


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
    plan = decided(BatchState(executions=tuple(executions)), is_unchanged=True)

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
    plan = decided(BatchState(executions=executions), is_unchanged=is_unchanged)

    assert (plan.how, plan.attempt) == (Method.NEW, 1)
    assert why in plan.why
    assert plan.batch == Batch(RAW, None, 1, redrive_of=ARN)


@pytest.mark.parametrize(
    ("dead_letter", "state", "attempt"),
    [
        (3, BatchState(), 4),
        (0, BatchState(committed=5), 6),
        (0, BatchState(executions=(execution(attempt=7, stuck="too late"),)), 8),
        # A redrive of the execution would do all the work, and then fail to commit it.
        (0, BatchState(committed=1, executions=(execution(),)), 2),
    ],
    ids=["dead letter", "ledger", "executions", "the next attempt of the execution is taken"],
)
def test_a_new_attempt_is_higher_than_all_that_are_known(dead_letter: int, state: BatchState, attempt: int) -> None:
    plan = decided(state, a_candidate(dead_letter), is_unchanged=True)

    assert (plan.how, plan.attempt) == (Method.NEW, attempt)


@pytest.mark.parametrize("status", ["RUNNING", "PENDING_REDRIVE"])
def test_nothing_is_started_beside_a_running_execution(status: str) -> None:
    later = execution(status, 1, arn=f"{ARN}-r1")
    plan = decided(BatchState(executions=(execution(), later)), is_unchanged=True)

    assert (plan.outcome, plan.how, plan.execution) == (Outcome.IN_FLIGHT, None, f"{ARN}-r1")


def test_a_resolved_dead_letter_leaves_nothing_to_do() -> None:
    state = BatchState((Outcome.RESOLVED, "attempt 1 was committed"), 0, (execution(),))
    plan = decided(state, a_candidate(is_open=False))

    assert (plan.outcome, plan.how, plan.why) == (Outcome.RESOLVED, None, "attempt 1 was committed")


def test_the_client_token_is_the_same_until_the_execution_is_redriven() -> None:
    plan, again, later = (a_candidate() for _ in range(3))
    later.redrives = 1

    assert plan.token == again.token != later.token
    assert len(plan.token) <= 64, "Step Functions takes no more"


def a_bulk_candidate(start: int, *, is_open: bool = True) -> Redrive:
    return a_candidate(start=start, is_open=is_open, is_bulk=True)


def test_a_new_execution_of_a_bulk_object_processes_what_is_left() -> None:
    left = Plan(200, (200, 400))
    plan = decided(BatchState(left=left), a_bulk_candidate(WHOLE))
    assert plan.batch == Batch(RAW, None, 1, redrive_of=ARN, plan=left)


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
def test_one_dead_letter_stands_for_all_that_a_redrive_does(candidates: list[Redrive], chosen: list[Redrive]) -> None:
    assert choose_candidates(candidates) == chosen


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
