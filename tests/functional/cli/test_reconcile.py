"""Every object version that arrived is in one of five states, whatever became of its event, execution or commits."""

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
    buckets: Buckets, machine: Machine, which: ArrivalFilter | None = None, *, page: int = 1000, due: datetime = SOON
) -> list[Reconciled]:
    arrived = arrivals(buckets.s3, "raw", which or ArrivalFilter(), page)
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


def mended(buckets: Buckets, machine: Machine, batch: Batch) -> None:
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
    """The object's own execution says FAILED, and there is no `-r2`; only the latest dead letter tells which one it is."""
    failed(buckets, machine, batch)
    failed(buckets, machine, next_of(batch))
    machine.add(next_of(batch), "RUNNING", redrives=1)


def forgotten(buckets: Buckets, machine: Machine, batch: Batch) -> None:
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
        (mended, State.WRITTEN, "", None),
        (rejected, State.REJECTED, "2 of its records rejected; dead letter open", True),
        (rejected_then_discarded, State.REJECTED, "2 of its records rejected; dead letter closed: discarded", False),
        (failed, State.FAILED, "FAILED with AccessRefused; dead letter open", True),
        (failed_then_discarded, State.FAILED, "dead letter closed: discarded", False),
        (forgotten, State.FAILED, "its execution is no longer in the history; dead letter open", True),
        (lambda _, machine, batch: machine.add(batch, "TIMED_OUT"), State.FAILED, "TIMED_OUT; no dead letter", None),
        (lambda _, machine, batch: machine.add(batch, "RUNNING"), State.IN_FLIGHT, "attempt 0 is running", None),
        (redriven_by_itself, State.IN_FLIGHT, "attempt 1 is running", True),
        (redriven_by_another, State.IN_FLIGHT, "attempt 1 is running", True),
        (redriven_itself_after_another, State.IN_FLIGHT, "attempt 2 is running", True),
        (ledger_gone, State.MISSING, "its execution succeeded, but its ledger file is gone", None),
        (ledger_gone_after_a_redrive, State.MISSING, "its execution succeeded, but its ledger file is gone", True),
        (lambda *_: None, State.MISSING, "nothing tells of it: no execution, no dead letter, no ledger file", None),
    ],
)
def test_an_object_is_in_the_state_that_its_commits_and_executions_tell(  # noqa: PLR0913, PLR0917 - a table
    buckets: Buckets, machine: Machine, story: Story, state: State, why: str, is_open: bool | None
) -> None:
    story(buckets, machine, buckets.upload("mission/a.json", b"{}"))
    (found,) = reconciled(buckets, machine)

    assert (found.state, found.why, found.is_open) == (state, why, is_open)


@pytest.mark.parametrize(
    "damage",
    [b"", b"no gzip", gzip.compress(b"no JSON"), gzip.compress(b"{}")[:-4]],
    ids=["empty", "no gzip", "no JSON", "cut off"],
)
def test_a_damaged_ledger_file_is_missing_but_not_started_for_its_first_version_is_there(
    buckets: Buckets, machine: Machine, damage: bytes
) -> None:
    batch = buckets.upload("a.json", b"{}")
    machine.add(batch, "SUCCEEDED")
    key = commit(buckets, batch)
    buckets.s3.put_object(Bucket="audit", Key=key, Body=damage)
    (found,) = reconciled(buckets, machine)

    assert found.state is State.MISSING
    assert found.why == f"its ledger file cannot be read: see `custody verify {batch.object.id}`"
    assert reconciler_on(buckets, machine).start(found).started is None


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_redrive_that_runs_is_in_flight_whatever_became_of_the_ledger_file(
    buckets: Buckets, machine: Machine, attempt: int
) -> None:
    """Both by a new execution, `-r1`, and by that one itself: then nothing but its own name tells of it."""
    batch = buckets.upload("a.json", b"{}")
    machine.add(batch, error="RecordsRejected")
    machine.add(next_of(batch), "RUNNING", redrives=attempt - 1)
    for committed in range(attempt):
        key = commit(buckets, Batch(batch.object, attempt=committed), written=1, rejected=1)
        buckets.s3.put_object(Bucket="audit", Key=key, Body=b"damaged")

    assert [(one.state, one.why) for one in reconciled(buckets, machine)] == [
        (State.IN_FLIGHT, f"attempt {attempt} is running")
    ]


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_what_was_deleted_since_is_said_to_be_and_started_all_the_same(
    buckets: Buckets, machine: Machine, page: int
) -> None:
    first, second = buckets.upload("mission/a.json", b"{}"), buckets.upload("mission/a.json", b"[]")
    buckets.s3.delete_object(Bucket="raw", Key="mission/a.json")
    buckets.upload("mission/b.json", b"{}")
    again = buckets.upload("mission/c.json", b"{}")
    buckets.s3.delete_object(Bucket="raw", Key="mission/c.json")
    buckets.upload("mission/c.json", b"{}")
    found = reconciled(buckets, machine, page=page)

    deleted = {one.arrival.raw for one in found if "deleted since" in one.why}
    assert deleted == {first.object, second.object}, f"{again.object} has a later version"
    started = [reconciler_on(buckets, machine).start(one).started for one in found]
    assert None not in started


