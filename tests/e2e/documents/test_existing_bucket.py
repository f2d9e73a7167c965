"""docs/existing-data.md: each command, on a bucket that exists already and on one of the stack's own."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from custody.deployment.target import ROOT, find
from tests.support.breaking import until
from tests.support.deployed import Cloud
from tests.support.documents import Shell, blocks, read, sections

ENV = "existing"
BUCKET = "their-bucket"
PREFIX = "incoming/"
LINE = json.dumps({"mission": "space", "source": "MASINT", "confidence": 0.95, "padding": "x" * 4000}).encode() + b"\n"
LARGE = LINE * 2_100
"""More than 8 MiB: it goes to the bulk machine."""

SECTIONS = sections(read("docs/existing-data.md"))
PREAMBLE = blocks(SECTIONS[""])
PARTS = sections(SECTIONS["Use an existing bucket"], "###")

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Existing:
    """The existing bucket, and the deployment that reads objects from it."""

    cloud: Cloud

    def put(self, key: str, body: bytes) -> None:
        self.cloud.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)

    def custody(self, *arguments: str | Path) -> Any:
        return self.cloud.custody(*arguments, "--env", ENV)

    def ledger(self, prefix: str) -> list[str]:
        """List the ledger files of objects whose ids have a prefix."""
        return self.cloud.keys(self.cloud.deployment.audit, f"ledger/{prefix}")


@pytest.fixture(scope="module")
def shell(cloud: Cloud) -> Shell:
    answers = {"name of the bucket": BUCKET, "folders": PREFIX, "key from before": f"{PREFIX}mission/from-before.json"}
    return Shell(cloud, answers, list(PREAMBLE))


@pytest.fixture(scope="module")
def existing(cloud: Cloud, shell: Shell) -> Iterator[Existing]:
    """Fill a bucket with notifications of its own, then prepare it and deploy onto it as the document says."""
    bucket = Existing(cloud)
    cloud.client("s3").create_bucket(Bucket=BUCKET)
    _notify_owner(cloud)
    bucket.put(f"{PREFIX}mission/from-before.json", LINE)

    shell.follow(PARTS["What the bucket needs"])
    for key in ("mission/first.json", "second.json"):
        bucket.put(f"{PREFIX}{key}", LINE)
    bucket.put(f"{PREFIX}mission/bad.json", b"not JSON")
    bucket.put(f"{PREFIX}mission/large.jsonl", LARGE)
    bucket.put("reports/other.json", LINE)
    shell.follow(PARTS["Deploy onto it"])
    yield Existing(replace(cloud, deployment=find(cloud.target, ENV), env=ENV))
    assert cloud.custody("destroy", "--env", ENV, "--yes").code == 0


def _notify_owner(cloud: Cloud) -> None:
    """Give the bucket a notification of its owner's."""
    sqs = cloud.client("sqs")
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": "*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    queue = sqs.create_queue(QueueName="of-the-owner", Attributes={"Policy": policy})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    configuration = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectRemoved:*"]}]}
    cloud.client("s3").put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=configuration)


def test_the_owners_notifications_are_kept(existing: Existing) -> None:
    configuration = existing.cloud.client("s3").get_bucket_notification_configuration(Bucket=BUCKET)

    assert [each["Events"] for each in configuration["QueueConfigurations"]] == [["s3:ObjectRemoved:*"]]
    assert configuration["EventBridgeConfiguration"] == {}


def test_an_object_from_before_versioning_is_listed_and_starts_once_copied(existing: Existing, shell: Shell) -> None:
    refused = [each for each in existing.custody("backfill", "--dry-run", "--json").json["objects"] if each["why"]]
    assert [each["object"]["key"] for each in refused] == [f"{PREFIX}mission/from-before.json"]

    shell.follow(PARTS["Objects from before versioning"])
    until(lambda: existing.ledger("incoming-mission-from-before"), 60, "the copy is processed")
    assert "from-before" not in existing.custody("backfill", "--dry-run", "--json").out


def test_a_backfill_starts_what_is_there(existing: Existing, shell: Shell) -> None:
    dry_run, backfilled, reconciled = shell.follow(PARTS["Start what is there"])

    assert "4 would be started" in dry_run
    assert "1 started before" in backfilled
    assert "3 succeeded, 1 rejected" in backfilled
    assert "5 objects: 4 written, 1 rejected, 0 failed, 0 in flight, 0 missing" in reconciled
    assert "0 broken" in reconciled
    assert not existing.ledger("reports"), "it is outside the prefix"
    delivered = existing.cloud.keys(existing.cloud.deployment.processed)
    assert {key.partition("/")[0] for key in delivered} == {"mission"}, "the dataset is behind the prefix"


def test_an_arriving_object_is_started_by_its_event(existing: Existing) -> None:
    existing.put(f"{PREFIX}mission/new é+.json", LINE)
    existing.put("reports/new.json", LINE)
    put = existing.custody("put", ROOT / "samples/objects/good.json", "--json")

    (sent,) = put.json["objects"]
    assert (put.code, sent["object"]["key"]) == (0, f"{PREFIX}good.json")
    until(lambda: existing.ledger("incoming-mission-new"), 60, "the object is committed")
    assert existing.custody("trace", f"{PREFIX}mission/new é+.json").code == 0
    assert not existing.ledger("reports")


def test_everything_is_processed_again_as_its_next_attempt(existing: Existing) -> None:
    ran = existing.custody("backfill", "--again", "--rate", "100", "--json")
    counts = {name: number for name, number in ran.json["counts"].items() if number}
    reconciled = existing.custody("reconcile", "--json").json["counts"]

    assert (ran.code, counts) == (3, {"succeeded": 6, "rejected": 1})
    assert {key.rpartition("/")[2] for key in existing.ledger("incoming-mission-large")} == {
        f"{start}.{attempt}.jsonl.gz" for start in ("000000000000000", "object") for attempt in (0, 1)
    }
    assert {name for name, number in reconciled.items() if number} == {"written", "rejected"}
    assert existing.custody("verify").code == 0


def test_a_bucket_of_the_stacks_own_is_backfilled_and_processed_again(cloud: Cloud) -> None:
    good = ROOT / "samples/objects/good.json"
    assert cloud.custody("put", good, "--key", "mission/2026/good.json").code == 0
    shell = Shell(cloud, preamble=list(PREAMBLE))
    shell.follow(SECTIONS["Backfill"])
    again, reconciled, _ = shell.follow(SECTIONS["Process again"])
    assert "1 succeeded" in again
    assert "1 object: 1 written" in reconciled
