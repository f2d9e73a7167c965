"""What a record id names: the dead letter of its own chunk, if the record failed; and never any other record's."""

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from custody.audit.identifiers import id_of, named
from custody.audit.lookup import find_dead_letter
from custody.audit.reader import AuditReader
from custody.errors import CommandFailed
from custody.executions.pipeline import Pipeline
from functions.shared.model.ids import RawObject
from functions.shared.model.keys import LedgerKey
from tests.support.audit_files import Run, delivered_in_part
from tests.support.buckets import Buckets
from tests.support.bulk import Bulk, lines
from tests.support.stages import GOOD, written

DISCARD = ["discard", "--reason", "any"]
COMMANDS = pytest.mark.parametrize("command", [["show"], DISCARD], ids=["show", "discard"])


def discards(buckets: Buckets) -> list[str]:
    return [key.rpartition("/")[2] for key in buckets.keys("audit", "ledger/") if "discarded" in key]


@pytest.fixture
def bulk(buckets: Buckets) -> Bulk:
    """Give an object of seven chunks: the record at 244 was rejected, that at 400 failed, nothing tells of 600."""
    bulk = Bulk.upload(buckets, lines(20, bad=(4,)))
    assert bulk.run(failing=(400,), lost=(600,)) == "ChunksFailed"
    return bulk


@COMMANDS
@pytest.mark.parametrize(
    ("position", "said"),
    [
        (0, "is written: nothing of it failed"),
        (304, "is written: nothing of it failed"),
        (245, "There is no record"),
        (610, "no chunk that the ledger tell of has it"),
        (99999, "There is no record"),
    ],
    ids=["in a clean chunk", "beside a rejected one", "within a record", "in a chunk that never ran", "behind the end"],
)
def test_a_record_that_did_not_fail_names_no_dead_letter(
    bulk: Bulk, run: Run, command: list[str], position: int, said: str
) -> None:
    refused = run(*command, f"{bulk.id}.{position}")
    assert isinstance(refused.exception, CommandFailed), refused.output
    assert said in str(refused.exception)
    assert discards(bulk.buckets) == []


def test_a_redrive_is_not_given_the_dead_letter_of_another_record(bulk: Bulk) -> None:
    for position in (0, 304, 610):
        with pytest.raises(CommandFailed, match=f"{bulk.id}.{position}"):
            find_dead_letter(AuditReader(bulk.buckets.s3, "audit"), f"{bulk.id}.{position}")


@COMMANDS
def test_a_record_before_all_that_the_commits_tell_of_is_in_no_chunk_of_theirs(
    buckets: Buckets, run: Run, command: list[str]
) -> None:
    bulk = Bulk.upload(buckets, lines(8))
    bulk.chunk(200, fails=True)
    assert "no chunk that the ledger tell of has it" in str(run(*command, f"{bulk.id}.0").exception)
    assert discards(buckets) == []


def test_a_record_is_discarded_and_no_other_one(bulk: Bulk, run: Run) -> None:
    assert run(*DISCARD, f"{bulk.id}.244").exit_code == 0
    assert discards(bulk.buckets) == ["000000000000200.0.discarded.jsonl.gz"]


def test_a_record_that_is_discarded_already_gives_up_nothing_more(bulk: Bulk, run: Run) -> None:
    run("discard", f"{bulk.id}.244", "--reason", "the first")
    refused = run(*DISCARD, f"{bulk.id}.244")
    assert "is closed already: discarded on" in str(refused.exception)
    assert "the first" in str(refused.exception)
    assert len(discards(bulk.buckets)) == 1
    assert "closed: discarded on" in run("show", f"{bulk.id}.244").stdout


def test_a_record_of_a_chunk_that_was_given_up_with_the_whole_is_said_to_be(bulk: Bulk, run: Run) -> None:
    run("discard", bulk.id, "--reason", "not wanted")
    given_up = discards(bulk.buckets)
    refused = run(*DISCARD, f"{bulk.id}.610")
    assert "discarded on" in str(refused.exception)
    assert "not wanted" in str(refused.exception)
    assert discards(bulk.buckets) == given_up


def two_rejected(buckets: Buckets) -> tuple[str, str]:
    bulk = Bulk.upload(buckets, lines(8, bad=(4, 5)))
    bulk.run()
    return f"{bulk.id}.244", "gives up 2 records"


def failed_chunk(buckets: Buckets) -> tuple[str, str]:
    bulk = Bulk.upload(buckets, lines(8))
    bulk.run(failing=(200,))
    return f"{bulk.id}.244", "gives up the whole batch"