def counting(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note what is described from now on."""
    asked: list[str] = []
    describe = machine.describe_execution

    def described(*, executionArn: str) -> Any:  # noqa: N803 - as boto3 has it
        asked.append(executionArn)
        return describe(executionArn=executionArn)

    monkeypatch.setattr(machine, "describe_execution", described)
    return asked


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
def test_step_functions_is_asked_no_more_than_is_needed(
    buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch, story: Story, describes: int
) -> None:
    """It answers some 15 such questions a second."""
    story(buckets, machine, buckets.upload("mission/a.json", b"{}"))
    asked = counting(machine, monkeypatch)
    reconciled(buckets, machine)

    assert len(asked) == describes, asked


def test_a_damaged_dead_letter_does_not_stop_it(buckets: Buckets, machine: Machine) -> None:
    batch = buckets.upload("a.json", b"{}")
    dead_letter = post(buckets, batch, arn=machine.add(batch, error="AccessRefused"))
    buckets.s3.put_object(Bucket="audit", Key=f"dead-letters/{dead_letter}.json", Body=b"no JSON")

    assert [one.why for one in reconciled(buckets, machine)] == ["FAILED with AccessRefused; dead letter open"]


def test_an_event_may_be_on_its_way_for_a_while(buckets: Buckets, machine: Machine) -> None:
    buckets.upload("a.json", b"{}")
    (found,) = reconciled(buckets, machine, due=LONG_AGO)

    assert (found.state, found.why) == (State.IN_FLIGHT, "its event is on the way")


def test_what_came_before_versioning_is_missing_for_start_refuses_it(buckets: Buckets, machine: Machine) -> None:
    buckets.s3.create_bucket(Bucket="old")
    buckets.s3.put_object(Bucket="old", Key="a.json", Body=b"{}")
    buckets.s3.put_bucket_versioning(Bucket="old", VersioningConfiguration={"Status": "Enabled"})
    reconciler = reconciler_on(buckets, machine, LONG_AGO)
    (found,) = reconciler.run(arrivals(buckets.s3, "old", ArrivalFilter()))

    assert (found.state, found.is_startable) == (State.MISSING, False)
    assert "before versioning" in found.why
    assert reconciler.start(found).started is None


def test_no_object_is_lost_at_the_edge_of_a_page(buckets: Buckets, machine: Machine) -> None:
    for number in range(7):
        committed(buckets, machine, buckets.upload(f"mission/{number}.json", b"{}"))
    for _ in range(4):
        buckets.upload("mission/again and again.json", b"{}")
    found = reconciled(buckets, machine, page=2)

    assert Counter(one.state for one in found) == {State.WRITTEN: 7, State.MISSING: 4}
    assert len({one.arrival.raw.id for one in found}) == 11


def test_each_version_is_an_object_and_markers_are_none(buckets: Buckets, machine: Machine) -> None:
    first, second = buckets.upload("mission/a.json", b"{}"), buckets.upload("mission/a.json", b"[]")
    committed(buckets, machine, first)
    buckets.upload("mission/", b"")
    buckets.s3.delete_object(Bucket="raw", Key="mission/a.json")
    found = {one.arrival.raw: one.state for one in reconciled(buckets, machine)}

    assert found == {first.object: State.WRITTEN, second.object: State.MISSING}, "with size and ETag as start has them"


def test_an_event_that_came_twice_is_one_object(buckets: Buckets, machine: Machine) -> None:
    batch = buckets.upload("a.json", b"{}")
    committed(buckets, machine, batch)
    committed(buckets, machine, batch)

    assert [one.state for one in reconciled(buckets, machine)] == [State.WRITTEN]


def test_only_what_is_asked_for_is_looked_at(buckets: Buckets, machine: Machine) -> None:
    buckets.upload("mission/a.json", b"{}")
    buckets.upload("weather/a.json", b"{}")
    hour = timedelta(hours=1)

    assert [one.arrival.raw.key for one in reconciled(buckets, machine, ArrivalFilter("weather/"))] == [
        "weather/a.json"
    ]
    assert len(reconciled(buckets, machine, ArrivalFilter(since=ARRIVED - hour, until=ARRIVED + hour))) == 2
    assert reconciled(buckets, machine, ArrivalFilter(since=ARRIVED + hour)) == []
    assert reconciled(buckets, machine, ArrivalFilter(until=ARRIVED - hour)) == []


def test_what_is_committed_while_it_is_looked_at_is_not_called_missing(
    buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = buckets.upload("a.json", b"{}")
    machine.add(batch, "SUCCEEDED")
    describe = machine.describe_execution

    def described(**asked: Any) -> Any:
        commit(buckets, batch)
        return describe(**asked)

    monkeypatch.setattr(machine, "describe_execution", described)

    assert [one.state for one in reconciled(buckets, machine)] == [State.WRITTEN]


def test_what_is_started_and_committed_while_it_is_looked_at_is_not_called_missing(
    buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its execution was not there when it was asked for; only the ledger tell that it is by now."""
    batch = buckets.upload("a.json", b"{}")
    describe = machine.describe_execution

    def described(**asked: Any) -> Any:
        try:
            return describe(**asked)
        finally:
            rejected(buckets, machine, batch)

    monkeypatch.setattr(machine, "describe_execution", described)

    assert [one.state for one in reconciled(buckets, machine)] == [State.REJECTED]


@pytest.fixture
def run(command_line: CommandLine, machine: Machine) -> Run:
    """Run `custody reconcile`, on a machine in memory."""
    command_line.clients["stepfunctions"] = machine
    return command_line.command("reconcile", "--grace", "0s")


def test_the_summary_says_how_many_were_started_and_what_cannot_be(
    run: Run, buckets: Buckets, machine: Machine
) -> None:
    for key in ("a.json", "b.json"):
        buckets.upload(key, b"{}")
    damaged = buckets.upload("c.json", b"{}")
    machine.add(damaged, "SUCCEEDED")
    buckets.s3.put_object(Bucket="audit", Key=commit(buckets, damaged), Body=b"damaged")
    looked, started, again = run(), run("--start"), run("--start")

    assert (looked.exit_code, started.exit_code, again.exit_code) == (1, 1, 1)
    assert "Start what is missing: custody reconcile --start" in looked.stderr
    assert "3 missing, of which 2 were started" in started.stdout
    assert "Start what is missing" not in started.stderr, "it was just done"
    assert "1 missing cannot be fixed by a start" in started.stderr


def test_where_only_some_keys_are_taken_no_other_is_missing(
    run: Run, buckets: Buckets, command_line: CommandLine
) -> None:
    buckets.upload("incoming/mission/a.json", b"{}")
    buckets.upload("reports/a.json", b"{}")
    command_line.deploy(raw_prefix="incoming/")

    assert "1 object: " in run().stdout
    assert "only keys that begin with incoming/" in str(run("--prefix", "reports/").exception)


def test_what_is_missing_is_started_as_start_would_have_done(buckets: Buckets, machine: Machine) -> None:
    batch = buckets.upload("mission/Größe +1.json", b"{}")
    (missing,) = reconciled(buckets, machine)
    started = reconciler_on(buckets, machine).start(missing)

    assert started.started == batch.object.id
    assert machine.executions[arn_of(batch.object.id)]["input"] == encode(batch.encode()).decode()


def test_what_is_missing_after_an_execution_is_started_at_the_next_attempt(buckets: Buckets, machine: Machine) -> None:
    batch = buckets.upload("a.json", b"{}")
    machine.add(batch, "SUCCEEDED", redrives=1)
    (missing,) = reconciled(buckets, machine)
    started = reconciler_on(buckets, machine).start(missing)

    assert started.started == f"{batch.object.id}-r2"
    begun = json.loads(machine.executions[arn_of(started.started)]["input"])
    assert (begun["attempt"], begun["redrive_of"]) == (2, arn_of(batch.object.id))
