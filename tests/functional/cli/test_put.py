"""`custody put`: files of any size are uploaded, and the outcome of their records is counted."""

import io
import itertools
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from msgspec import structs
from typer.testing import CliRunner

from custody.app import app
from custody.commands import put as put_command
from custody.errors import CommandFailed
from custody.ingest import outcome
from custody.ingest import upload as ingest_upload
from custody.ingest.outcome import FileOutcome, Tally, UploadedFile
from custody.ingest.sources import spooled
from custody.ingest.upload import Uploader
from custody.ingest.watch import ExecutionProgress, Watcher
from custody.terminal import console
from custody.terminal.console import Screen
from custody.views import put as put_view
from functions.shared.model import chunking
from functions.shared.model.ids import RawObject
from functions.shared.model.keys import LedgerKey
from functions.shared.model.ledger import ChunkCounts
from functions.shared.model.messages import Batch, Counts
from tests.support.audit_files import Run, reads_of
from tests.support.buckets import Buckets
from tests.support.bulk import CHUNK_BYTES, Bulk, lines
from tests.support.command_line import CommandLine, refusal
from tests.support.executions import BULK_ARN, Machine, arn_of
from tests.support.stages import BAD, GOOD, written

UploadBulk = Callable[..., tuple[UploadedFile, Bulk]]
MINIMUM_PART = 5 * 2**20


