"""Every object version that arrived is in one of five states, whatever became of its event, execution or books."""

import gzip
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from custody.app import app
from custody.assurance.reconcile import Reconciled, Reconciler, State, Which, arrivals
from custody.audit.reader import Books
from custody.commands import reconcile as reconcile_command
from custody.executions.pipeline import Pipeline
from functions.shared.model.messages import Batch
from functions.shared.records.strict_json import encode
from tests.support.audit_files import a_deployment
from tests.support.buckets import Rooms
from tests.support.executions import MACHINE_ARN, Machine, arn_of, book, discard, post

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
SOON = datetime(2100, 1, 1, tzinfo=UTC)

Story = Callable[[Rooms, Machine, Batch], object]


@pytest.fixture
def machine(rooms: Rooms) -> Machine:  # noqa: ARG001 - the client of a machine stands on moto
    return Machine()


def reconciler_on(rooms: Rooms, machine: Machine, due: datetime = SOON) -> Reconciler:
    client: Any = machine
    return Reconciler(Books(rooms.s3, "audit"), Pipeline(client, MACHINE_ARN), due)


def reconciled(
    rooms: Rooms, machine: Machine, which: Which | None = None, *, page: int = 1000, due: datetime = SOON
) -> list[Reconciled]:
    arrived = arrivals(rooms.s3, "raw", which or Which(), page)
    return list(reconciler_on(rooms, machine, due).run(arrived))


def booked(rooms: Rooms, machine: Machine, batch: Batch) -> None:
    machine.add(batch, "SUCCEEDED")
    book(rooms, batch)


def failed(rooms: Rooms, machine: Machine, batch: Batch) -> None:
    post(rooms, batch, arn=machine.add(batch, error="AccessRefused"))


def rejected(rooms: Rooms, machine: Machine, batch: Batch) -> None:
    machine.add(batch, error="RecordsRejected")
    post(rooms, batch, name="Rejected", error="RecordsRejected")
    book(rooms, batch, written=1, rejected=2)


def next_of(batch: Batch) -> Batch:
    return Batch(batch.object, attempt=batch.attempt + 1)


def mended(rooms: Rooms, machine: Machine, batch: Batch) -> None:
    failed(rooms, machine, batch)
    book(rooms, next_of(batch))


def rejected_then_discarded(rooms: Rooms, machine: Machine, batch: Batch) -> None:
    rejected(rooms, machine, batch)
    discard(rooms, batch)


def failed_then_discarded(rooms: Rooms, machine: Machine, batch: Batch) -> None:
    failed(rooms, machine, batch)
    discard(rooms, batch)


def redriven_by_itself(rooms: Rooms, machine: Machine, batch: Batch) -> None:
    failed(rooms, machine, batch)
    machine.add(batch, "RUNNING", redrives=1)


def redriven_by_another(rooms: Rooms, machine: Machine, batch: Batch) -> None:
    rejected(rooms, machine, batch)
    machine.add(next_of(batch), "RUNNING")


def redriven_itself_after_another(rooms: Rooms, machine: Machine, batch: Batch) -> None:
    """The object's own execution says FAILED, and there is no `-r2`; only the latest letter tells which one it is."""
    failed(rooms, machine, batch)
    failed(rooms, machine, next_of(batch))
    machine.add(next_of(batch), "RUNNING", redrives=1)


def forgotten(rooms: Rooms, machine: Machine, batch: Batch) -> None:
    failed(rooms, machine, batch)
    machine.executions.clear()


def ledger_gone(rooms: Rooms, machine: Machine, batch: Batch) -> None:
    machine.add(batch, "SUCCEEDED")
    rooms.s3.delete_object(Bucket="audit", Key=book(rooms, batch))


def ledger_gone_after_a_redrive(rooms: Rooms, machine: Machine, batch: Batch) -> None:
    failed(rooms, machine, batch)
    machine.add(next_of(batch), "SUCCEEDED")


