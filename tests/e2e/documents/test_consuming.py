"""Each command of docs/consuming.md, and what it says about deliveries, on a deployed stack."""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from custody.deployment.target import ROOT
from samples import consumer
from tests.support.breaking import until, wait_for_status
from tests.support.deployed import Cloud, large_file
from tests.support.documents import Shell, blocks, read, sections, wait_for_end

DOCUMENT = read("docs/consuming.md")
SECTIONS = sections(DOCUMENT)
PREAMBLE = blocks(sections(read("docs/runbook.md"))[""])
STACK = "mission-deliveries"
GOOD = ROOT / "samples/objects/good.json"

pytestmark = pytest.mark.timeout(600)


@contextmanager
def subscribed(cloud: Cloud, **answers: str) -> Iterator[Shell]:
    """Create the queue of a consumer as the document says, and remove it as it says."""
    queue = cloud.client("sqs").create_queue(QueueName="target")["QueueUrl"]
    target = {"arn of the target": "arn:aws:sqs:us-east-1:000000000000:target"}
    shell = Shell(cloud, answers | target, list(PREAMBLE))
    try:
        shell.follow(SECTIONS["A queue of deliveries"])
        yield shell
    finally:
        shell.follow(SECTIONS["Remove a consumer"])
        cloud.client("sqs").delete_queue(QueueUrl=queue)


def outputs(cloud: Cloud) -> dict[str, str]:
    (stack,) = cloud.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def consumed(path: Path) -> dict[str, list[str]]:
    """Return the lines that the consumer has, by key."""
    lines: dict[str, list[str]] = {}
    with closing(sqlite3.connect(path)) as file:
        for key, document in file.execute("SELECT key, document FROM records ORDER BY key, begins"):
            lines.setdefault(key, []).append(document)
    return lines


def delivered(cloud: Cloud) -> dict[str, list[str]]:
    """Return the lines in the processed bucket, by key."""
    s3, bucket = cloud.client("s3"), cloud.deployment.processed
    lines = {
        key: s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode().splitlines()
        for key in cloud.keys(bucket, "mission/")
    }
    return {key: each for key, each in lines.items() if each}


def wait_for_events(cloud: Cloud, number: int) -> list[Any]:
    """Wait for a number of events and leave them in the queue."""
    url, events = outputs(cloud)["QueueUrl"], {}

    def receive() -> bool:
        request = {"QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 0}
        for message in cloud.client("sqs").receive_message(**request).get("Messages", []):
            events[message["MessageId"]] = json.loads(message["Body"])
        return len(events) >= number

    until(receive, 60, f"{number} events")
    return list(events.values())


def require_shape(example: Any, event: Any) -> None:
    """Fail unless an event has the fields of an example, with values of the same types."""
    if isinstance(example, dict):
        for name, value in example.items():
            require_shape(value, event[name])
    else:
        assert type(event) is type(example)


def latest_version(cloud: Cloud, key: str) -> str:
    return str(cloud.client("s3").head_object(Bucket=cloud.deployment.processed, Key=key)["VersionId"])


def test_a_consumer_reads_deliveries_exactly_once(cloud: Cloud, tmp_path: Path) -> None:
    path, client = tmp_path / "records.db", cloud.client("stepfunctions")
    with subscribed(cloud, **{"file of the consumer": str(path)}) as shell:
        sent = ("mission/good.json", "mission/lines.jsonl")
        shell.follow(SECTIONS["Reading exactly once"], lambda: wait_for_end(cloud, *sent))
        assert consumed(path) == delivered(cloud)

        # The second execution failed: its status-change event names no delivery.
        arn = cloud.deployment.pipeline_arn
        (failed,) = client.list_executions(stateMachineArn=arn, statusFilter="FAILED", maxResults=1)["executions"]
        assert failed["name"].startswith("mission-lines-jsonl-")
        assert "output" not in client.describe_execution(executionArn=failed["executionArn"])

        # Its redrive writes the whole batch again, as a new version.
        client.redrive_execution(executionArn=failed["executionArn"])
        (event,) = wait_for_events(cloud, 1)
        wait_for_status(cloud, failed["executionArn"], "FAILED")
        delivery = event["detail"]["object"]
        assert failed["name"] in delivery["key"]
        assert delivery["version-id"] == latest_version(cloud, delivery["key"])
        drain = 'python samples/consumer.py queue "$QUEUE" "$FILE"'
        assert [shell.run(drain).strip() for _ in range(2)] == ["1", "0"]
        assert consumed(path) == delivered(cloud)

        (example,) = re.findall(r'^```json\n(\{\n  "source".*?)^```', DOCUMENT, re.MULTILINE | re.DOTALL)
        require_shape(json.loads(example), event)
    with pytest.raises(cloud.client("cloudformation").exceptions.ClientError, match="does not exist"):
        outputs(cloud)


def test_the_role_of_a_consumer_reads_only_its_dataset(cloud: Cloud) -> None:
    assert cloud.custody("put", GOOD, "--key", "mission/good.json").code == 0
    with subscribed(cloud):
        role = outputs(cloud)["RoleArn"]
        credentials = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="consumer")["Credentials"]
        session = boto3.Session(
            credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"], "us-east-1"
        )
        s3 = session.client("s3", endpoint_url=cloud.target.endpoint)
        bucket = cloud.deployment.processed

        (key, *_) = [key for _, key, _ in consumer.from_bucket(s3, bucket, "mission/")]
        assert s3.get_object(Bucket=bucket, Key=key)["VersionId"] == latest_version(cloud, key)
        for forbidden in (
            lambda: list(consumer.from_bucket(s3, bucket, "other/")),
            lambda: s3.put_object(Bucket=bucket, Key="mission/mine.jsonl"),
            lambda: s3.list_objects_v2(Bucket=cloud.deployment.audit),
        ):
            with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
                forbidden()


def test_each_chunk_of_a_large_object_is_a_delivery(buffered: Cloud, tmp_path: Path) -> None:
    large, path = large_file(tmp_path / "chunks.jsonl"), tmp_path / "records.db"
    with subscribed(buffered) as shell:
        chunks = buffered.put(large, "--key", "mission/chunks.jsonl")["chunks"]["total"]
        assert len(wait_for_events(buffered, chunks)) == chunks > 1

        url = outputs(buffered)["QueueUrl"]
        assert shell.run(f'python samples/consumer.py queue "{url}" "{path}"').strip() == str(chunks)

    read_back = [json.loads(line) for _, lines in sorted(consumed(path).items()) for line in lines]
    sent_lines = large.read_text(encoding="utf-8").splitlines()
    assert read_back == [json.loads(line) | {"confidence_band": "high"} for line in sent_lines]


def test_a_record_is_checked_against_the_ledger(cloud: Cloud) -> None:
    sent = cloud.put(GOOD, "--key", "mission/good.json")
    answers = {"record id": sent["records"][0]["record"], "key of the processed object": sent["output"]["key"]}
    Shell(cloud, answers, list(PREAMBLE)).follow(SECTIONS["Checking against the ledger"])
