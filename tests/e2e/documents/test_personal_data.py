"""docs/personal-data.md: each command, on an object that lies in every place where one can."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deployed import Cloud
from tests.support.documents import Shell, blocks, read, sections

SECTIONS = sections(read("docs/personal-data.md"))
BEGIN = blocks(sections(read("docs/runbook.md"))[""])
GOOD = {"mission": "space", "source": "MASINT", "confidence": 0.95}
STAGED = [GOOD | {"note": f"{number:01000d}"} for number in range(70)] + [GOOD | {"confidence": 1.7}]
"""Too much to travel in messages, and one that is rejected, so that there is a dead letter."""


def versions(cloud: Cloud, bucket: str, containing: str) -> list[str]:
    pages = cloud.client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket)
    listed = [each for page in pages for each in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]]
    return [each["VersionId"] for each in listed if containing in each["Key"]]


@pytest.fixture
def forgotten(cloud: Cloud) -> Iterator[list[str]]:
    """Take away in the end what the ledger say of some objects, for `verify` is to say that all others hold."""
    object_ids: list[str] = []
    yield object_ids
    s3, audit = cloud.client("s3"), cloud.deployment.audit
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=audit):
        for each in page.get("Versions", []):
            if any(object_id in each["Key"] for object_id in object_ids):
                s3.delete_object(Bucket=audit, Key=each["Key"], VersionId=each["VersionId"])


def test_a_persons_data_is_deleted_and_the_ledger_says_so(cloud: Cloud, tmp_path: Path, forgotten: list[str]) -> None:
    path = tmp_path / "person.jsonl"
    path.write_text("".join(f"{json.dumps(record)}\n" for record in STAGED), encoding="utf-8")
    (sent,) = cloud.custody("put", path, "--key", "mission/person.jsonl", "--json").json["objects"]
    found, s3 = sent["object"], cloud.client("s3")
    forgotten.append(found["id"])
    s3.put_object(
        Bucket=cloud.deployment.processed, Key=sent["output"]["key"], Body=b"what an earlier attempt delivered"
    )
    s3.delete_object(Bucket=cloud.deployment.processed, Key=sent["output"]["key"])
    answers = {
        "object id": found["id"],
        "key": found["key"],
        "version id": found["version_id"],
        "folder": sent["output"]["key"].rpartition("/")[0],
    }
    buckets = (cloud.deployment.raw, cloud.deployment.processed, cloud.deployment.raw.replace("-raw-", "-staging-"))
    function, *steps = blocks(SECTIONS["Delete it"])
    shell = Shell(cloud, answers, [*BEGIN, function])
    names = {bucket: "person.jsonl" if bucket == cloud.deployment.raw else found["id"] for bucket in buckets}
    assert all(versions(cloud, bucket, name) for bucket, name in names.items()), "it lies in each of them"

    assert answers["folder"] in shell.run(steps[0])
    for step in steps[1:]:
        shell.run(step)

    assert not [bucket for bucket, name in names.items() if versions(cloud, bucket, name)]
    verify, reconcile = blocks(SECTIONS["What is said afterwards"])
    said = re.sub(r"\s+", " ", shell.run(verify))
    assert "1 broken" in said
    assert "gone for good" in said
    assert found["id"] not in shell.run(reconcile)
    dead_letters = cloud.custody("dead-letters", "--since", "1h", "--json").json["dead_letters"]
    assert not [one for one in dead_letters if one["object"]["id"] == found["id"]]
    trace = cloud.custody("trace", found["id"], "--json").json
    assert trace["counts"]["received"] == len(STAGED), "what the ledger tells is still there"


def test_of_a_raw_version_that_alone_is_gone_it_says_expired(cloud: Cloud, tmp_path: Path) -> None:
    path = tmp_path / "expired.json"
    path.write_text(json.dumps(GOOD), encoding="utf-8")
    (sent,) = cloud.custody("put", path, "--json").json["objects"]
    raw = sent["object"]
    cloud.client("s3").delete_object(Bucket=raw["bucket"], Key=raw["key"], VersionId=raw["version_id"])

    ran = cloud.custody("verify", raw["id"], "--json")

    assert (ran.code, ran.json["objects"][0]["result"]) == (0, "expired")
    assert "`custody verify` says *expired*" in SECTIONS["What is said afterwards"]


def test_each_section_with_commands_is_run() -> None:
    assert {title for title, text in SECTIONS.items() if blocks(text)} == {"Delete it", "What is said afterwards"}
