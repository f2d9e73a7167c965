"""What lies in the raw bucket is started: once, the oldest first, and once more only when that is asked for."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import Result

from custody.assurance.reconcile import Reconciler, State
from custody.assurance.verify import Result as Verified
from custody.assurance.verify import holdings, verdicts
from custody.audit import identifiers
from custody.audit.reader import AuditReader
from custody.executions.pipeline import Pipeline
from custody.ingest import inventory
from custody.ingest.backfill import Backfiller
from custody.ingest.raw_versions import ArrivalFilter, arrivals
from custody.recovery import redrive
from functions.shared.model.messages import Batch, Plan
from functions.shared.records.strict_json import encode
from functions.transform.handler import handle as transform
from functions.validate.handler import handle as validate
from functions.write.handler import handle as write
from tests.support.audit_files import Run
from tests.support.buckets import ARRIVED, Buckets, called_with
from tests.support.bulk import CHUNK_BYTES, Bulk, lines
from tests.support.clock import Clock
from tests.support.command_line import CommandLine
from tests.support.executions import BULK_ARN, MACHINE_ARN, Machine, arn_of, commit, discard, post
from tests.support.schemas import require_valid
from tests.support.stages import GOOD

SOON = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def machine(buckets: Buckets) -> Machine:  # noqa: ARG001 - the client of a machine stands on moto
    return Machine()


@pytest.fixture
def run(command_line: CommandLine, machine: Machine) -> Run:
    """Run `custody backfill`, on machines in memory; fast, unless a test gives another rate."""
    command_line.clients["stepfunctions"] = machine
    command_line.is_local = True
    return command_line.command("backfill", "--rate", "10000")


def told(ran: Result) -> Any:
    """Read the JSON document."""
    return json.loads(ran.stdout)


def counts(ran: Result) -> dict[str, int]:
    return {name: number for name, number in told(ran)["counts"].items() if number}


def keys(ran: Result) -> list[str]:
    return [one["object"]["key"] for one in told(ran)["objects"]]


def started(machine: Machine) -> list[str]:
    return [arn.rpartition(":")[2] for arn in machine.executions]


def test_what_lies_there_is_started_by_the_name_and_with_the_input_that_start_would_give_it(
    run: Run, buckets: Buckets, machine: Machine
) -> None:
    batch = buckets.upload("mission/Größe +1.json", b"{}")
    ran = run("--json")

    assert (ran.exit_code, counts(ran)) == (0, {"succeeded": 1})
    assert machine.executions[arn_of(batch.object.id)]["input"] == encode(batch.encode()).decode()
    assert told(ran)["objects"][0]["execution"] == arn_of(batch.object.id)


def test_each_version_is_started_and_in_the_order_in_which_they_came(
    run: Run, buckets: Buckets, machine: Machine
) -> None:
    """S3 tells of whole seconds: within one of them, versions of a key are told apart by their place in the list."""
    batches = [buckets.upload(key, body) for key, body in (("b.json", b"{}"), ("b.json", b"[]"), ("b.json", b"[1]"))]
    batches.append(buckets.upload("a.json", b"{}"))
    buckets.age("b.json", timedelta(seconds=1))
    run("--rate", "50")

    assert started(machine) == [batch.object.id for batch in batches]


def test_run_again_it_goes_on_with_what_was_not_started(run: Run, buckets: Buckets, machine: Machine) -> None:
    first = buckets.upload("a.json", b"{}")
    run()
    buckets.upload("b.json", b"{}")
    ran = run("--json")

    assert (counts(ran), keys(ran)) == ({"started before": 1, "succeeded": 1}, ["b.json"])
    assert len(started(machine)) == 2
    assert first.object.id in started(machine)


def failed(buckets: Buckets, machine: Machine, batch: Batch) -> None:
    post(buckets, batch, arn=machine.add(batch, error="AccessRefused"))


def forgotten(buckets: Buckets, _: Machine, batch: Batch) -> None:
    """After 90 days a name is free again: only the ledger knows."""
    commit(buckets, batch)


def forgotten_failure(buckets: Buckets, _: Machine, batch: Batch) -> None:
    post(buckets, batch)


def failed_without_a_trace(_: Buckets, machine: Machine, batch: Batch) -> None:
    machine.add(batch, "TIMED_OUT")


def lost_its_ledger_file(_: Buckets, machine: Machine, batch: Batch) -> None:
    """Neither list tells of it; Step Functions says that the name is taken."""
    machine.add(batch, "SUCCEEDED")


def runs(_: Buckets, machine: Machine, batch: Batch) -> None:
    machine.add(batch, "RUNNING")


def is_redriven_by_another(buckets: Buckets, machine: Machine, batch: Batch) -> None:
    failed(buckets, machine, batch)
    machine.add(Batch(batch.object, attempt=1), "RUNNING")


@pytest.mark.parametrize(
    ("story", "became"),
    [
        (failed, "started before"),
        (forgotten, "started before"),
        (forgotten_failure, "started before"),
        (failed_without_a_trace, "started before"),
        (lost_its_ledger_file, "started before"),
        (runs, "in flight"),
        (is_redriven_by_another, "in flight"),
    ],
)
def test_what_was_started_is_passed_over_whatever_tells_of_it(
    run: Run, buckets: Buckets, machine: Machine, story: Callable[[Buckets, Machine, Batch], object], became: str
) -> None:
    story(buckets, machine, buckets.upload("mission/a.json", b"{}"))
    before = set(machine.executions)
    ran = run("--json")

    assert (ran.exit_code, counts(ran)) == (0, {became: 1})
    assert set(machine.executions) == before


def test_a_dry_run_says_what_would_be_started_and_how_long_it_takes_and_changes_nothing(
    run: Run, buckets: Buckets, machine: Machine
) -> None:
    for number in range(25):
        buckets.upload(f"mission/{number:02}.json", b"{}" * 100)
    forgotten(buckets, machine, buckets.upload("old.json", b"{}"))
    shown, ran = run("--dry-run", "--rate", "5"), run("--dry-run", "--rate", "5", "--json")

    assert "and 5 more: add --json" in shown.stdout
    assert "26 object versions: 25 not started, 1 started before" in shown.stdout
    assert "25 would be started, with 5.0 kB" in shown.stdout
    assert "At 5 a second it takes 5.0 s" in shown.stdout
    document = told(ran)
    assert (len(document["objects"]), document["bytes"], document["seconds"]) == (25, 5000, 5.0)
    assert machine.executions == {}
    assert {shown.exit_code, ran.exit_code} == {0}


@pytest.mark.parametrize("story", [failed, forgotten, forgotten_failure, failed_without_a_trace])
def test_a_dry_run_does_not_count_what_was_started_before(
    run: Run, buckets: Buckets, machine: Machine, story: Callable[[Buckets, Machine, Batch], object]
) -> None:
    """It asks Step Functions for no name, so it must know from lists alone."""
    story(buckets, machine, buckets.upload("mission/a.json", b"{}"))

    assert counts(run("--dry-run", "--json")) == {"started before": 1}


def test_only_what_is_asked_for_is_looked_at(run: Run, buckets: Buckets) -> None:
    buckets.upload("mission/a.json", b"{}")
    buckets.upload("weather/a.json", b"{}")

    assert keys(run("--dry-run", "--prefix", "weather/", "--json")) == ["weather/a.json"]
    assert keys(run("--dry-run", "--until", (ARRIVED - timedelta(hours=1)).isoformat(), "--json")) == []


def test_a_ledger_is_found_under_whatever_slug_the_prefix_gives(run: Run, buckets: Buckets) -> None:
    for key in ("/", "//x/", "mission/Größe + naïve/", "a" * 39 + "/b/", "é/"):
        commit(buckets, buckets.upload(f"{key}a.json", b"{}"))
        assert counts(run("--dry-run", "--prefix", key, "--json")) == {"started before": 1}, key


def test_folder_markers_are_no_objects_and_deleted_keys_are_started_and_said_to_be(run: Run, buckets: Buckets) -> None:
    buckets.upload("mission/", b"")
    buckets.upload("mission/a.json", b"{}")
    buckets.s3.delete_object(Bucket="raw", Key="mission/a.json")
    shown, ran = run("--dry-run"), run("--json")

    assert "deleted since, but this version is still there" in " ".join(shown.stdout.split())
    assert (counts(ran), told(ran)["objects"][0]["deleted"]) == ({"succeeded": 1}, True)


def test_what_came_before_versioning_is_refused_and_named_with_what_to_do(
    run: Run, buckets: Buckets, machine: Machine, command_line: CommandLine
) -> None:
    buckets.s3.create_bucket(Bucket="theirs")
    buckets.s3.put_object(Bucket="theirs", Key="a.json", Body=b"{}")
    buckets.s3.put_bucket_versioning(Bucket="theirs", VersioningConfiguration={"Status": "Enabled"})
    command_line.deploy(raw="theirs")
    ran = run("--json")

    assert (ran.exit_code, counts(ran), keys(ran)) == (1, {"refused": 1}, ["a.json"])
    assert "before versioning; upload it again" in told(ran)["objects"][0]["why"]
    assert machine.executions == {}


@pytest.mark.parametrize(
    ("ends", "became", "code"),
    [
        ({"status": "SUCCEEDED"}, "succeeded", 0),
        ({"status": "FAILED", "error": "RecordsRejected"}, "rejected", 3),
        ({"status": "FAILED", "error": "AccessRefused"}, "failed", 1),
        ({"status": "TIMED_OUT"}, "failed", 1),
        ({"status": "RUNNING"}, "started", 1),
    ],
)
def test_it_ends_as_what_it_started_does(  # noqa: PLR0913, PLR0917 - a table
    run: Run, buckets: Buckets, machine: Machine, ends: dict[str, str], became: str, code: int
) -> None:
    for key in ("a.json", "b.json", "c.json"):
        buckets.upload(key, b"{}")
    machine.ends = ends
    ran = run("--timeout", "1", "--json")

    assert (ran.exit_code, counts(ran)) == (code, {became: 3})


def test_what_is_not_followed_is_only_started(run: Run, buckets: Buckets, machine: Machine) -> None:
    buckets.upload("a.json", b"{}")
    machine.ends = {"status": "FAILED", "error": "AccessRefused"}
    ran = run("--no-wait")

    assert ran.exit_code == 0
    assert "1 object version: 1 started" in ran.stdout


def test_no_more_are_started_a_second_than_was_said(
    run: Run, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        buckets.upload(f"{number}.json", b"{}")
    clock = Clock()
    monkeypatch.setattr(redrive, "time", clock)
    run("--rate", "10/s", "--no-wait")

    assert round(clock.now, 3) == 0.5


def test_when_step_functions_takes_no_more_what_was_started_is_told_and_the_rest_goes_on_later(
    run: Run, buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        buckets.upload(f"{number}.json", b"{}")
    start = machine.start_execution

    def throttled(**asked: Any) -> Any:
        if len(machine.executions) == 2:
            raise machine.error("ThrottlingException")
        return start(**asked)

    monkeypatch.setattr(machine, "start_execution", throttled)
    ran = run("--json", "--rate", "20")
    assert counts(ran) == {"started": 2, "not started": 2}
    assert "run the same again" in ran.stderr

    monkeypatch.setattr(machine, "start_execution", start)
    assert counts(run("--json")) == {"started before": 2, "succeeded": 2}


def test_a_full_disk_is_said_with_what_to_do(run: Run, buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    buckets.upload("a.json", b"{}")
    small = (*inventory._SETTINGS, "PRAGMA max_page_count = 2")  # noqa: SLF001 - a disk of two pages
    monkeypatch.setattr(inventory, "_SETTINGS", small)
    ran = run()

    assert "let TMPDIR name a folder that has it" in str(ran.exception)


def test_times_of_another_run_go_only_with_again(run: Run) -> None:
    ran = run("--committed-before", "1h")

    assert "--committed-before goes with --again" in str(ran.exception)


def test_a_deployment_that_takes_only_a_part_of_a_bucket_looks_at_no_other(
    run: Run, buckets: Buckets, command_line: CommandLine
) -> None:
    buckets.upload("incoming/mission/a.json", b"{}")
    buckets.upload("other/a.json", b"{}")
    command_line.deploy(raw_prefix="incoming/")

    assert keys(run("--dry-run", "--json")) == ["incoming/mission/a.json"]
    assert keys(run("--dry-run", "--json", "--prefix", "inc")) == ["incoming/mission/a.json"]
    assert keys(run("--dry-run", "--json", "--prefix", "incoming/weather/")) == []
    assert "only keys that begin with incoming/" in str(run("--prefix", "other/").exception)


# --again


def process(batch: Batch, at: datetime | None = None) -> None:
    """Let the steps do the work of a batch, as its execution would: now, or at a time."""
    entered = (at or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    arn = arn_of(batch.object.id + (f"-r{batch.attempt}" if batch.attempt else ""))
    message: Any = batch.encode()
    for state, handle in (("Validate", validate), ("Transform", transform), ("Write", write)):
        payload = called_with(message, state)
        payload["execution"] |= {"Id": arn, "Name": arn.rpartition(":")[2], "Input": {"attempt": batch.attempt}}
        payload["state"]["EnteredTime"] = entered
        message = handle(payload, None)


def begun(machine: Machine, name: str, arn: str = MACHINE_ARN) -> Batch:
    return Batch.decode(json.loads(machine.executions[arn_of(name, arn)]["input"]))


def states(buckets: Buckets, machine: Machine, chunk_bytes: int = 10**6) -> list[State]:
    client: Any = machine
    pipeline = Pipeline(client, MACHINE_ARN, BULK_ARN, chunk_bytes)
    reconciler = Reconciler(AuditReader(buckets.s3, "audit"), pipeline, SOON)
    return [one.state for one in reconciler.run(arrivals(buckets.s3, "raw", ArrivalFilter()))]


def verified(buckets: Buckets) -> list[Verified]:
    return [one.result for one in verdicts(buckets.s3, "audit", holdings(buckets.s3, "audit"))]


def test_what_was_processed_is_processed_once_more_as_its_next_attempt_and_the_commits_are_clean(
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


def test_again_starts_what_is_new_too_and_leaves_alone_what_runs(run: Run, buckets: Buckets, machine: Machine) -> None:
    running, new, done = (buckets.upload(f"{name}.json", GOOD) for name in ("running", "new", "done"))
    machine.add(running, "RUNNING")
    process(running)
    process(done)
    ran = run("--again", "--json")

    assert counts(ran) == {"in flight": 1, "succeeded": 2}
    assert set(started(machine)) == {running.object.id, new.object.id, f"{done.object.id}-r1"}


def test_again_names_what_it_leaves_alone_because_it_runs_and_says_when_to_run_it_again(
    run: Run, buckets: Buckets, machine: Machine
) -> None:
    """What began before the change may have run the code, and met the contract, of before."""
    running, done = buckets.upload("running.json", GOOD), buckets.upload("done.json", GOOD)
    machine.add(running, "RUNNING")
    process(done)
    as_json = run("--again", "--json")
    require_valid(["backfill", "--json"], as_json.stdout)
    (passed,) = (one for one in told(as_json)["objects"] if one["became"] == "in flight")
    assert (as_json.exit_code, passed["object"]["key"], passed["execution"]) == (1, "running.json", None)
    assert "run it again when it has ended" in passed["why"]

    shown = run("--again")
    (row,) = (line for line in shown.stdout.splitlines() if line.strip().startswith("running.json"))
    assert shown.exit_code == 1
    assert "in flight" in row
    assert running.object.id in row
    assert "1 object version was running already" in shown.stderr
    since = passed["last_modified"][:19]
    assert f"custody backfill --again --since {since}" in shown.stderr

    process(running)
    machine.executions[arn_of(running.object.id)]["status"] = "SUCCEEDED"
    later = run("--again", "--since", passed["last_modified"], "--json")
    assert later.exit_code == 0
    assert "running.json" in keys(later)


def test_a_dry_run_of_again_names_what_runs_too(run: Run, buckets: Buckets, machine: Machine) -> None:
    machine.add(buckets.upload("running.json", GOOD), "RUNNING")
    ran = run("--again", "--dry-run", "--json")
    assert (ran.exit_code, keys(ran), told(ran)["bytes"]) == (0, ["running.json"], 0)
    assert "0 would be started" in run("--again", "--dry-run").stdout


def test_what_began_while_again_was_starting_is_left_alone_and_named(
    run: Run, buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = buckets.upload("a.json", GOOD)
    process(batch)
    start = machine.start_execution

    def overtaken(**asked: Any) -> Any:
        machine.add(Batch(batch.object, attempt=1), "RUNNING")
        return start(**asked)

    monkeypatch.setattr(machine, "start_execution", overtaken)
    ran = run("--again", "--json")
    assert (ran.exit_code, counts(ran), keys(ran)) == (1, {"in flight": 1}, ["a.json"])


def test_what_was_started_by_an_interrupted_run_is_not_said_to_run(
    run: Run, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have ended: nobody has looked."""

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    buckets.upload("a.json", b"{}")
    monkeypatch.setattr(Backfiller, "follow", interrupted)
    ran = run()
    assert "1 object version: 1 started" in ran.stdout
    assert "running" not in ran.stdout


