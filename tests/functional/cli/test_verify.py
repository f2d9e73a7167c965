"""`custody verify`: what is stored matches the ledger, or it is reported where it does not."""

import gzip
import io
import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import getitem
from threading import Event
from typing import Any

import pytest
from botocore.exceptions import ClientError
from msgspec.structs import replace

from custody import concurrency
from custody.assurance import verify
from custody.assurance.findings import ObjectVerdict, Result
from custody.assurance.verify import stored_ledgers, verify_all
from custody.audit.object_versions import object_versions, record_bytes
from custody.terminal import console
from custody.terminal.console import Screen
from custody.views import verify as verify_view
from functions.dead_letter.handler import handle as dead_letter
from functions.shared.errors import RecordsRejected
from functions.shared.model.keys import WHOLE, LedgerKey
from functions.shared.model.messages import Chunk
from functions.shared.model.records import Span
from tests.support.audit_files import Run, audit_of
from tests.support.buckets import Buckets, called_with, parse_ledger_file
from tests.support.bulk import Bulk, lines
from tests.support.command_line import refusal
from tests.support.stages import BAD, GOOD, call, through, transformed

COMMAND = "verify"
MIXED = b"[" + GOOD + b",\n " + BAD + b", " + GOOD + b"]"
Change = Callable[[Any, list[Any]], object]
"""Changes the header or the lines of a ledger file."""


def the_verdict(buckets: Buckets) -> ObjectVerdict:
    """Verify the one object there is."""
    (verdict,) = verify_all(buckets.s3, "audit", stored_ledgers(buckets.s3, "audit"))
    return verdict


def rewrite(buckets: Buckets, key: LedgerKey, change: Change) -> None:
    """Change a ledger file as if it had been written like that: its first version is deleted."""
    header, lines = parse_ledger_file(buckets.body("audit", key.key))
    change(header, lines)
    replace_file(buckets, key.key, packed(header, *lines))


def replace_file(buckets: Buckets, key: str, body: bytes) -> None:
    buckets.forget("audit", key)
    buckets.put("audit", key, body)


def packed(*lines: Any) -> bytes:
    """Return a ledger file with these lines."""
    return gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def send(buckets: Buckets, body: bytes = MIXED, key: str = "mission/a.json") -> str:
    """Process an object, and return its id."""
    batch = buckets.upload(key, body)
    with nullcontext() if BAD not in body else pytest.raises(RecordsRejected):
        through(batch)
    return batch.object.id


def processed(buckets: Buckets) -> tuple[str, bytes]:
    (key,) = buckets.keys("processed")
    return key, buckets.body("processed", key)


@pytest.mark.parametrize(("body", "records"), [(MIXED, 3), (GOOD, 1), (b"[]", 0), (b"[" + GOOD + b"]", 1)])
def test_an_untouched_object_holds(buckets: Buckets, body: bytes, records: int) -> None:
    object_id = send(buckets, body)
    assert the_verdict(buckets) == ObjectVerdict(object_id, Result.HOLDS, records, [])


