"""A record leads straight to its ledger file and its bytes; an object to its books and letters."""

import json

import boto3
import pytest
from typer.testing import CliRunner

from custody.books import Entry
from custody.commands import trace as trace_command
from custody.failure import CommandFailed
from custody.main import app
from custody.target import Target
from tests.functional.bulk import Bulk, lines
from tests.functional.desk import Run, a_deployment, delivered_in_part, reads_of, redriven_in_vain
from tests.functional.stages import GOOD, written
from tests.rooms import Rooms


@pytest.fixture
def run(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> Run:  # noqa: ARG001 - the command talks to its buckets
    """Give the command line, on buckets in memory."""
    target = Target("buckets in memory", boto3.Session(), None)
    deployment = a_deployment()
    monkeypatch.setattr(trace_command, "target_of", lambda *_, **__: target)
    monkeypatch.setattr(trace_command, "find", lambda *_: deployment)
    return lambda *arguments: CliRunner().invoke(app, ["trace", *arguments])


@pytest.fixture
def bulk(rooms: Rooms) -> Bulk:
    """Give an object of seven chunks: that at 200 rejected a record, and that at 400 failed."""
    bulk = Bulk.upload(rooms, lines(20, bad=(4,)))
    assert bulk.run(failing=(400,)) == "ChunksFailed"
    return bulk


def test_a_written_record_is_shown_as_it_came_and_as_it_is_delivered(bulk: Bulk, run: Run) -> None:
    told = json.loads(run(f"{bulk.id}.61", "--json").stdout)
    assert (told["outcome"], told["chunk"], told["attempt"]) == ("written", {"start": 0, "bytes": 200}, 0)
    assert told["received_text"] == GOOD.decode()
    assert json.loads(told["written_text"])["confidence_band"] == "high"
    assert told["parent"] == bulk.arn

    shown = run(f"{bulk.id}.61").stdout
    assert "written at attempt 0" in shown
    assert "byte 61, 60 bytes, in the chunk of 200 bytes at byte 0" in shown
    assert '"confidence_band":"high"' in shown


def test_a_rejected_record_is_shown_with_all_that_it_breaks(bulk: Bulk, run: Run) -> None:
    shown = run(f"{bulk.id}.244").stdout
    assert "rejected at attempt 0" in shown
    assert "validate: /confidence: maximum 1" in shown
    assert "RUMINT" in shown
    assert f"{bulk.id}/000000000000200.0.Rejected (open)" in shown
    assert "written to" not in shown


def test_a_record_that_was_given_up_says_so(bulk: Bulk, run: Run) -> None:
    bulk.rooms.s3.put_object(Bucket="audit", Key=Entry(bulk.id, 200, 0, discards=True).key, Body=b"")
    assert "discarded at attempt 0" in run(f"{bulk.id}.244").stdout
    assert "written at attempt 0" in run(f"{bulk.id}.304").stdout, "its neighbour was delivered"


def test_only_the_ledger_file_of_its_chunk_is_read(bulk: Bulk, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    read = reads_of("lines", monkeypatch)
    assert run(f"{bulk.id}.609").exit_code == 0
    assert read == [Entry(bulk.id, 600, 0)]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("{id}.62", "There is no record"),
        ("{id}.450", "that of its chunk is missing; its latest letter says why: custody letters show"),
        ("{id}.999999", "that of its chunk is missing"),
        ("nothing.json", "it is no record id, no object id, and no key in raw"),
        ("", "it is no record id"),
        (f"a-json-{0:024x}", "no ledger file and no letter"),
        (f"a-json-{0:024x}.7", "no ledger file and no letter"),
    ],
)
def test_what_nothing_tells_of_is_said_in_a_line(bulk: Bulk, run: Run, wanted: str, said: str) -> None:
    refused = run(wanted.format(id=bulk.id))
    assert isinstance(refused.exception, CommandFailed)
    assert refused.exception.code == 1
    assert said in str(refused.exception)


def test_an_object_is_shown_with_its_chunks_and_letters(bulk: Bulk, run: Run) -> None:
    shown = run(bulk.id).stdout
    assert "17 received, 16 written, 1 rejected, at attempt 0" in shown
    assert "7 total, 6 booked, 1 failed" in shown
    assert "booked at byte 200, rejected records: 1" in shown
    assert "failed at byte 400" in shown
    assert "object.0.Account (open)" in shown

    told = json.loads(run(bulk.id, "--json").stdout)
    assert [chunk["start"] for chunk in told["chunks"]["not_written"]] == [200, 400]
    assert len(told["letters"]) == 3


def test_a_bulk_object_in_the_making_is_shown_as_such(rooms: Rooms, run: Run) -> None:
    bulk = Bulk.upload(rooms, lines(20))
    bulk.chunk(0)
    bulk.chunk(200)
    told = json.loads(run(bulk.id, "--json").stdout)
    assert (told["counts"], told["ledger"], told["execution"]) == (None, None, bulk.arn)
    assert told["chunks"] == {"booked": 2, "not_written": []}
    assert "its books are not closed, at attempt 0" in run(bulk.id).stdout


def test_an_object_of_which_only_a_letter_tells_is_shown_by_that(rooms: Rooms, run: Run) -> None:
    bulk = Bulk.upload(rooms, lines(20))
    bulk.end("ExecutionAborted", "ProcessChunks")
    shown = run(bulk.id).stdout
    assert f"execution  {bulk.arn}" in shown
    assert "object.0.ProcessChunks (open)" in shown


def test_an_object_that_is_one_batch_is_shown_with_its_output(rooms: Rooms, run: Run) -> None:
    letter = delivered_in_part(rooms)
    shown = run(letter.object_id).stdout
    assert "2 received, 1 written, 1 rejected, at attempt 0" in shown
    assert "s3://processed/mission/" in shown
    assert "rejected at attempt 0" in run(f"{letter.object_id}.1").stdout


def test_a_key_names_its_newest_version_and_says_which_others_there_are(rooms: Rooms, run: Run) -> None:
    letter = delivered_in_part(rooms)
    assert run("mission/a.json").stdout == run("s3://raw/mission/a.json").stdout == run(letter.object_id).stdout
    rooms.upload("mission/a.json.bak", GOOD)
    written(rooms, "mission/a.json", GOOD)
    assert f"another version of its key: {letter.object_id}" in run("mission/a.json").stdout


def test_each_attempt_of_a_record_is_named(rooms: Rooms, run: Run) -> None:
    letter = redriven_in_vain(rooms)
    told = json.loads(run(f"{letter.object_id}.1", "--json").stdout)
    assert [each["attempt"] for each in told["attempts"]] == [0]
    assert [each["open"] for each in told["letters"]] == [False, True]


def test_what_is_gone_is_said_to_be(bulk: Bulk, run: Run) -> None:
    for bucket in ("raw", "processed"):
        for version in bulk.rooms.s3.list_object_versions(Bucket=bucket)["Versions"]:
            bulk.rooms.s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
    shown = run(f"{bulk.id}.61").stdout
    assert "the raw version is gone" in shown
    assert "that version is gone: see `custody verify`" in shown
