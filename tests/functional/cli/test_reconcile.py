"""`custody reconcile`: every object version is in one of five states, whatever happened to its event and executions."""

import gzip
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from custody.assurance.reconcile import Reconciled, Reconciler, State
from custody.audit.reader import AuditReader
from custody.executions.pipeline import Pipeline
from custody.ingest.raw_versions import ArrivalFilter, arrivals
from functions.shared.model.messages import Batch
from functions.shared.records.strict_json import encode
from tests.support.audit_files import Run
from tests.support.buckets import ARRIVED, Buckets
from tests.support.command_line import CommandLine
from tests.support.executions import MACHINE_ARN, Machine, arn_of, commit, discard, post

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
SOON = datetime(2100, 1, 1, tzinfo=UTC)

Story = Callable[[Buckets, Machine, Batch], object]


@pytest.fixture
def machine(buckets: Buckets) -> Machine:  # noqa: ARG001 - the client of a machine stands on moto
    return Machine()


def reconciler_on(buckets: Buckets, machine: Machine, due: datetime = SOON) -> Reconciler:
    client: Any = machine
    return Reconciler(AuditReader(buckets.s3, "audit"), Pipeline(client, MACHINE_ARN), due)


def reconciled(
    buckets: Buckets, machine: Machine, wanted: ArrivalFilter | None = None, *, page: int = 1000, due: datetime = SOON
) -> list[Reconciled]:
    arrived = arrivals(buckets.s3, "raw", wanted or ArrivalFilter(), page)
    return list(reconciler_on(buckets, machine, due).run(arrived))


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


def rejected_then_discarded(buckets: Buckets, machine: Machine, batch: Batch) -> None:
    rejected(buckets, machine, batch)
    discard(buckets, batch)


def failed_then_discarded(buckets: Buckets, machine: Machine, batch: Batch) -> None:
    failed(buckets, machine, batch)
    discard(buckets, batch)


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


def expired(buckets: Buckets, machine: Machine, batch: Batch) -> None:
    failed(buckets, machine, batch)
    machine.executions.clear()


def ledger_gone(buckets: Buckets, machine: Machine, batch: Batch) -> None:
    machine.add(batch, "SUCCEEDED")
    buckets.s3.delete_object(Bucket="audit", Key=commit(buckets, batch))


def ledger_gone_after_a_redrive(buckets: Buckets, machine: Machine, batch: Batch) -> None:
    failed(buckets, machine, batch)
    machine.add(next_of(batch), "SUCCEEDED")


