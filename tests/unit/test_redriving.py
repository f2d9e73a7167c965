"""How the work of a dead letter is done again: decided from what is known of it, and nothing else."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import typer

from custody.audit.reader import WHOLE, DeadLetterKey
from custody.concurrency import paced
from custody.executions.pipeline import Execution, execution_name
from custody.recovery import redrive
from custody.recovery.redrive_plan import Closed, Facts, How, Outcome, Plan, Redrive, Wanted, chosen, decide
from custody.terminal.options import rate
from functions.shared.model.ids import RawObject
from functions.shared.model.messages import Batch, Chunk
from functions.shared.model.messages import Plan as Cut
from tests.support.clock import Clock

RAW = RawObject("raw", "mission/a.json", "v1", 60, "etag")
ARN = f"arn:aws:states:us-east-1:123456789012:execution:pipeline:{RAW.id}"
STARTED = datetime(2026, 11, 23, 9, tzinfo=UTC)


def wanted(attempt: int = 0, execution: str = ARN, *, start: int = 0, is_open: bool = True) -> Wanted:
    dead_letter = DeadLetterKey(RAW.id, start, attempt, "2026-11-23", "Write")
    return Wanted(dead_letter, is_open, RAW, Chunk(start, 100) if start else None, execution, "AccessRefused")


def execution(status: str = "FAILED", attempt: int = 0, *, arn: str = ARN, stuck: str | None = None) -> Execution:
    return Execution(arn, status, attempt, attempt, STARTED, stuck)


def test_a_failed_execution_of_the_same_definition_is_redriven_itself() -> None:
    plan = decide(Facts(wanted(), executions=(execution(),), is_unchanged=True))

    assert (plan.how, plan.attempt, plan.execution) == (How.NATIVE, 1, ARN)


def test_the_attempt_follows_that_of_the_execution() -> None:
    plan = decide(Facts(wanted(2), executions=(execution(attempt=2),), is_unchanged=True))

    assert (plan.how, plan.attempt, plan.redrives) == (How.NATIVE, 3, 2)


@pytest.mark.parametrize(
    ("executions", "is_unchanged", "why"),
    [
        ((), False, "no longer in the history"),
        ((execution("SUCCEEDED", stuck="Execution is SUCCEEDED"),), False, "succeeded, with rejected records"),
        ((execution(stuck="Execution redrivable period exceeded"),), True, "redrivable period exceeded"),
        ((execution(),), False, "the state machine was changed"),
    ],
    ids=["forgotten", "tolerated", "too late", "changed"],
)
def test_else_a_new_execution_does_the_work_again(
    executions: tuple[Execution, ...], is_unchanged: bool, why: str
) -> None:
    plan = decide(Facts(wanted(), executions=executions, is_unchanged=is_unchanged))

    assert (plan.how, plan.attempt) == (How.NEW, 1)
    assert why in plan.why
    assert plan.batch == Batch(RAW, None, 1, redrive_of=ARN)


@pytest.mark.parametrize(
    ("facts", "attempt"),
    [
        (Facts(wanted(3)), 4),
        (Facts(wanted(), committed=5), 6),
        (Facts(wanted(), executions=(execution(attempt=7),)), 8),
    ],
    ids=["dead_letters", "ledger", "executions"],
)
def test_a_new_attempt_is_above_all_that_are_known(facts: Facts, attempt: int) -> None:
    assert decide(facts).attempt == attempt


def test_an_execution_whose_next_attempt_is_taken_is_not_redriven() -> None:
    """It would do everything, and then could not commit it."""
    plan = decide(Facts(wanted(), committed=1, executions=(execution(),), is_unchanged=True))

    assert (plan.how, plan.attempt) == (How.NEW, 2)


@pytest.mark.parametrize("status", ["RUNNING", "PENDING_REDRIVE"])
def test_what_is_under_way_is_left_alone(status: str) -> None:
    later = execution(status, 1, arn=f"{ARN}-r1")
    plan = decide(Facts(wanted(), executions=(execution(), later), is_unchanged=True))

    assert (plan.how, plan.starts, plan.execution) == (How.IN_FLIGHT, False, f"{ARN}-r1")


def test_of_several_executions_the_latest_is_redriven() -> None:
    later = execution("FAILED", 1, arn=f"{ARN}-r1")
    plan = decide(Facts(wanted(), executions=(execution(), later), is_unchanged=True))

    assert (plan.how, plan.execution, plan.attempt) == (How.NATIVE, f"{ARN}-r1", 2)


def test_a_closed_dead_letter_leaves_nothing_to_do() -> None:
    plan = decide(
        Facts(wanted(is_open=False), closed=Closed(How.CLOSED, "attempt 1 was committed"), executions=(execution(),))
    )

    assert (plan.how, plan.starts, plan.why) == (How.CLOSED, False, "attempt 1 was committed")


def test_a_token_is_the_same_until_the_execution_is_redriven() -> None:
    plan = Plan(wanted(), How.NATIVE, "", 1, ARN, redrives=0)
    again = Plan(wanted(), How.NATIVE, "", 1, ARN, redrives=0)
    later = Plan(wanted(), How.NATIVE, "", 2, ARN, redrives=1)

    assert plan.token == again.token != later.token
    assert len(plan.token) <= 64, "Step Functions takes no more"


def bulk_wanted(start: int, attempt: int = 0, *, is_open: bool = True) -> Wanted:
    dead_letter = DeadLetterKey(RAW.id, start, attempt, "2026-11-23", "Write")
    return Wanted(dead_letter, is_open, RAW, None, ARN, "AccessRefused", is_bulk=True)


def test_dead_letters_of_one_bulk_object_are_one_redrive_by_the_one_that_tells_of_all() -> None:
    whole = bulk_wanted(WHOLE)
    assert chosen([bulk_wanted(0), whole, bulk_wanted(200)]) == [whole]
    assert chosen([bulk_wanted(0), bulk_wanted(WHOLE, is_open=False)]) == [bulk_wanted(0)], "what is open comes first"


def test_a_new_execution_of_a_bulk_object_is_told_what_is_left() -> None:
    left = Cut(200, (200, 400))
    assert decide(Facts(bulk_wanted(WHOLE), cut=left)).batch == Batch(RAW, None, 1, redrive_of=ARN, plan=left)


def test_dead_letters_of_one_batch_are_one_redrive_of_the_latest() -> None:
    assert chosen([wanted(0, is_open=False), wanted(1), wanted(0)]) == [wanted(1)]


def test_dead_letters_of_one_execution_are_one_redrive() -> None:
    assert chosen([wanted(start=0), wanted(start=4096)]) == [wanted(start=0)]


def test_an_open_dead_letter_goes_before_a_closed_one() -> None:
    assert chosen([wanted(0), wanted(1, is_open=False)]) == [wanted(0)]


def test_dead_letters_of_two_executions_are_two_redrives() -> None:
    other = wanted(start=4096, execution=f"{ARN}-other")
    assert chosen([wanted(), other]) == [wanted(), other]


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
def test_the_outcome_is_a_word(status: str | None, error: str | None, outcome: Outcome) -> None:
    plan = Plan(wanted(), How.REFUSED if status is None else How.NATIVE, "", 1, ARN)
    assert Redrive(plan, ARN, 1, status, error).outcome is outcome


def test_an_execution_is_read_as_step_functions_tells_of_it() -> None:
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
    found = Execution.of(described)

    assert (found.attempt, found.redrives, found.stuck) == (5, 3, "Execution redrivable period exceeded")
    assert (found.day, found.is_running, found.error) == ("2026-11-23", False, "AccessRefused")


@pytest.mark.parametrize("begun", ["", "[]", "no JSON", '{"attempt": null}'])
def test_an_execution_that_somebody_started_with_anything_has_attempt_0(begun: str) -> None:
    described: Any = {"executionArn": ARN, "status": "RUNNING", "startDate": STARTED, "input": begun}
    assert Execution.of(described).attempt == 0


def test_a_later_execution_is_named_by_its_attempt() -> None:
    assert [execution_name("an-id", attempt) for attempt in (0, 2)] == ["an-id", "an-id-r2"]


def test_starts_are_no_faster_than_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(redrive, "time", clock)
    assert [(each, round(clock.now, 3)) for each in paced("abc", 100)] == [("a", 0.0), ("b", 0.01), ("c", 0.02)]


@pytest.mark.parametrize(("given", "read"), [("5", 5.0), ("5/s", 5.0), ("0.5", 0.5)])
def test_a_rate_is_a_number_a_second(given: str, read: float) -> None:
    assert rate(given) == read


@pytest.mark.parametrize("given", ["0", "-1/s", "5/m", "much", "inf", "nan", "1e-9", "1e-300"])
def test_another_rate_is_refused(given: str) -> None:
    with pytest.raises(typer.BadParameter, match="5/s"):
        rate(given)
