"""Each command of the runbook, run on a deployment that is broken as its section says: it fixes it."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from custody.audit.reader import AuditReader, DeadLetterKey
from tests.support.breaking import slow, until, without
from tests.support.deployed import Cloud
from tests.support.documents import Shell, blocks, read, sections

SECTIONS = sections(read("docs/runbook.md"))
BEGIN = blocks(SECTIONS.pop(""))
GOOD = {"mission": "space", "source": "MASINT", "confidence": 0.95}
BAD = GOOD | {"confidence": 1.7}

pytestmark = pytest.mark.timeout(600)


def reader(cloud: Cloud, answers: dict[str, str] | None = None) -> Shell:
    """Open the shell of one who has typed what the runbook begins with."""
    return Shell(cloud, answers or {}, list(BEGIN))


def follow(shell: Shell, section: str, mend: Callable[[], None]) -> list[str]:
    """Run all blocks of a section in their order, and fix the cause where it says so; give what each printed."""
    looking, acting = re.split(r"fix the cause", SECTIONS[section], maxsplit=1, flags=re.IGNORECASE)
    printed = [shell.run(block) for block in blocks(looking)]
    mend()
    return printed + [shell.run(block) for block in blocks(acting)]


def put(cloud: Cloud, folder: Path, name: str, *records: Any) -> Any:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(list(records)), encoding="utf-8")
    (sent,) = cloud.custody("put", path, "--no-wait", "--json").json["objects"]
    return sent["object"] | {"execution": sent["execution"]}


def dead_letter_of(cloud: Cloud, sent: Any) -> str:
    """Wait for the dead letter of an object; give its id."""
    audit, object_id = AuditReader(cloud.client("s3"), cloud.deployment.audit), sent["object_id"]
    keys: list[DeadLetterKey] = until(lambda: audit.dead_letters_of(object_id), 60, f"a dead letter of {object_id}")
    return keys[-1].id


def attempts(cloud: Cloud, sent: Any) -> list[str]:
    return [key.split(".")[1] for key in cloud.keys(cloud.deployment.audit, f"ledger/{sent['id']}/")]


def waiting(cloud: Cloud, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(map(int, found.values()))


@contextmanager
def without_events(cloud: Cloud) -> Iterator[None]:
    """Let the raw bucket tell nobody of what arrives."""
    s3, bucket = cloud.client("s3"), cloud.deployment.raw
    configured = s3.get_bucket_notification_configuration(Bucket=bucket)
    configured.pop("ResponseMetadata", None)
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    try:
        yield
    finally:
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configured)


def test_executions_failed(cloud: Cloud, tmp_path: Path) -> None:
    with ExitStack() as broken:
        broken.enter_context(without(cloud, "write", "s3:PutObject"))
        first, second = put(cloud, tmp_path, "first", GOOD), put(cloud, tmp_path, "second", GOOD)
        bad = put(cloud, tmp_path, "bad", BAD)
        shell = reader(
            cloud,
            {
                "dead_letter": dead_letter_of(cloud, first),
                "execution": first["execution"],
                "dead letter of bad data": dead_letter_of(cloud, bad),
            },
        )
        dead_letter_of(cloud, second)
        printed = follow(shell, "executions-failed", broken.close)

    assert first["id"] in printed[0]
    assert attempts(cloud, first) == attempts(cloud, second) == ["1"]
    left = cloud.custody("dead-letters", "--json").out
    assert not [sent for sent in (first, second, bad) if sent["id"] in left]


def test_executions_timed_out(cloud: Cloud, tmp_path: Path) -> None:
    with ExitStack() as broken:
        broken.enter_context(slow(cloud, seconds=60, timeout=1))
        sent = put(cloud, tmp_path, "late", GOOD)
        shell = reader(cloud, {"dead_letter": dead_letter_of(cloud, sent), "execution": sent["execution"]})
        follow(shell, "executions-timed-out", broken.close)
    assert attempts(cloud, sent) == ["1"]


def test_executions_aborted(cloud: Cloud, tmp_path: Path) -> None:
    with ExitStack() as broken:
        broken.enter_context(slow(cloud, seconds=1, timeout=600))
        sent = put(cloud, tmp_path, "stopped", GOOD)
        client = cloud.client("stepfunctions")
        running = {"stateMachineArn": cloud.deployment.pipeline_arn, "statusFilter": "RUNNING"}
        until(lambda: client.list_executions(**running)["executions"], 30, "the execution starts")
        client.stop_execution(executionArn=sent["execution"])
        shell = reader(cloud, {"dead_letter": dead_letter_of(cloud, sent), "execution": sent["execution"]})
        follow(shell, "executions-aborted", broken.close)
    assert attempts(cloud, sent) == ["1"]


def test_start_dlq(cloud: Cloud, tmp_path: Path) -> None:
    url = cloud.deployment.start_dlq_url
    with ExitStack() as broken:
        broken.enter_context(without(cloud, "start", "states:StartExecution"))
        sent = put(cloud, tmp_path, "refused", GOOD)
        until(lambda: waiting(cloud, url), 60, "the event in the queue")
        printed = follow(reader(cloud), "start-dlq", broken.close)
    assert "AccessRefused" in printed[0]
    until(lambda: attempts(cloud, sent) == ["0"], 30, "the object is written")
    assert waiting(cloud, url) == 0


def test_buffer_stuck(buffered: Cloud, tmp_path: Path) -> None:
    cloud, client = buffered, buffered.client("lambda")
    of_start = {"FunctionName": cloud.deployment.start_function}
    (mapping,) = client.list_event_source_mappings(**of_start)["EventSourceMappings"]
    client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    sent = put(cloud, tmp_path, "stuck", GOOD)
    assert cloud.deployment.buffer_url
    assert until(lambda: waiting(cloud, cloud.deployment.buffer_url or ""), 30, "the event in the buffer") == 1

    shell = reader(cloud)
    printed = [shell.run(block) for block in blocks(SECTIONS["buffer-stuck"])]

    assert "Disabled" in printed[0]
    until(lambda: attempts(cloud, sent) == ["0"], 60, "the object is committed")
    assert waiting(cloud, cloud.deployment.buffer_url) == 0


def test_unwritten(cloud: Cloud, tmp_path: Path) -> None:
    url = cloud.deployment.dead_letter_dlq_url
    with ExitStack() as broken:
        broken.enter_context(without(cloud, "dead-letter", "s3:PutObject"))
        sent = put(cloud, tmp_path, "bad", BAD)
        until(lambda: waiting(cloud, url), 60, "the event in the queue")
        printed = follow(reader(cloud), "dead-letter-dlq", broken.close)
    assert "AccessRefused" in printed[0]
    assert waiting(cloud, url) == 0
    assert dead_letter_of(cloud, sent).endswith(".0.Failed")


def test_events_lost(cloud: Cloud, tmp_path: Path) -> None:
    with without_events(cloud):
        sent = put(cloud, tmp_path, "lost", GOOD)
    printed = follow(reader(cloud), "events-lost", lambda: None)
    assert "missing" in printed[1]
    until(lambda: attempts(cloud, sent) == ["0"], 30, "the object is written")


def test_broken(cloud: Cloud, tmp_path: Path) -> None:
    s3, deployment = cloud.client("s3"), cloud.deployment
    path = tmp_path / "tampered.json"
    path.write_text(json.dumps(GOOD), encoding="utf-8")
    (fate,) = cloud.custody("put", path, "--json").json["objects"]
    output, object_id = fate["output"], fate["object"]["id"]
    ledger = f"ledger/{object_id}/000000000000000.0.jsonl.gz"
    s3.put_object(Bucket=deployment.processed, Key=output["key"], Body=b"{}\n")
    s3.delete_object(Bucket=deployment.audit, Key=ledger)
    answers = {
        "key of the processed object": output["key"],
        "version that the ledger names": output["version_id"],
        "key of the ledger file": ledger,
    }
    shell = reader(cloud, answers)
    printed = [shell.run(block) for block in blocks(SECTIONS["Broken"])]

    assert "replaced" in printed[0]
    assert "was deleted" in printed[0]
    assert cloud.custody("verify", object_id).code == 0


def test_every_day(cloud: Cloud) -> None:
    for block in blocks(SECTIONS["Every day"]):
        reader(cloud).run(block)


def test_no_section_is_left_out() -> None:
    tested = {
        name.removeprefix("test_").replace("_", "-")
        for name in globals()
        if name.startswith("test_") and name != "test_no_section_is_left_out"
    }
    assert {title.lower().replace(" ", "-") for title in SECTIONS} == tested
