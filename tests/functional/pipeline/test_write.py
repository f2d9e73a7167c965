"""Write: the processed object, the dead letter and the ledger file, in that order and only once."""

import gzip
import hashlib
import json

import pytest
from msgspec.structs import replace

from functions.shared import aws
from functions.shared.errors import (
    AccessRefused,
    AttemptTaken,
    CallRefused,
    MessageRefused,
    ObjectMissing,
    RecordsRejected,
)
from functions.shared.model.messages import Batch
from functions.write import handler
from tests.support.buckets import ENTERED_AT, EXECUTION_ARN, Buckets
from tests.support.stages import BAD, GOOD, MIXED, call, transformed, written


def test_the_processed_object_is_named_by_dataset_date_and_object(buckets: Buckets) -> None:
    batch = buckets.upload("mission/2026/a.json", GOOD)
    day = buckets.s3.head_object(Bucket="raw", Key="mission/2026/a.json")["LastModified"].date()
    written(buckets, "mission/2026/a.json", GOOD)

    (key,) = buckets.keys("processed")
    assert key.startswith(f"mission/dt={day}/mission-2026-a-json-")
    assert key.endswith(".jsonl")
    assert batch.object.id.rsplit("-", 1)[0] in key


def test_a_ledger_file_has_all_that_verification_needs(buckets: Buckets) -> None:
    report = written(buckets, "mission/a.json", GOOD)

    header, line = buckets.ledger()
    output, raw = (
        buckets.s3.get_object(Bucket=each["bucket"], Key=each["key"], VersionId=each["version_id"])["Body"].read()
        for each in (header["output"], header["object"])
    )
    place = line["output"]
    assert hashlib.sha256(raw[line["offset"] : line["offset"] + line["length"]]).hexdigest() == line["sha256"]
    assert hashlib.sha256(output[place["offset"] : place["offset"] + place["length"]]).hexdigest() == place["sha256"]
    assert header["format"] == 1
    assert header["contract"] == "urn:custody:contract:mission:1"
    assert set(header["code"]) == {"validate", "transform", "write"}
    assert (header["execution"], header["attempt"], header["recorded_at"]) == (EXECUTION_ARN, 0, ENTERED_AT)
    assert report["ledger"]["key"] == f"ledger/{header['object']['id']}/000000000000000.0.jsonl.gz"


def test_a_retry_writes_the_same_bytes_and_commits_once(buckets: Buckets) -> None:
    message = transformed(buckets, "mission/a.json", GOOD)
    call("Write", message)
    delivered, committed = buckets.the_only("processed"), buckets.the_only("audit", "ledger/")
    call("Write", message)

    assert buckets.the_only("processed") == delivered
    assert buckets.the_only("audit", "ledger/") == committed
    assert len(buckets.s3.list_object_versions(Bucket="audit")["Versions"]) == 1


def test_an_attempt_of_another_execution_fails_and_a_redrive_takes_the_next(buckets: Buckets) -> None:
    message = transformed(buckets, "mission/a.json", GOOD)
    call("Write", message)
    other = f"{EXECUTION_ARN}-r1"
    taken = rf"attempt 0 of {Batch.decode(message).object.id} was committed by {EXECUTION_ARN}"
    with pytest.raises(AttemptTaken, match=taken):
        call("Write", message, arn=other)

    call("Write", message, redrives=1)
    delivered = buckets.s3.list_object_versions(Bucket="processed")["Versions"]
    with pytest.raises(AttemptTaken):
        call("Write", message, arn=other, redrives=1)
    assert buckets.s3.list_object_versions(Bucket="processed")["Versions"] == delivered, "a redrive looks first"

    call("Write", message, arn=other, redrives=2)
    assert [key.split(".")[1] for key in buckets.keys("audit")] == ["0", "1", "2"]


def test_a_retry_with_other_outcomes_is_refused(buckets: Buckets) -> None:
    message = transformed(buckets, "mission/a.json", GOOD)
    call("Write", message)
    message["records"][0]["document"]["confidence_band"] = "the result of other code"
    with pytest.raises(AttemptTaken, match="committed with other outcomes"):
        call("Write", message)


def test_a_delivery_under_another_dataset_is_emptied(buckets: Buckets) -> None:
    message = transformed(buckets, "a.json", GOOD)
    call("Write", message)
    call("Write", message | {"dataset": "other"}, redrives=1)
    bodies = {key.partition("/")[0]: buckets.body("processed", key) for key in buckets.keys("processed")}
    assert bodies["mission"] == b""
    assert bodies["other"]


