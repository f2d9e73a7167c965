"""Each command of docs/consuming.md, and what it says of deliveries, on a deployed stack."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from custody.deployment.target import ROOT
from samples import consumer
from tests.e2e.documents.test_aws_cli import OBJECTS, ended, status
from tests.support.breaking import until
from tests.support.deployed import Cloud
from tests.support.documents import Shell, blocks, examples, read, sections

SECTIONS = sections(read("docs/consuming.md"))
BEGIN = blocks(sections(read("docs/runbook.md"))[""])
STACK = "mission-deliveries"

pytestmark = pytest.mark.timeout(600)


def follow(shell: Shell, section: str, then: Callable[[], Any] = lambda: None) -> None:
    for block, shown in examples(SECTIONS[section]):
        shell.show(block, shown)
        then()


@contextmanager
def told(cloud: Cloud, **answers: str) -> Iterator[Shell]:
    """Make the queue of a consumer, as the document says, and remove it again, as it says too."""
    queue = cloud.client("sqs").create_queue(QueueName="target")["QueueUrl"]
    arn = "arn:aws:sqs:us-east-1:000000000000:target"
    shell = Shell(cloud, answers | {"arn of the target": arn}, list(BEGIN))
    try:
        follow(shell, "A queue of deliveries")
        yield shell
    finally:
        follow(shell, "Removing it again")
        cloud.client("sqs").delete_queue(QueueUrl=queue)


def outputs(cloud: Cloud) -> dict[str, str]:
    (stack,) = cloud.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def taken(path: Path) -> dict[str, list[str]]:
    """Give what the consumer has: the lines by their key."""
    found: dict[str, list[str]] = {}
    with closing(sqlite3.connect(path)) as file:
        for key, document in file.execute("SELECT key, document FROM records ORDER BY key, begins"):
            found.setdefault(key, []).append(document)
    return found


def delivered(cloud: Cloud) -> dict[str, list[str]]:
    """Give what lies in the processed bucket: the lines by their key."""
    s3, bucket = cloud.client("s3"), cloud.deployment.processed
    found = {
        key: s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode().splitlines()
        for key in cloud.keys(bucket, "mission/")
    }
    return {key: lines for key, lines in found.items() if lines}


def events(cloud: Cloud, number: int) -> list[Any]:
    """Wait for so many events, and leave them in the queue."""
    url, found = outputs(cloud)["QueueUrl"], {}

    def look() -> bool:
        ask = {"QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 0}
        for message in cloud.client("sqs").receive_message(**ask).get("Messages", []):
            found[message["MessageId"]] = json.loads(message["Body"])
        return len(found) >= number

    until(look, 60, f"{number} events")
    return list(found.values())


def shape(document: Any) -> Any:
    """Keep the names of a document, and of its values no more than their types."""
    return {name: shape(value) for name, value in document.items()} if isinstance(document, dict) else type(document)


def of_these_names(document: Any, other: Any) -> Any:
    """Keep of a document what another one has too, by name."""
    if not isinstance(other, dict):
        return document
    return {name: of_these_names(document[name], value) for name, value in other.items()}


def test_a_consumer_reads_what_is_delivered_exactly_once(cloud: Cloud, tmp_path: Path) -> None:
    path, client = tmp_path / "records.db", cloud.client("stepfunctions")
    with told(cloud, **{"file of the consumer": str(path)}) as shell:
        follow(shell, "Reading exactly once", lambda: ended(cloud, *OBJECTS))
        assert taken(path) == delivered(cloud)

        # The second one has failed: no status-change event names what was delivered.
        arn = cloud.deployment.pipeline_arn
        (failed,) = client.list_executions(stateMachineArn=arn, statusFilter="FAILED", maxResults=1)["executions"]
        assert failed["name"].startswith("mission-lines-jsonl-")
        assert "output" not in client.describe_execution(executionArn=failed["executionArn"])

        # Its redrive writes the whole batch again, as a new version.
        client.redrive_execution(executionArn=failed["executionArn"])
        (event,) = events(cloud, 1)
        until(lambda: status(client, failed["executionArn"]) != "RUNNING", 60, "the end of the redrive")
        told_of = event["detail"]["object"]
        assert failed["name"] in told_of["key"]
        assert told_of["version-id"] == _latest(cloud, told_of["key"])
        sent = 'python samples/consumer.py queue "$QUEUE" "$FILE"'
        assert [shell.run(sent).strip() for _ in range(2)] == ["1", "0"]
        assert taken(path) == delivered(cloud)

        (shown,) = (found for found in _json_blocks() if "detail-type" in found)
        assert shape(of_these_names(event, shown)) == shape(shown)
    with pytest.raises(cloud.client("cloudformation").exceptions.ClientError, match="does not exist"):
        outputs(cloud)


def _latest(cloud: Cloud, key: str) -> str:
    return str(cloud.client("s3").head_object(Bucket=cloud.deployment.processed, Key=key)["VersionId"])


def _json_blocks() -> list[Any]:
    shown = re.findall(r"^```json\n(.*?)^```", read("docs/consuming.md"), re.MULTILINE | re.DOTALL)
    return [json.loads(block) for block in shown]


def test_the_role_of_a_consumer_reads_its_dataset_and_nothing_else(cloud: Cloud) -> None:
    good = ROOT / "samples/objects/good.json"
    assert cloud.custody("put", good, "--key", "mission/good.json").code == 0
    with told(cloud):
        role = outputs(cloud)["RoleArn"]
        given = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="consumer")["Credentials"]
        session = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], "us-east-1")
        s3 = session.client("s3", endpoint_url=cloud.target.endpoint)
        bucket = cloud.deployment.processed

        (key, *_) = [key for _, key, _ in consumer.from_bucket(s3, bucket, "mission/")]
        assert s3.get_object(Bucket=bucket, Key=key)["VersionId"] == _latest(cloud, key)
        for refused in (
            lambda: list(consumer.from_bucket(s3, bucket, "other/")),
            lambda: s3.put_object(Bucket=bucket, Key="mission/mine.jsonl"),
            lambda: s3.list_objects_v2(Bucket=cloud.deployment.audit),
        ):
            with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
                refused()


def test_each_chunk_of_a_large_object_is_a_delivery(buffered: Cloud, tmp_path: Path) -> None:
    lines = [{"mission": "space", "source": "MASINT", "confidence": 0.5, "note": f"{n:010000d}"} for n in range(900)]
    large, path = tmp_path / "chunks.jsonl", tmp_path / "records.db"
    large.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    with told(buffered) as shell:
        key = "mission/chunks.jsonl"
        (fate,) = buffered.custody("put", large, "--key", key, "--json").json["objects"]
        chunks = fate["chunks"]["total"]
        assert len(events(buffered, chunks)) == chunks > 1

        url = outputs(buffered)["QueueUrl"]
        assert shell.run(f'python samples/consumer.py queue "{url}" "{path}"').strip() == str(chunks)

    records = [json.loads(line) for _, found in sorted(taken(path).items()) for line in found]
    assert records == [line | {"confidence_band": "moderate"} for line in lines]


def test_a_record_is_checked_against_the_ledger(cloud: Cloud) -> None:
    good = ROOT / "samples/objects/good.json"
    (fate,) = cloud.custody("put", good, "--key", "mission/good.json", "--json").json["objects"]
    answers = {"record id": fate["records"][0]["record"], "key of the processed object": fate["output"]["key"]}
    follow(Shell(cloud, answers, list(BEGIN)), "Checking against the ledger")


def test_no_section_with_commands_is_left_out() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [title for title, text in SECTIONS.items() if blocks(text) and f'"{title}"' not in source] == []
