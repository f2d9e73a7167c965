"""A bulk object is redriven once, however many dead letters it has: by its own execution, or by a new one."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from custody.audit.dead_letters import Filter, select
from custody.audit.object_state import ObjectState
from custody.audit.reader import AuditReader
from custody.recovery.redrive_plan import Candidate, Method, Outcome, choose_candidates
from functions.shared.model.keys import WHOLE, LedgerKey
from functions.shared.model.messages import Batch
from tests.support.audit_files import Run
from tests.support.buckets import Buckets
from tests.support.bulk import CHUNK_BYTES, Bulk, lines
from tests.support.command_line import CommandLine
from tests.support.executions import BULK_ARN, Machine, arn_of, post
from tests.support.redrives import FAST, plans_for, redriver_on


def failed(buckets: Buckets, machine: Machine, **more: Any) -> Bulk:
    """Leave an object of seven chunks of which one rejected a record and one failed."""
    bulk = Bulk.upload(buckets, lines(20, bad=(4,)))
    machine.add(bulk.batch, **more)
    assert bulk.run(failing=(400,)) == "ChunksFailed"
    return bulk


def test_all_dead_letters_of_an_object_are_one_redrive(buckets: Buckets, machine: Machine) -> None:
    bulk = failed(buckets, machine)
    redriver = redriver_on(buckets, machine)
    (plan,) = plans_for(redriver)
    assert (plan.how, plan.execution, plan.attempt) == (Method.NATIVE, bulk.arn, 1)
    assert plan.candidate.dead_letter.is_of_whole

    done = list(redriver.watch(redriver.begin([plan], FAST), 10))
    assert [redrive.outcome for redrive in done] == [Outcome.SUCCEEDED]
    assert len(machine.tokens) == 1


def test_the_dead_letter_of_a_chunk_redrives_the_object(buckets: Buckets, machine: Machine) -> None:
    bulk = failed(buckets, machine)
    (plan,) = plans_for(redriver_on(buckets, machine), error="AccessRefused")
    assert plan.candidate.dead_letter.start == 400
    assert (plan.how, plan.execution) == (Method.NATIVE, bulk.arn)


@pytest.mark.parametrize("change", ["definition", "stuck", "forgotten"])
def test_a_new_execution_processes_only_the_chunks_that_are_left(
    buckets: Buckets, machine: Machine, change: str
) -> None:
    bulk = failed(buckets, machine)
    match change:
        case "definition":
            machine.definition, machine.revision = "later", "r3"
        case "stuck":
            machine.executions[bulk.arn]["redriveStatus"] = "NOT_REDRIVABLE"
        case "forgotten":
            machine.executions.clear()
    redriver = redriver_on(buckets, machine)
    (begun,) = redriver.begin(plans_for(redriver), FAST)

    assert begun.execution == arn_of(f"{bulk.id}-r1", BULK_ARN)
    sent = Batch.decode(json.loads(machine.executions[begun.execution]["input"]))
    assert sent == bulk.again(200, 400).batch


def test_discarded_chunks_are_not_processed_again(buckets: Buckets, machine: Machine) -> None:
    bulk = failed(buckets, machine, redriveStatus="NOT_REDRIVABLE")
    buckets.s3.put_object(Bucket="audit", Key=LedgerKey(bulk.id, 200, 0, discards=True).key, Body=b"")
    (plan,) = plans_for(redriver_on(buckets, machine))
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


def test_a_new_attempt_is_higher_than_that_of_every_chunk(buckets: Buckets, machine: Machine) -> None:
    """A chunk that was redriven by itself has a higher attempt."""
    bulk = failed(buckets, machine)
    Bulk(buckets, replace(bulk.batch, attempt=3)).chunk(600)
    (plan,) = plans_for(redriver_on(buckets, machine))
    assert (plan.how, plan.attempt) == (Method.NEW, 4)


def test_a_running_execution_is_not_redriven_whatever_its_attempt(buckets: Buckets, machine: Machine) -> None:
    bulk = failed(buckets, machine)
    Bulk(buckets, replace(bulk.batch, attempt=3)).chunk(600)
    arn = machine.add(replace(bulk.batch, attempt=2), "RUNNING")
    (plan,) = plans_for(redriver_on(buckets, machine))
    assert (plan.how, plan.execution) == (Outcome.IN_FLIGHT, arn)


def test_the_dead_letter_of_the_whole_is_resolved_with_its_chunks(buckets: Buckets, machine: Machine) -> None:
    bulk = failed(buckets, machine)
    redriver = redriver_on(buckets, machine)
    candidates = list(map(Candidate.of, select(redriver.audit, Filter())))
    for start in (200, 400):
        buckets.s3.put_object(Bucket="audit", Key=LedgerKey(bulk.id, start, 0, discards=True).key, Body=b"")
    (plan,) = redriver.plan(choose_candidates(candidates))
    assert (plan.how, plan.starts) == (Outcome.RESOLVED, False)
    assert "it summarizes its chunks" in plan.why


def test_each_state_machine_is_compared_with_its_own_definition(buckets: Buckets, machine: Machine) -> None:
    bulk = failed(buckets, machine)
    single = buckets.upload("mission/one.json", b"{}")
    post(buckets, single, arn=machine.add(single))
    plans = {plan.candidate.raw.key: plan for plan in plans_for(redriver_on(buckets, machine))}
    assert {plan.how for plan in plans.values()} == {Method.NATIVE}
    assert plans[bulk.batch.object.key].execution == bulk.arn
    assert plans["mission/one.json"].execution == arn_of(single.object.id)


def test_a_redrive_that_rejects_records_again_names_the_dead_letter_of_the_whole(
    buckets: Buckets, machine: Machine
) -> None:
    bulk = failed(buckets, machine)
    machine.ends = {"status": "FAILED", "error": "RecordsRejected"}
    redriver = redriver_on(buckets, machine)
    begun = list(redriver.begin(plans_for(redriver), FAST))
    bulk.again(200, 400).run()
    (done,) = redriver.watch(begun, 10)
    assert (done.outcome, done.new_dead_letter) == (Outcome.REJECTED, f"dt=2026-11-23/{bulk.id}/object.1.Summarize")
    assert ObjectState(AuditReader(buckets.s3, "audit"), bulk.id).summary == LedgerKey(bulk.id, WHOLE, 1)


@pytest.fixture
def run(command_line: CommandLine, machine: Machine) -> Run:
    """Return `custody redrive`, on a machine in memory."""
    command_line.clients["stepfunctions"] = machine
    command_line.is_local = True
    command_line.deploy(chunk_bytes=CHUNK_BYTES)
    return command_line.command("redrive")


@pytest.mark.parametrize(("how", "name"), [("native", "{id}"), ("new", "{id}-r1")])
def test_a_dry_run_names_the_execution_and_counts_the_chunks(
    run: Run, buckets: Buckets, machine: Machine, how: str, name: str
) -> None:
    bulk = failed(buckets, machine, redriveStatus="REDRIVABLE" if how == "native" else "NOT_REDRIVABLE")

    ran = run(bulk.id, "--dry-run", "--json")
    (plan,) = json.loads(ran.stdout)["redrives"]
    assert (plan["how"], plan["execution"]) == (how, arn_of(name.format(id=bulk.id), BULK_ARN))
    assert plan["chunks"] == {"again": 2, "total": 7}
    assert "left to do" not in ran.stderr
    assert "2 of 7" in run(bulk.id, "--dry-run").stdout


def test_naming_a_chunk_redrives_all_that_are_left(run: Run, buckets: Buckets, machine: Machine) -> None:
    bulk = failed(buckets, machine)
    dead_letter = next(each for each in AuditReader(buckets.s3, "audit").dead_letters_of(bulk.id) if each.start == 400)
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
