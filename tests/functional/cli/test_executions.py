"""`custody executions`: both machines in one list, newest first."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from custody.executions import listing
from custody.executions.pipeline import ExecutionState
from custody.terminal import console
from custody.terminal.console import Screen
from functions.shared.model.ids import RawObject
from functions.shared.model.messages import Batch
from tests.support.audit_files import Run, audit_of, delivered_in_part
from tests.support.buckets import Buckets
from tests.support.bulk import Bulk, lines
from tests.support.executions import STARTED, Machine

COMMAND = "executions"
COUNTS = {"received": 20, "written": 19, "rejected": 1}
CHUNKS = {"total": 7, "committed": 6, "failed": 1}


def first(machine: Machine, status: str) -> Any:
    """Return the first execution with a status, to change it."""
    return next(each for each in machine.executions.values() if each["status"] == status)


@pytest.fixture
def machine(buckets: Buckets) -> Machine:
    """Return three executions: that of a bulk object between two others."""
    machine = Machine(buckets)
    machine.map_run = {"total": 7, "succeeded": 5, "failed": 1, "running": 1}
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


def listed(run: Run, *options: str) -> list[Any]:
    executions: list[Any] = json.loads(run(*options, "--json").stdout)["executions"]
    return executions


def test_executions_are_listed_newest_first_with_records_and_chunks(run: Run) -> None:
    rows = run().stdout.splitlines()[1:]
    assert [row.split("\t")[1] for row in rows] == ["mission/last.json", "mission/many.jsonl", "mission/first.json"]
    assert "20 in, 19 out, 1 rejected" in rows[0]
    assert "3.0 s" in rows[0]
    for fact in ("FAILED", "3 (1 redrive)", "1 h 1 min", "7 runs: 5 succeeded, 1 failed, 1 running", "ChunksFailed"):
        assert fact in rows[1]

    newest = listed(run)[0]
    assert (newest["started_at"], newest["ended_at"]) == ("2026-11-23T09:10:00.000Z", "2026-11-23T09:10:03.000Z")


def test_a_status_and_a_limit_select_executions(run: Run) -> None:
    assert [each["key"] for each in listed(run, "--limit", "1")] == ["mission/last.json"]
    (failed,) = listed(run, "--status", "failed")
    assert (failed["machine"], failed["error"], failed["attempt"]) == ("bulk", "ChunksFailed", 3)
    assert json.loads(run("--limit", "1", "--json").stdout)["more"] is True
    assert json.loads(run("--limit", "3", "--json").stdout)["more"] is False
    assert "the newest 1. To see older ones, add --limit N" in run("--limit", "1").stderr
    assert run("--status", "timed-out").stdout == "No executions with status TIMED_OUT.\n"
    assert run("--status", "lost").exit_code == 2


def test_the_commits_of_a_failed_execution_are_counted_by_the_ledger(
    run: Run, machine: Machine, buckets: Buckets
) -> None:
    """A chunk whose records are all rejected is committed, though its run fails."""
    dead_letter = delivered_in_part(buckets)
    machine.add(Batch(audit_of(buckets).read(dead_letter).object), error="RecordsRejected")
    bulk = Bulk.upload(buckets, lines(8, bad=tuple(range(8))), "mission/bad.jsonl")
    machine.add(bulk.batch, error=bulk.run())

    by_key = {each["key"]: each for each in listed(run)}
    bad = by_key["mission/bad.jsonl"]
    assert bad["counts"] == {"received": 8, "written": 0, "rejected": 8}
    assert bad["chunks"] == {"total": 3, "committed": 3, "failed": 0}
    assert bad["runs"] is None
    assert by_key["mission/a.json"]["counts"] == {"received": 2, "written": 1, "rejected": 1}
    assert "3: 3 committed" in run().stdout


def test_runs_are_counted_by_status_if_they_are_reported(run: Run, machine: Machine) -> None:
    machine.map_run = {"total": 20, "succeeded": 5, "failed": 0, "running": 0, "pending": 11}
    machine.map_run |= {"aborted": 3, "timedOut": 1}
    assert "20 runs: 5 succeeded, 3 aborted, 1 timed out, 11 pending" in run().stdout
    for machine.map_run in (None, {}):
        assert [each["runs"] for each in listed(run)] == [None, None, None]


def test_a_narrow_terminal_shows_a_paragraph_per_execution(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "console", Screen(force_terminal=True, color_system=None, width=80))
    assert run().stdout.splitlines()[2:5] == [
        "2026-11-23 09:05:00  mission/many.jsonl  FAILED",
        "  attempt 3 (1 redrive) · took 1 h 1 min",
        "  chunks 7 runs: 5 succeeded, 1 failed, 1 running · why ChunksFailed",
    ]


@pytest.mark.parametrize("message", ["[]", *(f'{{"object": {{"key": {key}}}}}' for key in ("5", "null", "[]", "{}"))])
def test_an_execution_with_a_foreign_input_is_listed_by_its_name(run: Run, machine: Machine, message: str) -> None:
    execution = first(machine, "SUCCEEDED")
    execution |= {"input": message, "output": "not JSON"}
    name = execution["executionArn"].rpartition(":")[2]
    assert name in run().stdout
    assert [each["key"] for each in listed(run) if each["name"] == name] == [None]


FOREIGN: tuple[Any, ...] = (5, True, "x", [1], {"received": 1}, COUNTS | {"rejected": "1"}, COUNTS | {"written": -1})
OUTPUTS = [json.dumps(dict.fromkeys(("counts", "chunks"), counts)) for counts in FOREIGN]


@pytest.mark.parametrize("output", [*OUTPUTS, "[" * 200_000], ids=range(len(OUTPUTS) + 1))
def test_foreign_counts_are_not_shown(run: Run, machine: Machine, output: str) -> None:
    for execution in machine.executions.values():
        execution |= {"status": "SUCCEEDED", "output": output}
    assert " in, " not in run().stdout
    assert [(each["counts"], each["chunks"]) for each in listed(run)] == [(None, None)] * 3


def test_only_the_known_counts_of_an_output_are_shown(run: Run, machine: Machine) -> None:
    output = json.dumps({"counts": COUNTS | {"more": 1}, "chunks": CHUNKS | {"more": 1}})
    for execution in machine.executions.values():
        execution |= {"status": "SUCCEEDED", "output": output}
    last, bulk, _ = listed(run)
    assert (last["counts"], last["chunks"]) == (COUNTS, None)
    assert (bulk["counts"], bulk["chunks"]) == (COUNTS, CHUNKS)


def test_since_and_until_refer_to_the_start(run: Run) -> None:
    def keys(*options: str) -> list[str]:
        return [each["key"] for each in listed(run, *options)]

    assert keys("--since", "2026-11-23T09:05") == ["mission/last.json", "mission/many.jsonl"]
    assert keys("--since", "2026-11-23T09:06") == ["mission/last.json"]
    assert keys("--until", "2026-11-23T09:05") == ["mission/many.jsonl", "mission/first.json"]
    assert keys("--since", "2026-11-23T09:01", "--until", "2026-11-23T09:09") == ["mission/many.jsonl"]
    assert run("--since", "2026-11-24").stdout == "No executions in that time.\n"
    message = "No executions with status FAILED in that time.\n"
    assert run("--since", "2026-11-24", "--status", "failed").stdout == message


def test_the_list_of_a_machine_ends_after_a_page_of_older_executions(
    run: Run, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE", 1)
    oldest = min(machine.executions.values(), key=lambda each: each["startDate"])["executionArn"]
    older = machine.add(Batch(RawObject("raw", "mission/older.json", "v1", 2, "e")), "SUCCEEDED")
    machine.executions[older]["startDate"] = STARTED - timedelta(days=1)

    selected = listed(run, "--since", "2026-11-23T09:05")

    assert [each["key"] for each in selected] == ["mission/last.json", "mission/many.jsonl"]
    assert oldest in machine.listed
    assert older not in machine.listed


def test_an_error_has_its_whole_cause_as_json_and_the_first_line_in_the_table(run: Run, machine: Machine) -> None:
    cause = json.dumps({"errorMessage": "2 of 7 chunks failed\nsee their dead letters", "errorType": "ChunksFailed"})
    first(machine, "FAILED")["cause"] = cause
    (failed,) = listed(run, "--status", "failed")
    assert failed["cause"] == cause
    assert failed["console"].endswith(f"?region=us-east-1#/v2/executions/details/{failed['arn']}")
    assert "ChunksFailed: 2 of 7 chunks failed\n" in run("--status", "failed").stdout.replace(" \n", "\n")


@pytest.mark.parametrize("width", [80, 140])
def test_a_long_cause_is_cut_to_the_width_of_the_terminal(
    run: Run, machine: Machine, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(console, "console", Screen(force_terminal=True, color_system=None, width=width))
    first(machine, "FAILED")["cause"] = "not JSON, and long: " + "x" * 500
    shown = run().stdout.splitlines()
    assert max(map(len, shown)) <= width
    assert "ChunksFailed: not" in " ".join(shown)
    assert [line[-2:] for line in shown if "…" in line] == ["x…"]


@pytest.mark.parametrize(
    "message", ['{"attempt": 1e999}', '{"attempt": -3}', "[" * 100_000, "", "{}", '{"attempt": null}']
)
def test_a_foreign_input_counts_as_a_first_attempt(message: str) -> None:
    described: Any = {"executionArn": "arn", "status": "FAILED", "startDate": datetime(2026, 1, 1, tzinfo=UTC)}
    assert ExecutionState.of(described | {"input": message}).attempt == 0