@pytest.fixture
def machine(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Provide state machines to which an object of more than a chunk is bulk."""
    monkeypatch.setattr(chunking, "BULK_FROM", CHUNK_BYTES)
    return Machine(buckets)


@pytest.fixture
def watcher(command_line: CommandLine) -> Watcher:
    return Watcher(command_line.session, pause=0.001)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upload in parts of the smallest size that S3 allows, one after the other."""
    monkeypatch.setattr(ingest_upload, "PART_BYTES", MINIMUM_PART)
    monkeypatch.setattr(ingest_upload, "_WORKERS", 1)


def a_file(tmp_path: Path, body: bytes, name: str = "many.jsonl") -> Path:
    file = tmp_path / name
    file.write_bytes(body)
    return file


@pytest.fixture
def upload_bulk(buckets: Buckets, watcher: Watcher, tmp_path: Path) -> UploadBulk:
    """Return a function that uploads an object of seven chunks."""

    def upload(bad: tuple[int, ...] = ()) -> tuple[UploadedFile, Bulk]:
        uploaded = watcher.upload(a_file(tmp_path, lines(20, bad=bad)), "mission/many.jsonl")
        return uploaded, Bulk.of(buckets, uploaded.object)

    return upload


def test_a_bulk_object_is_watched_chunk_by_chunk(upload_bulk: UploadBulk, machine: Machine, watcher: Watcher) -> None:
    uploaded, bulk = upload_bulk((4, 9))
    assert uploaded.execution == bulk.arn

    seen: list[ExecutionProgress] = []
    watching = watcher.watch(uploaded, 10)
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

    assert [each.state for each in seen] == ["waiting for its event", "RUNNING", "RUNNING", "FAILED"]
    assert [each.chunks for each in seen] == [None, (2, 7), (7, 7), (7, 7)]
    assert seen[1].counts is not None
    assert (seen[1].counts.received, seen[1].counts.rejected) == (7, 1)

    document = watcher.outcome(uploaded)
    assert document.code == 3
    assert document.counts == Counts(20, 18, 2)
    assert document.chunks == ChunkCounts(total=7, committed=7, failed=0)
    assert (len(document.records), document.records_more) == (20, 0)
    assert (document.dead_letter or "").endswith("/object.0.Summarize.json")
    assert document.cause == "2 of 20"


def test_watching_reads_each_header_once(
    upload_bulk: UploadBulk, machine: Machine, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded, bulk = upload_bulk()
    machine.add(bulk.batch, "RUNNING")
    read = reads_of("header", monkeypatch)
    watching = watcher.watch(uploaded, 10)
    for start in bulk.starts[:3]:
        bulk.chunk(start)
        next(watching)
    assert read == [LedgerKey(bulk.id, start, 0) for start in bulk.starts[:3]]


def test_a_bulk_object_with_a_failed_chunk_is_incomplete(
    upload_bulk: UploadBulk, machine: Machine, watcher: Watcher
) -> None:
    uploaded, bulk = upload_bulk()
    bulk.run(failing=(400,))
    machine.add(bulk.batch, error="ChunksFailed")
    result = watcher.outcome(uploaded)
    assert (result.code, result.counts) == (1, Counts(17, 17, 0))


def test_after_the_timeout_the_records_committed_so_far_are_counted(
    upload_bulk: UploadBulk, machine: Machine, watcher: Watcher
) -> None:
    uploaded, bulk = upload_bulk()
    bulk.chunk(0)
    machine.add(bulk.batch, "RUNNING")
    result = watcher.outcome(uploaded)
    assert (result.code, result.has_ended, result.chunks) == (1, False, None)
    assert result.counts is not None
    assert result.counts.received == 4


def test_of_a_large_object_only_the_first_rejected_records_are_listed(
    upload_bulk: UploadBulk, machine: Machine, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome, "LISTED", 3)
    uploaded, bulk = upload_bulk((1, 4, 9, 12, 19))
    bulk.run()
    machine.add(bulk.batch, error="RecordsRejected")
    document = watcher.outcome(uploaded)
    rejected = [record for record in document.records if record.outcome == "rejected"]
    assert [record.position for record in rejected] == [61, 243, 547]
    assert (len(document.records), document.records_more) == (3, 17)
    assert [violation.pointer for violation in rejected[0].violations or ()] == ["/confidence", "/source"]


@pytest.fixture
def run(command_line: CommandLine, watcher: Watcher, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `custody put`; each object has been processed as soon as it is uploaded."""
    upload_file = watcher.upload

    def upload_and_process(file: Path, key: str, on_progress: Callable[[int], object]) -> UploadedFile:
        uploaded = upload_file(file, key, on_progress)
        if uploaded.execution.startswith(arn_of("", BULK_ARN)):
            bulk = Bulk.of(machine.buckets, uploaded.object)
            error = bulk.run()
            machine.add(bulk.batch, "FAILED" if error else "SUCCEEDED", error=error)
        else:
            machine.add(Batch(uploaded.object), "SUCCEEDED")
        return uploaded

    monkeypatch.setattr(watcher, "upload", upload_and_process)
    monkeypatch.setattr(put_command, "Watcher", lambda _: watcher)
    return command_line.command("put")


def test_the_table_shows_counts_and_the_first_ten_rejected_records(run: Run, tmp_path: Path) -> None:
    shown = run(a_file(tmp_path, lines(60, bad=tuple(range(0, 60, 4)))), "--key", "mission/many.jsonl")
    assert shown.exit_code == 3, shown.output
    rows = shown.stdout.splitlines()
    assert sum("\trejected\t" in row and "RUMINT" not in row and ".jsonl\t" in row for row in rows) == 11
    assert any("5 more" in row and "custody trace mission-many-jsonl-" in row for row in rows)
    assert any(row.split() == ["mission/many.jsonl", "60", "45", "15", "19", "of", "19"] for row in rows), rows
    assert any("45 records" in row and "one object per chunk" in row for row in rows)


def test_a_prefix_of_the_deployment_is_added_to_file_names_and_required_of_keys(
    run: Run, watcher: Watcher, command_line: CommandLine, buckets: Buckets, tmp_path: Path
) -> None:
    command_line.deploy(raw_prefix="incoming/")
    file = a_file(tmp_path, GOOD)

    run(file, "--no-wait")
    run(file, "--no-wait", "--key", "incoming/mission/a.json")
    refused = refusal(run(file, "--key", "mission/a b.json"))

    assert set(buckets.keys("raw")) == {f"incoming/{file.name}", "incoming/mission/a.json"}
    assert "--key 'incoming/mission/a b.json'" in refused
    assert len(watcher.arrived) == 2


def test_the_document_of_a_bulk_object_is_short(run: Run, tmp_path: Path) -> None:
    shown = run(a_file(tmp_path, lines(60)), "--key", "mission/many.jsonl", "--json").stdout
    (document,) = json.loads(shown[shown.index('{"objects"') :])["objects"]  # behind what the handlers log
    assert (document["status"], document["counts"]["written"], document["output"]) == ("SUCCEEDED", 60, None)


def test_no_wait_prints_the_uploads_and_reads_no_outcome(
    run: Run, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "watch", lambda *_: pytest.fail("watched"))
    file = a_file(tmp_path, GOOD, "a.json")
    shown = run(file, "--no-wait", "--json")
    (document,) = json.loads(shown.stdout)["objects"]
    assert shown.exit_code == 0
    assert (document["object"]["key"], document["object"]["id"]) == ("a.json", watcher.arrived[0].id)
    assert run(file, "--no-wait").stdout.split() == ["a.json", watcher.arrived[1].id]


@pytest.mark.parametrize(("listed", "positions"), [(2, []), (3, [0, 1, 2])])
def test_each_record_of_a_small_batch_is_listed_and_those_of_a_large_one_are_counted(  # noqa: PLR0913, PLR0917 - a table
    buckets: Buckets,
    watcher: Watcher,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    listed: int,
    positions: list[int],
) -> None:
    monkeypatch.setattr(outcome, "LISTED", listed)
    body = b"\n".join([GOOD] * 3)
    batch = Batch.decode(written(buckets, "mission/a.jsonl", body))
    document = watcher.outcome(UploadedFile("a", batch.object, machine.add(batch, "SUCCEEDED")))
    assert (document.counts, document.records_more) == (Counts(3, 3, 0), 3 - len(positions))
    offsets = [number * (len(GOOD) + 1) for number in positions]
    assert [each.record for each in document.records] == [f"{batch.object.id}.{offset}" for offset in offsets]
    assert document.output is not None
    assert document.output.bucket == "processed"


@pytest.mark.usefixtures("small_parts")
def test_a_file_of_many_parts_becomes_one_version(buckets: Buckets, tmp_path: Path) -> None:
    body = b"".join(b'{"n": %d}\n' % number for number in range(900_000))
    progress: list[int] = []
    raw = Uploader(buckets.s3, "raw").upload(a_file(tmp_path, body), "mission/large.jsonl", progress.append)
    stored = buckets.s3.get_object(Bucket="raw", Key=raw.key, VersionId=raw.version_id)
    assert stored["Body"].read() == body
    assert (stored["ETag"], raw.etag.rpartition("-")[2]) == (f'"{raw.etag}"', "3")
    assert (sum(progress), raw.size) == (len(body), len(body))


def test_a_small_file_becomes_one_version_and_leaves_no_hook(buckets: Buckets, tmp_path: Path) -> None:
    uploader = Uploader(buckets.s3, "raw")
    first, second = (uploader.upload(a_file(tmp_path, body), "a.json") for body in (BAD, b""))
    assert (first.size, second.size) == (len(BAD), 0)
    assert buckets.s3.head_object(Bucket="raw", Key="a.json")["VersionId"] == second.version_id != first.version_id
    buckets.put("raw", "a.json", b"by somebody else")
    assert uploader.arrived == [first, second]


@pytest.mark.usefixtures("small_parts")
def test_an_upload_that_fails_leaves_no_parts(buckets: Buckets, tmp_path: Path) -> None:
    def refuse() -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "raised by a test"}}, "UploadPart")

    with before_call(buckets, "UploadPart", 2, refuse), pytest.raises(ClientError, match="raised by a test"):
        Uploader(buckets.s3, "raw").upload(a_file(tmp_path, b"x" * 6 * 2**20), "mission/large.jsonl")
    assert is_unchanged(buckets)


@pytest.mark.usefixtures("small_parts")
def test_an_interrupted_upload_leaves_no_parts(
    buckets: Buckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_part, is_interrupted = buckets.s3.upload_part, threading.Event()

    def interrupt_main(*_: object) -> None:
        is_interrupted.set()
        raise KeyboardInterrupt

    def interrupt(**part: Any) -> Any:
        if not is_interrupted.is_set():
            os.kill(os.getpid(), signal.SIGINT)  # as a terminal does: the main thread handles it
            is_interrupted.wait(10)
        return upload_part(**part)

    handler = signal.signal(signal.SIGINT, interrupt_main)

    monkeypatch.setattr(buckets.s3, "upload_part", interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            Uploader(buckets.s3, "raw").upload(a_file(tmp_path, b"x" * 12 * 2**20), "mission/large.jsonl")
    finally:
        signal.signal(signal.SIGINT, handler)
    assert is_unchanged(buckets)


def test_a_bucket_without_versioning_is_refused(buckets: Buckets, tmp_path: Path) -> None:
    buckets.s3.create_bucket(Bucket="plain")
    with pytest.raises(CommandFailed, match="is not versioned"):
        Uploader(buckets.s3, "plain").upload(a_file(tmp_path, BAD), "a.json")


CHANGES: dict[str, Callable[[Path], object]] = {
    "shrinks": lambda file: os.truncate(file, file.stat().st_size - 1),
    "grows": lambda file: os.truncate(file, file.stat().st_size + 1),
    "is emptied": lambda file: os.truncate(file, 0),
    "is overwritten": lambda file: file.write_bytes(b"y" * file.stat().st_size),
}
MOMENTS = [("PutObject", 1, 1), *(("UploadPart", 12 * 2**20, part) for part in (1, 2, 3))]


@contextmanager
def before_call(buckets: Buckets, operation: str, number: int, change: Callable[[], object]) -> Iterator[None]:
    """Change something before a call of S3, which is counted from 1."""
    calls = itertools.count(1)

    def change_once(**_: object) -> None:
        if next(calls) == number:
            change()

    events, name = buckets.s3.meta.events, f"before-parameter-build.s3.{operation}"
    events.register(name, change_once)
    try:
        yield
    finally:
        events.unregister(name, change_once)


def is_unchanged(buckets: Buckets) -> bool:
    """Tell whether the raw bucket has neither a version nor a part of one."""
    has_version = "Versions" in buckets.s3.list_object_versions(Bucket="raw")
    return not has_version and "Uploads" not in buckets.s3.list_multipart_uploads(Bucket="raw")


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("moment", MOMENTS, ids=["at once", "first part", "second part", "last part"])
def test_a_file_that_changes_during_its_upload_is_not_uploaded(
    buckets: Buckets, tmp_path: Path, change: Callable[[Path], object], moment: tuple[str, int, int]
) -> None:
    operation, size, number = moment
    file = a_file(tmp_path, b"x" * size, "changing.jsonl")
    os.utime(file, (0, 0))  # the clock of a file system is coarse: a change must not fall into the same tick
    with (
        before_call(buckets, operation, number, lambda: change(file)),
        pytest.raises(CommandFailed, match=r"changing\.jsonl changed during the upload, so nothing was uploaded"),
    ):
        Uploader(buckets.s3, "raw").upload(file, "mission/changing.jsonl")
    assert is_unchanged(buckets)


def test_a_file_that_changes_while_it_is_read_is_not_uploaded(
    buckets: Buckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = a_file(tmp_path, GOOD, "growing.json")
    fstat, calls = os.fstat, itertools.count(1)

    def grow_after_the_first(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        if next(calls) == 1:
            os.truncate(file, status.st_size + 1)
        return status

    monkeypatch.setattr(os, "fstat", grow_after_the_first)
    with pytest.raises(CommandFailed, match="changed during the upload"):
        Uploader(buckets.s3, "raw").upload(file, "mission/growing.json")
    assert is_unchanged(buckets)


@pytest.mark.usefixtures("small_parts")
def test_a_file_that_is_replaced_during_its_upload_is_uploaded_as_it_was(buckets: Buckets, tmp_path: Path) -> None:
    file, other = a_file(tmp_path, b"x" * 12 * 2**20), a_file(tmp_path, b"y" * 12 * 2**20, "other.jsonl")
    uploader = Uploader(buckets.s3, "raw")
    raw = uploader.upload(file, "mission/a.jsonl", lambda _: other.exists() and other.replace(file))
    assert file.read_bytes()[:1] == b"y"
    assert set(buckets.body("raw", raw.key)) == set(b"x")


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(("operation", "size"), [("PutObject", 1), ("CompleteMultipartUpload", 12 * 2**20)])
def test_an_interrupt_does_not_come_between_a_version_and_its_note(
    buckets: Buckets, tmp_path: Path, operation: str, size: int
) -> None:
    uploader, file = Uploader(buckets.s3, "raw"), a_file(tmp_path, b"x" * size)
    interrupted = before_call(buckets, operation, 1, lambda: signal.raise_signal(signal.SIGINT))
    with interrupted, pytest.raises(KeyboardInterrupt):
        uploader.upload(file, "a.jsonl")
    assert [raw.version_id for raw in uploader.arrived] == [
        buckets.s3.head_object(Bucket="raw", Key="a.jsonl")["VersionId"]
    ]


@pytest.mark.parametrize("ended", [KeyboardInterrupt(), SystemExit(143), ClientError({}, "DescribeExecution")])
def test_a_command_that_ends_early_names_what_was_uploaded(
    run: Run, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: BaseException
) -> None:
    def end(*_: object) -> None:
        raise ended

    monkeypatch.setattr(watcher, "watch", end)
    shown = run(a_file(tmp_path, GOOD, "a.json"), a_file(tmp_path, GOOD, "b.json"))
    assert shown.exit_code != 0
    for name in ("a", "b"):
        assert f"{name}.json was uploaded and is processed regardless: custody trace {name}-json-" in shown.stderr


def test_of_many_uploads_only_the_first_are_named(
    run: Run, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(put_view, "_WARNED", 2)
    monkeypatch.setattr(watcher, "watch", lambda *_: 1 / 0)
    warnings = run(*(a_file(tmp_path, GOOD, f"{name}.json") for name in "abcde")).stderr
    assert warnings.count("was uploaded") == 2
    assert "3 more were uploaded and are processed regardless: custody executions" in warnings


def test_when_one_file_changes_the_uploads_before_it_are_named(
    run: Run, buckets: Buckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(put_command, "_UPLOADS", 1)
    files = [a_file(tmp_path, GOOD, "a.json"), a_file(tmp_path, GOOD, "b.json")]
    os.utime(files[1], (0, 0))
    with before_call(buckets, "PutObject", 2, lambda: os.truncate(files[1], 0)):
        shown = run(*files)
    assert "b.json changed" in str(shown.exception)
    assert "a.json was uploaded" in shown.stderr
    assert "b.json was uploaded" not in shown.stderr


def test_after_the_timeout_the_command_says_where_to_look(
    run: Run, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_outcome = watcher.outcome

    def still_running(uploaded: UploadedFile) -> FileOutcome:
        result = read_outcome(uploaded)
        return structs.replace(result, status="RUNNING", counts=None)

    monkeypatch.setattr(watcher, "outcome", still_running)
    shown = run(a_file(tmp_path, GOOD, "a.json"), "--timeout", "1")
    assert shown.exit_code == 1
    assert "1 of 1 did not end within 1 s" in shown.stderr
    assert "custody executions; see the outcome of one: custody trace a-json-" in shown.stderr


def test_a_terminal_shows_progress(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(console, "stderr", Screen(file=screen, force_terminal=True, width=80))
    assert run(a_file(tmp_path, GOOD, "a.json")).exit_code == 0
    assert "a.json: reading its outcome" in screen.getvalue()


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    """Return a folder of three files, two hidden ones and two markers."""
    names = (
        "a.json",
        "acme/b.json",
        "acme/deep/c d.json",
        ".d.json",
        ".git/e.json",
        "_SUCCESS",
        "acme/_temporary/f.json",
    )
    for name in names:
        path = tmp_path / "drop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(GOOD)
    (tmp_path / "drop/empty").mkdir()
    return tmp_path / "drop"


@pytest.mark.parametrize(
    ("options", "keys", "remark"),
    [
        ((), ["a.json", "mission/b.json"], "1 key has no folder, so the default dataset mission applies"),
        (("--dataset", "mission"), ["mission/a.json", "mission/mission/b.json"], "skipped: 1 hidden file or marker;"),
        (("--prefix", "mission/2026"), ["mission/2026/a.json", "mission/2026/mission/b.json"], ""),
        (("--dataset", "mission", "--prefix", "/x/"), ["mission/x/a.json", "mission/x/mission/b.json"], ""),
    ],
)
def test_the_files_of_a_folder_keep_their_path_below_it(  # noqa: PLR0913, PLR0917 - a table
    run: Run,
    buckets: Buckets,
    command_line: CommandLine,
    drop: Path,
    options: tuple[str, ...],
    keys: list[str],
    remark: str,
) -> None:
    command_line.deploy(default_dataset="mission", datasets="mission,orders", raw_prefix="in/")
    for name in ("acme/b.json", "acme/deep/c d.json", ".d.json", ".git/e.json", "acme/_temporary/f.json"):
        (drop / name).unlink()
    (drop / "mission").mkdir()
    (drop / "mission/b.json").write_bytes(GOOD)
    shown = run(drop, *options, "--no-wait")
    assert (shown.exit_code, buckets.keys("raw")) == (0, [f"in/{key}" for key in keys])
    assert remark in shown.stderr


def test_hidden_files_and_markers_are_skipped_and_counted(run: Run, buckets: Buckets, drop: Path) -> None:
    shown = run(drop, drop / ".d.json", "--no-wait")
    assert sorted(buckets.keys("raw")) == [".d.json", "a.json", "acme/b.json", "acme/deep/c d.json"]
    assert "skipped: 4 hidden files and markers" in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        (("{drop}/two␊lines",), "Not a file or folder: {drop}/two␊lines. "),
        (("{drop}/empty",), "The folder {drop}/empty contains no files."),
        (("{drop}/a.json", "{drop}/../drop/a.json"), "would both become a.json"),
        (("{drop}", "--prefix", "mission", "{drop}/a.json"), "would both become mission/a.json"),
        (("{drop}", "--key", "mission/a.json"), "--key names one object"),
        (("{drop}/a.json", "--key", "a.json", "--dataset", "mission"), "--key is the whole key"),
        (("-",), "Standard input has no name"),
        (("{drop}/_SUCCESS", "--dataset", "mission"), "mission/_SUCCESS is that of a marker of Spark or Hadoop"),
        (("{drop}/a.json", "--prefix", f"mission/{'x' * 1010}"), "has 1,025 bytes; S3 allows 1,024"),
        (
            ("{drop}",),
            "Keys would begin with acme/, which is not a dataset of this deployment; there are mission, orders",
        ),
        (("{drop}/a.json", "--dataset", "misson"), "Keys would begin with misson/"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(
    run: Run, command_line: CommandLine, drop: Path, arguments: tuple[str, ...], refused: str
) -> None:
    command_line.deploy(datasets="mission,orders")
    result = run(*(argument.format(drop=drop).replace("␊", "\n") for argument in arguments), "--no-wait")
    assert refused.format(drop=drop) in refusal(result)


@pytest.mark.usefixtures("command_line")
def test_standard_input_becomes_an_object(buckets: Buckets) -> None:
    shown = CliRunner().invoke(app, ["put", "-", "--key", "odd/a.json", "--no-wait", "--json"], input=GOOD)
    (document,) = json.loads(shown.stdout)["objects"]
    assert (document["file"], buckets.body("raw", "odd/a.json")) == ("-", GOOD)
    with pytest.raises(CommandFailed, match="Standard input is longer than"), spooled(io.BytesIO(GOOD), 10):
        pass


@pytest.mark.usefixtures("machine")
def test_of_many_objects_the_counts_are_shown_and_those_that_need_attention(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome, "SHOWN", 5)
    for number in range(12):
        body = lines(60, bad=tuple(range(0, 60, 4))) if number % 4 == 0 else lines(60)
        (tmp_path / f"{number:02}.jsonl").write_bytes(body)
    shown = run(tmp_path, "--dataset", "mission")
    assert shown.exit_code == 3
    rows = shown.stdout.splitlines()
    assert [row.split()[0] for row in rows if " more\trejected" in row] == [
        "mission/00.jsonl",
        "mission/04.jsonl",
        "mission/08.jsonl",
    ]
    assert (
        "12 objects: 9 all written, 3 with rejected records, 0 without an outcome; 675 records written, 45 rejected"
        in rows
    )
    assert "Discard it:      custody dead-letters discard --since 20" in shown.stderr


def test_an_interrupt_stops_uploads_and_watches(
    run: Run, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> Iterator[ExecutionProgress]:
        os.kill(os.getpid(), signal.SIGINT)
        assert watcher._stopped.wait(10)  # noqa: SLF001 - what a watch waits for
        return iter(())

    monkeypatch.setattr(watcher, "watch", interrupted)
    shown = run(*(a_file(tmp_path, GOOD, f"{name}.json") for name in "abc"))
    assert shown.exit_code in {1, 130}
    assert shown.stderr.count("was uploaded and is processed regardless") == 3


def test_the_progress_of_a_bulk_object_is_counted() -> None:
    assert put_view.uploading("a.json", 3_100_000, 12_000_000) == "a.json: uploaded 3 of 12 MB"
    assert put_view.watching("a.json", ExecutionProgress("RUNNING")) == "a.json: RUNNING"
    now = ExecutionProgress("RUNNING", chunks=(1, 7), counts=Counts(1200, 1199, 1))
    assert put_view.watching("a.json", now) == "a.json: 1 of 7 chunks, 1,200 records, 1 rejected"


RAW = RawObject("raw", "mission/many.jsonl", "v1", 1400, "e")
LOST = {"dead_letter": "s3://audit/x"}


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    screen = io.StringIO()
    monkeypatch.setattr(console, "console", Screen(file=screen))
    return screen


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({"status": "RUNNING"}, f"RUNNING; see: custody trace {RAW.id}"),
        ({"status": "ABORTED"} | LOST, "ABORTED; dead letter: s3://audit/x"),
        ({"status": "ABORTED", "error": "Boom"} | LOST, "ABORTED Boom; dead letter: s3://audit/x"),
        (
            {"status": "ABORTED", "error": "Boom", "cause": "it broke"} | LOST,
            "ABORTED Boom: it broke; dead letter: s3://audit/x",
        ),
    ],
)
def test_an_object_without_an_outcome_shows_all_that_is_known(
    screen: io.StringIO, facts: dict[str, Any], shown: str
) -> None:
    document = FileOutcome("a", RAW, "arn", **facts)
    put_view.outcomes(Tally.of([document]))
    (row,) = (line for line in screen.getvalue().splitlines() if "no outcome" in line)
    assert row.partition("no outcome")[2].strip() == shown


def test_a_stopped_bulk_object_shows_its_committed_chunks(screen: io.StringIO) -> None:
    document = FileOutcome("a", RAW, "arn", "ABORTED", Counts(2000, 2000, 0), planned_chunks=7, committed=3)
    put_view.outcomes(Tally.of([document]))
    assert "3 of 7" in screen.getvalue()
