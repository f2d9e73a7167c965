"""A bulk object is redriven once, however many dead letters it has: by its own execution, or by a new one."""

import io
import json
from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from custody.audit.committed_records import CommittedRecords
from custody.audit.dead_letters import Filter, select
from custody.recovery.redrive import Redriver
from custody.recovery.redrive_plan import Method, Outcome, Redrive, choose_candidates
from custody.terminal import console
from functions.shared.model.keys import WHOLE, LedgerKey
from functions.shared.model.messages import Batch
from tests.support.audit_files import Run, audit_of, discarded, state_of
from tests.support.buckets import Buckets
from tests.support.bulk import CHUNK_BYTES, Bulk, lines
from tests.support.command_line import CommandLine
from tests.support.executions import BULK_ARN, Machine, arn_of, post
from tests.support.redrives import FAST, plans_for, redriver_on

COMMAND = "redrive"
IS_LOCAL = True


def test_all_dead_letters_of_an_object_are_one_redrive(bulk: Bulk, redriver: Redriver, machine: Machine) -> None:
    (plan,) = plans_for(redriver)
    assert (plan.how, plan.execution, plan.attempt) == (Method.NATIVE, bulk.arn, 1)
    assert plan.key.is_of_whole

    done = list(redriver.watch(redriver.begin([plan], FAST), 10))
    assert [redrive.outcome for redrive in done] == [Outcome.SUCCEEDED]
    assert len(machine.tokens) == 1


def test_the_dead_letter_of_a_chunk_redrives_the_object(bulk: Bulk, redriver: Redriver) -> None:
    (plan,) = plans_for(redriver, error="AccessRefused")
    assert plan.key.start == 400
    assert (plan.how, plan.execution) == (Method.NATIVE, bulk.arn)


@pytest.mark.parametrize("change", ["definition", "stuck", "forgotten"])
def test_a_new_execution_processes_only_the_chunks_that_are_left(
    bulk: Bulk, redriver: Redriver, machine: Machine, change: str
) -> None:
    match change:
        case "definition":
            machine.definition, machine.revision = "later", "r3"
        case "stuck":
            machine.executions[bulk.arn]["redriveStatus"] = "NOT_REDRIVABLE"
        case "forgotten":
            machine.executions.clear()
    (begun,) = redriver.begin(plans_for(redriver), FAST)

    assert begun.execution == arn_of(f"{bulk.id}-r1", BULK_ARN)
    sent = Batch.decode(json.loads(machine.executions[begun.execution]["input"]))
    assert sent == bulk.again(200, 400).batch


def test_discarded_chunks_are_not_processed_again(bulk: Bulk, redriver: Redriver, machine: Machine) -> None:
    machine.executions[bulk.arn]["redriveStatus"] = "NOT_REDRIVABLE"
    discarded(bulk.buckets, bulk.id, 200)
    (plan,) = plans_for(redriver)
    assert plan.batch == bulk.again(400).batch


def test_without_a_summary_all_chunks_are_processed_again_in_their_original_size(
    buckets: Buckets, machine: Machine
) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    machine.add(bulk.batch, "ABORTED", redriveStatus="NOT_REDRIVABLE")
    bulk.chunk(0)
    bulk.end("ExecutionAborted", "ProcessChunks")
    (plan,) = plans_for(redriver_on(buckets, machine, CHUNK_BYTES * 2))  # deployed anew since
    assert plan.batch == bulk.again().batch


def test_after_a_chunk_was_redriven_by_itself_the_next_attempt_is_higher_and_the_running_one_goes_on(
    bulk: Bulk, redriver: Redriver, machine: Machine
) -> None:
    Bulk(bulk.buckets, replace(bulk.batch, attempt=3)).chunk(600)
    (plan,) = plans_for(redriver)
    assert (plan.how, plan.attempt) == (Method.NEW, 4)

    arn = machine.add(replace(bulk.batch, attempt=2), "RUNNING")
    (plan,) = plans_for(redriver)
    assert (plan.outcome, plan.execution) == (Outcome.IN_FLIGHT, arn)


def test_the_dead_letter_of_the_whole_is_resolved_with_its_chunks(bulk: Bulk, redriver: Redriver) -> None:
    candidates = list(map(Redrive.of, select(redriver.audit, Filter())))
    for start in (200, 400):
        discarded(bulk.buckets, bulk.id, start)
    redriver.plan(chosen := choose_candidates(candidates))
    (plan,) = chosen
    assert (plan.outcome, plan.how) == (Outcome.RESOLVED, None)
    assert "it summarizes its chunks" in plan.why