@pytest.mark.parametrize(
    ("story", "state", "why", "is_open"),
    [
        (booked, State.WRITTEN, "", None),
        (mended, State.WRITTEN, "", None),
        (rejected, State.REJECTED, "2 of its records rejected; letter open", True),
        (rejected_then_discarded, State.REJECTED, "2 of its records rejected; letter closed: discarded", False),
        (failed, State.FAILED, "FAILED with AccessRefused; letter open", True),
        (failed_then_discarded, State.FAILED, "letter closed: discarded", False),
        (forgotten, State.FAILED, "its execution is no longer in the history; letter open", True),
        (lambda _, machine, batch: machine.add(batch, "TIMED_OUT"), State.FAILED, "TIMED_OUT; no letter", None),
        (lambda _, machine, batch: machine.add(batch, "RUNNING"), State.IN_FLIGHT, "attempt 0 is running", None),
        (redriven_by_itself, State.IN_FLIGHT, "attempt 1 is running", True),
        (redriven_by_another, State.IN_FLIGHT, "attempt 1 is running", True),
        (redriven_itself_after_another, State.IN_FLIGHT, "attempt 2 is running", True),
        (ledger_gone, State.MISSING, "its execution succeeded, but its ledger file is gone", None),
        (ledger_gone_after_a_redrive, State.MISSING, "its execution succeeded, but its ledger file is gone", True),
        (lambda *_: None, State.MISSING, "nothing tells of it: no execution, no letter, no ledger file", None),
    ],
)
def test_an_object_is_in_the_state_that_its_books_and_executions_tell(  # noqa: PLR0913, PLR0917 - a table
    rooms: Rooms, machine: Machine, story: Story, state: State, why: str, is_open: bool | None
) -> None:
    story(rooms, machine, rooms.upload("mission/a.json", b"{}"))
    (found,) = reconciled(rooms, machine)

    assert (found.state, found.why, found.is_open) == (state, why, is_open)


@pytest.mark.parametrize(
    "damage",
    [b"", b"no gzip", gzip.compress(b"no JSON"), gzip.compress(b"{}")[:-4]],
    ids=["empty", "no gzip", "no JSON", "cut off"],
)
def test_a_damaged_ledger_file_is_missing_but_not_started_for_its_first_version_is_there(
    rooms: Rooms, machine: Machine, damage: bytes
) -> None:
    batch = rooms.upload("a.json", b"{}")
    machine.add(batch, "SUCCEEDED")
    key = book(rooms, batch)
    rooms.s3.put_object(Bucket="audit", Key=key, Body=damage)
    (found,) = reconciled(rooms, machine)

    assert found.state is State.MISSING
    assert found.why == f"its ledger file cannot be read: see `custody verify {batch.object.id}`"
    assert reconciler_on(rooms, machine).start(found).started is None


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_redrive_that_runs_is_in_flight_whatever_became_of_the_ledger_file(
    rooms: Rooms, machine: Machine, attempt: int
) -> None:
    """Both by a new execution, `-r1`, and by that one itself: then nothing but its own name tells of it."""
    batch = rooms.upload("a.json", b"{}")
    machine.add(batch, error="RecordsRejected")
    machine.add(next_of(batch), "RUNNING", redrives=attempt - 1)
    for booked in range(attempt):
        key = book(rooms, Batch(batch.object, attempt=booked), written=1, rejected=1)
        rooms.s3.put_object(Bucket="audit", Key=key, Body=b"damaged")

    assert [(one.state, one.why) for one in reconciled(rooms, machine)] == [
        (State.IN_FLIGHT, f"attempt {attempt} is running")
    ]


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_what_was_deleted_since_is_said_to_be_and_started_all_the_same(
    rooms: Rooms, machine: Machine, page: int
) -> None:
    first, second = rooms.upload("mission/a.json", b"{}"), rooms.upload("mission/a.json", b"[]")
    rooms.s3.delete_object(Bucket="raw", Key="mission/a.json")
    rooms.upload("mission/b.json", b"{}")
    again = rooms.upload("mission/c.json", b"{}")
    rooms.s3.delete_object(Bucket="raw", Key="mission/c.json")
    rooms.upload("mission/c.json", b"{}")
    found = reconciled(rooms, machine, page=page)

    deleted = {one.arrival.raw for one in found if "deleted since" in one.why}
    assert deleted == {first.object, second.object}, f"{again.object} has a later version"
    started = [reconciler_on(rooms, machine).start(one).started for one in found]
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
        (booked, 0),
        (lambda _, machine, batch: machine.add(batch, "RUNNING"), 1),
        (ledger_gone, 2),
        (failed, 2),
    ],
    ids=["nothing", "written", "running", "ledger gone", "failed"],
)
def test_step_functions_is_asked_no_more_than_is_needed(
    rooms: Rooms, machine: Machine, monkeypatch: pytest.MonkeyPatch, story: Story, describes: int
) -> None:
    """It answers some 15 such questions a second."""
    story(rooms, machine, rooms.upload("mission/a.json", b"{}"))
    asked = counting(machine, monkeypatch)
    reconciled(rooms, machine)

    assert len(asked) == describes, asked