@pytest.mark.parametrize(
    ("story", "state", "why", "is_open"),
    [
        (committed, State.WRITTEN, "", None),
        (redriven, State.WRITTEN, "", None),
        (rejected, State.REJECTED, "2 of its records rejected; dead letter open", True),
        (rejected_then_discarded, State.REJECTED, "2 of its records rejected; dead letter resolved: discarded", False),
        (failed, State.FAILED, "FAILED with AccessRefused; dead letter open", True),
        (failed_then_discarded, State.FAILED, "dead letter resolved: discarded", False),
        (expired, State.FAILED, "its execution is no longer in the history; dead letter open", True),
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
    (found,) = reconciled(buckets, machine)

    assert (found.state, found.why) == (state, why)
    assert (found.dead_letter and found.dead_letter.open) is is_open


@pytest.mark.parametrize(
    "damage",
    [b"", b"not gzip", gzip.compress(b"not JSON"), gzip.compress(b"{}")[:-4]],
    ids=["empty", "not gzip", "not JSON", "truncated"],
)
def test_a_damaged_ledger_file_is_missing_but_not_started(buckets: Buckets, machine: Machine, damage: bytes) -> None:
    batch = buckets.upload("a.json", b"{}")
    machine.add(batch, "SUCCEEDED")
    key = commit(buckets, batch)
    buckets.s3.put_object(Bucket="audit", Key=key, Body=damage)
    (found,) = reconciled(buckets, machine)

    assert found.state is State.MISSING
    assert found.why == f"its ledger file cannot be read: see `custody verify {batch.object.id}`"
    assert reconciler_on(buckets, machine).start(found).started is None


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
        buckets.s3.put_object(Bucket="audit", Key=key, Body=b"damaged")

    assert [(each.state, each.why) for each in reconciled(buckets, machine)] == [
        (State.IN_FLIGHT, f"attempt {attempt} is running")
    ]


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_a_version_that_was_deleted_since_is_started_too(buckets: Buckets, machine: Machine, page: int) -> None:
    first, second = buckets.upload("mission/a.json", b"{}"), buckets.upload("mission/a.json", b"[]")
    buckets.s3.delete_object(Bucket="raw", Key="mission/a.json")
    buckets.upload("mission/b.json", b"{}")
    again = buckets.upload("mission/c.json", b"{}")
    buckets.s3.delete_object(Bucket="raw", Key="mission/c.json")
    buckets.upload("mission/c.json", b"{}")
    found = reconciled(buckets, machine, page=page)

    deleted = {each.arrival.raw for each in found if "deleted since" in each.why}
    assert deleted == {first.object, second.object}, f"{again.object} has a later version"
    started = [reconciler_on(buckets, machine).start(each).started for each in found]
    assert None not in started


def counting(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record which executions are described from now on."""
    calls: list[str] = []
    describe = machine.describe_execution

    def described(*, executionArn: str) -> Any:  # noqa: N803 - as boto3 has it
        calls.append(executionArn)
        return describe(executionArn=executionArn)

    monkeypatch.setattr(machine, "describe_execution", described)
    return calls


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
    buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch, story: Story, describes: int
) -> None:
    """Step Functions answers some 15 such calls a second."""
    story(buckets, machine, buckets.upload("mission/a.json", b"{}"))
    calls = counting(machine, monkeypatch)
    reconciled(buckets, machine)

    assert len(calls) == describes, calls


def test_a_damaged_dead_letter_does_not_stop_the_command(buckets: Buckets, machine: Machine) -> None:
    batch = buckets.upload("a.json", b"{}")
    dead_letter = post(buckets, batch, arn=machine.add(batch, error="AccessRefused"))
    buckets.s3.put_object(Bucket="audit", Key=f"dead-letters/{dead_letter}.json", Body=b"not JSON")

    assert [each.why for each in reconciled(buckets, machine)] == ["FAILED with AccessRefused; dead letter open"]


def test_a_recent_object_may_be_waiting_for_its_event(buckets: Buckets, machine: Machine) -> None:
    buckets.upload("a.json", b"{}")
    (found,) = reconciled(buckets, machine, due=LONG_AGO)

    assert (found.state, found.why) == (State.IN_FLIGHT, "its event is on the way")


def test_an_object_from_before_versioning_is_missing_and_cannot_be_started(buckets: Buckets, machine: Machine) -> None:
    buckets.s3.create_bucket(Bucket="old")
    buckets.s3.put_object(Bucket="old", Key="a.json", Body=b"{}")
    buckets.s3.put_bucket_versioning(Bucket="old", VersioningConfiguration={"Status": "Enabled"})
    reconciler = reconciler_on(buckets, machine, LONG_AGO)
    (found,) = reconciler.run(arrivals(buckets.s3, "old", ArrivalFilter()))

    assert (found.state, found.is_startable) == (State.MISSING, False)
    assert "before versioning was enabled" in found.why
    assert reconciler.start(found).started is None


def test_no_object_is_lost_at_the_edge_of_a_page(buckets: Buckets, machine: Machine) -> None:
    for number in range(7):
        committed(buckets, machine, buckets.upload(f"mission/{number}.json", b"{}"))
    for _ in range(4):
        buckets.upload("mission/again and again.json", b"{}")
    found = reconciled(buckets, machine, page=2)

    assert Counter(each.state for each in found) == {State.WRITTEN: 7, State.MISSING: 4}
    assert len({each.arrival.raw.id for each in found}) == 11


def test_each_version_is_an_object_and_a_delete_marker_is_not(buckets: Buckets, machine: Machine) -> None:
    first, second = buckets.upload("mission/a.json", b"{}"), buckets.upload("mission/a.json", b"[]")
    committed(buckets, machine, first)
    buckets.upload("mission/", b"")
    buckets.s3.delete_object(Bucket="raw", Key="mission/a.json")
    found = {each.arrival.raw: each.state for each in reconciled(buckets, machine)}

    assert found == {first.object: State.WRITTEN, second.object: State.MISSING}


def test_a_duplicate_event_is_one_object(buckets: Buckets, machine: Machine) -> None:
    batch = buckets.upload("a.json", b"{}")
    committed(buckets, machine, batch)
    committed(buckets, machine, batch)

    assert [each.state for each in reconciled(buckets, machine)] == [State.WRITTEN]


def test_a_prefix_and_times_select_objects(buckets: Buckets, machine: Machine) -> None:
    buckets.upload("mission/a.json", b"{}")
    buckets.upload("weather/a.json", b"{}")
    hour = timedelta(hours=1)

    assert [each.arrival.raw.key for each in reconciled(buckets, machine, ArrivalFilter("weather/"))] == [
        "weather/a.json"
    ]
    assert len(reconciled(buckets, machine, ArrivalFilter(since=ARRIVED - hour, until=ARRIVED + hour))) == 2
    assert reconciled(buckets, machine, ArrivalFilter(since=ARRIVED + hour)) == []
    assert reconciled(buckets, machine, ArrivalFilter(until=ARRIVED - hour)) == []


def test_an_object_committed_meanwhile_is_not_missing(
    buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = buckets.upload("a.json", b"{}")
    machine.add(batch, "SUCCEEDED")
    describe = machine.describe_execution

    def described(**call: Any) -> Any:
        commit(buckets, batch)
        return describe(**call)

    monkeypatch.setattr(machine, "describe_execution", described)

    assert [each.state for each in reconciled(buckets, machine)] == [State.WRITTEN]


def test_an_object_started_and_committed_meanwhile_is_not_missing(
    buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its execution did not exist when it was looked up; only the ledger shows that it does now."""
    batch = buckets.upload("a.json", b"{}")
    describe = machine.describe_execution

    def described(**call: Any) -> Any:
        try:
            return describe(**call)
        finally:
            rejected(buckets, machine, batch)

    monkeypatch.setattr(machine, "describe_execution", described)

    assert [each.state for each in reconciled(buckets, machine)] == [State.REJECTED]


@pytest.fixture
def run(command_line: CommandLine, machine: Machine) -> Run:
    """Run `custody reconcile`, on a machine in memory."""
    command_line.clients["stepfunctions"] = machine
    return command_line.command("reconcile", "--grace", "0s")


def test_the_summary_counts_what_was_started_and_what_cannot_be(run: Run, buckets: Buckets, machine: Machine) -> None:
    for key in ("a.json", "b.json"):
        buckets.upload(key, b"{}")
    damaged = buckets.upload("c.json", b"{}")
    machine.add(damaged, "SUCCEEDED")
    buckets.s3.put_object(Bucket="audit", Key=commit(buckets, damaged), Body=b"damaged")
    looked, started, again = run(), run("--start"), run("--start")

    assert (looked.exit_code, started.exit_code, again.exit_code) == (1, 1, 1)
    assert "To start missing objects: custody reconcile --start" in looked.stderr
    assert "3 missing, of which 2 were started" in started.stdout
    assert "To start missing objects" not in started.stderr
    assert "1 missing cannot be fixed by a start" in started.stderr


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
    (missing,) = reconciled(buckets, machine)
    started = reconciler_on(buckets, machine).start(missing)

    assert started.started == batch.object.id
    assert machine.executions[arn_of(batch.object.id)]["input"] == encode(batch.encode()).decode()


def test_an_object_that_had_an_execution_is_started_at_the_next_attempt(buckets: Buckets, machine: Machine) -> None:
    batch = buckets.upload("a.json", b"{}")
    machine.add(batch, "SUCCEEDED", redrives=1)
    (missing,) = reconciled(buckets, machine)
    started = reconciler_on(buckets, machine).start(missing)

    assert started.started == f"{batch.object.id}-r2"
    message = json.loads(machine.executions[arn_of(started.started)]["input"])
    assert (message["attempt"], message["redrive_of"]) == (2, arn_of(batch.object.id))
