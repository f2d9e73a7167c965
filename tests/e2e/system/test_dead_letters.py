"""Dead letters from the list to a discard, and verification of what is stored against the ledger."""

import json
from pathlib import Path

import pytest

from tests.support.deployed import GOOD, Cloud, json_file

BAD = {"mission": "naïve", "source": "MASINT", "confidence": 1.7}


def listed(cloud: Cloud, *options: str) -> dict[str, bool]:
    """Return whether each dead letter is open, by id."""
    ran = cloud.custody("dead-letters", *options, "--json")
    assert ran.code == 0, ran.err
    return {dead_letter["id"]: dead_letter["open"] for dead_letter in ran.json["dead_letters"]}


@pytest.mark.aws
def test_a_dead_letter_is_listed_shown_and_discarded(cloud: Cloud, tmp_path: Path) -> None:
    object_id = cloud.put(json_file(tmp_path / "discarded.json", GOOD, BAD), code=3)["object"]["id"]

    (dead_letter_id,) = (dead_letter_id for dead_letter_id in listed(cloud) if object_id in dead_letter_id)
    table = cloud.custody("dead-letters", "--dataset", "mission", "--step", "write", "--error", "RecordsRejected")
    assert dead_letter_id in table.out
    assert "1 of 2" in table.out
    assert f"custody dead-letters show {dead_letter_id}".rpartition(" ")[0] in table.err

    shown = cloud.custody("dead-letters", "show", dead_letter_id)
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    place = lines.index("    /confidence: maximum 1") + 1
    assert lines[place].strip() == json.dumps(BAD, ensure_ascii=False)
    assert lines[place + 1] == " " * lines[place].index("1.7") + "^^^"

    assert cloud.custody("dead-letters", "discard", dead_letter_id, "--reason", " ").code == 2
    discarded = cloud.custody("dead-letters", "discard", dead_letter_id, "--reason", "sent by mistake")
    assert discarded.code == 0, discarded.err
    assert f"{object_id}.1" in discarded.out
    assert cloud.ledger_keys(object_id) == ["000000000000000.0.discarded.jsonl.gz", "000000000000000.0.jsonl.gz"]
    again = cloud.custody("dead-letters", "discard", dead_letter_id, "--reason", "once more")
    assert again.code == 1
    assert "is already resolved: discarded on" in again.err

    assert dead_letter_id not in listed(cloud)
    assert listed(cloud, "--all")[dead_letter_id] is False
    verified = cloud.custody("verify", object_id)
    assert verified.code == 0, verified.out
    assert "1 object: 1 hold" in verified.out


@pytest.mark.aws
def test_a_batch_that_was_never_read_is_discarded_as_a_whole(cloud: Cloud, tmp_path: Path) -> None:
    outcome = cloud.put(json_file(tmp_path / "records.json", GOOD), "--key", "unknown/discarded.json", code=1)
    assert outcome["error"] == "UnknownDataset"
    assert "dead-letters/dt=" in outcome["dead_letter"]
    object_id = outcome["object"]["id"]

    shown = cloud.custody("dead-letters", "show", object_id)
    assert "UnknownDataset at Validate" in shown.out
    assert "not read" in shown.out
    assert cloud.custody("verify", object_id).code == 2, "nothing was committed"

    discarded = cloud.custody("dead-letters", "discard", object_id, "--reason", "nobody knows it")
    assert "the whole batch, which was never read" in discarded.out
    assert not any(object_id in dead_letter_id for dead_letter_id in listed(cloud, "--dataset", "unknown"))


@pytest.mark.aws
def test_verify_finds_a_processed_object_that_was_replaced_or_deleted(cloud: Cloud, tmp_path: Path) -> None:
    object_id = cloud.put(json_file(tmp_path / "replaced.json", GOOD, GOOD))["object"]["id"]
    s3, bucket = cloud.client("s3"), cloud.deployment.processed
    (key,) = (key for key in cloud.keys(bucket, "mission/") if object_id in key)
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    assert cloud.custody("verify", f"{object_id}.0").code == 0

    other = s3.put_object(Bucket=bucket, Key=key, Body=body.replace(b"space", b"spice", 1))["VersionId"]
    try:
        replaced = cloud.custody("verify", object_id)
    finally:
        s3.delete_object(Bucket=bucket, Key=key, VersionId=other)
    assert replaced.code == 1
    assert f"record {object_id}.0: its line in the processed object is not the one that was written" in replaced.out
    assert f"{object_id}.1" not in replaced.out

    marker = s3.delete_object(Bucket=bucket, Key=key)["VersionId"]
    try:
        deleted = cloud.custody("verify", object_id, "--json")
    finally:
        s3.delete_object(Bucket=bucket, Key=key, VersionId=marker)
    assert deleted.code == 1
    assert "a delete marker hides it" in deleted.json["objects"][0]["where"][0]

    assert cloud.custody("verify", object_id).code == 0
