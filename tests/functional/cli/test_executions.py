"""`custody executions`: both machines in one list, the newest first."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from msgspec.structs import replace
from rich.console import Console
from typer.testing import Result

from custody.audit.reader import AuditReader
from custody.executions.pipeline import Execution
from custody.terminal import console
from functions.shared.model.ids import RawObject
from functions.shared.model.messages import Batch
from tests.support.audit_files import Run, delivered_in_part
from tests.support.buckets import Buckets
from tests.support.bulk import Bulk, lines
from tests.support.command_line import CommandLine
from tests.support.executions import STARTED, Machine, arn_of
from tests.support.schemas import require_valid

COUNTS = {"received": 20, "written": 19, "rejected": 1}
PARTS = ("counts", "chunks")


class Listing(Machine):
    """A machine that lists its executions, the newest first, and counts the chunks of one."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: list[str] = []
        self.map_run: Any = {"total": 7, "succeeded": 5, "failed": 1, "running": 1, "pending": 0}

    def paginate(self, *, stateMachineArn: str, statusFilter: str | None = None, **_: Any) -> Any:  # noqa: N803 - as boto3
        prefix = arn_of("", stateMachineArn)
        found = [one for arn, one in self.executions.items() if arn.startswith(prefix)]
        found = [one for one in found if statusFilter in {None, one["status"]}]
        found.sort(key=lambda one: one["startDate"], reverse=True)
        for one in found:
            self.listed.append(one["executionArn"])
            yield {"executions": [one]}

    def list_map_runs(self, *, executionArn: str) -> Any:  # noqa: N803 - as boto3 has it
        if self.map_run is None:
            raise ClientError({"Error": {"Code": "UnknownOperationException", "Message": ""}}, "ListMapRuns")
        return {"mapRuns": [{"mapRunArn": f"{executionArn}/run", "startDate": STARTED}] if self.map_run else []}

    def describe_map_run(self, *, mapRunArn: str) -> Any:  # noqa: N803 - as boto3 has it
        assert mapRunArn.endswith("/run")
        return {"itemCounts": {"aborted": 0, "timedOut": 0} | self.map_run}


@pytest.fixture
def machine(buckets: Buckets) -> Listing:
    """Give three executions: a bulk one between two others."""
    machine = Listing()
    for number, key in enumerate(["mission/first.json", "mission/last.json"]):
        batch = buckets.upload(key, b"{}")
        started = STARTED + timedelta(minutes=number * 10)
        arn = machine.add(batch, "SUCCEEDED", output=json.dumps({"counts": COUNTS}))
        machine.executions[arn] |= {"startDate": started, "stopDate": started + timedelta(seconds=3)}
    bulk = Bulk.upload(buckets, lines(20))
    started = STARTED + timedelta(minutes=5)
    arn = machine.add(replace(bulk.batch, attempt=2), error="ChunksFailed", redrives=1)
    machine.executions[arn] |= {"startDate": started, "stopDate": started + timedelta(seconds=3700)}
    return machine


@pytest.fixture
def run(command_line: CommandLine, machine: Listing) -> Run:
    command_line.clients["stepfunctions"] = machine
    command_line.deploy(chunk_bytes=100)
    return command_line.command("executions")


def checked(ran: Result) -> list[Any]:
    """Give the executions of a document that is as its schema says."""
    require_valid(["executions", "--json"], ran.stdout)
    executions: list[Any] = json.loads(ran.stdout)["executions"]
    return executions


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
    assert json.loads(run("--limit", "1", "--json").stdout)["more"] is True
    assert json.loads(run("--limit", "3", "--json").stdout)["more"] is False
    assert "the newest 1; there are more: add --limit N" in run("--limit", "1").stderr
    assert run("--status", "timed-out").stdout == "no execution is TIMED_OUT\n"
    assert run("--status", "lost").exit_code == 2


