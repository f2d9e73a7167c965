"""Each section of the runbook fixes a deployment that is broken as the section says."""

import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.breaking import slow, until, without
from tests.support.deployed import Cloud, json_file
from tests.support.documents import (
    BAD,
    GOOD,
    Shell,
    attempts,
    blocks,
    put,
    queue_length,
    read,
    sections,
    wait_for_dead_letter,
    without_events,
)

SECTIONS = sections(read("docs/runbook.md"))
PREAMBLE = blocks(SECTIONS.pop(""))

pytestmark = pytest.mark.timeout(600)


def reader(cloud: Cloud, answers: dict[str, str] | None = None) -> Shell:
    return Shell(cloud, answers or {}, list(PREAMBLE))


def follow(shell: Shell, section: str, fix: Callable[[], None]) -> list[str]:
    """Run the blocks of a section, fix the cause where it says so, and return the outputs."""
    diagnose, recover = re.split(r"fix the cause", SECTIONS[section], maxsplit=1, flags=re.IGNORECASE)
    outputs = shell.follow(diagnose)
    fix()
    return outputs + shell.follow(recover)


def test_executions_failed(cloud: Cloud, tmp_path: Path) -> None:
    with ExitStack() as broken:
        broken.enter_context(without(cloud, "write", "s3:PutObject"))
        first, second = put(cloud, tmp_path, "first", GOOD), put(cloud, tmp_path, "second", GOOD)
        bad = put(cloud, tmp_path, "bad", BAD)
        answers = {
            "dead letter": wait_for_dead_letter(cloud, first),
            "execution": first["execution"],
            "dead letter of bad data": wait_for_dead_letter(cloud, bad),
        }
        wait_for_dead_letter(cloud, second)
        outputs = follow(reader(cloud, answers), "executions-failed", broken.close)

    assert first["id"] in outputs[0]
    assert attempts(cloud, first) == attempts(cloud, second) == ["1"]
    still_open = cloud.custody("dead-letters", "--json").out
    assert not [sent for sent in (first, second, bad) if sent["id"] in still_open]


def test_executions_timed_out(cloud: Cloud, tmp_path: Path) -> None:
    with ExitStack() as broken:
        broken.enter_context(slow(cloud, seconds=60, timeout=1))
        sent = put(cloud, tmp_path, "late", GOOD)
        assert wait_for_dead_letter(cloud, sent).endswith(".0.TimedOut")
        follow(reader(cloud, {"execution": sent["execution"]}), "executions-timed-out", broken.close)
    assert attempts(cloud, sent) == ["1"]


def test_executions_aborted(cloud: Cloud, tmp_path: Path) -> None:
    with ExitStack() as broken:
        broken.enter_context(slow(cloud, seconds=1, timeout=600))
        sent = put(cloud, tmp_path, "stopped", GOOD)
        client = cloud.client("stepfunctions")
        running = {"stateMachineArn": cloud.deployment.pipeline_arn, "statusFilter": "RUNNING"}
        until(lambda: client.list_executions(**running)["executions"], 30, "the execution starts")
        client.stop_execution(executionArn=sent["execution"])
        dead_letter = wait_for_dead_letter(cloud, sent)
        assert dead_letter.endswith(".0.Aborted")
        follow(reader(cloud, {"dead letter": dead_letter}), "executions-aborted", broken.close)
    assert attempts(cloud, sent) == ["1"]


def test_start_dlq(cloud: Cloud, tmp_path: Path) -> None:
    url = cloud.deployment.start_dlq_url
    with ExitStack() as broken:
        broken.enter_context(without(cloud, "start", "states:StartExecution"))
        sent = put(cloud, tmp_path, "refused", GOOD)
        until(lambda: queue_length(cloud, url), 60, "the event in the queue")
        outputs = follow(reader(cloud), "start-dlq", broken.close)
    assert "AccessRefused" in outputs[0]
    assert "refused.json" in outputs[0]
    assert "1 of 1 events handled" in outputs[1]
    until(lambda: attempts(cloud, sent) == ["0"], 30, "the object is written")
    assert queue_length(cloud, url) == 0


def test_buffer_stuck(buffered: Cloud, tmp_path: Path) -> None:
    cloud, client = buffered, buffered.client("lambda")
    (mapping,) = client.list_event_source_mappings(FunctionName=cloud.deployment.start_function)["EventSourceMappings"]
    client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    sent, url = put(cloud, tmp_path, "stuck", GOOD), str(cloud.deployment.buffer_url)
    assert until(lambda: queue_length(cloud, url), 30, "the event in the buffer") == 1

    outputs = reader(cloud).follow(SECTIONS["buffer-stuck"])

    assert "Disabled" in outputs[0]
    until(lambda: attempts(cloud, sent) == ["0"], 60, "the object is committed")
    assert queue_length(cloud, url) == 0


def test_dead_letter_dlq(cloud: Cloud, tmp_path: Path) -> None:
    url = cloud.deployment.dead_letter_dlq_url
    with ExitStack() as broken:
        broken.enter_context(without(cloud, "dead-letter", "s3:PutObject"))
        sent = put(cloud, tmp_path, "bad", BAD)
        until(lambda: queue_length(cloud, url), 60, "the event in the queue")
        outputs = follow(reader(cloud), "dead-letter-dlq", broken.close)
    assert "AccessRefused" in outputs[0]
    assert queue_length(cloud, url) == 0
    assert wait_for_dead_letter(cloud, sent).endswith(".0.Failed")


def test_dead_letters_lost(cloud: Cloud, tmp_path: Path) -> None:
    url = cloud.deployment.dead_letter_dlq_url
    with ExitStack() as broken:
        broken.enter_context(without(cloud, "dead-letter", "s3:PutObject"))
        sent = put(cloud, tmp_path, "unrecorded", BAD)
        until(lambda: queue_length(cloud, url), 60, "the event in the queue")
        cloud.client("sqs").purge_queue(QueueUrl=url)
        answers = {"execution": sent["execution"]}
        outputs = follow(reader(cloud, answers), "dead-letters-lost", broken.close)
    assert "no dead letter" in outputs[0]
    assert wait_for_dead_letter(cloud, sent)


def test_events_lost(cloud: Cloud, tmp_path: Path) -> None:
    with without_events(cloud):
        sent = put(cloud, tmp_path, "lost", GOOD)
    outputs = reader(cloud).follow(SECTIONS["events-lost"])
    assert "missing" in outputs[1]
    until(lambda: attempts(cloud, sent) == ["0"], 30, "the object is written")


def test_broken(cloud: Cloud, tmp_path: Path) -> None:
    s3, deployment = cloud.client("s3"), cloud.deployment
    sent = cloud.put(json_file(tmp_path / "tampered.json", GOOD))
    output, object_id = sent["output"], sent["object"]["id"]
    ledger = f"ledger/{object_id}/000000000000000.0.jsonl.gz"
    s3.put_object(Bucket=deployment.processed, Key=output["key"], Body=b"{}\n")
    s3.delete_object(Bucket=deployment.audit, Key=ledger)
    answers = {
        "key of the processed object": output["key"],
        "version that the ledger names": output["version_id"],
        "key of the ledger file": ledger,
    }
    outputs = reader(cloud, answers).follow(SECTIONS["Broken"])

    assert "replaced" in outputs[0]
    assert "was deleted" in outputs[0]
    assert cloud.custody("verify", object_id).code == 0


def test_every_day(cloud: Cloud) -> None:
    reader(cloud).follow(SECTIONS["Every day"])