def test_each_state_machine_is_compared_with_its_own_definition(
    bulk: Bulk, redriver: Redriver, buckets: Buckets, machine: Machine
) -> None:
    single = buckets.upload("mission/one.json", b"{}")
    post(buckets, single, arn=machine.add(single))
    plans = {plan.object.key: plan for plan in plans_for(redriver)}
    assert {plan.how for plan in plans.values()} == {Method.NATIVE}
    assert plans[bulk.batch.object.key].execution == bulk.arn
    assert plans["mission/one.json"].execution == arn_of(single.object.id)


def test_a_redrive_that_rejects_records_again_names_the_dead_letter_of_the_whole(
    bulk: Bulk, redriver: Redriver, machine: Machine
) -> None:
    machine.ends = {"status": "FAILED", "error": "RecordsRejected"}
    begun = list(redriver.begin(plans_for(redriver), FAST))
    bulk.again(200, 400).run()
    (done,) = redriver.watch(begun, 10)
    assert (done.outcome, done.new_dead_letter) == (Outcome.REJECTED, f"dt=2026-11-23/{bulk.id}/object.1.Summarize")
    assert state_of(bulk.buckets, bulk.id).summary == LedgerKey(bulk.id, WHOLE, 1)


@pytest.mark.parametrize(("how", "name"), [("native", "{id}"), ("new", "{id}-r1")])
def test_a_dry_run_names_the_execution_and_counts_the_chunks(
    run: Run, bulk: Bulk, machine: Machine, how: str, name: str
) -> None:
    machine.executions[bulk.arn]["redriveStatus"] = "REDRIVABLE" if how == "native" else "NOT_REDRIVABLE"
    ran = run(bulk.id, "--dry-run", "--json")
    (plan,) = json.loads(ran.stdout)["redrives"]
    assert (plan["how"], plan["execution"]) == (how, arn_of(name.format(id=bulk.id), BULK_ARN))
    assert plan["chunks"] == {"again": 2, "total": 7}
    assert "left to do" not in ran.stderr
    assert "2 of 7" in run(bulk.id, "--dry-run").stdout


def test_naming_a_chunk_redrives_all_that_are_left(run: Run, bulk: Bulk) -> None:
    dead_letter = next(each for each in audit_of(bulk.buckets).dead_letters_of(bulk.id) if each.start == 400)
    left = f"all chunks of {bulk.id} that are left to do are redriven"
    assert f"{dead_letter.id}: {left}" in run(dead_letter.id, "--dry-run").stderr
    ran = run(f"{bulk.id}.244", "--dry-run", "--json")
    assert f"{bulk.id}.244: {left}" in ran.stderr
    assert json.loads(ran.stdout)["redrives"][0]["chunks"] == {"again": 2, "total": 7}


def test_the_chunks_of_a_stopped_execution_are_unknown(run: Run, buckets: Buckets, machine: Machine) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    machine.add(bulk.batch, "ABORTED")
    bulk.chunk(0)
    bulk.end("ExecutionAborted", "ProcessChunks")
    (plan,) = json.loads(run(bulk.id, "--dry-run", "--json").stdout)["redrives"]
    assert (plan["how"], plan["chunks"]) == ("native", None)


@pytest.mark.parametrize("command", ["redrive --open", "backfill --again"])
def test_records_are_counted_on_a_terminal_while_chunks_are_committed(
    bulk: Bulk, command_line: CommandLine, machine: Machine, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    machine.ends = {"status": "RUNNING"}
    look, screen = CommittedRecords.look, io.StringIO()
    monkeypatch.setattr(console, "stderr", console.Screen(file=screen, force_terminal=True, width=200))

    def commit_and_look(committed: CommittedRecords, running: Iterable[tuple[str, int]]) -> None:
        if not committed.counts.received:
            bulk.again().chunk(0)
        look(committed, running)

    monkeypatch.setattr(CommittedRecords, "look", commit_and_look)
    command_line.is_local = True
    assert command_line.run(*command.split(), "--timeout", "1").exit_code == 1
    assert "; 4 records committed" in screen.getvalue()
