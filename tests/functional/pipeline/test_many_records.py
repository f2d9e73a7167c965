"""Many records: chunks, batches staged in buckets between the steps, and limits."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from functions.shared.errors import MessageRefused, ObjectTooLarge, RecordsRejected, TransformFailed
from functions.shared.model.keys import LedgerKey
from functions.shared.model.messages import Batch, Chunk
from functions.shared.model.records import Page, Record, Span
from functions.shared.records import gzip_lines, raw_object
from functions.shared.staging import map_records
from functions.transform import core
from functions.transform import handler as transform
from functions.validate import contracts
from functions.validate import handler as validate
from tests.support.buckets import Buckets, parse_ledger_file
from tests.support.failures import record
from tests.support.stages import BAD, GOOD, call, through, validated

Outcome = dict[str, Any]
REPEATS = 5
MALFORMED = b'{"mission": "space",'
MIXED = b"".join(
    [
        b"\xef\xbb\xbf" + GOOD + b"\r\n",
        *([GOOD + b"\n", b"\n", BAD + b"\r\n", MALFORMED + b"\n", b'"\xff"\n', b" \t\r\n"] * REPEATS),
        GOOD + b"\n" + b"x" * 500 + b"\n" + GOOD,
    ]
)
ACCEPTED, REJECTED = REPEATS + 3, 3 * REPEATS + 1
RECEIVED = ACCEPTED + REJECTED


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set limits that a small object exceeds: little travels inline, and a line may have 300 bytes."""
    for handler in (validate, transform):
        limits = replace(handler.ENVIRONMENT, inline_limit_bytes=400, document_limit_bytes=300)
        monkeypatch.setattr(handler, "ENVIRONMENT", limits)


def chunks(batch: Batch, size: int) -> Iterator[Batch]:
    for start in range(0, batch.object.size, size):
        yield replace(batch, chunk=Chunk(start, size), parent="arn:aws:states:::execution:bulk:the-execution")


def ledger_lines(buckets: Buckets) -> list[Outcome]:
    """Return the ledger lines of all records by position, with the bytes that were delivered."""
    lines: list[Outcome] = []
    for key in buckets.keys("audit", "ledger/"):
        header, lines_of_file = parse_ledger_file(buckets.body("audit", key))
        assert header["counts"]["received"] == len(lines_of_file)
        for line in lines_of_file:
            if output := line.pop("output", None):
                whole = buckets.body("processed", header["output"]["key"])
                line["delivered"] = whole[output["offset"] : output["offset"] + output["length"]]
            lines.append(line)
    return sorted(lines, key=lambda line: line["position"])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("size", [7, 61, 500, 1_000])
def test_any_division_gives_the_same_ledger_and_delivery(buckets: Buckets, size: int) -> None:
    batch = buckets.upload("mission/a.jsonl", MIXED)
    with pytest.raises(RecordsRejected):
        through(batch)
    whole = ledger_lines(buckets)
    assert len(whole) == RECEIVED
    for bucket in ("audit", "processed", "staging"):
        for key in buckets.keys(bucket):
            buckets.hide(bucket, key)

    for chunk in chunks(batch, size):
        try:
            through(chunk)
        except RecordsRejected:
            assert size < 400, "no larger chunk is wholly rejected"
            commit(buckets, chunk)
    assert ledger_lines(buckets) == whole


def commit(buckets: Buckets, chunk: Batch) -> None:
    """Commit a wholly rejected chunk, as DeadLetter does."""
    record(chunk.encode(), "Validate", "RecordsRejected")
    assert LedgerKey.of(chunk).key in buckets.keys("audit", "ledger/")


@pytest.mark.usefixtures("small")
def test_a_chunk_inside_a_line_succeeds_without_records(buckets: Buckets) -> None:
    batch = buckets.upload("mission/a.jsonl", b'"' + b"x" * 1_000 + b'"\n' + GOOD)
    answer = through(replace(batch, chunk=Chunk(400, 100)))
    assert answer["counts"] == {"received": 0, "written": 0, "rejected": 0}
    assert answer["output"] is None
    assert buckets.keys("processed") == []


@pytest.mark.usefixtures("small")
def test_a_chunk_forwards_references_not_records(buckets: Buckets) -> None:
    message = validated(buckets, "mission/a.jsonl", MIXED)
    assert message["counts"] == {"received": ACCEPTED + REJECTED, "written": 0, "rejected": REJECTED}
    assert message["claim"]["raw"] is True
    staged = gzip.decompress(buckets.body("staging", message["claim"]["rejected"]["key"])).splitlines()
    assert len(staged) == 1 + REJECTED, "only what is rejected is staged, and a line of facts"
    forwarded = call("Transform", message)
    assert len(json.dumps(forwarded)) < 2_000
    assert "MASINT" not in json.dumps(forwarded)


