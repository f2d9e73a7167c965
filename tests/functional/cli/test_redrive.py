"""Open dead letters are redriven and watched; a failure of one does not affect the others."""

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from custody.audit.dead_letters import Filter, select
from custody.recovery.redrive import Redriver
from custody.recovery.redrive_plan import Method, Outcome, Redrive, choose_candidates
from functions.shared.model.messages import Batch
from functions.shared.records.strict_json import encode
from tests.support.audit_files import Run, posted
from tests.support.buckets import Buckets
from tests.support.command_line import CommandLine
from tests.support.executions import STARTED, Machine, arn_of, commit, discard, post
from tests.support.redrives import FAST, plans_for
from tests.support.stages import GOOD

COMMAND = "redrive"
IS_LOCAL = True


def redriven(redriver: Redriver, timeout: float = 10) -> list[Redrive]:
    begun = list(redriver.begin(plans_for(redriver), FAST))
    list(redriver.watch([redrive for redrive in begun if redrive.outcome is Outcome.RUNNING], timeout))
    return begun


def fail(machine: Machine, key: str = "a.json") -> Batch:
    """Leave an execution that failed, and its dead letter."""
    batch = machine.buckets.upload(key, b"{}")
    post(machine.buckets, batch, arn=machine.add(batch))
    return batch


def test_failed_executions_are_redriven_and_watched_to_their_end(redriver: Redriver, machine: Machine) -> None:
    for key in ("a.json", "b.json", "c.json"):
        fail(machine, key)
    done = redriven(redriver)

    assert [redrive.outcome for redrive in done] == [Outcome.SUCCEEDED] * 3
    assert len(set(machine.tokens)) == 3, "each execution was redriven once"


def test_a_redrive_that_fails_again_has_a_new_dead_letter(
    redriver: Redriver, buckets: Buckets, machine: Machine
) -> None:
    batch = fail(machine)
    machine.ends = {"status": "FAILED", "error": "AccessRefused"}
    begun = list(redriver.begin(plans_for(redriver), FAST))
    dead_letter = post(buckets, Batch(batch.object, attempt=1))
    (done,) = redriver.watch(begun, 10)

    assert (done.outcome, done.error, done.new_dead_letter) == (Outcome.FAILED, "AccessRefused", dead_letter)


def test_after_the_timeout_a_redrive_is_running(redriver: Redriver, machine: Machine) -> None:
    fail(machine)
    machine.ends = {"status": "RUNNING"}

    assert [redrive.outcome for redrive in redriven(redriver, timeout=0.05)] == [Outcome.RUNNING]


def test_an_outdated_status_is_not_taken_for_the_end(redriver: Redriver, machine: Machine) -> None:
    """Step Functions may report the earlier failure for a while."""
    batch = fail(machine)
    begun = list(redriver.begin(plans_for(redriver), FAST))
    machine.add(batch, "FAILED", redrives=0)

    assert [redrive.outcome for redrive in redriver.watch(begun, 0.05)] == [Outcome.RUNNING]


def test_a_redrive_by_somebody_else_does_not_affect_the_others(redriver: Redriver, machine: Machine) -> None:
    quicker, finished, other = (fail(machine, key) for key in ("a.json", "b.json", "c.json"))
    plans = plans_for(redriver)
    for batch, status in ((quicker, "RUNNING"), (finished, "SUCCEEDED")):
        machine.refusals[machine.add(batch, status, redrives=1)] = "ExecutionNotRedrivable"
    begun = {redrive.object.key: redrive for redrive in redriver.begin(plans, FAST)}

    assert begun[quicker.object.key].outcome is Outcome.IN_FLIGHT
    assert begun[finished.object.key].outcome is Outcome.RESOLVED
    assert begun[other.object.key].outcome is Outcome.RUNNING


@pytest.mark.parametrize("code", ["AccessDeniedException", "ExecutionLimitExceeded", "ExecutionNotRedrivable"])
def test_a_refused_redrive_does_not_affect_the_others(redriver: Redriver, machine: Machine, code: str) -> None:
    refused = fail(machine)
    fail(machine, "b.json")
    machine.refusals[arn_of(refused.object.id)] = code
    done = {redrive.object.key: redrive for redrive in redriven(redriver)}

    assert done["a.json"].outcome is Outcome.REFUSED
    assert code in done["a.json"].why
    assert done["b.json"].outcome is Outcome.SUCCEEDED


def test_after_a_change_of_the_definition_a_new_execution_does_the_work(redriver: Redriver, machine: Machine) -> None:
    batch = fail(machine)
    arn = arn_of(batch.object.id)
    machine.definitions[arn] = ("before", "r1")
    (done,) = redriven(redriver)

    assert (done.outcome, done.how) == (Outcome.SUCCEEDED, Method.NEW)
    assert done.execution == arn_of(f"{batch.object.id}-r1")
    expected = encode(Batch(batch.object, attempt=1, redrive_of=arn).encode()).decode()
    assert machine.executions[done.execution]["input"] == expected


