"""`custody backfill`: objects are started once, the oldest first, and again only on request."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import Result

from custody import concurrency
from custody.assurance.findings import Result as Verified
from custody.assurance.reconcile import Reconciler, State
from custody.assurance.verify import stored_ledgers, verify_all
from custody.ingest import inventory
from custody.ingest.backfill import Backfiller
from custody.ingest.inventory import BackfilledObject, ItemStatus
from custody.ingest.raw_versions import ArrivalFilter, arrivals
from functions.shared.model.messages import Batch, Plan
from functions.shared.records.strict_json import encode
from tests.support.audit_files import Run, audit_of
from tests.support.buckets import ARRIVED, Buckets
from tests.support.bulk import CHUNK_BYTES, Bulk, lines
from tests.support.clock import Clock
from tests.support.command_line import CommandLine
from tests.support.executions import BULK_ARN, MACHINE_ARN, Machine, arn_of, commit, discard, post
from tests.support.stages import GOOD, through

SOON = datetime(2100, 1, 1, tzinfo=UTC)


COMMAND = "backfill --rate 10000"
"""Fast, unless a test gives another rate."""
IS_LOCAL = True


def counts(ran: Result) -> dict[str, int]:
    return {name: number for name, number in json.loads(ran.stdout)["counts"].items() if number}


def keys(ran: Result) -> list[str]:
    return [item["object"]["key"] for item in json.loads(ran.stdout)["objects"]]


def started(machine: Machine) -> list[str]:
    return [arn.rpartition(":")[2] for arn in machine.executions]


def test_an_object_is_started_with_the_name_and_input_that_start_gives_it(
    run: Run, buckets: Buckets, machine: Machine
) -> None:
    batch = buckets.upload("mission/Größe +1.json", b"{}")
    ran = run("--json")

    assert (ran.exit_code, counts(ran)) == (0, {"succeeded": 1})
    assert machine.executions[arn_of(batch.object.id)]["input"] == encode(batch.encode()).decode()
    assert json.loads(ran.stdout)["objects"][0]["execution"] == arn_of(batch.object.id)


def test_versions_are_started_in_the_order_of_arrival(run: Run, buckets: Buckets, machine: Machine) -> None:
    """S3 has times in whole seconds: within one, versions of a key are ordered by their place in the list."""
    batches = [buckets.upload(key, body) for key, body in (("b.json", b"{}"), ("b.json", b"[]"), ("b.json", b"[1]"))]
    batches.append(buckets.upload("a.json", b"{}"))
    buckets.age("b.json", timedelta(seconds=1))
    run("--rate", "50")

    assert started(machine) == [batch.object.id for batch in batches]


def failed(buckets: Buckets, machine: Machine, batch: Batch) -> None:
    post(buckets, batch, arn=machine.add(batch, error="AccessRefused"))


def redriven_by_another(buckets: Buckets, machine: Machine, batch: Batch) -> None:
    failed(buckets, machine, batch)
    machine.add(Batch(batch.object, attempt=1), "RUNNING")


@pytest.mark.parametrize(
    ("story", "status"),
    [
        (failed, "started before"),
        # After 90 days a name is free again: only the ledger and dead letters know of it.
        (lambda buckets, _, batch: commit(buckets, batch), "started before"),
        (lambda buckets, _, batch: post(buckets, batch), "started before"),
        (lambda _, machine, batch: machine.add(batch, "TIMED_OUT"), "started before"),
        (lambda _, machine, batch: machine.add(batch, "RUNNING"), "in flight"),
        (redriven_by_another, "in flight"),
    ],
    ids=["failed", "expired", "expired failure", "failed without a trace", "running", "redriven by another"],
)
def test_what_was_started_before_is_passed_over(
    run: Run, buckets: Buckets, machine: Machine, story: Callable[[Buckets, Machine, Batch], object], status: str
) -> None:
    story(buckets, machine, buckets.upload("mission/a.json", b"{}"))
    before = set(machine.executions)
    dry, ran = run("--dry-run", "--json"), run("--json")

    assert counts(dry) == {status: 1}, "the lists are enough"
    assert (ran.exit_code, counts(ran)) == (0, {status: 1})
    assert set(machine.executions) == before


def test_an_execution_that_is_in_no_list_is_found_by_its_name(run: Run, buckets: Buckets, machine: Machine) -> None:
    machine.add(buckets.upload("mission/a.json", b"{}"), "SUCCEEDED")  # its ledger file is lost

    assert counts(run("--json")) == {"started before": 1}
    assert len(machine.executions) == 1


def test_a_dry_run_shows_what_would_be_started_and_for_how_long(run: Run, buckets: Buckets, machine: Machine) -> None:
    for number in range(25):
        buckets.upload(f"mission/{number:02}.json", b"{}" * 100)
    commit(buckets, buckets.upload("old.json", b"{}"))
    shown, ran = run("--dry-run", "--rate", "5"), run("--dry-run", "--rate", "5", "--json")

    assert "and 5 more: add --json" in shown.stdout
    assert "26 object versions: 25 not started, 1 started before" in shown.stdout
    assert "25 would be started, with 5.0 kB" in shown.stdout
    assert "At 5 per second it takes 5.0 s" in shown.stdout
    document = json.loads(ran.stdout)
    assert (len(document["objects"]), document["bytes"], document["seconds"]) == (25, 5000, 5.0)
    assert machine.executions == {}
    assert {shown.exit_code, ran.exit_code} == {0}


def test_a_prefix_and_times_of_arrival_select_objects(run: Run, buckets: Buckets) -> None:
    buckets.upload("mission/a.json", b"{}")
    buckets.upload("weather/a.json", b"{}")
    before, after = (ARRIVED - timedelta(hours=1)).isoformat(), (ARRIVED + timedelta(hours=1)).isoformat()

    assert keys(run("--dry-run", "--json", "--prefix", "weather/")) == ["weather/a.json"]
    assert len(keys(run("--dry-run", "--json", "--since", before, "--until", after))) == 2
    assert keys(run("--dry-run", "--json", "--since", after)) == []
    assert keys(run("--dry-run", "--json", "--until", before)) == []


def test_ledger_files_are_listed_by_the_slug_of_any_prefix(run: Run, buckets: Buckets) -> None:
    for key in ("/", "//x/", "mission/Größe + naïve/", "a" * 39 + "/b/", "é/"):
        commit(buckets, buckets.upload(f"{key}a.json", b"{}"))
        assert counts(run("--dry-run", "--prefix", key, "--json")) == {"started before": 1}, key


def test_markers_are_ignored_and_deleted_keys_are_started(run: Run, buckets: Buckets) -> None:
    for marker in ("mission/", "mission/_SUCCESS", "mission/_temporary/0/a.json"):
        buckets.upload(marker, b"")
    buckets.upload("mission/a.json", b"{}")
    buckets.hide("raw", "mission/a.json")
    shown, ran = run("--dry-run"), run("--json")

    assert "deleted since, but this version still exists" in " ".join(shown.stdout.split())
    assert (counts(ran), json.loads(ran.stdout)["objects"][0]["deleted"]) == ({"succeeded": 1}, True)


def test_an_object_from_before_versioning_is_refused(
    run: Run, buckets: Buckets, machine: Machine, command_line: CommandLine
) -> None:
    buckets.s3.create_bucket(Bucket="theirs")
    buckets.put("theirs", "a.json", b"{}")
    buckets.s3.put_bucket_versioning(Bucket="theirs", VersioningConfiguration={"Status": "Enabled"})
    command_line.deploy(raw="theirs")
    ran = run("--json")

    assert (ran.exit_code, counts(ran), keys(ran)) == (1, {"refused": 1}, ["a.json"])
    assert "before versioning was enabled; upload it again" in json.loads(ran.stdout)["objects"][0]["why"]
    assert machine.executions == {}


@pytest.mark.parametrize(
    ("ends", "status", "code"),
    [
        ({"status": "SUCCEEDED"}, "succeeded", 0),
        ({"status": "FAILED", "error": "RecordsRejected"}, "rejected", 3),
        ({"status": "FAILED", "error": "AccessRefused"}, "failed", 1),
        ({"status": "TIMED_OUT"}, "failed", 1),
        ({"status": "RUNNING"}, "started", 1),
    ],
)
def test_the_exit_code_follows_from_the_executions(  # noqa: PLR0913, PLR0917 - a table
    run: Run, buckets: Buckets, machine: Machine, ends: dict[str, str], status: str, code: int
) -> None:
    for key in ("a.json", "b.json", "c.json"):
        buckets.upload(key, b"{}")
    machine.ends = ends
    ran = run("--timeout", "1", "--json")

    assert (ran.exit_code, counts(ran)) == (code, {status: 3})


def test_no_wait_only_starts_at_the_rate(
    run: Run, buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        buckets.upload(f"{number}.json", b"{}")
    machine.ends = {"status": "FAILED", "error": "AccessRefused"}
    clock = Clock()
    monkeypatch.setattr(concurrency, "time", clock)
    ran = run("--rate", "10/s", "--no-wait")

    assert ran.exit_code == 0
    assert "6 object versions: 6 started" in ran.stdout
    assert round(clock.now, 3) == 0.5


def test_a_refusal_of_step_functions_can_be_continued_later(
    run: Run, buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        buckets.upload(f"{number}.json", b"{}")
    start = machine.start_execution

    def throttled(**parameters: Any) -> Any:
        if len(machine.executions) == 2:
            raise machine.error("ThrottlingException")
        return start(**parameters)

    monkeypatch.setattr(machine, "start_execution", throttled)
    ran = run("--json", "--rate", "20")
    assert counts(ran) == {"started": 2, "not started": 2}
    assert "run the same command again" in ran.stderr

    monkeypatch.setattr(machine, "start_execution", start)
    again = run("--json")
    assert (counts(again), keys(again)) == ({"started before": 2, "succeeded": 2}, ["2.json", "3.json"])
    assert len(started(machine)) == 4


def test_a_full_disk_is_an_error_that_says_what_to_do(
    run: Run, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    buckets.upload("a.json", b"{}")
    small = (*inventory._SETTINGS, "PRAGMA max_page_count = 2")  # noqa: SLF001 - a disk of two pages
    monkeypatch.setattr(inventory, "_SETTINGS", small)
    ran = run()

    assert "set TMPDIR to a folder that has it" in str(ran.exception)


def test_committed_before_requires_again(run: Run) -> None:
    ran = run("--committed-before", "1h")

    assert "--committed-before requires --again" in str(ran.exception)


def test_a_deployment_with_a_prefix_ignores_other_keys(run: Run, buckets: Buckets, command_line: CommandLine) -> None:
    buckets.upload("incoming/mission/a.json", b"{}")
    buckets.upload("other/a.json", b"{}")
    command_line.deploy(raw_prefix="incoming/")

    assert keys(run("--dry-run", "--json")) == ["incoming/mission/a.json"]
    assert keys(run("--dry-run", "--json", "--prefix", "inc")) == ["incoming/mission/a.json"]
    assert keys(run("--dry-run", "--json", "--prefix", "incoming/weather/")) == []
    assert "only keys with the prefix incoming/" in str(run("--prefix", "other/").exception)


# --again


def process(batch: Batch, at: datetime | None = None) -> None:
    """Run the steps on a batch, as its execution would: now, or at a given time."""
    entered = (at or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    arn = arn_of(batch.object.id + (f"-r{batch.attempt}" if batch.attempt else ""))
    through(batch, arn=arn, attempt=batch.attempt, entered=entered)


def begun(machine: Machine, name: str, arn: str = MACHINE_ARN) -> Batch:
    return Batch.decode(json.loads(machine.executions[arn_of(name, arn)]["input"]))


def states(buckets: Buckets, machine: Machine, chunk_bytes: int = 10**6) -> list[State]:
    reconciler = Reconciler(audit_of(buckets), machine.pipeline(chunk_bytes), SOON)
    return [item.state for item in reconciler.run(arrivals(buckets.s3, "raw", ArrivalFilter()))]


def verified(buckets: Buckets) -> list[Verified]:
    return [item.result for item in verify_all(buckets.s3, "audit", stored_ledgers(buckets.s3, "audit"))]


def test_again_processes_the_next_attempt_and_leaves_a_clean_ledger(
    run: Run, buckets: Buckets, machine: Machine
) -> None:
    batch = buckets.upload("mission/a.json", GOOD)
    machine.add(batch, "SUCCEEDED")
    process(batch)
    ran = run("--again", "--json")
    again = begun(machine, f"{batch.object.id}-r1")
    process(again)

    assert counts(ran) == {"succeeded": 1}
    assert (again.attempt, again.redrive_of) == (1, arn_of(batch.object.id))
    assert states(buckets, machine) == [State.WRITTEN]
    assert verified(buckets) == [Verified.HOLDS]
    versions = buckets.s3.list_object_versions(Bucket="processed")["Versions"]
    assert len(versions) == 2, "the processed object was rewritten"


def test_again_starts_new_objects_too_and_lists_running_ones_with_when_to_run_it_again(
    run: Run, buckets: Buckets, machine: Machine
) -> None:
    """What started before a change may have run the previous code."""
    running, new, done = (buckets.upload(f"{name}.json", GOOD) for name in ("running", "new", "done"))
    machine.add(running, "RUNNING")
    process(done)
    dry, as_json = run("--again", "--dry-run", "--json"), run("--again", "--json")
    assert (dry.exit_code, len(keys(dry)), json.loads(dry.stdout)["bytes"]) == (0, 3, 2 * len(GOOD))
    assert counts(as_json) == {"in flight": 1, "succeeded": 2}
    assert set(started(machine)) == {running.object.id, new.object.id, f"{done.object.id}-r1"}
    (passed,) = (item for item in json.loads(as_json.stdout)["objects"] if item["status"] == "in flight")
    assert (as_json.exit_code, passed["object"]["key"], passed["execution"]) == (1, "running.json", None)
    assert "run it again when it has ended" in passed["why"]

    shown = run("--again")
    (row,) = (line for line in shown.stdout.splitlines() if line.strip().startswith("running.json"))
    assert shown.exit_code == 1
    assert "in flight" in row
    assert running.object.id in row
    assert "1 object version was already running" in shown.stderr
    since = passed["last_modified"][:19]
    assert f"custody backfill --again --since {since}" in shown.stderr

    process(running)
    machine.executions[arn_of(running.object.id)]["status"] = "SUCCEEDED"
    later = run("--again", "--since", passed["last_modified"], "--json")
    assert later.exit_code == 0
    assert "running.json" in keys(later)


def test_again_passes_over_what_starts_meanwhile(
    run: Run, buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = buckets.upload("a.json", GOOD)
    process(batch)
    start = machine.start_execution

    def overtaken(**parameters: Any) -> Any:
        machine.add(Batch(batch.object, attempt=1), "RUNNING")
        return start(**parameters)

    monkeypatch.setattr(machine, "start_execution", overtaken)
    ran = run("--again", "--json")
    assert (ran.exit_code, counts(ran), keys(ran)) == (1, {"in flight": 1}, ["a.json"])


def test_an_interrupted_run_reports_starts_not_running_executions(
    run: Run, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may have ended: nobody has looked."""

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    buckets.upload("a.json", b"{}")
    monkeypatch.setattr(Backfiller, "watch", interrupted)
    ran = run()
    assert "1 object version: 1 started" in ran.stdout
    assert "running" not in ran.stdout


