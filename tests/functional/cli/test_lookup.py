"""A record id names the dead letter of its own chunk, if the record failed, and never that of another record."""

import json
import re
from collections.abc import Callable

import pytest

from custody.audit.subject import Subject, resolve
from custody.errors import USAGE, CommandFailed
from functions.shared.model.ids import RawObject
from functions.shared.model.keys import LedgerKey
from tests.support.audit_files import DAY, Run, an_id, delivered_in_part
from tests.support.buckets import Buckets
from tests.support.bulk import Bulk, lines
from tests.support.command_line import DEPLOYMENT, CommandLine, refusal
from tests.support.executions import Machine, arn_of
from tests.support.stages import GOOD, written

DISCARD = ["discard", "--reason", "any"]
COMMANDS = pytest.mark.parametrize("command", [["show"], DISCARD], ids=["show", "discard"])


def discards(buckets: Buckets) -> list[str]:
    return [key.rpartition("/")[2] for key in buckets.keys("audit", "ledger/") if "discarded" in key]


@pytest.fixture
def bulk(buckets: Buckets) -> Bulk:
    """Return an object of seven chunks: the record at 244 was rejected, chunk 400 failed, chunk 600 never ran."""
    bulk = Bulk.upload(buckets, lines(20, bad=(4,)))
    assert bulk.run(failing=(400,), lost=(600,)) == "ChunksFailed"
    return bulk


@COMMANDS
@pytest.mark.parametrize(
    ("position", "message"),
    [
        (0, "is written: it did not fail"),
        (304, "is written: it did not fail"),
        (245, "There is no record"),
        (610, "There is no dead letter about"),
        (99999, "There is no dead letter about"),
    ],
    ids=["clean chunk", "beside a rejected record", "within a record", "chunk that never ran", "beyond the end"],
)
def test_a_record_that_did_not_fail_names_no_dead_letter(
    bulk: Bulk, run: Run, command: list[str], position: int, message: str
) -> None:
    assert message in str(run(*command, f"{bulk.id}.{position}").exception)
    assert discards(bulk.buckets) == []


@COMMANDS
def test_a_record_before_the_first_known_chunk_is_in_no_chunk(buckets: Buckets, run: Run, command: list[str]) -> None:
    bulk = Bulk.upload(buckets, lines(8))
    bulk.chunk(200, fails=True)
    assert "There is no dead letter about" in str(run(*command, f"{bulk.id}.0").exception)
    assert discards(buckets) == []


def test_only_the_named_record_is_discarded_and_only_once(bulk: Bulk, run: Run) -> None:
    assert run("discard", f"{bulk.id}.244", "--reason", "the first").exit_code == 0
    assert discards(bulk.buckets) == ["000000000000200.0.discarded.jsonl.gz"]
    refused = str(run(*DISCARD, f"{bulk.id}.244").exception)
    assert "is already resolved: discarded on" in refused
    assert "the first" in refused
    assert len(discards(bulk.buckets)) == 1
    assert "resolved: discarded on" in run("show", f"{bulk.id}.244").stdout


def two_rejected(buckets: Buckets) -> tuple[str, str]:
    bulk = Bulk.upload(buckets, lines(8, bad=(4, 5)))
    bulk.run()
    return f"{bulk.id}.244", "2 records"


def failed_chunk(buckets: Buckets) -> tuple[str, str]:
    bulk = Bulk.upload(buckets, lines(8))
    bulk.run(failing=(200,))
    return f"{bulk.id}.244", "the whole batch"


@pytest.mark.parametrize("fail", [two_rejected, failed_chunk])
def test_a_record_is_not_discarded_together_with_others(
    buckets: Buckets, run: Run, fail: Callable[[Buckets], tuple[str, str]]
) -> None:
    record, message = fail(buckets)

    refused = str(run(*DISCARD, record).exception)

    assert f"The dead letter of {record} is about more than this record" in refused
    assert message in refused
    assert "custody dead-letters discard dt=" in refused
    assert discards(buckets) == []


def test_in_a_document_only_the_rejected_record_can_be_discarded(buckets: Buckets, run: Run) -> None:
    dead_letter = delivered_in_part(buckets)
    assert "is written" in str(run(*DISCARD, f"{dead_letter.object_id}.0").exception)
    assert run(*DISCARD, f"{dead_letter.object_id}.1").exit_code == 0
    assert discards(buckets) == [LedgerKey(dead_letter.object_id, 0, 0, discards=True).key.rpartition("/")[2]]


@COMMANDS
def test_an_object_without_failures_has_no_dead_letter(buckets: Buckets, run: Run, command: list[str]) -> None:
    object_id = RawObject(**written(buckets, "mission/a.json", GOOD)["object"]).id
    unfinished = Bulk.upload(buckets, lines(20))
    unfinished.chunk(200)
    for name in (object_id, unfinished.id):
        assert f"There is no dead letter about {name}. See" in str(run(*command, name).exception)


@pytest.mark.parametrize("named", ["mission/a.json", "s3://raw/mission/a.json"])
def test_a_key_names_the_dead_letter_of_its_newest_version(buckets: Buckets, run: Run, named: str) -> None:
    buckets.upload("mission/a.json", b"an older version")
    newest = delivered_in_part(buckets)
    shown = run("show", named, "--json")
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["id"] == newest.id


HIVE = "dt=2026-01-01/device-0123456789abcdef01234567/part.json"
"""A key that looks like the id of a dead letter."""


def subject(machine: Machine, name: str) -> Subject:
    """Resolve a name in the deployment of the state machines in memory."""
    return resolve(machine.buckets.s3, machine.pipeline(), DEPLOYMENT, name)


@pytest.mark.parametrize("name", [HIVE, f"s3://raw/{HIVE}"])
def test_a_key_that_looks_like_a_dead_letter_names_the_raw_object(
    machine: Machine, buckets: Buckets, name: str
) -> None:
    raw = buckets.upload(HIVE, GOOD).object
    assert subject(machine, name).raw == raw


def test_an_address_in_the_raw_bucket_is_never_a_dead_letter(machine: Machine) -> None:
    with pytest.raises(CommandFailed, match="No record, object, dead letter or key"):
        subject(machine, f"s3://raw/{HIVE}")


def test_an_execution_of_another_deployment_is_refused(machine: Machine, buckets: Buckets) -> None:
    raw = buckets.upload("mission/a.json", GOOD).object
    own = arn_of(raw.id)
    assert subject(machine, own).object_id == raw.id
    with pytest.raises(CommandFailed, match="is not an execution of this deployment"):
        subject(machine, own.replace(":pipeline:", ":custody-prod:"))


@pytest.mark.parametrize("name", ["nothing.json", an_id(1), f"{an_id(1)}.7", f"dt={DAY}/{an_id(1)}/{0:015}.0.Validate"])
@pytest.mark.parametrize(
    "command", ["trace", "verify", "redrive", "dead-letters show", "dead-letters discard --reason x"]
)
@pytest.mark.usefixtures("buckets")
def test_an_id_that_names_nothing_has_one_exit_code(command_line: CommandLine, command: str, name: str) -> None:
    assert re.search(f"{an_id(1)}|nothing.json", refusal(command_line.run(*command.split(), name), USAGE))