def test_a_new_execution_skips_the_names_of_ended_ones(redriver: Redriver, machine: Machine) -> None:
    batch = fail(machine)
    machine.definitions[arn_of(batch.object.id)] = ("before", "r1")
    plans = plans_for(redriver)
    taken = machine.add(Batch(batch.object, attempt=1), "FAILED", redrives=2)
    (begun,) = redriver.begin(plans, FAST)

    assert (begun.attempt, begun.execution) == (4, arn_of(f"{batch.object.id}-r4"))
    assert json.loads(machine.executions[begun.execution]["input"])["redrive_of"] == taken


def test_a_new_execution_is_not_started_beside_a_running_one(redriver: Redriver, machine: Machine) -> None:
    batch = fail(machine)
    machine.definitions[arn_of(batch.object.id)] = ("before", "r1")
    plans = plans_for(redriver)
    machine.add(Batch(batch.object, attempt=1), "RUNNING")

    assert [redrive.outcome for redrive in redriver.begin(plans, FAST)] == [Outcome.IN_FLIGHT]


def test_the_executions_of_a_batch_decide_how_it_is_redriven(
    redriver: Redriver, buckets: Buckets, machine: Machine
) -> None:
    post(buckets, buckets.upload("expired.json", b"{}"))
    running = fail(machine, "running.json")
    machine.add(Batch(running.object, attempt=1), "RUNNING")
    plans = plans_for(redriver)

    assert {plan.object.key: (plan.how, plan.outcome, plan.attempt) for plan in plans} == {
        "expired.json": (Method.NEW, Outcome.NOT_STARTED, 1),
        "running.json": (None, Outcome.IN_FLIGHT, 1),
    }


def test_a_dead_letter_that_is_resolved_meanwhile_is_not_redriven(
    redriver: Redriver, buckets: Buckets, machine: Machine
) -> None:
    batch = fail(machine)
    candidates = choose_candidates(map(Redrive.of, select(redriver.audit, Filter())))
    commit(buckets, Batch(batch.object, attempt=1))
    redriver.plan(candidates)
    (plan,) = candidates

    assert plan.outcome is Outcome.RESOLVED
    assert "attempt 1 was committed" in plan.why


def test_definitions_of_many_executions_take_few_calls(buckets: Buckets, machine: Machine) -> None:
    """Step Functions allows one such call a second."""
    batch = buckets.upload("a.json", b"{}")
    for number in range(1000):
        arn = machine.add(batch, name=f"e{number:04}", startDate=_minute(number))
        machine.definitions[arn] = ("before", "r1") if number < 700 else ("now", "r2")

    assert unchanged(machine) == {arn_of(f"e{number:04}") for number in range(700, 1000)}
    assert machine.asked <= 25


def test_a_definition_that_was_restored_counts_as_unchanged(buckets: Buckets, machine: Machine) -> None:
    batch = buckets.upload("a.json", b"{}")
    for number, definition in enumerate([("now", "r1"), ("bad", "r2"), ("now", "r3")]):
        arn = machine.add(batch, name=f"e{number}", startDate=_minute(number))
        machine.definitions[arn] = definition

    assert unchanged(machine) == {arn_of("e0"), arn_of("e2")}
    assert machine.pipeline().unchanged([]) == frozenset()


def unchanged(machine: Machine) -> frozenset[str]:
    pipeline = machine.pipeline()
    return pipeline.unchanged([execution for arn in machine.executions if (execution := pipeline.describe(arn))])


def _minute(number: int) -> datetime:
    return STARTED + timedelta(minutes=number)


def superseded(machine: Machine, batch: Batch, _: CommandLine) -> None:
    post(machine.buckets, Batch(batch.object, attempt=1), arn=arn_of(batch.object.id))


def discarded(machine: Machine, batch: Batch, command_line: CommandLine) -> None:
    commit(machine.buckets, batch, written=1, rejected=1)
    command_line.run("dead-letters", "discard", batch.object.id, "--reason", "bad data")


@pytest.mark.parametrize(
    ("resolve", "code", "why"),
    [
        (superseded, 1, "a later dead letter of the batch is open: dt=2026-11-23/{id}/000000000000000.1.Write"),
        (discarded, 1, "was discarded on .*: bad data"),
        (lambda machine, batch, _: discard(machine.buckets, batch), 1, "was discarded by an unknown user: s3://audit/"),
        (
            lambda machine, batch, _: commit(machine.buckets, Batch(batch.object, attempt=1)),
            0,
            "attempt 1 was committed",
        ),
    ],
    ids=["superseded", "discarded", "unreadable discard", "committed since"],
)
def test_a_resolved_dead_letter_is_not_redriven(  # noqa: PLR0913, PLR0917 - a table
    run: Run, machine: Machine, command_line: CommandLine, resolve: Callable[..., object], code: int, why: str
) -> None:
    batch = machine.buckets.upload("a.json", b"{}")
    dead_letter = post(machine.buckets, batch, arn=machine.add(batch))
    resolve(machine, batch, command_line)
    ran = run(dead_letter)

    assert ran.exit_code == code
    assert re.search(why.format(id=batch.object.id), ran.stdout)
    assert machine.tokens == []


