"""`custody put`: a file of any size goes in, and what became of its records is counted; only the first are listed."""

import io
import itertools
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from rich.console import Console
from typer.testing import CliRunner, Result

from custody.app import app
from custody.audit.ledger_lines import Counts
from custody.audit.reader import LedgerKey
from custody.commands import put as put_command
from custody.deployment.target import Target
from custody.errors import CommandFailed
from custody.executions.pipeline import Pipeline
from custody.ingest import outcome
from custody.ingest import upload as ingest_upload
from custody.ingest.outcome import Sent
from custody.ingest.upload import Place, upload
from custody.ingest.watch import Watcher, Whereabouts
from custody.terminal import console
from functions.shared.model import chunking
from functions.shared.model.messages import Batch
from tests.support.audit_files import a_deployment, reads_of
from tests.support.buckets import Buckets
from tests.support.bulk import CHUNK_BYTES, Bulk, lines
from tests.support.executions import BULK_ARN, MACHINE_ARN, Machine
from tests.support.stages import BAD, GOOD, written

if TYPE_CHECKING:
    from functions.shared.model.ids import RawObject

Run = Callable[..., Result]


@pytest.fixture
def machine(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> Machine:  # noqa: ARG001 - its client stands on moto
    monkeypatch.setattr(chunking, "BULK_FROM", CHUNK_BYTES)
    machine = Machine()
    client: Any = machine
    pipeline = Pipeline(client, MACHINE_ARN, BULK_ARN, CHUNK_BYTES)
    monkeypatch.setattr(Pipeline, "of", lambda *_: pipeline)
    return machine


@pytest.fixture
def watcher(machine: Machine) -> Watcher:  # noqa: ARG001 - it follows what that runs
    target = Target("buckets in memory", boto3.Session(), None)
    watcher = Watcher(target, a_deployment())
    watcher._pause = 0.001  # noqa: SLF001 - a test does not wait
    return watcher


def a_file(tmp_path: Path, body: bytes, name: str = "many.jsonl") -> Path:
    file = tmp_path / name
    file.write_bytes(body)
    return file


def bulk_of(buckets: Buckets, sent: Sent) -> Bulk:
    found = Bulk.upload(buckets, lines(20))
    assert found.batch.plan is not None
    starts = tuple(range(0, sent.raw.size, CHUNK_BYTES))
    return Bulk(buckets, Batch(sent.raw, plan=replace(found.batch.plan, chunks=starts)))


def test_a_large_file_of_lines_is_followed_in_the_machine_of_bulk_objects(
    buckets: Buckets, machine: Machine, watcher: Watcher, tmp_path: Path
) -> None:
    sent = watcher.send(a_file(tmp_path, lines(20, bad=(4, 9))), "mission/many.jsonl")
    bulk = bulk_of(buckets, sent)
    assert (sent.execution, sent.chunks) == (bulk.arn, 7)

    seen: list[Whereabouts] = []
    watching = watcher.watch(sent, 10)
    seen.append(next(watching))
    machine.add(bulk.batch, "RUNNING")
    bulk.chunk(0)
    bulk.chunk(200)
    seen.append(next(watching))
    for start in bulk.starts[2:]:
        bulk.chunk(start)
    seen.append(next(watching))
    bulk.close()
    machine.add(bulk.batch, error="RecordsRejected", cause='{"errorMessage": "2 of 20"}')
    seen += watching

    assert [str(each) for each in seen] == ["waiting for its event", "in ProcessChunks", "in Summarize", "FAILED"]
    assert [each.chunks for each in seen] == [None, (2, 7), (7, 7), (7, 7)]
    assert seen[1].counts is not None
    assert (seen[1].counts.received, seen[1].counts.rejected) == (7, 1)

    fate = watcher.fate(sent)
    assert fate.code == 3
    told = fate.encode()
    assert told["counts"] == {"received": 20, "written": 18, "rejected": 2}
    assert told["chunks"] == {"total": 7, "committed": 7, "failed": 0}
    assert (len(told["records"]), told["records_more"]) == (20, 0)
    assert told["dead_letter"].endswith("/object.0.Summarize.json")
    assert told["cause"] == "2 of 20"


def test_each_header_is_read_once_while_it_is_followed(
    buckets: Buckets, machine: Machine, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = watcher.send(a_file(tmp_path, lines(20)), "mission/many.jsonl")
    bulk = bulk_of(buckets, sent)
    machine.add(bulk.batch, "RUNNING")
    read = reads_of("header", monkeypatch)
    watching = watcher.watch(sent, 10)
    for start in bulk.starts[:3]:
        bulk.chunk(start)
        next(watching)
    assert read == [LedgerKey(bulk.id, start, 0) for start in bulk.starts[:3]]


def test_a_bulk_object_with_a_chunk_that_failed_is_not_accounted_for(
    buckets: Buckets, machine: Machine, watcher: Watcher, tmp_path: Path
) -> None:
    sent = watcher.send(a_file(tmp_path, lines(20)), "mission/many.jsonl")
    bulk = bulk_of(buckets, sent)
    bulk.run(failing=(400,))
    machine.add(bulk.batch, error="ChunksFailed")
    fate = watcher.fate(sent)
    assert fate.code == 1
    assert fate.encode()["counts"] == {"received": 17, "written": 17, "rejected": 0}


def test_what_is_committed_so_far_is_counted_when_the_time_is_up(
    buckets: Buckets, machine: Machine, watcher: Watcher, tmp_path: Path
) -> None:
    sent = watcher.send(a_file(tmp_path, lines(20)), "mission/many.jsonl")
    bulk = bulk_of(buckets, sent)
    bulk.chunk(0)
    machine.add(bulk.batch, "RUNNING")
    fate = watcher.fate(sent)
    assert (fate.code, fate.has_ended, fate.chunks) == (1, False, None)
    assert fate.encode()["counts"]["received"] == 4


def test_of_many_records_only_the_first_that_were_rejected_are_listed(
    buckets: Buckets, machine: Machine, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome, "LISTED", 3)
    sent = watcher.send(a_file(tmp_path, lines(20, bad=(1, 4, 9, 12, 19))), "mission/many.jsonl")
    bulk = bulk_of(buckets, sent)
    bulk.run()
    machine.add(bulk.batch, error="RecordsRejected")
    told = watcher.fate(sent).encode()
    assert [record["outcome"] for record in told["records"]] == ["rejected"] * 3
    assert [record["position"] for record in told["records"]] == [61, 243, 547]
    assert told["records_more"] == 17
    assert told["records"][0]["violations"][0]["pointer"] == "/confidence"


@pytest.fixture
def run(buckets: Buckets, watcher: Watcher, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give the command line, which finds each object processed as soon as it has sent it."""
    true = watcher.send

    def send(file: Path, key: str, sent: Callable[[int], object]) -> Sent:
        one = true(file, key, sent)
        if one.chunks is not None:
            bulk = bulk_of(buckets, one)
            error = bulk.run()
            machine.add(bulk.batch, "FAILED" if error else "SUCCEEDED", error=error)
        else:
            machine.add(Batch(one.raw), "SUCCEEDED")
        return one

    monkeypatch.setattr(watcher, "send", send)
    monkeypatch.setattr(put_command, "Watcher", lambda *_: watcher)
    monkeypatch.setattr(put_command, "target_of", lambda *_, **__: None)
    monkeypatch.setattr(put_command, "find", lambda *_: a_deployment())
    return lambda *arguments: CliRunner().invoke(app, ["put", *map(str, arguments)])


def test_the_table_counts_and_shows_no_more_than_ten_rejected_records(run: Run, tmp_path: Path) -> None:
    shown = run(a_file(tmp_path, lines(60, bad=tuple(range(0, 60, 4)))), "--key", "mission/many.jsonl")
    assert shown.exit_code == 3, shown.output
    rows = shown.stdout.splitlines()
    assert sum(" rejected " in row and "RUMINT" not in row and ".jsonl " in row for row in rows) == 11
    assert any("5 more" in row and "custody trace mission-many-jsonl-" in row for row in rows)
    assert any(row.split() == ["mission/many.jsonl", "60", "45", "15", "19", "of", "19"] for row in rows), rows
    assert any("45 records" in row and "an object a chunk" in row for row in rows)


def test_where_only_some_keys_are_taken_a_file_goes_there_and_a_key_elsewhere_is_refused(
    run: Run, buckets: Buckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(put_command, "find", lambda *_: a_deployment(raw_prefix="incoming/"))
    file = a_file(tmp_path, GOOD)

    run(file, "--no-wait")
    run(file, "--no-wait", "--key", "incoming/mission/a.json")
    refused = run(file, "--key", "mission/a b.json")

    assert set(buckets.keys("raw")) == {f"incoming/{file.name}", "incoming/mission/a.json"}
    assert "say --key 'incoming/mission/a b.json'" in str(refused.exception)


def test_a_document_of_the_command_is_short_however_many_records_there_are(run: Run, tmp_path: Path) -> None:
    shown = run(a_file(tmp_path, lines(60)), "--key", "mission/many.jsonl", "--json").stdout
    (one,) = json.loads(shown[shown.index('{\n  "objects"') :])["objects"]  # behind what the handlers log
    assert (one["status"], one["counts"]["written"], one["output"]) == ("SUCCEEDED", 60, None)


def test_one_batch_of_many_records_is_counted_too(
    buckets: Buckets, watcher: Watcher, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome, "LISTED", 2)
    report = written(buckets, "mission/a.json", b"[" + b", ".join([GOOD] * 3) + b"]")
    batch = Batch.decode(report)
    told = watcher.fate(Sent("a.json", batch.object, machine.add(batch, "SUCCEEDED"), None)).encode()
    assert (told["records"], told["records_more"], told["counts"]["written"]) == ([], 3, 3)
    assert told["output"]["bucket"] == "processed"


def test_a_file_of_many_parts_becomes_one_version(
    buckets: Buckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_upload, "PART_BYTES", 5 * 2**20)
    body = b"".join(b'{"n": %d}\n' % number for number in range(900_000))
    told: list[int] = []
    raw = upload(Place(buckets.s3, "raw", "mission/large.jsonl"), a_file(tmp_path, body), told.append)
    stored = buckets.s3.get_object(Bucket="raw", Key=raw.key, VersionId=raw.version_id)
    assert stored["Body"].read() == body
    assert stored["ETag"] == f'"{raw.etag}"'
    assert (len(told), sum(told), raw.size) == (3, len(body), len(body))


def test_an_upload_that_fails_leaves_no_parts(
    buckets: Buckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_upload, "PART_BYTES", 5 * 2**20)
    true, calls = buckets.s3.upload_part, iter([1, 2])

    def refused(**part: Any) -> Any:
        if next(calls) == 2:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "told by a test"}}, "UploadPart")
        return true(**part)

    monkeypatch.setattr(buckets.s3, "upload_part", refused)
    monkeypatch.setattr(ingest_upload, "_WORKERS", 1)
    with pytest.raises(ClientError, match="told by a test"):
        upload(Place(buckets.s3, "raw", "mission/large.jsonl"), a_file(tmp_path, b"x" * 6 * 2**20))
    assert "Uploads" not in buckets.s3.list_multipart_uploads(Bucket="raw")


def test_a_bucket_that_keeps_no_versions_is_refused(buckets: Buckets, tmp_path: Path) -> None:
    buckets.s3.create_bucket(Bucket="plain")
    with pytest.raises(CommandFailed, match="keeps no versions"):
        upload(Place(buckets.s3, "plain", "a.json"), a_file(tmp_path, BAD))


CHANGES: dict[str, Callable[[Path], object]] = {
    "shrinks": lambda file: os.truncate(file, file.stat().st_size - 1),
    "grows": lambda file: os.truncate(file, file.stat().st_size + 1),
    "is emptied": lambda file: os.truncate(file, 0),
    "is written anew": lambda file: file.write_bytes(b"y" * file.stat().st_size),
}


def is_as_before(buckets: Buckets) -> bool:
    """Say whether the raw bucket has neither a version nor a part of one."""
    has_version = "Versions" in buckets.s3.list_object_versions(Bucket="raw")
    return not has_version and "Uploads" not in buckets.s3.list_multipart_uploads(Bucket="raw")


@pytest.mark.parametrize("first", [1, 2, 3], ids=["at the first part", "between parts", "at the last part"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_of_a_file_that_changes_while_its_parts_are_sent_nothing_is_put(
    buckets: Buckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object], first: int
) -> None:
    monkeypatch.setattr(ingest_upload, "PART_BYTES", 5 * 2**20)
    monkeypatch.setattr(ingest_upload, "_WORKERS", 1)
    file = a_file(tmp_path, b"x" * 12 * 2**20, "million.jsonl")
    os.utime(file, (0, 0))  # not in the moment, which is as long as the clock of a file system is coarse
    true, calls = buckets.s3.upload_part, itertools.count(1)

    def meanwhile(**part: Any) -> Any:
        if next(calls) == first:
            change(file)
        return true(**part)

    monkeypatch.setattr(buckets.s3, "upload_part", meanwhile)
    with pytest.raises(CommandFailed, match=r"million\.jsonl changed while it was sent; nothing of it was put\. Put"):
        upload(Place(buckets.s3, "raw", "mission/million.jsonl"), file)
    assert is_as_before(buckets)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_of_a_small_file_that_changes_while_it_is_read_nothing_is_put(
    buckets: Buckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    file = a_file(tmp_path, GOOD, "small.json")
    os.utime(file, (0, 0))
    true = os.pread

    def meanwhile(descriptor: int, number: int, offset: int) -> bytes:
        change(file)
        return true(descriptor, number, offset)

    monkeypatch.setattr(os, "pread", meanwhile)
    with pytest.raises(CommandFailed, match=r"small\.json changed while it was sent; nothing of it was put\. Put"):
        upload(Place(buckets.s3, "raw", "mission/small.json"), file)
    assert is_as_before(buckets)


def test_a_file_that_is_replaced_while_it_is_sent_is_put_as_it_was(
    buckets: Buckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_upload, "PART_BYTES", 5 * 2**20)
    file, other = a_file(tmp_path, b"x" * 12 * 2**20), a_file(tmp_path, b"y" * 12 * 2**20, "other.jsonl")
    raw = upload(Place(buckets.s3, "raw", "mission/a.jsonl"), file, lambda _: other.exists() and other.replace(file))
    assert file.read_bytes()[:1] == b"y"
    assert set(buckets.body("raw", raw.key)) == set(b"x")


def test_an_empty_file_is_put(buckets: Buckets, tmp_path: Path) -> None:
    assert upload(Place(buckets.s3, "raw", "mission/empty.jsonl"), a_file(tmp_path, b"")).size == 0


@pytest.mark.parametrize("parts", [1, 3])
def test_a_signal_does_not_come_between_an_object_and_the_note_that_it_is_there(
    buckets: Buckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    monkeypatch.setattr(ingest_upload, "PART_BYTES", 5 * 2**20)
    call = "put_object" if parts == 1 else "complete_multipart_upload"
    true = getattr(buckets.s3, call)

    def interrupted(**asked: Any) -> Any:
        answer = true(**asked)
        signal.raise_signal(signal.SIGINT)
        return answer

    monkeypatch.setattr(buckets.s3, call, interrupted)
    arrived: list[RawObject] = []
    file = a_file(tmp_path, b"x" * (parts * 4 * 2**20))
    with pytest.raises(KeyboardInterrupt):
        upload(Place(buckets.s3, "raw", "a.jsonl", arrived.append), file)
    assert [raw.version_id for raw in arrived] == [buckets.s3.head_object(Bucket="raw", Key="a.jsonl")["VersionId"]]


@pytest.mark.parametrize("ended", [KeyboardInterrupt(), SystemExit(143), ClientError({}, "DescribeExecution")])
def test_a_command_that_ends_while_it_waits_tells_what_is_in(
    run: Run, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: BaseException
) -> None:
    def broken(*_: object) -> None:
        raise ended

    monkeypatch.setattr(watcher, "watch", broken)
    told = run(a_file(tmp_path, GOOD, "a.json"), a_file(tmp_path, GOOD, "b.json"))
    assert told.exit_code != 0
    lines = told.stderr.splitlines()
    for name in ("a", "b"):
        assert any(line.startswith(f"{name}.json is in and goes on: custody trace {name}-json-") for line in lines), (
            lines
        )


def test_of_many_objects_that_are_in_only_the_first_are_told(
    run: Run, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(put_command, "_TOLD", 2)
    monkeypatch.setattr(watcher, "watch", lambda *_: 1 / 0)
    told = run(*(a_file(tmp_path, GOOD, f"{name}.json") for name in "abcde")).stderr
    assert told.count("is in and goes on") == 2
    assert "3 more that are in and go on: custody executions" in told


def test_of_files_of_which_one_changes_those_before_it_are_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [a_file(tmp_path, GOOD * 2, "a.json"), a_file(tmp_path, GOOD, "b.json")]
    true = os.pread

    def meanwhile(descriptor: int, number: int, offset: int) -> bytes:
        if number == len(GOOD):
            os.truncate(files[1], 0)
        return true(descriptor, number, offset)

    monkeypatch.setattr(os, "pread", meanwhile)
    told = run(*files)
    assert "b.json changed" in str(told.exception)
    assert "a.json is in and goes on" in told.stderr
    assert "b.json is in" not in told.stderr


def test_after_the_time_is_up_it_is_said_where_to_look(
    run: Run, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = watcher.fate
    monkeypatch.setattr(watcher, "fate", lambda sent: replace(true(sent), status="RUNNING", counts=None))
    told = run(a_file(tmp_path, GOOD, "a.json"), "--timeout", "1")
    assert told.exit_code == 1
    assert "1 of 1 did not end within 1 s" in told.stderr
    assert "custody executions; and what became of one: custody trace a-json-" in told.stderr


def test_a_terminal_is_told_that_it_is_read_what_became_of_an_object(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr(console, "stderr", terminal)
    assert run(a_file(tmp_path, GOOD, "a.json")).exit_code == 0
    assert isinstance(terminal.file, io.StringIO)
    assert "a.json: reading what became of it" in terminal.file.getvalue()


@pytest.mark.parametrize(("name", "said"), [("-", "-"), ("two\nlines", "two␊lines")])
def test_what_is_no_file_is_refused_in_a_line_that_says_what_to_do(run: Run, name: str, said: str) -> None:
    refused = run(name).exception
    assert isinstance(refused, CommandFailed)
    assert refused.code == 2
    assert str(refused) == (
        f"Not a file: {said}. Name files that are there; what comes from a pipe is written into a file first."
    )


@pytest.mark.parametrize(("number", "said"), [(1, "1 of 7 chunks, 1 record"), (1200, "1 of 7 chunks, 1,200 records")])
def test_one_record_is_no_records(number: int, said: str) -> None:
    now = Whereabouts("in ProcessChunks", chunks=(1, 7), counts=Counts(number, number, 0))
    assert put_command._done(now) == said  # noqa: SLF001 - a terminal alone shows it
