"""`custody reconcile`: every object version is in one of five states, whatever happened to its event and executions."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from msgspec.structs import replace

from custody.assurance.reconcile import ReconciledObject, Reconciler, State
from custody.ingest.raw_versions import ArrivalFilter, arrivals
from functions.shared.model import chunking
from functions.shared.model.keys import WHOLE, LedgerKey
from functions.shared.model.messages import Batch
from functions.shared.records.strict_json import encode
from tests.support.audit_files import Run, audit_of, discarded, reads_of
from tests.support.buckets import Buckets
from tests.support.bulk import CHUNK_BYTES, Bulk, lines
from tests.support.command_line import CommandLine
from tests.support.executions import BULK_ARN, Machine, arn_of, commit, discard, post

COMMAND = "reconcile --grace 0s"
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
SOON = datetime(2100, 1, 1, tzinfo=UTC)

Story = Callable[[Buckets, Machine, Batch], object]


def reconciler_on(
    buckets: Buckets, machine: Machine, due: datetime = SOON, chunk_bytes: int = CHUNK_BYTES
) -> Reconciler:
    """Return a reconciler that starts missing objects."""
    return Reconciler(audit_of(buckets), machine.pipeline(chunk_bytes), due, starts=True)


def reconciled(
    buckets: Buckets, machine: Machine, *, page: int = 1000, due: datetime = SOON, chunk_bytes: int = CHUNK_BYTES
) -> list[ReconciledObject]:
    """Classify objects, and start none."""
    arrived = arrivals(buckets.s3, "raw", ArrivalFilter(), page)
    return list(Reconciler(audit_of(buckets), machine.pipeline(chunk_bytes), due).run(arrived))


def one_reconciled(buckets: Buckets, machine: Machine) -> ReconciledObject:
    (item,) = reconciled(buckets, machine)
    return item


def one_started(buckets: Buckets, machine: Machine, chunk_bytes: int = CHUNK_BYTES) -> ReconciledObject:
    (item,) = reconciler_on(buckets, machine, chunk_bytes=chunk_bytes).run(arrivals(buckets.s3, "raw", ArrivalFilter()))
    return item


def committed(buckets: Buckets, machine: Machine, batch: Batch) -> None:
    machine.add(batch, "SUCCEEDED")
    commit(buckets, batch)


def failed(buckets: Buckets, machine: Machine, batch: Batch) -> None:
    post(buckets, batch, arn=machine.add(batch, error="AccessRefused"))


def rejected(buckets: Buckets, machine: Machine, batch: Batch) -> None:
    machine.add(batch, error="RecordsRejected")
    post(buckets, batch, name="Rejected", error="RecordsRejected")
    commit(buckets, batch, written=1, rejected=2)


def next_of(batch: Batch) -> Batch:
    return Batch(batch.object, attempt=batch.attempt + 1)


def redriven(buckets: Buckets, machine: Machine, batch: Batch) -> None:
    failed(buckets, machine, batch)
    commit(buckets, next_of(batch))


def then_discarded(story: Story) -> Story:
    def discarded(buckets: Buckets, machine: Machine, batch: Batch) -> None:
        story(buckets, machine, batch)
        discard(buckets, batch)

    return discarded


def redriven_by_itself(buckets: Buckets, machine: Machine, batch: Batch) -> None:
    failed(buckets, machine, batch)
    machine.add(batch, "RUNNING", redrives=1)


def redriven_by_another(buckets: Buckets, machine: Machine, batch: Batch) -> None:
    rejected(buckets, machine, batch)
    machine.add(next_of(batch), "RUNNING")


def redriven_itself_after_another(buckets: Buckets, machine: Machine, batch: Batch) -> None:
    """The first execution is FAILED and there is no `-r2`: only the latest dead letter names the one that runs."""
    failed(buckets, machine, batch)
    failed(buckets, machine, next_of(batch))
    machine.add(next_of(batch), "RUNNING", redrives=1)


def ledger_gone(buckets: Buckets, machine: Machine, batch: Batch) -> None:
    machine.add(batch, "SUCCEEDED")
    buckets.hide("audit", commit(buckets, batch))


def ledger_gone_after_a_redrive(buckets: Buckets, machine: Machine, batch: Batch) -> None:
    failed(buckets, machine, batch)
    machine.add(next_of(batch), "SUCCEEDED")


@pytest.mark.parametrize(
    ("story", "state", "why", "is_open"),
    [
        (committed, State.WRITTEN, "", None),
        (redriven, State.WRITTEN, "", None),
        (rejected, State.REJECTED, "2 of its records rejected; dead letter open", True),
        (then_discarded(rejected), State.REJECTED, "2 of its records rejected; dead letter resolved: discarded", False),
        (failed, State.FAILED, "FAILED with AccessRefused; dead letter open", True),
        (then_discarded(failed), State.FAILED, "dead letter resolved: discarded", False),
        (
            lambda buckets, _, batch: post(buckets, batch),
            State.FAILED,
            "its execution is no longer in the history; dead letter open",
            True,
        ),
        (lambda _, machine, batch: machine.add(batch, "TIMED_OUT"), State.FAILED, "TIMED_OUT; no dead letter", None),
        (lambda _, machine, batch: machine.add(batch, "RUNNING"), State.IN_FLIGHT, "attempt 0 is running", None),
        (redriven_by_itself, State.IN_FLIGHT, "attempt 1 is running", True),
        (redriven_by_another, State.IN_FLIGHT, "attempt 1 is running", True),
        (redriven_itself_after_another, State.IN_FLIGHT, "attempt 2 is running", True),
        (ledger_gone, State.MISSING, "its execution succeeded, but its ledger file is gone", None),
        (ledger_gone_after_a_redrive, State.MISSING, "its execution succeeded, but its ledger file is gone", True),
        (lambda *_: None, State.MISSING, "no execution, no dead letter and no ledger file", None),
    ],
)
def test_an_object_is_classified_by_its_ledger_and_executions(  # noqa: PLR0913, PLR0917 - a table
    buckets: Buckets, machine: Machine, story: Story, state: State, why: str, is_open: bool | None
) -> None:
    story(buckets, machine, buckets.upload("mission/a.json", b"{}"))
    item = one_reconciled(buckets, machine)

    assert (item.state, item.why) == (state, why)
    assert (item.dead_letter and item.dead_letter.open) is is_open


@pytest.mark.parametrize(
    "damage",
    [b"", b"not gzip", gzip.compress(b"not JSON"), gzip.compress(b"{}")[:-4]],
    ids=["empty", "not gzip", "not JSON", "truncated"],
)
def test_a_damaged_ledger_file_is_missing_but_not_started(buckets: Buckets, machine: Machine, damage: bytes) -> None:
    batch = buckets.upload("a.json", b"{}")
    machine.add(batch, "SUCCEEDED")
    key = commit(buckets, batch)
    buckets.put("audit", key, damage)
    item = one_started(buckets, machine)

    assert (item.state, item.started) == (State.MISSING, None)
    assert item.why == f"its ledger file cannot be read: see `custody verify {batch.object.id}`"


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_running_redrive_is_in_flight_even_with_a_damaged_ledger_file(
    buckets: Buckets, machine: Machine, attempt: int
) -> None:
    """Both a new execution, `-r1`, and a redrive of that one itself, which only its name leads to."""
    batch = buckets.upload("a.json", b"{}")
    machine.add(batch, error="RecordsRejected")
    machine.add(next_of(batch), "RUNNING", redrives=attempt - 1)
    for committed in range(attempt):
        key = commit(buckets, Batch(batch.object, attempt=committed), written=1, rejected=1)
        buckets.put("audit", key, b"damaged")

    assert [(each.state, each.why) for each in reconciled(buckets, machine)] == [
        (State.IN_FLIGHT, f"attempt {attempt} is running")
    ]


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_a_version_that_was_deleted_since_is_started_too(buckets: Buckets, machine: Machine, page: int) -> None:
    first, second = buckets.upload("mission/a.json", b"{}"), buckets.upload("mission/a.json", b"[]")
    buckets.hide("raw", "mission/a.json")
    buckets.upload("mission/b.json", b"{}")
    again = buckets.upload("mission/c.json", b"{}")
    buckets.hide("raw", "mission/c.json")
    committed(buckets, machine, buckets.upload("mission/c.json", b"{}"))
    buckets.upload("mission/", b"")
    items = reconciled(buckets, machine, page=page)

    assert [each.state for each in items].count(State.WRITTEN) == 1, "a version by itself"
    assert len(items) == 5, "without delete markers and the marker of a folder"
    deleted = {each.object for each in items if "deleted since" in each.why}
    assert deleted == {first.object, second.object}, f"{again.object} has a later version"
    started = reconciler_on(buckets, machine).run(arrivals(buckets.s3, "raw", ArrivalFilter(), page))
    assert all((each.started is None) == (each.state is State.WRITTEN) for each in started)


@pytest.mark.parametrize(
    ("story", "describes"),
    [
        (lambda *_: None, 1),
        (committed, 0),
        (lambda _, machine, batch: machine.add(batch, "RUNNING"), 1),
        (ledger_gone, 2),
        (failed, 2),
    ],
    ids=["nothing", "written", "running", "ledger gone", "failed"],
)
def test_no_more_executions_are_described_than_needed(
    buckets: Buckets, machine: Machine, story: Story, describes: int
) -> None:
    """Step Functions answers some 15 such calls a second."""
    story(buckets, machine, buckets.upload("mission/a.json", b"{}"))
    reconciled(buckets, machine)

    assert machine.calls["DescribeExecution"] == describes


def test_a_damaged_dead_letter_does_not_stop_the_command(buckets: Buckets, machine: Machine) -> None:
    batch = buckets.upload("a.json", b"{}")
    dead_letter = post(buckets, batch, arn=machine.add(batch, error="AccessRefused"))
    buckets.put("audit", f"dead-letters/{dead_letter}.json", b"not JSON")

    assert [each.why for each in reconciled(buckets, machine)] == ["FAILED with AccessRefused; dead letter open"]


def test_a_recent_object_may_be_waiting_for_its_event(buckets: Buckets, machine: Machine) -> None:
    buckets.upload("a.json", b"{}")
    (item,) = reconciled(buckets, machine, due=LONG_AGO)

    assert (item.state, item.why) == (State.IN_FLIGHT, "its event is on the way")


def test_an_object_from_before_versioning_is_missing_and_cannot_be_started(buckets: Buckets, machine: Machine) -> None:
    buckets.s3.create_bucket(Bucket="old")
    buckets.put("old", "a.json", b"{}")
    buckets.s3.put_bucket_versioning(Bucket="old", VersioningConfiguration={"Status": "Enabled"})
    reconciler = reconciler_on(buckets, machine, LONG_AGO)
    (item,) = reconciler.run(arrivals(buckets.s3, "old", ArrivalFilter()))

    assert (item.state, item.startable, item.started) == (State.MISSING, False, None)
    assert "before versioning was enabled" in item.why


@pytest.mark.parametrize(("is_known", "state"), [(True, State.WRITTEN), (False, State.REJECTED)])
def test_an_object_committed_meanwhile_is_not_missing(
    buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch, *, is_known: bool, state: State
) -> None:
    """If its execution did not exist when it was looked up, only the ledger shows that it does now."""
    batch = buckets.upload("a.json", b"{}")
    if is_known:
        machine.add(batch, "SUCCEEDED")
    describe = machine.describe_execution

    def described(**call: Any) -> Any:
        try:
            return describe(**call)
        finally:
            (committed if is_known else rejected)(buckets, machine, batch)

    monkeypatch.setattr(machine, "describe_execution", described)

    assert one_reconciled(buckets, machine).state is state


def test_the_summary_counts_what_was_started_and_what_cannot_be(run: Run, buckets: Buckets, machine: Machine) -> None:
    for key in ("a.json", "b.json"):
        buckets.upload(key, b"{}")
    damaged = buckets.upload("c.json", b"{}")
    machine.add(damaged, "SUCCEEDED")
    buckets.put("audit", commit(buckets, damaged), b"damaged")
    looked, started, again = run(), run("--start"), run("--start")

    assert (looked.exit_code, started.exit_code, again.exit_code) == (1, 1, 1)
    assert "To start missing objects: custody reconcile --start" in looked.stderr
    assert "3 missing, of which 2 were started" in started.stdout
    assert "To start missing objects" not in started.stderr
    assert "1 missing cannot be fixed by a start" in started.stderr


def test_every_start_is_reported_even_if_a_later_one_is_refused(
    buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("a.json", "b.json", "c.json"):
        buckets.upload(key, b"{}")
    start = machine.start_execution

    def refuse_the_second(**call: Any) -> Any:
        if "b-json" in call["name"]:
            raise machine.error("ThrottlingException")
        return start(**call)

    monkeypatch.setattr(machine, "start_execution", refuse_the_second)
    found = reconciler_on(buckets, machine).run(arrivals(buckets.s3, "raw", ArrivalFilter()))
    reported = [next(found).started]
    with pytest.raises(ClientError):
        next(found)
    assert reported == [arn.rpartition(":")[2] for arn in machine.executions]


def test_keys_outside_the_prefix_of_the_deployment_are_ignored(
    run: Run, buckets: Buckets, command_line: CommandLine
) -> None:
    buckets.upload("incoming/mission/a.json", b"{}")
    buckets.upload("reports/a.json", b"{}")
    command_line.deploy(raw_prefix="incoming/")

    assert "1 object: " in run().stdout
    assert "only keys with the prefix incoming/" in str(run("--prefix", "reports/").exception)


def test_a_missing_object_is_started_as_the_start_function_does(buckets: Buckets, machine: Machine) -> None:
    batch = buckets.upload("mission/Größe +1.json", b"{}")
    started = one_started(buckets, machine)

    assert started.started == batch.object.id
    assert machine.executions[arn_of(batch.object.id)]["input"] == encode(batch.encode()).decode()


def test_an_object_that_had_an_execution_is_started_at_the_next_attempt(buckets: Buckets, machine: Machine) -> None:
    batch = buckets.upload("a.json", b"{}")
    machine.add(batch, "SUCCEEDED", redrives=1)
    started = one_started(buckets, machine)

    assert started.started == f"{batch.object.id}-r2"
    message = json.loads(machine.executions[arn_of(started.started)]["input"])
    assert (message["attempt"], message["redrive_of"]) == (2, arn_of(batch.object.id))


def chunks_written(bulk: Bulk, machine: Machine) -> None:
    machine.add(bulk.batch, "SUCCEEDED")
    bulk.run()


def chunks_failed(bulk: Bulk, machine: Machine) -> None:
    machine.add(bulk.batch, error="ChunksFailed")
    bulk.run(failing=(200, 400))


def chunks_discarded(bulk: Bulk, machine: Machine) -> None:
    chunks_failed(bulk, machine)
    for start in (200, 400):
        discarded(bulk.buckets, bulk.id, start)


def running(bulk: Bulk, machine: Machine) -> None:
    machine.add(bulk.batch, "RUNNING")
    bulk.chunk(0)


def chunks_redriven_by_another(bulk: Bulk, machine: Machine) -> None:
    chunks_failed(bulk, machine)
    machine.add(bulk.again(200, 400).batch, "RUNNING")


def redriven_after_a_chunk_counted_on(bulk: Bulk, machine: Machine) -> None:
    """Attempt 1 of the object is running, and a redrive of its own has brought a chunk to its third."""
    chunks_failed(bulk, machine)
    machine.add(bulk.again(200).batch, "RUNNING")
    Bulk(bulk.buckets, replace(bulk.batch, attempt=3)).chunk(200)


def aborted(bulk: Bulk, machine: Machine) -> None:
    machine.add(bulk.batch, "ABORTED")
    bulk.chunk(0)
    bulk.end("ExecutionAborted", "ProcessChunks")


def without_ledger_file(start: int) -> Callable[[Bulk, Machine], None]:
    def story(bulk: Bulk, machine: Machine) -> None:
        chunks_written(bulk, machine)
        bulk.buckets.hide("audit", LedgerKey(bulk.id, start, 0).key)

    return story


def summary_damaged(bulk: Bulk, machine: Machine) -> None:
    chunks_written(bulk, machine)
    bulk.buckets.put("audit", LedgerKey(bulk.id, WHOLE, 0).key, b"damaged")


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        (chunks_written, (State.WRITTEN, "", None)),
        (chunks_failed, (State.FAILED, "2 of its 7 chunks failed; dead letter open", True)),
        (chunks_discarded, (State.FAILED, "2 of its 7 chunks failed; dead letter resolved: discarded", False)),
        (running, (State.IN_FLIGHT, "attempt 0 is running", None)),
        (chunks_redriven_by_another, (State.IN_FLIGHT, "attempt 1 is running", True)),
        (redriven_after_a_chunk_counted_on, (State.IN_FLIGHT, "attempt 1 is running", True)),
        (aborted, (State.FAILED, "ABORTED; dead letter open", True)),
        (lambda *_: None, (State.MISSING, "no execution, no dead letter and no ledger file", None)),
        (without_ledger_file(400), (State.MISSING, "the ledger files of 1 of its 7 chunks are gone", None)),
        (without_ledger_file(WHOLE), (State.MISSING, "its execution succeeded, but its ledger file is gone", None)),
        (summary_damaged, (State.MISSING, "its ledger file cannot be read", None)),
    ],
)
def test_a_bulk_object_is_in_one_state(
    buckets: Buckets, machine: Machine, story: Callable[[Bulk, Machine], None], expected: tuple[State, str, bool | None]
) -> None:
    state, why, is_open = expected
    story(Bulk.upload(buckets, lines(20)), machine)
    item = one_reconciled(buckets, machine)
    assert (item.state, item.dead_letter and item.dead_letter.open) == (state, is_open), item
    assert item.why.startswith(why)


def test_rejected_records_are_counted_over_all_chunks_by_the_summary_alone(
    buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk = Bulk.upload(buckets, lines(20, bad=(1, 4, 9)))
    machine.add(bulk.batch, error="RecordsRejected")
    assert bulk.run() == "RecordsRejected"
    read = reads_of("header", monkeypatch)
    item = one_reconciled(buckets, machine)
    assert {key.start for key in read} == {WHOLE}
    assert (item.state, item.why) == (State.REJECTED, "3 of its records rejected; dead letter open")
    assert item.dead_letter is not None
    assert item.dead_letter.id.endswith("/object.0.Summarize")


def test_an_object_that_was_never_started_is_started_in_chunks(
    buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunking, "BULK_FROM", CHUNK_BYTES)
    bulk = Bulk.upload(buckets, lines(20))
    started = one_started(buckets, machine)
    assert started.started == bulk.id
    assert list(machine.executions) == [arn_of(bulk.id, BULK_ARN)]


def test_only_chunks_whose_ledger_files_are_gone_are_repeated(buckets: Buckets, machine: Machine) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    without_ledger_file(400)(bulk, machine)
    started = one_started(buckets, machine, chunk_bytes=CHUNK_BYTES * 2)  # deployed since
    assert started.started == f"{bulk.id}-r1"
    message = machine.executions[arn_of(f"{bulk.id}-r1", BULK_ARN)]["input"]
    assert Batch.decode(json.loads(message)) == bulk.again(400).batch

    assert bulk.again(400).run() is None
    assert one_reconciled(buckets, machine).state is State.WRITTEN


def test_an_object_that_was_one_batch_stays_one_though_chunks_are_smaller_now(
    buckets: Buckets, machine: Machine
) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    machine.add(replace(bulk.batch, plan=None), "SUCCEEDED")
    commit(buckets, replace(bulk.batch, plan=None))
    assert one_reconciled(buckets, machine).state is State.WRITTEN


def test_the_first_chunk_is_not_mistaken_for_the_object_though_chunks_are_larger_now(
    buckets: Buckets, machine: Machine
) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    machine.add(bulk.batch, "RUNNING")
    bulk.chunk(0)
    (item,) = reconciled(buckets, machine, chunk_bytes=10**6)
    assert item.state is State.IN_FLIGHT