@pytest.mark.usefixtures("small")
def test_an_object_that_reads_differently_is_refused(buckets: Buckets) -> None:
    message = validated(buckets, "mission/a.jsonl", MIXED)
    message["claim"]["rejected"] = None
    with pytest.raises(MessageRefused, match="reads differently"):
        call("Transform", message)


@pytest.mark.usefixtures("small")
def test_records_lost_between_two_steps_are_detected(buckets: Buckets) -> None:
    message = validated(buckets, "mission/a.jsonl", MIXED)
    forwarded = call("Transform", message)
    claim = forwarded["claim"]
    lines = gzip.decompress(buckets.body("staging", claim["key"])).splitlines(keepends=True)
    shorter = buckets.put("staging", claim["key"], gzip_lines.pack(b"".join(lines[:-1])))
    forwarded["claim"] = claim | {"version_id": shorter}
    with pytest.raises(MessageRefused, match=f"announces {ACCEPTED + REJECTED} records, {REJECTED} of them rejected"):
        call("Write", forwarded)
    assert buckets.keys("audit", "ledger/") == []


@pytest.mark.usefixtures("small")
def test_unprocessed_records_are_not_delivered(buckets: Buckets) -> None:
    message = validated(buckets, "mission/a.jsonl", MIXED)
    with pytest.raises(MessageRefused, match="a step before this one"):
        call("Write", message)


def test_a_dead_letter_lists_a_thousand_records_and_counts_all(buckets: Buckets) -> None:
    with pytest.raises(RecordsRejected, match=r"2500 of 2501 .* and 2490 more, in the ledger"):
        through(buckets.upload("mission/a.jsonl", GOOD + b"\n" + (BAD + b"\n") * 2_500))
    dead_letter = buckets.dead_letter()
    assert (dead_letter["received"], dead_letter["rejected_count"]) == (2_501, 2_500)
    assert len(dead_letter["rejected"]) == 1_000
    assert len(buckets.ledger()) == 1 + 2_501