def test_a_damaged_letter_does_not_stop_it(rooms: Rooms, machine: Machine) -> None:
    batch = rooms.upload("a.json", b"{}")
    letter = post(rooms, batch, arn=machine.add(batch, error="AccessRefused"))
    rooms.s3.put_object(Bucket="audit", Key=f"letters/{letter}.json", Body=b"no JSON")

    assert [one.why for one in reconciled(rooms, machine)] == ["FAILED with AccessRefused; letter open"]


def test_an_event_may_be_on_its_way_for_a_while(rooms: Rooms, machine: Machine) -> None:
    rooms.upload("a.json", b"{}")
    (found,) = reconciled(rooms, machine, due=LONG_AGO)

    assert (found.state, found.why) == (State.IN_FLIGHT, "its event is on the way")


def test_what_came_before_versioning_is_missing_for_start_refuses_it(rooms: Rooms, machine: Machine) -> None:
    rooms.s3.create_bucket(Bucket="old")
    rooms.s3.put_object(Bucket="old", Key="a.json", Body=b"{}")
    rooms.s3.put_bucket_versioning(Bucket="old", VersioningConfiguration={"Status": "Enabled"})
    reconciler = reconciler_on(rooms, machine, LONG_AGO)
    (found,) = reconciler.run(arrivals(rooms.s3, "old", Which()))

    assert (found.state, found.is_startable) == (State.MISSING, False)
    assert "before versioning" in found.why
    assert reconciler.start(found).started is None


def test_no_object_is_lost_at_the_edge_of_a_page(rooms: Rooms, machine: Machine) -> None:
    for number in range(7):
        booked(rooms, machine, rooms.upload(f"mission/{number}.json", b"{}"))
    for _ in range(4):
        rooms.upload("mission/again and again.json", b"{}")
    found = reconciled(rooms, machine, page=2)

    assert Counter(one.state for one in found) == {State.WRITTEN: 7, State.MISSING: 4}
    assert len({one.arrival.raw.id for one in found}) == 11


def test_each_version_is_an_object_and_markers_are_none(rooms: Rooms, machine: Machine) -> None:
    first, second = rooms.upload("mission/a.json", b"{}"), rooms.upload("mission/a.json", b"[]")
    booked(rooms, machine, first)
    rooms.upload("mission/", b"")
    rooms.s3.delete_object(Bucket="raw", Key="mission/a.json")
    found = {one.arrival.raw: one.state for one in reconciled(rooms, machine)}

    assert found == {first.object: State.WRITTEN, second.object: State.MISSING}, "with size and ETag as start has them"


def test_an_event_that_came_twice_is_one_object(rooms: Rooms, machine: Machine) -> None:
    batch = rooms.upload("a.json", b"{}")
    booked(rooms, machine, batch)
    booked(rooms, machine, batch)

    assert [one.state for one in reconciled(rooms, machine)] == [State.WRITTEN]


def test_only_what_is_asked_for_is_looked_at(rooms: Rooms, machine: Machine) -> None:
    rooms.upload("mission/a.json", b"{}")
    rooms.upload("weather/a.json", b"{}")
    hour = timedelta(hours=1)
    now = datetime.now(UTC)

    assert [one.arrival.raw.key for one in reconciled(rooms, machine, Which("weather/"))] == ["weather/a.json"]
    assert len(reconciled(rooms, machine, Which(since=now - hour, until=now + hour))) == 2
    assert reconciled(rooms, machine, Which(since=now + hour)) == []
    assert reconciled(rooms, machine, Which(until=now - hour)) == []


