"""`custody executions`: both machines in one list, the newest first."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from rich.console import Console
from typer.testing import CliRunner, Result

from custody import show
from custody.books import Books
from custody.commands import executions as executions_command
from custody.executions import Pipeline
from custody.letters import raw_of
from custody.main import app
from custody.target import Target
from functions.shared.messages import Batch
from tests.functional.bulk import Bulk, lines
from tests.functional.desk import a_deployment, delivered_in_part
from tests.functional.failures import BULK_ARN, MACHINE_ARN, STARTED, Machine, arn_of
from tests.rooms import Rooms

Run = Callable[..., Result]
COUNTS = {"received": 20, "written": 19, "rejected": 1}


class Listing(Machine):
    """A machine that lists its executions, the newest first, and counts the chunks of one."""

    def __init__(self) -> None:
        super().__init__()
        self.map_run: Any = {"total": 7, "succeeded": 5, "failed": 1, "running": 1, "pending": 0}

    def paginate(self, *, stateMachineArn: str, statusFilter: str | None = None, **_: Any) -> Any:  # noqa: N803 - as boto3
        prefix = arn_of("", stateMachineArn)
        found = [one for arn, one in self.executions.items() if arn.startswith(prefix)]
        found = [one for one in found if statusFilter in {None, one["status"]}]
        found.sort(key=lambda one: one["startDate"], reverse=True)
        return [{"executions": found[:1]}, {"executions": found[1:]}]

    def list_map_runs(self, *, executionArn: str) -> Any:  # noqa: N803 - as boto3 has it
        if self.map_run is None:
            raise ClientError({"Error": {"Code": "UnknownOperationException", "Message": ""}}, "ListMapRuns")
        return {"mapRuns": [{"mapRunArn": f"{executionArn}/run", "startDate": STARTED}] if self.map_run else []}

    def describe_map_run(self, *, mapRunArn: str) -> Any:  # noqa: N803 - as boto3 has it
        assert mapRunArn.endswith("/run")
        return {"itemCounts": {"aborted": 0, "timedOut": 0} | self.map_run}


@pytest.fixture
def machine(rooms: Rooms) -> Listing:
    """Give three executions: a bulk one between two others."""
    machine = Listing()
    for number, key in enumerate(["mission/first.json", "mission/last.json"]):
        batch = rooms.upload(key, b"{}")
        started = STARTED + timedelta(minutes=number * 10)
        arn = machine.add(batch, "SUCCEEDED", output=json.dumps({"counts": COUNTS}))
        machine.executions[arn] |= {"startDate": started, "stopDate": started + timedelta(seconds=3)}
    bulk = Bulk.upload(rooms, lines(20))
    started = STARTED + timedelta(minutes=5)
    arn = machine.add(replace(bulk.batch, attempt=2), error="ChunksFailed", redrives=1)
    machine.executions[arn] |= {"startDate": started, "stopDate": started + timedelta(seconds=3700)}
    return machine


@pytest.fixture
def run(machine: Listing, monkeypatch: pytest.MonkeyPatch) -> Run:
    client: Any = machine
    pipeline = Pipeline(client, MACHINE_ARN, BULK_ARN, 100)
    monkeypatch.setattr(Pipeline, "of", lambda *_: pipeline)
    target, deployment = Target("buckets in memory", boto3.Session(), None), a_deployment()
    monkeypatch.setattr(executions_command, "target_of", lambda *_, **__: target)
    monkeypatch.setattr(executions_command, "find", lambda *_: deployment)
    return lambda *arguments: CliRunner().invoke(app, ["executions", *arguments])


def test_they_are_listed_newest_first_with_records_and_chunks(run: Run) -> None:
    rows = [row for row in run().stdout.splitlines() if row.strip()][2:]
    assert [row.split()[2] for row in rows] == [
        "mission/last.json",
        "mission/many.jsonl",
        "mission/first.json",
    ]
    assert "20 in, 19 out, 1 rejected" in rows[0]
    assert "3.0 s" in rows[0]
    for told in ("FAILED", "3 (1 redrive)", "1 h 1 min", "7 runs: 5 succeeded, 1 failed, 1 running", "ChunksFailed"):
        assert told in rows[1]


def test_a_status_and_a_limit_leave_the_others_out(run: Run) -> None:
    assert [one["key"] for one in json.loads(run("--limit", "1", "--json").stdout)["executions"]] == [
        "mission/last.json"
    ]
    (failed,) = json.loads(run("--status", "failed", "--json").stdout)["executions"]
    assert (failed["machine"], failed["error"], failed["attempt"]) == ("bulk", "ChunksFailed", 3)
    assert run("--status", "timed-out").stdout == "no execution is TIMED_OUT\n"
    assert run("--status", "lost").exit_code == 2


@pytest.mark.parametrize("map_run", [None, {}])
def test_a_map_run_that_cannot_be_asked_for_hides_nothing_else(run: Run, machine: Listing, map_run: Any) -> None:
    machine.map_run = map_run
    found = json.loads(run("--json").stdout)["executions"]
    assert [one["runs"] for one in found] == [None, None, None]


def test_what_a_failed_execution_has_booked_is_counted_by_the_ledger(run: Run, machine: Listing, rooms: Rooms) -> None:
    """The run of a chunk fails of which every record is rejected; and yet it is booked."""
    letter = delivered_in_part(rooms)
    machine.add(Batch(raw_of(Books(rooms.s3, "audit").read(letter))), error="RecordsRejected")
    bulk = Bulk.upload(rooms, lines(8, bad=tuple(range(8))), "mission/bad.jsonl")
    machine.add(bulk.batch, error=bulk.run())

    found = {one["key"]: one for one in json.loads(run("--json").stdout)["executions"]}
    bad = found["mission/bad.jsonl"]
    assert bad["counts"] == {"received": 8, "written": 0, "rejected": 8}
    assert bad["chunks"] == {"total": 3, "booked": 3, "failed": 0}
    assert bad["runs"] is None
    assert found["mission/a.json"]["counts"] == {"received": 2, "written": 1, "rejected": 1}
    assert "3: 3 booked" in run().stdout


def test_every_run_of_a_chunk_is_counted_whatever_its_end(run: Run, machine: Listing) -> None:
    machine.map_run = {"total": 20, "succeeded": 5, "failed": 0, "running": 0, "pending": 11}
    machine.map_run |= {"aborted": 3, "timedOut": 1}
    assert "20 runs: 5 succeeded, 3 aborted, 1 timed out, 11 pending" in run().stdout


def test_times_are_told_as_everywhere(run: Run) -> None:
    newest = json.loads(run("--json").stdout)["executions"][0]
    assert (newest["started_at"], newest["ended_at"]) == ("2026-11-23T09:10:00.000Z", "2026-11-23T09:10:03.000Z")


def test_a_narrow_terminal_has_a_paragraph_an_execution(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "console", Console(highlight=False, width=80))
    shown = run().stdout.splitlines()
    assert shown[3:6] == [
        "2026-11-23 09:05:00  FAILED: ChunksFailed",
        "  mission/many.jsonl",
        "  attempt 3 (1 redrive), took 1 h 1 min, chunks 7 runs: 5 succeeded, 1 failed, 1",
    ]


def test_an_execution_that_somebody_began_with_anything_is_listed_by_its_name(run: Run, machine: Listing) -> None:
    arn = next(iter(machine.executions))
    machine.executions[arn]["input"] = "[]"
    machine.executions[arn]["output"] = "no JSON"
    assert arn.rpartition(":")[2] in run().stdout