def test_after_the_timeout_what_was_started_is_running(run: Run, buckets: Buckets, machine: Machine) -> None:
    buckets.upload("a.json", b"{}")
    machine.ends = {"status": "RUNNING"}
    assert "1 object version: 1 running" in run("--timeout", "1").stdout


def test_again_restarts_what_failed_at_the_attempt_after_its_dead_letter(
    run: Run, buckets: Buckets, machine: Machine
) -> None:
    batch = Batch(buckets.upload("a.json", b"{}").object, attempt=2)
    last = machine.add(batch, error="AccessRefused")
    post(buckets, batch, arn=last)
    run("--again")

    again = begun(machine, f"{batch.object.id}-r3")
    assert (again.attempt, again.redrive_of, again.plan) == (3, last, None)


def test_again_does_not_process_what_was_discarded(run: Run, buckets: Buckets, machine: Machine) -> None:
    batch = buckets.upload("a.json", b"{}")
    post(buckets, batch)
    discard(buckets, batch)
    ran = run("--again", "--json")

    assert (ran.exit_code, counts(ran), machine.executions) == (0, {"discarded": 1}, {})


def test_again_refuses_an_object_with_a_damaged_ledger_file(run: Run, buckets: Buckets, machine: Machine) -> None:
    batch = buckets.upload("a.json", b"{}")
    buckets.put("audit", commit(buckets, batch), b"damaged")
    ran = run("--again", "--json")

    assert (ran.exit_code, counts(ran), machine.executions) == (1, {"refused": 1}, {})
    assert f"custody verify {batch.object.id}" in json.loads(ran.stdout)["objects"][0]["why"]