@pytest.mark.parametrize(
    "number", ["0.12345678901234567890", "123456789012345678901234567890", "1.0", "-0.0", "9007199254740993"]
)
def test_a_number_is_delivered_unchanged(buckets: Buckets, number: str) -> None:
    written(buckets, "mission/a.json", GOOD[:-1] + f', "n": {number}}}'.encode())
    assert f'"n":{number}'.encode() in buckets.the_only("processed")
    staged = buckets.keys("staging")
    assert bool(staged) is (number not in {"1.0", "-0.0"}), "the state machine would round it"


def test_the_ledger_names_the_redriven_execution(buckets: Buckets) -> None:
    message = transformed(buckets, "mission/a.json", GOOD) | {"attempt": 3, "redrive_of": EXECUTION_ARN}
    call("Write", message)
    header = buckets.ledger()[0]
    assert (header["attempt"], header["redrive_of"]) == (3, EXECUTION_ARN)


def test_a_dead_letter_lists_rejected_records_without_values(buckets: Buckets) -> None:
    with pytest.raises(RecordsRejected, match="1 of 2 records rejected"):
        written(buckets, "mission/mixed.json", MIXED)

    dead_letter = buckets.dead_letter()
    (rejected,) = dead_letter["rejected"]
    assert rejected["record"] == f"{dead_letter['object']['id']}.1"
    assert rejected["violations"] == [
        {"pointer": "/confidence", "rule": "maximum", "limit": 1},
        {"pointer": "/source", "rule": "enum", "limit": ["GEOINT", "HUMINT", "IMINT", "MASINT", "OSINT", "SIGINT"]},
    ]
    raw = buckets.body("raw", "mission/mixed.json")
    assert raw[rejected["offset"] : rejected["offset"] + rejected["length"]] == BAD
    assert (dead_letter["step"], dead_letter["error"], dead_letter["attempt"]) == ("Write", "RecordsRejected", 0)
    assert dead_letter["advice"].startswith("Correct the records")
    assert dead_letter["execution"]["console"].endswith(EXECUTION_ARN)
    files = json.dumps(dead_letter) + json.dumps(buckets.ledger())
    assert "RUMINT" not in files, "the audit bucket is kept forever, so it holds no values"
    assert "1.7" not in files


def test_tolerated_rejects_succeed_with_a_dead_letter(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "ENVIRONMENT", replace(handler.ENVIRONMENT, tolerated_rejects_percent=50.0))
    report = written(buckets, "mission/mixed.json", MIXED)

    assert report["counts"] == {"received": 2, "written": 1, "rejected": 1}
    assert buckets.keys("audit")[0] == report["dead_letter"]["key"]


def test_nothing_is_committed_before_delivery(buckets: Buckets) -> None:
    message = transformed(buckets, "mission/a.json", GOOD)
    buckets.s3.delete_bucket(Bucket="processed")

    with pytest.raises(CallRefused, match="PutObject of s3://processed/"):
        call("Write", message)
    assert buckets.keys("audit") == []


def test_the_dead_letter_is_written_before_the_ledger_file(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    real = aws.write_once

    def only_dead_letters(bucket: str, key: str, body: bytes, content_type: str) -> bool:
        if key.startswith("ledger/"):
            raise AccessRefused("PutObject was answered AccessDenied")
        return real(bucket, key, body, content_type)

    monkeypatch.setattr(aws, "write_once", only_dead_letters)
    with pytest.raises(AccessRefused):
        written(buckets, "mission/mixed.json", MIXED)
    assert [key.partition("/")[0] for key in buckets.keys("audit")] == ["dead-letters"]


def test_a_missing_staged_batch_is_a_missing_object(buckets: Buckets) -> None:
    message = transformed(buckets, "mission/a.json", GOOD)
    claim = {"bucket": "staging", "key": "batches/gone.json.gz", "version_id": None}
    with pytest.raises(ObjectMissing, match=r"batches/gone\.json\.gz"):
        call("Write", message | {"claim": claim})


@pytest.mark.parametrize("part", ["object", "chunk", "attempt", "records", "contract"])
def test_an_incomplete_message_is_refused_by_the_missing_part(buckets: Buckets, part: str) -> None:
    message = transformed(buckets, "mission/a.json", GOOD)
    with pytest.raises(MessageRefused, match="format 1"):
        call("Write", message | {"format": 2})
    del message[part]
    with pytest.raises(MessageRefused, match=part):
        call("Write", message)


def test_a_ledger_file_does_not_depend_on_the_time(buckets: Buckets) -> None:
    written(buckets, "mission/a.json", GOOD)
    packed = buckets.the_only("audit", "ledger/")
    assert packed[4:8] == bytes(4), "gzip may keep the time of day there (RFC 1952)"
    buckets.empty()
    written(buckets, "mission/a.json", GOOD)
    again = buckets.the_only("audit", "ledger/")
    (_, *before), (_, *after) = (gzip.decompress(each).splitlines() for each in (packed, again))
    assert after == before, "only the version ids in the header differ"