def test_a_dead_letter_stays_below_a_megabyte(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred and fifty records, each of which breaks a long rule at a hundred deep places."""
    schema = {"$id": "urn:test", "additionalProperties": {"additionalProperties": {"enum": ["x" * 350]}}}
    monkeypatch.setattr(contracts, "load", lambda _: contracts.parse(json.dumps(schema).encode()))
    monkeypatch.setattr(core, "load", lambda _: dict)
    bad = json.dumps({f"{place:0350}": {"a": 1} for place in range(100)}).encode() + b"\n"
    with pytest.raises(RecordsRejected):
        through(buckets.upload("mission/a.jsonl", b"{}\n" + bad * 150))
    (key,) = buckets.keys("audit", "dead-letters/")
    assert 500_000 < len(buckets.body("audit", key)) < 1_000_000
    dead_letter = buckets.dead_letter()
    assert (dead_letter["rejected_count"], dead_letter["rejected"][0]["violations_total"]) == (150, 100)


def test_the_cause_of_a_wholly_rejected_chunk_stays_short(buckets: Buckets) -> None:
    chunk = replace(buckets.upload("mission/a.jsonl", (BAD + b"\n") * 5_000), chunk=Chunk(0, 10**6))
    with pytest.raises(RecordsRejected) as rejected:
        through(chunk)
    assert len(str(rejected.value)) < 32_768, "the cause of a state may have 32 KiB"
    commit(buckets, chunk)
    assert len(buckets.ledger()) == 1 + 5_000
    assert len(buckets.dead_letter()["rejected"]) == 1_000


@pytest.mark.parametrize("key", ["mission/a.jsonl.gz", "mission/a.gz", "mission/a"])
def test_gzipped_lines_are_streamed_up_to_the_limit(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr(validate, "ENVIRONMENT", replace(validate.ENVIRONMENT, chunk_bytes=10_000))
    fits, bomb = (gzip.compress((GOOD + b"\n") * number) for number in (160, 170))
    answer = validated(buckets, key, fits)
    assert answer["counts"]["received"] == 160
    with pytest.raises(ObjectTooLarge, match=r"10,000 bytes when decompressed \(chunk_bytes\)"):
        validated(buckets, key, bomb)


@pytest.mark.parametrize(
    ("body", "name"), [(gzip.compress(bytes(99)), r"gzip, .* ends in \.gz"), (b"PAR1\x15" + b"\n" * 90, "Parquet")]
)
def test_of_a_divided_object_in_another_format_only_the_first_chunk_has_a_record(
    buckets: Buckets, body: bytes, name: str
) -> None:
    first, *others = chunks(buckets.upload("mission/a.jsonl", body + b"\nx\n" * 9), 40)
    with pytest.raises(RecordsRejected, match=rf"this is {name}$"):
        call("Validate", first.encode())
    assert {call("Validate", chunk.encode())["counts"]["received"] for chunk in others} == {0}


def test_an_object_of_too_many_chunks_is_refused_with_advice(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "ENVIRONMENT", replace(validate.ENVIRONMENT, chunk_bytes=1))
    monkeypatch.setattr(raw_object, "BULK_FROM", 1_000)
    with pytest.raises(ObjectTooLarge, match=r"5,000 chunks of 1 bytes \(chunk_bytes\)") as refused:
        validated(buckets, "mission/a.jsonl", b"{}\n" * 2_000)
    assert "chunk_bytes" in refused.value.advice


@pytest.mark.usefixtures("small")
def test_records_lost_before_transform_are_detected(buckets: Buckets) -> None:
    message = validated(buckets, "mission/a.jsonl", (GOOD + b"\n") * 50)
    assert message["claim"] == {"raw": True, "rejected": None}
    message["counts"] |= {"received": 51}
    with pytest.raises(MessageRefused, match="announces 51 records, 0 of them rejected, but has 50 and 0"):
        call("Transform", message)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "staged",
    [
        b"",
        b"not gzip",
        gzip.compress(b'{"records": []}'),
        gzip_lines.pack(b"[1]\n{}\t\n"),
        gzip_lines.pack(b'{"dataset": "mission"}\n' + b"{} " * 9)[:-9],
    ],
)
def test_an_invalid_staged_batch_is_refused_and_has_a_dead_letter(buckets: Buckets, staged: bytes) -> None:
    message = validated(buckets, "mission/a.jsonl", MIXED)
    forwarded = call("Transform", message)
    forwarded["claim"]["version_id"] = buckets.put("staging", forwarded["claim"]["key"], staged)
    with pytest.raises(MessageRefused):
        call("Write", forwarded)

    record(forwarded, "Write", "MessageRefused")
    assert buckets.dead_letter()["resumes_at"] == "Validate"
    assert buckets.keys("audit", "ledger/") == []


def test_a_number_with_a_huge_exponent_has_one_outcome(buckets: Buckets) -> None:
    numbers = ["0e99999999999999999999", "0e-9999999999999999999", "1e99999999999999999999", "1e-99999999999999999999"]
    lines = [GOOD[:-1] + b', "n": ' + number.encode() + b"}" for number in numbers]
    answer = validated(buckets, "mission/a.jsonl", b"\n".join(lines))
    assert answer["counts"] == {"received": 4, "written": 0, "rejected": 2}


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(b"SECRET") + b"SECRET",
        gzip.compress(b"SECRET")[:-9],
        gzip.compress(b"SECRET")[:-8] + bytes(8),
        gzip.compress(b"SECRET")[:10] + b"\xff" * 20,
    ],
)
def test_a_damaged_gzip_stream_is_described_without_quoting_it(buckets: Buckets, body: bytes) -> None:
    with pytest.raises(RecordsRejected, match=r"/: gzip a whole gzip stream; (this one is \w+|other bytes follow it)$"):
        validated(buckets, "mission/a.json.gz", body)


def test_a_large_array_is_processed_in_pages(buckets: Buckets) -> None:
    elements = [GOOD] * 300 + [BAD] + [GOOD] * 300
    with pytest.raises(RecordsRejected, match="1 of 601"):
        through(buckets.upload("mission/a.json", b"[" + b",\n".join(elements) + b"]"))
    assert [line["position"] for line in buckets.ledger()[1:]] == list(range(601))


def test_a_transform_that_returns_a_shared_object_fails() -> None:
    shared: dict[str, Any] = {}
    page = Page([Record(Span(at, at, 1, "hash"), {"n": at}) for at in range(3)])

    def update(record: dict[str, Any]) -> dict[str, Any]:
        shared.update(record)
        return shared

    with pytest.raises(TransformFailed, match="the same object for two records"):
        map_records.apply(core.STAGE, update, page)


@pytest.mark.usefixtures("small")
def test_damaged_staged_rejects_are_refused_and_have_a_dead_letter(buckets: Buckets) -> None:
    message = validated(buckets, "mission/a.jsonl", MIXED)
    staged = gzip_lines.pack(b'{"dataset": "mission"}\n{"position": 1}\n')
    claim = message["claim"]["rejected"]
    claim["version_id"] = buckets.put("staging", claim["key"], staged)
    with pytest.raises(MessageRefused, match="does not have the expected shape"):
        call("Transform", message)

    record(message, "Transform", "MessageRefused")
    assert buckets.dead_letter()["resumes_at"] == "Validate"