def test_committed_before_continues_an_interrupted_run(run: Run, buckets: Buckets, machine: Machine) -> None:
    first, second = buckets.upload("a.json", GOOD), buckets.upload("b.json", GOOD)
    for batch in (first, second):
        process(batch)
    cut = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)  # the ledger has no microseconds
    process(Batch(first.object, attempt=1, redrive_of=arn_of(first.object.id)), cut)
    dry = run("--again", "--committed-before", cut.isoformat(), "--dry-run", "--json")
    ran = run("--again", "--committed-before", cut.isoformat(), "--json")

    assert counts(dry) == {"processed since": 1, "started before": 1}
    assert (counts(ran), keys(ran)) == ({"processed since": 1, "succeeded": 1}, ["b.json"])
    assert started(machine) == [f"{second.object.id}-r1"]


@pytest.mark.parametrize("first", ["written", "failed"])
def test_again_processes_a_bulk_object_in_its_original_chunks(
    run: Run, buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """In other chunks, its new ledger files would lie beside the old ones; `chunk_bytes` may have changed since."""
    bulk = Bulk.upload(buckets, lines(9))
    monkeypatch.setattr("functions.shared.model.chunking.BULK_FROM", 10)
    machine.add(bulk.batch, "SUCCEEDED" if first == "written" else "FAILED")
    bulk.run(failing=(200,) if first == "failed" else ())
    run("--again")
    again = begun(machine, f"{bulk.id}-r1", BULK_ARN)
    Bulk(buckets, again).run()

    assert again.plan == Plan(CHUNK_BYTES, bulk.starts)
    assert (again.attempt, again.redrive_of) == (1, bulk.arn)
    assert states(buckets, machine) == [State.WRITTEN]
    assert verified(buckets) == [Verified.HOLDS]


def test_the_inventory_holds_few_rows_in_memory(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "_BATCH", 3)
    for number in range(10):
        buckets.upload(f"{number}.json", b"{}")
    listed = arrivals(buckets.s3, "raw", ArrivalFilter())
    items = (
        BackfilledObject(arrival.raw, arrival.at, arrival.is_deleted, ItemStatus.NEW, "", None) for arrival in listed
    )
    table = inventory.Inventory()

    assert list(table.add(items)) == [3, 6, 9, 10]
    assert len(list(table.select([ItemStatus.NEW]))) == 10


def test_a_missing_raw_bucket_is_named(run: Run, command_line: CommandLine) -> None:
    """CloudFormation does not check that the bucket in the settings exists."""
    command_line.deploy(raw="no-such")

    assert "There is no raw bucket no-such" in str(run().exception)
