"""Each command of docs/aws-cli.md prints what is shown, on a deployment in the state that its section assumes."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.breaking import slow, until, wait_for_status, without
from tests.support.deployed import Cloud, large_file
from tests.support.documents import (
    BAD,
    GOOD,
    Shell,
    blocks,
    examples,
    put,
    queue_length,
    read,
    sections,
    wait_for_end,
    without_events,
)

SECTIONS = sections(read("docs/aws-cli.md"))
PREAMBLE = [*blocks(sections(read("docs/runbook.md"))[""]), *blocks(SECTIONS.pop(""))]
FIRST = "What is deployed"
SEND = "Send an object"
FIRST_HOUR = (
    "Executions",
    "What was delivered",
    "The ledger and dead letters",
    "Logs",
    "Security settings",
    "Alarms and metrics",
)
"""The sections that follow the objects of `SEND`."""

ONLY_ON_AWS = "# on AWS only\n"
DRY_RUN = 'aws() { command aws "$@" --generate-cli-skeleton output; }'
"""The AWS CLI then validates a command against its service model and prints a sample answer."""

pytestmark = pytest.mark.timeout(600)
preambles: dict[Path, list[str]] = {}
"""What a shell knows after `FIRST`, by deployment, so that it is looked up only once."""


def reader(cloud: Cloud, **answers: str) -> Shell:
    """Return the shell of somebody who has followed the page to the end of `FIRST`."""
    if cloud.folder not in preambles:
        shell = Shell(cloud, {}, list(PREAMBLE))
        follow(shell, FIRST)
        preambles[cloud.folder] = shell.preamble
    named = {name.replace("_", " "): answer for name, answer in answers.items()}
    return Shell(cloud, named, list(preambles[cloud.folder]))


def follow(shell: Shell, section: str, after_block: Callable[[], Any] = lambda: None) -> None:
    """Run the blocks of a section; those for AWS only are validated instead."""
    for block, shown in examples(SECTIONS[section]):
        if block.startswith(ONLY_ON_AWS):
            Shell(shell.cloud, shell.answers, list(shell.preamble)).run(f"{DRY_RUN}\n{block}")
        else:
            shell.show(block, shown)
        after_block()


def test_the_first_hour(cloud: Cloud) -> None:
    shell = reader(cloud)
    follow(shell, SEND, lambda: wait_for_end(cloud, "mission/good.json", "mission/lines.jsonl"))
    for section in FIRST_HOUR:
        follow(shell, section)


def test_redrive(cloud: Cloud, tmp_path: Path) -> None:
    with ExitStack() as broken:
        broken.enter_context(without(cloud, "write", "s3:PutObject"))
        execution = put(cloud, tmp_path, "refused", GOOD)["execution"]
        wait_for_status(cloud, execution, "FAILED")
        shell = reader(cloud, execution=execution)
    follow(shell, "Redrive", lambda: wait_for_status(cloud, execution, "SUCCEEDED"))


def test_stop(cloud: Cloud, tmp_path: Path) -> None:
    with slow(cloud, seconds=60, timeout=600):
        execution = put(cloud, tmp_path, "stopped", GOOD)["execution"]
        wait_for_status(cloud, execution, "RUNNING")
        follow(reader(cloud, running_execution=execution), "Stop an execution")


def test_start_by_hand(cloud: Cloud, tmp_path: Path) -> None:
    with without_events(cloud):
        sent = put(cloud, tmp_path, "by-hand", GOOD)
    version = cloud.client("s3").head_object(Bucket=cloud.deployment.raw, Key="by-hand.json")["VersionId"]
    shell = reader(cloud, key_of_the_raw_object="by-hand.json", its_raw_version=version, its_object_id=sent["id"])
    follow(shell, "Start an execution by hand", lambda: wait_for_end(cloud, "by-hand.json"))
    # `custody reconcile` takes it for the execution that the event would have started.
    reconciled = cloud.custody("reconcile", "--prefix", "by-hand.json", "--json")
    assert (reconciled.code, reconciled.json["counts"]["written"]) == (0, 1), reconciled.out


def test_start_dlq(cloud: Cloud, tmp_path: Path) -> None:
    url = cloud.deployment.start_dlq_url
    with without(cloud, "start", "states:StartExecution"):
        put(cloud, tmp_path, "not-started", GOOD)
        until(lambda: queue_length(cloud, url), 60, "the event in the queue")
        follow(reader(cloud), "Events in the start-dlq")
    assert cloud.custody("redrive", "--events").code == 0
    assert queue_length(cloud, url) == 0


def test_a_large_object(buffered: Cloud, tmp_path: Path) -> None:
    sent = buffered.put(large_file(tmp_path / "large.jsonl", BAD), code=3)
    (rejected,) = sent["records"]
    shell = reader(buffered, execution_of_a_large_object=sent["execution"], record_of_a_large_object=rejected["record"])
    follow(shell, "A large object")