@pytest.mark.parametrize(
    ("bucket", "result", "where"), [("raw", "expired", "or archived"), ("processed", "broken", "restore")]
)
def test_an_archived_object_is_named(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch, bucket: str, result: str, where: str
) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html."""
    send(buckets)
    get_object, head_object = buckets.s3.get_object, buckets.s3.head_object

    def refuse(**wanted: Any) -> Any:
        if wanted["Bucket"] == bucket:
            raise ClientError({"Error": {"Code": "InvalidObjectState"}}, "GetObject")
        return get_object(**wanted)

    monkeypatch.setattr(buckets.s3, "get_object", refuse)
    monkeypatch.setattr(buckets.s3, "head_object", lambda **wanted: head_object(**wanted) | {"StorageClass": "GLACIER"})
    verdict = the_verdict(buckets)
    assert verdict.result == result
    assert where in verdict.where[0]


def test_an_empty_object_holds_until_it_is_gone(buckets: Buckets) -> None:
    message = buckets.upload("mission/a.json", b"").encode()
    with pytest.raises(RecordsRejected):
        call("Validate", message)
    failure = {"failure": {"Validate": {"Error": "RecordsRejected", "Cause": "{}"}}}
    with pytest.raises(RecordsRejected):
        dead_letter(called_with(message | failure, "DeadLetter"), None)

    verdict = the_verdict(buckets)
    assert (verdict.result, verdict.records) == ("holds", 1)

    buckets.forget("raw", "mission/a.json")
    assert the_verdict(buckets).result == "expired"


def replaced(change: Callable[[bytes], bytes]) -> Callable[[Buckets], None]:
    """Return a function that puts a changed version of the processed object."""

    def tamper(buckets: Buckets) -> None:
        key, body = processed(buckets)
        buckets.put("processed", key, change(body))

    return tamper


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda body: body.replace(b"space", b"spice", 1), "{id}.0: its line in the processed object is not the one"),
        (lambda body: body[::-1].replace(b"ecaps", b"ecips", 1)[::-1], "{id}.2: its line in the processed object"),
        (lambda body: body + b"\n", "the processed object has more bytes after its last record"),
        (lambda body: b"\n" + body, "{id}.0: its line in the processed object is not the one"),
        (lambda body: body.replace(b"\n", b" ", 1), "{id}.0: its line in the processed object does not end"),
        (lambda body: body[:-1], "{id}.2: its line in the processed object does not end"),
        (lambda body: body[: body.index(b"\n") + 1], "{id}.2: its line in the processed object is not the one"),
        (lambda _: b"", "{id}.0: its line in the processed object is not the one"),
    ],
)
def test_a_processed_object_with_other_bytes_is_broken(
    buckets: Buckets, change: Callable[[bytes], bytes], message: str
) -> None:
    object_id = send(buckets)
    replaced(change)(buckets)

    verdict = the_verdict(buckets)

    assert verdict.result == "broken"
    assert "replaced: its version" in verdict.where[0]
    assert any(message.format(id=object_id) in line for line in verdict.where), verdict.where


def delete_file(buckets: Buckets, key: str) -> None:
    buckets.hide("audit", key)
    buckets.forget("audit", key)


@pytest.mark.parametrize(
    ("tamper", "result", "records", "message"),
    [
        (lambda buckets, key: buckets.put("audit", key, b"any"), "broken", 3, "was replaced: it has 2 versions"),
        (lambda buckets, key: buckets.hide("audit", key), "broken", 3, "was deleted; its first version is"),
        (delete_file, "broken", 0, "was deleted, and no version of it is left"),
        (lambda buckets, _: buckets.hide("processed", processed(buckets)[0]), "broken", 3, "a delete marker hides it"),
        (lambda buckets, _: buckets.forget("processed"), "broken", 3, "permanently deleted"),
        (lambda buckets, _: replaced(lambda body: body)(buckets), "holds", 3, "has the same bytes as the committed"),
    ],
)
def test_a_file_that_was_replaced_or_deleted_is_reported_and_its_first_version_is_checked(
    buckets: Buckets, tamper: Callable[[Buckets, str], None], result: str, records: int, message: str
) -> None:
    tamper(buckets, LedgerKey(send(buckets), 0, 0).key)
    verdict = the_verdict(buckets)
    assert (verdict.result, verdict.records) == (result, records)
    (line,) = verdict.where
    assert message in line


def test_a_raw_version_that_is_gone_is_expired_and_the_rest_is_still_checked(buckets: Buckets) -> None:
    send(buckets)
    buckets.forget("raw", "mission/a.json")
    verdict = the_verdict(buckets)
    assert verdict.result == "expired"
    assert verdict.where[0].startswith("the raw version is gone or archived: s3://raw/mission/a.json?versionId=")

    replaced(lambda body: body + b"x")(buckets)
    assert the_verdict(buckets).result == "broken", "the worst counts"


def test_a_raw_object_with_a_newer_version_or_a_delete_marker_holds(buckets: Buckets) -> None:
    send(buckets)
    buckets.upload("mission/a.json", b"newer")
    buckets.hide("raw", "mission/a.json")
    assert the_verdict(buckets).result == "holds"


HEADER, LINES = 0, 1


def changed(*path: Any, to: Any) -> Change:
    """Return a change of one part of the header and lines of a ledger file."""

    def change(*file: Any) -> None:
        *parents, last = path
        part: Any = reduce(getitem, parents, file)
        part[last] = to

    return change


def begin_beyond(_: Any, lines: list[Any]) -> None:
    for line in lines:
        line["offset"] += 10_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(LINES, 1, "sha256", to="0" * 64), "{id}.1: its bytes in the raw object are not those in the ledger"),
        (changed(LINES, 1, "offset", to=1), "{id}.1: by the ledger it begins before the previous record ends"),
        (changed(LINES, 2, "length", to=1000), "{id}.2: its bytes in the raw object are not those in the ledger"),
        (begin_beyond, "{id}.0: its bytes in the raw object are not those in the ledger"),
        (lambda _, lines: lines.pop(1), "but its 2 lines make"),
        (changed(HEADER, "counts", "rejected", to=0), "but its 3 lines make"),
        (changed(LINES, 1, "position", to=0), "does not have each record once"),
        (changed(HEADER, "object", "version_id", to="another"), "is of another object: mission-a-json-"),
        (changed(HEADER, "output", to=None), "the ledger names no processed object for 2 written records"),
        (changed(LINES, 2, "output", "offset", to=1), "{id}.2: by the ledger it begins at byte"),
        (lambda _, lines: lines[0].pop("outcome"), "cannot be read: line 2: Object missing required field `outcome`"),
    ],
)
def test_a_ledger_that_does_not_match_what_is_stored_is_broken(buckets: Buckets, change: Change, message: str) -> None:
    object_id = send(buckets)
    rewrite(buckets, LedgerKey(object_id, 0, 0), change)

    verdict = the_verdict(buckets)

    assert verdict.result == "broken"
    assert any(message.format(id=object_id) in line for line in verdict.where), verdict.where


@pytest.mark.parametrize(
    "body",
    [
        b"not gzip",
        gzip.compress(b"{}")[:12],
        *map(gzip.compress, [b"not json", b"", b"[]", b"{}", b"null", b"[" * 100_000]),
    ],
    ids=lambda _: "body",
)
def test_a_ledger_file_that_cannot_be_read_is_broken(buckets: Buckets, body: bytes) -> None:
    object_id = send(buckets)
    key = LedgerKey(object_id, 0, 0).key
    replace_file(buckets, key, body)
    (line,) = the_verdict(buckets).where
    assert line.startswith(f"the ledger file {key} cannot be read")


def commit_again(buckets: Buckets, object_id: str, attempt: int, **changed: Any) -> None:
    """Commit the first attempt again as a later one, with another header."""
    header, lines = parse_ledger_file(buckets.body("audit", LedgerKey(object_id, 0, 0).key))
    later = packed(header | {"attempt": attempt} | changed, *lines)
    buckets.put("audit", LedgerKey(object_id, 0, attempt).key, later)


def test_the_latest_committed_attempt_is_checked(buckets: Buckets) -> None:
    object_id = send(buckets)
    for attempt in (2, 10):
        commit_again(buckets, object_id, attempt, counts={"received": attempt, "written": 0, "rejected": 0})
    buckets.put("audit", LedgerKey(object_id, 0, 11, discards=True).key, b"a discard")

    (line,) = the_verdict(buckets).where

    assert "counts 10 received," in line


def test_an_earlier_attempt_that_cannot_be_read_is_broken(buckets: Buckets) -> None:
    object_id = send(buckets)
    commit_again(buckets, object_id, 1)
    replace_file(buckets, key := LedgerKey(object_id, 0, 0).key, b"anything")
    verdict = the_verdict(buckets)
    assert (verdict.result, verdict.records) == ("broken", 3)
    assert f"the ledger file {key} cannot be read" in verdict.where[0]


def test_records_delivered_elsewhere_by_an_earlier_attempt_are_broken_until_removed(buckets: Buckets) -> None:
    object_id = send(buckets)
    key, body = processed(buckets)
    later = f"other/{key}"
    version = buckets.put("processed", later, body)
    commit_again(buckets, object_id, 1, output={"bucket": "processed", "key": later, "version_id": version})

    verdict = the_verdict(buckets)
    assert verdict.result == "broken"
    assert verdict.where == [f"the records of an earlier attempt are still delivered at s3://processed/{key}"]

    buckets.put("processed", key, b"")
    assert the_verdict(buckets).where == []
    buckets.hide("processed", key)
    assert the_verdict(buckets).where == []


def test_an_empty_processed_object_holds_if_a_later_attempt_wrote_nothing(buckets: Buckets) -> None:
    message = transformed(buckets, "mission/a.json", MIXED)
    with pytest.raises(RecordsRejected):
        call("Write", message)
    bad = [
        record["span"] | {"stage": "validate", "violations": [], "violations_total": 0} for record in message["records"]
    ]
    counts = {"received": 3, "written": 0, "rejected": 3}
    rejected = sorted(message["rejected"] + bad, key=lambda record: record["position"])
    later = message | {"attempt": 1, "records": [], "rejected": rejected, "counts": counts}
    with pytest.raises(RecordsRejected):
        call("Write", later)

    assert processed(buckets)[1] == b""
    assert (verdict := the_verdict(buckets)).where == []
    assert (verdict.result, verdict.records) == ("holds", 3)

    replaced(lambda _: GOOD + b"\n")(buckets)
    assert "more bytes after its last record" in the_verdict(buckets).where[1]


def test_a_ledger_file_in_the_place_of_another_chunk_is_broken(buckets: Buckets) -> None:
    object_id = send(buckets)
    commit = buckets.body("audit", LedgerKey(object_id, 0, 0).key)
    buckets.put("audit", LedgerKey(object_id, 1000, 0).key, commit)
    verdict = the_verdict(buckets)
    assert "is of another chunk, the one at byte 0" in verdict.where[0]
    assert (verdict.result, verdict.records) == ("broken", 3)


def test_findings_about_many_records_are_counted(buckets: Buckets) -> None:
    object_id = send(buckets, b"[" + b",".join([GOOD] * 25) + b"]")
    replaced(lambda body: b"x" * len(body))(buckets)
    replacing, record = the_verdict(buckets).where
    assert "replaced: its version" in replacing
    assert record == (
        f"record {object_id}.0: its line in the processed object is not the one that was written; and 24 more "
        "differences in the same processed object"
    )
    rewrite(buckets, LedgerKey(object_id, 0, 0), lambda _, lines: [line.update(sha256="0") for line in lines])
    where = the_verdict(buckets).where
    assert (len(where), where[-1]) == (11, "and 17 more")


def test_a_terminal_shows_progress_before_the_first_object_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "stderr", Screen(file=io.StringIO(), force_terminal=True, width=80))
    shown: list[int] = []
    is_shown = Event()

    def describe(number: int) -> str:
        shown.append(number)
        is_shown.set()
        return f"{number} so far"

    def slow() -> Iterator[str]:
        assert is_shown.wait(10), "nothing is shown while the first one is waited for"
        yield from "ab"

    assert list(console.watched(slow(), describe)) == ["a", "b"]
    assert shown[0] == 0


@pytest.mark.parametrize("name", ["'m20.jsonl'", "''", "'.1'", f"a-json-{0:024x}"])
def test_what_is_not_in_the_ledger_is_refused_before_any_check(run: Run, buckets: Buckets, name: str) -> None:
    refused = run(f"{send(buckets)}.1", name.strip("'"))
    assert name in refusal(refused)
    assert refused.stdout == ""


def test_a_refused_call_is_not_a_verdict(buckets: Buckets) -> None:
    send(buckets)
    buckets.forget("raw", "mission/a.json")
    buckets.s3.delete_bucket(Bucket="raw")
    with pytest.raises(buckets.s3.exceptions.NoSuchBucket):
        the_verdict(buckets)


def test_the_ledger_is_listed_by_object_across_pages(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [LedgerKey(f"a{end}", 0, attempt).key for end in ("", "-b", "-b-c", "0", "_") for attempt in range(3)]
    for key in [*keys, "ledger/a/notes.txt", "ledger/readme"]:
        buckets.put("audit", key, b"")
    buckets.hide("audit", keys[4])
    monkeypatch.setattr(object_versions, "__defaults__", ("", 2))

    listed = list(stored_ledgers(buckets.s3, "audit"))

    assert sorted(ledger.object_id for ledger in listed) == ["a", "a-b", "a-b-c", "a0", "a_"]
    assert sorted(file.key.key for ledger in listed for file in ledger.files) == sorted(keys)
    assert [file.key.key for ledger in listed for file in ledger.files if file.is_deleted] == [keys[4]]


def test_many_objects_are_checked_in_order_and_only_so_many_ahead(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concurrency, "AHEAD", 3)
    ids = [send(buckets, GOOD, f"mission/{number}.json") for number in range(8)]
    drawn = 0

    def counted() -> Iterator[Any]:
        nonlocal drawn
        for ledger in stored_ledgers(buckets.s3, "audit"):
            drawn += 1
            yield ledger

    checked = verify_all(buckets.s3, "audit", counted())
    first = next(checked)
    assert drawn <= 3
    assert [first.object, *(verdict.object for verdict in checked)] == sorted(ids)


def test_the_command_shows_verdicts_and_fails_if_an_object_is_broken(buckets: Buckets, run: Run) -> None:
    whole = send(buckets, GOOD, "mission/whole.json")
    assert (shown := run()).exit_code == 0, shown.output
    assert shown.stdout.splitlines()[-1] == "1 object: 1 hold, 0 expired, 0 broken"

    broken = send(buckets, GOOD, "mission/broken.json")
    (key,) = (key for key in buckets.keys("processed") if broken in key)
    buckets.put("processed", key, b"other")
    shown = run()

    assert shown.exit_code == 1
    lines = {line.split()[0]: line.split()[1:3] for line in shown.stdout.splitlines() if "mission-" in line[:10]}
    assert lines == {whole: ["holds", "1"], broken: ["broken", "1"]}
    assert shown.stdout.splitlines()[-1] == "2 objects: 1 hold, 0 expired, 1 broken"
    assert run(whole).exit_code == 0, "only the named object is checked"
    assert run(f"{broken}.0").exit_code == 1


def test_the_verdicts_as_json_are_one_document(buckets: Buckets, run: Run) -> None:
    assert json.loads(run("--json").stdout) == {"objects": [], "counts": {"holds": 0, "expired": 0, "broken": 0}}
    ids = [send(buckets, GOOD) for _ in range(2)]
    document = json.loads(run("--json").stdout)
    assert [each["object"] for each in document["objects"]] == sorted(ids)
    assert document["counts"] == {"holds": 2, "expired": 0, "broken": 0}
    (newest,) = json.loads(run("mission/a.json", "--json").stdout)["objects"]
    assert newest["object"] == ids[-1], "a key names its newest version"


def test_of_many_objects_only_those_that_do_not_hold_are_shown(
    buckets: Buckets, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_view, "SHOWN", 2)
    ids = sorted(send(buckets, GOOD, f"mission/{number}.json") for number in range(4))
    header, _ = parse_ledger_file(buckets.body("audit", LedgerKey(ids[1], 0, 0).key))
    buckets.forget("raw", header["object"]["key"])

    shown = run()

    assert shown.exit_code == 0, "expired is not broken"
    assert [object_id for object_id in ids if object_id in shown.stdout] == [ids[1]]
    assert shown.stdout.splitlines()[-1] == "4 objects: 3 hold, 1 expired, 0 broken"


def test_since_selects_by_the_latest_ledger_file(buckets: Buckets, run: Run) -> None:
    send(buckets)
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert run("--since", soon).stdout == "0 objects: 0 hold, 0 expired, 0 broken\n"
    assert run("--since", "1h").stdout.endswith("1 object: 1 hold, 0 expired, 0 broken\n")


@pytest.mark.parametrize("key", ["mission/a.gz", "mission/a.data", "mission/a.jsonl", "mission/a.json"])
def test_a_gzipped_object_is_compared_decompressed(buckets: Buckets, key: str) -> None:
    lines = b"\n".join([GOOD, GOOD, GOOD])
    object_id = send(buckets, gzip.compress(lines[:40]) + gzip.compress(lines[40:]), key)
    verdict = the_verdict(buckets)
    assert (verdict.result, verdict.records) == ("holds", 3), verdict.where

    audit, ledger_key = audit_of(buckets), LedgerKey(object_id, 0, 0)
    raw = audit.header(ledger_key).object
    assert [record_bytes(buckets.s3, raw, line) for line in audit.lines(ledger_key)] == [GOOD, GOOD, GOOD]


def test_a_gzipped_object_that_was_divided_is_compared_as_uploaded(buckets: Buckets) -> None:
    body = gzip.compress(GOOD)
    batch = buckets.upload("mission/a.jsonl", body)
    through(replace(batch, chunk=Chunk(0, len(body)), attempt=1))
    (line,) = audit_of(buckets).lines(LedgerKey(batch.object.id, 0, 1))
    assert record_bytes(buckets.s3, batch.object, line, is_divided=True) == body[: line.length]
    verdict = the_verdict(buckets)
    assert not any("its bytes in the raw object" in each for each in verdict.where)


def test_a_damaged_gzip_is_compared_as_uploaded(buckets: Buckets) -> None:
    damaged = gzip.compress(b"{}" * 99)[:-9]
    raw = buckets.upload("mission/a.json.gz", damaged).object
    assert record_bytes(buckets.s3, raw, Span(0, 0, len(damaged), "")) == damaged


@pytest.fixture
def bulk(buckets: Buckets) -> Bulk:
    """Return an object of seven chunks, of which the one at 200 rejected a record."""
    bulk = Bulk.upload(buckets, lines(20, bad=(4,)))
    assert bulk.run() == "RecordsRejected"
    return bulk


def test_an_unfinished_object_and_one_with_failed_chunks_hold(buckets: Buckets) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    bulk.chunk(0)
    assert the_verdict(buckets).result == "holds", "there is no summary yet"
    for start in bulk.starts[1:]:
        bulk.chunk(start, fails=start == 400)
    assert bulk.close() == "ChunksFailed"
    assert the_verdict(buckets).result == "holds"
    bulk.again(400).run()
    assert the_verdict(buckets) == ObjectVerdict(bulk.id, Result.HOLDS, 20, [])


def test_only_the_record_that_differs_is_named_and_progress_is_reported_after_each_chunk(
    bulk: Bulk, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[int] = []
    monkeypatch.setattr(verify.Progress, "add", lambda _, number: reported.append(number))
    key = next(key for key in bulk.buckets.keys("processed") if ".000000000000600." in key)
    body = bulk.buckets.body("processed", key)
    bulk.buckets.put("processed", key, body.replace(b"space", b"spice", 1))
    verdict = the_verdict(bulk.buckets)
    assert verdict.result == "broken"
    assert verdict.where[1:] == [
        f"record {bulk.id}.609: its line in the processed object is not the one that was written"
    ]
    assert (len(reported), sum(reported)) == (7, 20)


def miscounts_a_chunk(header: Any, lines: list[Any]) -> None:
    for counts in (header["counts"], lines[0]["counts"]):
        counts["written"] += 1
        counts["received"] += 1


def leaves_out_a_chunk(header: Any, lines: list[Any]) -> None:
    header["chunks"] = {"total": 6, "committed": 6, "failed": 0}
    counts = lines.pop()["counts"]
    assert counts["received"] == 0, "only the list of chunks differs"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(HEADER, "counts", "written", to=99), "but its lines"),
        (changed(HEADER, "chunks", "committed", to=5), "but its lines"),
        (miscounts_a_chunk, "for the chunk at byte 0, attempt 0, but its ledger file"),
        (leaves_out_a_chunk, "does not have each chunk of the object once"),
        (lambda _, lines: lines.insert(0, lines.pop(1)), "does not have each chunk of the object once, in order"),
        (changed(LINES, 0, "attempt", to=1), "has the chunk at byte 0, attempt 1, but there is no such ledger file"),
        (lambda header, _: header.pop("chunk_bytes"), "cannot be read: Object missing required field `chunk_bytes`"),
        (lambda _, lines: lines.append({"outcome": "lost"}), "cannot be read: line 9: "),
    ],
)
def test_a_summary_that_does_not_match_its_chunks_is_broken(bulk: Bulk, change: Change, message: str) -> None:
    rewrite(bulk.buckets, LedgerKey(bulk.id, WHOLE, 0), change)
    verdict = the_verdict(bulk.buckets)
    assert verdict.result == "broken"
    assert message in verdict.where[0]
    assert verdict.records == 20


def test_a_chunk_may_not_claim_a_record_of_another(bulk: Bulk) -> None:
    rewrite(bulk.buckets, LedgerKey(bulk.id, 0, 0), changed(LINES, -1, "position", to=309))
    assert "claims a record that does not begin in its chunk" in the_verdict(bulk.buckets).where[0]


def test_a_ledger_file_of_a_chunk_that_does_not_exist_is_broken(bulk: Bulk) -> None:
    assert the_verdict(bulk.buckets) == ObjectVerdict(bulk.id, Result.HOLDS, 20, [])
    first = bulk.buckets.body("audit", LedgerKey(bulk.id, 0, 0).key)
    bulk.buckets.put("audit", LedgerKey(bulk.id, 100, 0).key, first)
    where = " ".join(the_verdict(bulk.buckets).where)
    assert "there is a ledger file of a chunk that the object is not cut into, at byte 100" in where