def test_an_unreadable_dead_letter_does_not_affect_the_others(run: Run, buckets: Buckets, machine: Machine) -> None:
    damaged = buckets.upload("a.json", b"{}")
    buckets.put("audit", f"dead-letters/{post(buckets, damaged)}.json", b"not JSON")
    fail(machine, "b.json")
    ran = run("--open")

    assert ran.exit_code == 1
    assert "1 redriven: 1 succeeded" in ran.stdout
    assert f"{damaged.object.id}/000000000000000.0.Write.json" in ran.stderr


def test_naming_a_record_redrives_its_whole_batch(run: Run, machine: Machine) -> None:
    batch = fail(machine)
    ran = run(f"{batch.object.id}.5")

    assert ran.exit_code == 0
    assert f"{batch.object.id}.5 is a record: its whole batch is redriven" in ran.stderr


def unreachable(**_: Any) -> Any:
    raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")


def interrupted(**_: Any) -> Any:
    raise KeyboardInterrupt


def throttled(**_: Any) -> Any:
    raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "DescribeExecution")


@pytest.mark.parametrize("failure", [unreachable, throttled])
@pytest.mark.parametrize("call", ["paginate", "describe_execution"])
def test_a_failed_call_while_watching_is_repeated(
    redriver: Redriver, machine: Machine, monkeypatch: pytest.MonkeyPatch, failure: Any, call: str
) -> None:
    fail(machine)
    begun = list(redriver.begin(plans_for(redriver), FAST))
    request = getattr(machine, call)

    def once(**parameters: Any) -> Any:
        monkeypatch.setattr(machine, call, request)
        return failure(**parameters)

    monkeypatch.setattr(machine, call, once)

    assert [redrive.outcome for redrive in redriver.watch(begun, 10)] == [Outcome.SUCCEEDED]


def test_without_an_answer_before_the_timeout_the_outcome_is_unknown(
    run: Run, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = fail(machine)
    monkeypatch.setattr(machine, "paginate", unreachable)
    ran = run(batch.object.id, "--timeout", "1", "--json")

    (redrive,) = json.loads(ran.stdout)["redrives"]
    assert (ran.exit_code, redrive["outcome"]) == (1, "unknown")
    assert "Could not connect" in redrive["error"]


def test_ctrl_c_while_watching_reports_what_was_started(
    run: Run, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = fail(machine)
    monkeypatch.setattr(machine, "paginate", interrupted)
    shown = run(batch.object.id)
    machine.add(batch)
    document = run(batch.object.id, "--json")

    assert (shown.exit_code, document.exit_code) == (130, 130)
    assert "1 redriven: 1 running" in shown.stdout
    assert [redrive["outcome"] for redrive in json.loads(document.stdout)["redrives"]] == ["running"]


def test_without_an_answer_to_a_start_no_more_are_started(
    redriver: Redriver, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        fail(machine, f"{number:02}.json")
    plans = plans_for(redriver)
    monkeypatch.setattr(machine, "redrive_execution", unreachable)
    with pytest.raises(EndpointConnectionError):
        list(redriver.begin(plans, 50))
    outcomes = [redrive.outcome for redrive in plans]

    assert set(outcomes) == {Outcome.UNKNOWN, Outcome.NOT_STARTED}
    assert len(outcomes) == 40


def test_a_failure_during_the_start_reports_what_was_started(
    run: Run, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("a.json", "b.json"):
        fail(machine, key)
    request = machine.redrive_execution

    def second(**parameters: Any) -> Any:
        if machine.tokens:
            return unreachable()
        return request(**parameters)

    monkeypatch.setattr(machine, "redrive_execution", second)
    ran = run("--open", "--json")

    assert isinstance(ran.exception, EndpointConnectionError), "custody/app.py makes a line of it"
    assert sorted(redrive["outcome"] for redrive in json.loads(ran.stdout)["redrives"]) == ["running", "unknown"]


def test_the_rejected_records_before_and_now_are_compared(
    run: Run, machine: Machine, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = {arn_of(batch.object.id): batch for batch in (buckets.upload(f"mission/{n}.json", GOOD) for n in "ab")}
    redrive = machine.redrive_execution

    def rejected(arn: str, attempt: int, count: int) -> None:
        raw, facts = batches[arn].object, dict[str, Any](error="RecordsRejected", received=2000, rejected_count=count)
        posted(buckets, raw=raw, name="Rejected", attempt=attempt, arn=arn, **facts)

    def redrive_and_reject(*, executionArn: str, clientToken: str) -> None:  # noqa: N803 - as boto3 has it
        rejected(executionArn, 1, 25)
        redrive(executionArn=executionArn, clientToken=clientToken)

    for arn, batch in batches.items():
        machine.add(batch, error="RecordsRejected")
        rejected(arn, 0, 1543)
    machine.ends = {"status": "FAILED", "error": "RecordsRejected"}
    monkeypatch.setattr(machine, "redrive_execution", redrive_and_reject)

    shown = run("--open").stdout
    assert shown.count("1,543 rejected before, 25 now; RecordsRejected; dead letter dt=2026-11-23/") == 2
    assert "records: 3,086 rejected before, 50 now" in shown