@pytest.mark.parametrize("fail", [two_rejected, failed_chunk])
def test_a_record_is_not_discarded_with_others_that_nobody_named(
    buckets: Buckets, run: Run, fail: Callable[[Buckets], tuple[str, str]]
) -> None:
    record, said = fail(buckets)

    refused = run(*DISCARD, record)

    assert isinstance(refused.exception, CommandFailed), refused.output
    assert f"{record} is not alone in its dead letter" in str(refused.exception)
    assert said in str(refused.exception)
    assert "custody dead-letters discard dt=" in str(refused.exception)
    assert discards(buckets) == []


def test_of_a_document_the_rejected_record_is_discarded_and_the_written_one_is_not(buckets: Buckets, run: Run) -> None:
    dead_letter = delivered_in_part(buckets)
    assert "is written" in str(run(*DISCARD, f"{dead_letter.object_id}.0").exception)
    assert run(*DISCARD, f"{dead_letter.object_id}.1").exit_code == 0
    assert discards(buckets) == [LedgerKey(dead_letter.object_id, 0, 0, discards=True).key.rpartition("/")[2]]


@COMMANDS
def test_an_object_of_which_nothing_failed_is_said_to_be_so(buckets: Buckets, run: Run, command: list[str]) -> None:
    object_id = RawObject(**written(buckets, "mission/a.json", GOOD)["object"]).id
    whole = Bulk.upload(buckets, lines(20))
    whole.run()
    for name, records in ((object_id, "its 1 record is"), (whole.id, "its 20 records are")):
        refused = run(*command, name)
        assert f"Nothing of {name} failed: {records} written" in str(refused.exception)


@COMMANDS
def test_an_object_whose_commits_are_not_closed_is_not_said_to_be_whole(
    buckets: Buckets, run: Run, command: list[str]
) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    bulk.chunk(200)
    refused: Any = run(*command, bulk.id).exception
    assert f"No dead letter tells of {bulk.id} yet" in str(refused)


@pytest.mark.parametrize("named", ["mission/a.json", "s3://raw/mission/a.json"])
def test_a_key_names_the_dead_letter_of_its_newest_version(buckets: Buckets, run: Run, named: str) -> None:
    buckets.upload("mission/a.json", b"an older version")
    newest = delivered_in_part(buckets)
    shown = run("show", named, "--json")
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["id"] == newest.id


def test_a_key_without_a_dead_letter_is_answered_with_what_would_do(run: Run) -> None:
    refused = run("show", "mission/none.json")
    assert "a key in the raw bucket will do too" in str(refused.exception)


HIVE = "dt=2026-01-01/device-0123456789abcdef01234567/part.json"
"""A key that looks like the id of a dead letter."""


@pytest.mark.parametrize("named_so", [HIVE, f"s3://raw/{HIVE}"])
def test_a_key_that_looks_like_a_dead_letter_is_that_of_the_raw_bucket(buckets: Buckets, named_so: str) -> None:
    raw = buckets.upload(HIVE, GOOD).object
    assert id_of(buckets.s3, "raw", named_so) == raw.id
    assert named(buckets.s3, Pipeline(boto3.client("stepfunctions"), "arn"), "raw", "processed", named_so).raw == raw


def test_an_address_in_the_raw_bucket_is_never_a_dead_letter(buckets: Buckets) -> None:
    assert id_of(buckets.s3, "raw", f"s3://raw/{HIVE}") == f"s3://raw/{HIVE}"
    with pytest.raises(CommandFailed, match="Nothing tells of"):
        named(buckets.s3, Pipeline(boto3.client("stepfunctions"), "arn"), "raw", "processed", f"s3://raw/{HIVE}")


def test_an_execution_of_another_deployment_names_nothing_here(buckets: Buckets) -> None:
    pipeline = Pipeline(boto3.client("stepfunctions"), "arn:aws:states:us-east-1:123456789012:stateMachine:custody-dev")
    raw = buckets.upload("mission/a.json", GOOD).object
    other = f"arn:aws:states:us-east-1:123456789012:execution:custody-prod:{raw.id}"
    with pytest.raises(CommandFailed, match="of no state machine of this deployment"):
        named(buckets.s3, pipeline, "raw", "processed", other)
    assert named(buckets.s3, pipeline, "raw", "processed", other.replace("prod", "dev")).object_id == raw.id