@pytest.mark.parametrize("map_run", [None, {}])
def test_a_map_run_that_cannot_be_asked_for_hides_nothing_else(run: Run, machine: Listing, map_run: Any) -> None:
    machine.map_run = map_run
    found = json.loads(run("--json").stdout)["executions"]
    assert [one["runs"] for one in found] == [None, None, None]


def test_what_a_failed_execution_has_committed_is_counted_by_the_ledger(
    run: Run, machine: Listing, buckets: Buckets
) -> None:
    """The run of a chunk fails of which every record is rejected; and yet it is committed."""
    dead_letter = delivered_in_part(buckets)
    machine.add(Batch(AuditReader(buckets.s3, "audit").read(dead_letter).raw), error="RecordsRejected")
    bulk = Bulk.upload(buckets, lines(8, bad=tuple(range(8))), "mission/bad.jsonl")
    machine.add(bulk.batch, error=bulk.run())

    found = {one["key"]: one for one in json.loads(run("--json").stdout)["executions"]}
    bad = found["mission/bad.jsonl"]
    assert bad["counts"] == {"received": 8, "written": 0, "rejected": 8}
    assert bad["chunks"] == {"total": 3, "committed": 3, "failed": 0}
    assert bad["runs"] is None
    assert found["mission/a.json"]["counts"] == {"received": 2, "written": 1, "rejected": 1}
    assert "3: 3 committed" in run().stdout


def test_every_run_of_a_chunk_is_counted_whatever_its_end(run: Run, machine: Listing) -> None:
    machine.map_run = {"total": 20, "succeeded": 5, "failed": 0, "running": 0, "pending": 11}
    machine.map_run |= {"aborted": 3, "timedOut": 1}
    assert "20 runs: 5 succeeded, 3 aborted, 1 timed out, 11 pending" in run().stdout


def test_times_are_told_as_everywhere(run: Run) -> None:
    newest = json.loads(run("--json").stdout)["executions"][0]
    assert (newest["started_at"], newest["ended_at"]) == ("2026-11-23T09:10:00.000Z", "2026-11-23T09:10:03.000Z")


def test_a_narrow_terminal_has_a_paragraph_an_execution(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "console", Console(highlight=False, width=80))
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


NOT_OURS: tuple[Any, ...] = (5, True, "x", [1], {"received": 1}, COUNTS | {"rejected": "1"}, COUNTS | {"written": -1})
"""What stands where an execution of Custody has its counts."""


@pytest.mark.parametrize("key", [5, None, [], {"a": 1}])
def test_an_object_that_is_none_of_ours_has_no_key(run: Run, machine: Listing, key: Any) -> None:
    arn = next(iter(machine.executions))
    machine.executions[arn]["input"] = json.dumps({"object": {"key": key}})
    assert arn.rpartition(":")[2] in run().stdout
    found = checked(run("--json"))
    assert [one["key"] for one in found if one["arn"] == arn] == [None]


@pytest.mark.parametrize("counts", NOT_OURS)
def test_counts_that_are_none_of_ours_are_not_shown(run: Run, machine: Listing, counts: Any) -> None:
    for arn, one in machine.executions.items():
        machine.executions[arn] = one | {"status": "SUCCEEDED", "output": json.dumps(dict.fromkeys(PARTS, counts))}
    assert " in, " not in run().stdout
    assert [(one["counts"], one["chunks"]) for one in checked(run("--json"))] == [(None, None)] * 3


def test_of_counts_that_say_more_only_what_is_ours_is_shown(run: Run, machine: Listing) -> None:
    chunks = {"total": 7, "committed": 6, "failed": 1}
    told = {"counts": COUNTS | {"more": 1}, "chunks": chunks | {"more": 1}}
    for arn, one in machine.executions.items():
        machine.executions[arn] = one | {"status": "SUCCEEDED", "output": json.dumps(told)}
    last, bulk, _ = checked(run("--json"))
    assert (last["counts"], last["chunks"]) == (COUNTS, None)
    assert (bulk["counts"], bulk["chunks"]) == (COUNTS, chunks)


