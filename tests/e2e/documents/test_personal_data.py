"""docs/personal-data.md: each command, on an object with data in every place where it can be."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deployed import Cloud
from tests.support.documents import BAD, GOOD, Shell, blocks, read, sections

SECTIONS = sections(read("docs/personal-data.md"))
PREAMBLE = blocks(sections(read("docs/runbook.md"))[""])
AFTERWARDS = "What commands report afterwards"
STAGED = [GOOD | {"note": f"{number:01000d}"} for number in range(70)] + [BAD]
"""Too large for messages, with one rejected record, so that there is a dead letter."""


def versions(cloud: Cloud, bucket: str, containing: str) -> list[tuple[str, str]]:
    """List the keys and version ids of a bucket's versions and delete markers whose key contains a text."""
    pages = cloud.client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket)
    entries = [entry for page in pages for entry in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]]
    return [(entry["Key"], entry["VersionId"]) for entry in entries if containing in entry["Key"]]


@pytest.fixture
def erased(cloud: Cloud) -> Iterator[list[str]]:
    """Delete the audit files of the objects that a test adds, so that `verify` holds for other tests."""
    object_ids: list[str] = []
    yield object_ids
    s3, audit = cloud.client("s3"), cloud.deployment.audit
    for object_id in object_ids:
        for key, version_id in versions(cloud, audit, object_id):
            s3.delete_object(Bucket=audit, Key=key, VersionId=version_id)


def test_a_persons_data_is_deleted_and_the_ledger_still_accounts_for_it(
    cloud: Cloud, tmp_path: Path, erased: list[str]
) -> None:
    path = tmp_path / "person.jsonl"
    path.write_text("".join(f"{json.dumps(record)}\n" for record in STAGED), encoding="utf-8")
    sent = cloud.put(path, "--key", "mission/person.jsonl", code=3)
    raw, output, s3 = sent["object"], sent["output"], cloud.client("s3")
    object_id = raw["id"]
    erased.append(object_id)
    s3.put_object(Bucket=output["bucket"], Key=output["key"], Body=b"another version")
    s3.delete_object(Bucket=output["bucket"], Key=output["key"])
    folder = output["key"].rpartition("/")[0]
    answers = {"object id": object_id, "key": raw["key"], "version id": raw["version_id"], "folder": folder}
    names = {
        cloud.deployment.raw: "person.jsonl",
        cloud.deployment.processed: object_id,
        cloud.deployment.raw.replace("-raw-", "-staging-"): object_id,
    }
    assert all(versions(cloud, bucket, name) for bucket, name in names.items())
    shell = Shell(cloud, answers, list(PREAMBLE))

    outputs = shell.follow(SECTIONS["Delete it"])

    assert folder in outputs[1], "the trace shows the folder"
    assert not [bucket for bucket, name in names.items() if versions(cloud, bucket, name)]
    verified, reconciled = shell.follow(SECTIONS[AFTERWARDS])
    assert "1 broken" in re.sub(r"\s+", " ", verified)
    assert object_id not in reconciled
    dead_letters = cloud.custody("dead-letters", "--since", "1h", "--json").json["dead_letters"]
    assert not [letter for letter in dead_letters if letter["object"]["id"] == object_id]
    trace = cloud.custody("trace", object_id, "--json").json
    assert trace["counts"]["received"] == len(STAGED)