def test_what_was_followed_in_vain_runs_still(run: Run, buckets: Buckets, machine: Machine) -> None:
    buckets.upload("a.json", b"{}")
    machine.ends = {"status": "RUNNING"}
    assert "1 object version: 1 running" in run("--timeout", "1").stdout


def test_again_takes_what_failed_from_its_beginning_at_the_attempt_behind_its_dead_letter(
    run: Run, buckets: Buckets, machine: Machine
) -> None:
    batch = Batch(buckets.upload("a.json", b"{}").object, attempt=2)
    last = machine.add(batch, error="AccessRefused")
    post(buckets, batch, arn=last)
    run("--again")

    again = begun(machine, f"{batch.object.id}-r3")
    assert (again.attempt, again.redrive_of, again.plan) == (3, last, None)


def test_what_an_operator_has_discarded_stays_so(run: Run, buckets: Buckets, machine: Machine) -> None:
    batch = buckets.upload("a.json", b"{}")
    post(buckets, batch)
    discard(buckets, batch)
    ran = run("--again", "--json")

    assert (ran.exit_code, counts(ran), machine.executions) == (0, {"discarded": 1}, {})


def test_a_damaged_ledger_file_is_no_reason_to_start_for_its_first_version_is_there(
    run: Run, buckets: Buckets, machine: Machine
) -> None:
    batch = buckets.upload("a.json", b"{}")
    buckets.s3.put_object(Bucket="audit", Key=commit(buckets, batch), Body=b"damaged")
    ran = run("--again", "--json")

    assert (ran.exit_code, counts(ran), machine.executions) == (1, {"refused": 1}, {})
    assert f"custody verify {batch.object.id}" in told(ran)["objects"][0]["why"]