def test_an_input_that_is_nested_beyond_reading_hides_nothing_else(run: Run, machine: Listing) -> None:
    arn = next(arn for arn, one in machine.executions.items() if one["status"] == "SUCCEEDED")
    machine.executions[arn]["output"] = "[" * 200_000
    assert [one["counts"] for one in checked(run("--json")) if one["arn"] == arn] == [None]


def test_since_and_until_are_of_the_start_and_no_older_page_is_listed(run: Run, machine: Listing) -> None:
    def keys(*options: str) -> list[str]:
        machine.listed.clear()
        return [one["key"] for one in json.loads(run(*options, "--json").stdout)["executions"]]

    oldest, newest = sorted(machine.executions.values(), key=lambda one: one["startDate"])[::2]
    assert keys("--since", "2026-11-23T09:05") == ["mission/last.json", "mission/many.jsonl"]
    assert oldest["executionArn"] in machine.listed, "the first one before that time ends the list of its machine"
    assert keys("--since", "2026-11-23T09:06") == ["mission/last.json"]
    assert keys("--until", "2026-11-23T09:05") == ["mission/many.jsonl", "mission/first.json"]
    assert keys("--since", "2026-11-23T09:01", "--until", "2026-11-23T09:09") == ["mission/many.jsonl"]
    assert run("--since", "2026-11-24").stdout == "no execution of that time\n"
    assert run("--since", "2026-11-24", "--status", "failed").stdout == "no execution of that time is FAILED\n"

    older = machine.add(Batch(RawObject("raw", "mission/older.json", "v1", 2, "e")), "SUCCEEDED")
    machine.executions[older]["startDate"] = STARTED - timedelta(days=1)
    assert keys("--since", "2026-11-23T09:05") == ["mission/last.json", "mission/many.jsonl"]
    assert newest["executionArn"] in machine.listed
    assert older not in machine.listed


def test_an_error_comes_with_its_cause_whole_as_json_and_its_first_line_in_the_table(
    run: Run, machine: Listing
) -> None:
    arn = next(arn for arn, one in machine.executions.items() if one["status"] == "FAILED")
    cause = json.dumps({"errorMessage": "2 of 7 chunks failed\nsee their dead letters", "errorType": "ChunksFailed"})
    machine.executions[arn]["cause"] = cause
    (failed,) = json.loads(run("--status", "failed", "--json").stdout)["executions"]
    assert failed["cause"] == cause
    assert failed["console"].endswith(f"?region=us-east-1#/v2/executions/details/{arn}")
    assert "ChunksFailed: 2 of 7 chunks failed\n" in run("--status", "failed").stdout.replace(" \n", "\n")


@pytest.mark.parametrize("width", [80, 140])
def test_a_long_cause_is_cut_to_the_width_of_the_terminal(
    run: Run, machine: Listing, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(console, "console", Console(highlight=False, width=width))
    arn = next(arn for arn, one in machine.executions.items() if one["status"] == "FAILED")
    machine.executions[arn]["cause"] = "no JSON, and long: " + "x" * 500
    shown = [line.rstrip() for line in run().stdout.splitlines()]
    assert max(map(len, shown)) <= width
    (told,) = (line for line in shown if line.endswith("…"))
    assert ("no JSON, and long" if width < 140 else "ChunksFailed: no") in told


@pytest.mark.parametrize(
    "begun", ['{"attempt": 1e999}', '{"attempt": -3}', "[" * 100_000, "", "{}", '{"attempt": null}']
)
def test_an_input_that_is_nothing_of_ours_is_a_first_attempt(begun: str) -> None:
    described: Any = {"executionArn": "arn", "status": "FAILED", "startDate": datetime(2026, 1, 1, tzinfo=UTC)}
    assert Execution.of(described | {"input": begun}).attempt == 0