def test_what_is_booked_while_it_is_looked_at_is_not_called_missing(
    rooms: Rooms, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = rooms.upload("a.json", b"{}")
    machine.add(batch, "SUCCEEDED")
    describe = machine.describe_execution

    def described(**asked: Any) -> Any:
        book(rooms, batch)
        return describe(**asked)

    monkeypatch.setattr(machine, "describe_execution", described)

    assert [one.state for one in reconciled(rooms, machine)] == [State.WRITTEN]


def test_what_is_started_and_booked_while_it_is_looked_at_is_not_called_missing(
    rooms: Rooms, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its execution was not there when it was asked for; only the books tell that it is by now."""
    batch = rooms.upload("a.json", b"{}")
    describe = machine.describe_execution

    def described(**asked: Any) -> Any:
        try:
            return describe(**asked)
        finally:
            rejected(rooms, machine, batch)

    monkeypatch.setattr(machine, "describe_execution", described)

    assert [one.state for one in reconciled(rooms, machine)] == [State.REJECTED]


Run = Callable[..., Result]


@pytest.fixture
def run(rooms: Rooms, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give `custody reconcile`, on buckets of moto and a machine in memory."""
    clients = {"s3": rooms.s3, "stepfunctions": machine}

    class Here:
        client = staticmethod(clients.__getitem__)

    deployment = a_deployment(pipeline_arn=MACHINE_ARN)
    monkeypatch.setattr(reconcile_command, "target_of", lambda *_: Here)
    monkeypatch.setattr(reconcile_command, "find", lambda *_: deployment)
    return lambda *arguments: CliRunner().invoke(app, ["reconcile", "--grace", "0s", *arguments])


def test_the_summary_says_how_many_were_started_and_what_cannot_be(run: Run, rooms: Rooms, machine: Machine) -> None:
    for key in ("a.json", "b.json"):
        rooms.upload(key, b"{}")
    damaged = rooms.upload("c.json", b"{}")
    machine.add(damaged, "SUCCEEDED")
    rooms.s3.put_object(Bucket="audit", Key=book(rooms, damaged), Body=b"damaged")
    looked, started, again = run(), run("--start"), run("--start")

    assert (looked.exit_code, started.exit_code, again.exit_code) == (1, 1, 1)
    assert "Start what is missing: custody reconcile --start" in looked.stderr
    assert "3 missing, of which 2 were started" in started.stdout
    assert "Start what is missing" not in started.stderr, "it was just done"
    assert "1 missing cannot be mended by a start" in started.stderr


def test_where_only_some_keys_are_taken_no_other_is_missing(
    run: Run, rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms.upload("incoming/mission/a.json", b"{}")
    rooms.upload("reports/a.json", b"{}")
    deployment = a_deployment(pipeline_arn=MACHINE_ARN, raw_prefix="incoming/")
    monkeypatch.setattr(reconcile_command, "find", lambda *_: deployment)

    assert "1 object: " in run().stdout
    assert "only keys that begin with incoming/" in str(run("--prefix", "reports/").exception)


def test_what_is_missing_is_started_as_start_would_have_done(rooms: Rooms, machine: Machine) -> None:
    batch = rooms.upload("mission/Größe +1.json", b"{}")
    (missing,) = reconciled(rooms, machine)
    started = reconciler_on(rooms, machine).start(missing)

    assert started.started == batch.object.id
    assert machine.executions[arn_of(batch.object.id)]["input"] == encode(batch.encode()).decode()


def test_what_is_missing_after_an_execution_is_started_at_the_next_attempt(rooms: Rooms, machine: Machine) -> None:
    batch = rooms.upload("a.json", b"{}")
    machine.add(batch, "SUCCEEDED", redrives=1)
    (missing,) = reconciled(rooms, machine)
    started = reconciler_on(rooms, machine).start(missing)

    assert started.started == f"{batch.object.id}-r2"
    begun = json.loads(machine.executions[arn_of(started.started)]["input"])
    assert (begun["attempt"], begun["redrive_of"]) == (2, arn_of(batch.object.id))
