"""A bucket that is there already, and what lies in it: each command of docs/existing-data.md is run."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
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
LINE = json.dumps({"mission": "space", "source": "MASINT", "confidence": 0.95, "filling": "x" * 4000}).encode() + b"\n"
LARGE = LINE * 2_100
"""More than 8 MiB: it goes to the bulk machine."""

SECTIONS = sections(read("docs/existing-data.md"))
BEGIN = blocks(SECTIONS[""])
PARTS = {
    title: body
    for title, _, body in (
        part.partition("\n")
        for part in re.split(r"^### ", SECTIONS["Take objects from a bucket that is there"], flags=re.MULTILINE)
    )
}

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Theirs:
    """The existing bucket, and the deployment beside that of `cloud` that takes objects from it."""

    cloud: Cloud

    def put(self, key: str, body: bytes) -> str:
        answer = self.cloud.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)
        return str(answer.get("VersionId", "null"))

    def custody(self, *arguments: str | Path) -> Any:
        return self.cloud.custody(*arguments, "--env", ENV)

    def ledger(self, slug: str) -> list[str]:
        """List the ledger files of the objects whose ids begin so."""
        return self.cloud.keys(self.cloud.deployment.audit, f"ledger/{slug}")


@pytest.fixture(scope="module")
def shell(cloud: Cloud) -> Shell:
    """Open the shell of one who reads the document from the top."""
    answers = {"name of the bucket": BUCKET, "folders": PREFIX, "key from before": f"{PREFIX}mission/from-before.json"}
    return Shell(cloud, answers, list(BEGIN))


@pytest.fixture(scope="module")
def theirs(cloud: Cloud, shell: Shell) -> Iterator[Theirs]:
    """Fill a bucket that has notifications of its own; then prepare it, and deploy onto it, as the document says."""
    s3, sqs = cloud.client("s3"), cloud.client("sqs")
    there = Theirs(cloud)
    s3.create_bucket(Bucket=BUCKET)
    may = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": "*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [may]})
    queue = sqs.create_queue(QueueName="of-the-owner", Attributes={"Policy": policy})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    own = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectRemoved:*"]}]}
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=own)
    there.put(f"{PREFIX}mission/from-before.json", LINE)

    for block in blocks(PARTS["What the bucket needs"]):
        shell.run(block)
    for key in ("mission/first.json", "second.json"):
        there.put(f"{PREFIX}{key}", LINE)
    there.put(f"{PREFIX}mission/bad.json", b"no JSON")
    there.put(f"{PREFIX}mission/large.jsonl", LARGE)
    there.put("reports/other.json", LINE)
    for block in blocks(PARTS["Deploy"]):
        shell.run(block)
    shell.before.append(f"export CUSTODY_ENV={ENV}")
    yield Theirs(replace(cloud, deployment=find(cloud.target, ENV), env=ENV))
    assert cloud.custody("destroy", "--env", ENV, "--yes").code == 0


def test_what_the_owner_had_of_notifications_is_there_still(theirs: Theirs) -> None:
    told = theirs.cloud.client("s3").get_bucket_notification_configuration(Bucket=BUCKET)

    assert [one["Events"] for one in told["QueueConfigurations"]] == [["s3:ObjectRemoved:*"]]
    assert told["EventBridgeConfiguration"] == {}


def test_what_came_before_versioning_is_named_and_once_copied_is_started_by_its_event(
    theirs: Theirs, shell: Shell
) -> None:
    refused = [one for one in theirs.custody("backfill", "--dry-run", "--json").json["objects"] if one["why"]]
    assert [one["object"]["key"] for one in refused] == [f"{PREFIX}mission/from-before.json"]

    for block in blocks(PARTS["Objects from before versioning"]):
        shell.run(block)
    until(lambda: theirs.ledger("incoming-mission-from-before"), 60, "the copy is processed")
    assert "from-before" not in theirs.custody("backfill", "--dry-run", "--json").out


def test_what_lies_there_is_started_and_the_commits_are_clean(theirs: Theirs, shell: Shell) -> None:
    dry, real, clean = (shell.run(block) for block in blocks(PARTS["Start what lies there"]))

    assert "4 would be started" in dry
    assert "1 started before" in real
    assert "3 succeeded, 1 rejected" in real
    assert "5 objects: 4 written, 1 rejected, 0 failed, 0 in flight, 0 missing" in clean
    assert "0 broken" in clean
    assert not theirs.ledger("reports"), "what is not below the prefix is none of ours"
    delivered = theirs.cloud.keys(theirs.cloud.deployment.processed)
    assert {key.partition("/")[0] for key in delivered} == {"mission"}, "the dataset begins behind the prefix"


def test_what_arrives_is_started_by_its_event_whoever_puts_it_there(theirs: Theirs) -> None:
    theirs.put(f"{PREFIX}mission/new é+.json", LINE)
    theirs.put("reports/new.json", LINE)
    put = theirs.custody("put", ROOT / "samples/objects/good.json", "--json")

    (fate,) = put.json["objects"]
    assert (put.code, fate["object"]["key"]) == (0, f"{PREFIX}good.json")
    until(lambda: theirs.ledger("incoming-mission-new"), 60, "the object is committed")
    assert theirs.custody("trace", f"{PREFIX}mission/new é+.json").code == 0
    assert not theirs.ledger("reports")


@contextmanager
def uncalled(theirs: Theirs) -> Iterator[None]:
    """Let the rule not call start; put the permission back afterwards."""
    client, name = theirs.cloud.client("lambda"), theirs.cloud.deployment.start_function
    (statement,) = json.loads(client.get_policy(FunctionName=name)["Policy"])["Statement"]
    client.remove_permission(FunctionName=name, StatementId=statement["Sid"])
    try:
        yield
    finally:
        client.add_permission(
            FunctionName=name,
            StatementId=statement["Sid"],
            Action="lambda:InvokeFunction",
            Principal="events.amazonaws.com",
            SourceArn=statement["Condition"]["ArnLike"]["AWS:SourceArn"],
        )


def test_what_eventbridge_cannot_deliver_waits_and_is_given_to_start_again(theirs: Theirs) -> None:
    with uncalled(theirs):
        theirs.put(f"{PREFIX}mission/start-dlq.json", LINE)
        url, sqs = theirs.cloud.deployment.start_dlq_url, theirs.cloud.client("sqs")
        number = "ApproximateNumberOfMessages"
        told = {"QueueUrl": url, "AttributeNames": [number]}
        until(lambda: sqs.get_queue_attributes(**told)["Attributes"][number] == "1", 60, "the event in the queue")
        (seen,) = theirs.custody("redrive", "--events", "--dry-run", "--json").json["events"]
    replayed = theirs.custody("redrive", "--events", "--json")

    assert seen["objects"] == [f"{PREFIX}mission/start-dlq.json"]
    assert "NO_PERMISSIONS" in seen["result"]
    assert replayed.code == 0, replayed.out
    until(lambda: theirs.ledger("incoming-mission-start-dlq"), 60, "the object is committed")


def test_all_is_processed_once_more_as_the_next_attempt_and_the_commits_are_clean(theirs: Theirs) -> None:
    ran = theirs.custody("backfill", "--again", "--rate", "100", "--json")
    counts = {name: number for name, number in ran.json["counts"].items() if number}
    reconciled = theirs.custody("reconcile", "--json").json["counts"]

    assert (ran.code, counts) == (3, {"succeeded": 7, "rejected": 1})
    assert {key.rpartition("/")[2] for key in theirs.ledger("incoming-mission-large")} == {
        f"{start}.{attempt}.jsonl.gz" for start in ("000000000000000", "object") for attempt in (0, 1)
    }
    assert {name for name, number in reconciled.items() if number} == {"written", "rejected"}
    assert theirs.custody("verify").code == 0


def test_what_lies_in_a_bucket_of_the_stack_s_own_is_replayed_as_the_document_says(cloud: Cloud) -> None:
    good = ROOT / "samples/objects/good.json"
    assert cloud.custody("put", good, "--key", "mission/2026/good.json").code == 0
    shell = Shell(cloud, before=list(BEGIN))
    for block in blocks(SECTIONS["Start what was never started"]):
        shell.run(block)
    again, reconciled, *_ = (shell.run(block) for block in blocks(SECTIONS["Process all once more"]))
    assert "1 succeeded" in again
    assert "1 object: 1 written" in reconciled


def test_each_section_with_commands_is_run() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    with_commands = [title for title, text in (SECTIONS | PARTS).items() if title and blocks(text)]
    assert [title for title in with_commands if f'"{title}"' not in source] == []