def test_an_interrupted_again_goes_on_from_what_was_committed_before_it_began(
    run: Run, buckets: Buckets, machine: Machine
) -> None:
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
def test_a_bulk_object_is_processed_once_more_whole_and_cut_as_it_was(
    run: Run, buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Cut otherwise, its new ledger files would stand beside the old ones: chunk_bytes may have been changed since."""
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


def test_a_million_objects_are_not_held_at_a_time(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    """The roll holds as many rows as S3 gives in a call, however many there are."""
    monkeypatch.setattr(inventory, "_AT_ONCE", 3)
    for number in range(10):
        buckets.upload(f"{number}.json", b"{}")
    held = inventory.Inventory()
    found = (inventory.InventoryItem(arrival, "new") for arrival in arrivals(buckets.s3, "raw", ArrivalFilter()))

    assert list(held.add(found)) == [3, 6, 9, 10]
    assert len(list(held.those(["new"]))) == 10


def test_a_bucket_that_is_not_there_is_named_with_what_to_do(run: Run, command_line: CommandLine) -> None:
    """CloudFormation does not look whether the bucket is there that the stack is told of."""
    command_line.deploy(raw="no-such")

    assert "The raw bucket no-such is not there" in str(run().exception)


def test_since_and_until_are_of_the_arrival(run: Run, buckets: Buckets) -> None:
    buckets.upload("a.json", b"{}")
    hour = timedelta(hours=1)
    assert keys(run("--dry-run", "--json", "--since", (ARRIVED - hour).isoformat())) == ["a.json"]
    assert keys(run("--dry-run", "--json", "--since", (ARRIVED + hour).isoformat())) == []


def test_the_id_that_narrows_a_list_is_part_of_the_id_of_each_object(buckets: Buckets) -> None:
    for prefix in ("", "mission/", "-", "é", "/a", "x" * 50):
        batch = buckets.upload(f"{prefix}a.json", b"{}")
        assert batch.object.id.startswith(identifiers.slug_of_prefix(prefix))
