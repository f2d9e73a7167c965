"""What failed is fixed, and its work done again: on a deployed stack, by the plain API and by the command line."""

import json
import signal
import subprocess
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from custody.assurance.reconcile import Reconciler
from custody.audit.object_state import ObjectState
from custody.audit.reader import AuditReader
from custody.executions.pipeline import Pipeline
from custody.ingest.raw_versions import ArrivalFilter, arrivals
from tests.support.breaking import slow, without
from tests.support.deployed import CUSTODY, Cloud, clean_environment

GOOD = {"mission": "space", "source": "MASINT", "confidence": 0.95}
DEADLINE_SECONDS = 60
PAUSE_SECONDS = 0.2
"""Between two looks: embedded AWS has the same processors."""


def send(cloud: Cloud, folder: Path, name: str, number: int = 1) -> list[str]:
    """Send so many records, an object each; give the ARNs of their executions."""
    files = [folder / f"{name}-{each}.json" for each in range(number)]
    for file in files:
        file.write_text(json.dumps(GOOD), encoding="utf-8")
    ran = cloud.custody("put", *files, "--no-wait", "--json")
    assert ran.code == 0, ran.err
    return [sent["execution"] for sent in ran.json["objects"]]


def counts(cloud: Cloud, name: str) -> dict[str, int]:
    """Reconcile the objects of a name, by the command."""
    ran = cloud.custody("reconcile", "--prefix", f"{name}-", "--json")
    assert ran.code in {0, 1}, ran.err
    return {state: number for state, number in ran.json["counts"].items() if number}


def until(cloud: Cloud, name: str, wanted: dict[str, int]) -> None:
    """Reconcile until the objects are in those states; not by the command, which takes longer to start than to run."""
    s3, pipeline = cloud.client("s3"), Pipeline(cloud.client("stepfunctions"), cloud.deployment.pipeline_arn)
    deadline = time.monotonic() + DEADLINE_SECONDS * cloud.patience
    found: dict[str, int] = {}
    while found != wanted and time.monotonic() < deadline:
        reconciler = Reconciler(
            AuditReader(s3, cloud.deployment.audit), pipeline, datetime.now(UTC) - timedelta(minutes=5)
        )
        arrived = arrivals(s3, cloud.deployment.raw, ArrivalFilter(f"{name}-"))
        found = dict(Counter(one.state.value for one in reconciler.run(arrived)))
        time.sleep(PAUSE_SECONDS)
    assert found == wanted


def open_dead_letters(cloud: Cloud, executions: list[str]) -> list[Any]:
    audit = AuditReader(cloud.client("s3"), cloud.deployment.audit)
    ids = [arn.rpartition(":")[2] for arn in executions]
    return [dead_letter for object_id in ids for dead_letter in ObjectState(audit, object_id).open_dead_letters]


def statuses(cloud: Cloud, executions: list[str]) -> list[tuple[str, int]]:
    client = cloud.client("stepfunctions")
    described = [client.describe_execution(executionArn=arn) for arn in executions]
    return [(found["status"], found["redriveCount"]) for found in described]


def waiting(cloud: Cloud) -> int:
    name = "ApproximateNumberOfMessages"
    queue = cloud.deployment.start_dlq_url
    return int(cloud.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=[name])["Attributes"][name])


@pytest.mark.aws
def test_ten_executions_that_could_not_write_are_redriven_by_the_plain_api(cloud: Cloud, tmp_path: Path) -> None:
    with without(cloud, "write", "s3:PutObject"):
        executions = send(cloud, tmp_path, "ten", 10)
        until(cloud, "ten", {"failed": 10})
    assert counts(cloud, "ten") == {"failed": 10}
    assert statuses(cloud, executions) == [("FAILED", 0)] * 10
    assert [dead_letter.name for dead_letter in open_dead_letters(cloud, executions)] == ["Write"] * 10

    for arn in executions:
        cloud.client("stepfunctions").redrive_execution(executionArn=arn)
    until(cloud, "ten", {"written": 10})

    assert counts(cloud, "ten") == {"written": 10}
    assert statuses(cloud, executions) == [("SUCCEEDED", 1)] * 10, "the same executions"
    assert open_dead_letters(cloud, executions) == []
    for arn in executions:
        object_id = arn.rpartition(":")[2]
        assert cloud.keys(cloud.deployment.audit, f"ledger/{object_id}/") == [
            f"ledger/{object_id}/000000000000000.1.jsonl.gz"
        ]


@pytest.mark.aws
def test_the_command_redrives_what_it_is_asked_for_and_says_what_became_of_it(cloud: Cloud, tmp_path: Path) -> None:
    with without(cloud, "write", "s3:PutObject"):
        since = datetime.now(UTC).isoformat()
        chosen = ("redrive", "--step", "Write", "--error", "AccessRefused", "--since", since)
        executions = send(cloud, tmp_path, "asked", 3)
        until(cloud, "asked", {"failed": 3})
        again = cloud.custody(*chosen, "--json")
    assert again.code == 1, "it fails again, for nothing was fixed"
    assert {(one["outcome"], one["error"], one["attempt"]) for one in again.json["redrives"]} == {
        ("failed", "AccessRefused", 1)
    }
    assert {one["new_dead_letter"].rpartition("/")[2] for one in again.json["redrives"]} == {"000000000000000.1.Write"}

    planned = cloud.custody(*chosen, "--dry-run")
    assert planned.code == 0
    assert "3 would be redriven: 3 native" in planned.out
    assert statuses(cloud, executions) == [("FAILED", 1)] * 3, "nothing was done"

    ran = cloud.custody(*chosen, "--rate", "50/s")
    assert ran.code == 0, ran.out
    assert "3 redriven: 3 succeeded" in ran.out
    assert statuses(cloud, executions) == [("SUCCEEDED", 2)] * 3
    assert counts(cloud, "asked") == {"written": 3}

    dead_letter = again.json["redrives"][0]["new_dead_letter"]
    resolved = cloud.custody("redrive", dead_letter)
    assert resolved.code == 0
    assert "resolved" in resolved.out
    assert "attempt 2 was committed" in resolved.out


@pytest.mark.aws
def test_after_a_change_of_the_state_machine_a_new_execution_does_the_work(cloud: Cloud, tmp_path: Path) -> None:
    client, arn = cloud.client("stepfunctions"), cloud.deployment.pipeline_arn
    with without(cloud, "write", "s3:PutObject"):
        (execution,) = send(cloud, tmp_path, "changed")
        until(cloud, "changed", {"failed": 1})
    definition = client.describe_state_machine(stateMachineArn=arn)["definition"]
    client.update_state_machine(stateMachineArn=arn, definition=definition + "\n")
    try:
        ran = cloud.custody("redrive", execution.rpartition(":")[2], "--json")
    finally:
        client.update_state_machine(stateMachineArn=arn, definition=definition)

    assert ran.code == 0, ran.out
    (done,) = ran.json["redrives"]
    assert (done["how"], done["outcome"], done["execution"]) == ("new", "succeeded", f"{execution}-r1")
    assert statuses(cloud, [execution]) == [("FAILED", 0)]
    assert counts(cloud, "changed") == {"written": 1}
    assert open_dead_letters(cloud, [execution]) == []


@pytest.mark.aws
def test_a_ledger_file_that_was_removed_is_missed_and_mended(cloud: Cloud, tmp_path: Path) -> None:
    (execution,) = send(cloud, tmp_path, "removed")
    until(cloud, "removed", {"written": 1})
    key = f"ledger/{execution.rpartition(':')[2]}/000000000000000.0.jsonl.gz"
    where = {"Bucket": cloud.deployment.audit, "Key": key}
    marker = cloud.client("s3").delete_object(**where)["VersionId"]

    missed = cloud.custody("reconcile", "--prefix", "removed-")
    assert missed.code == 1
    assert "its ledger file is gone" in missed.out
    assert "1 missing" in missed.out

    started = cloud.custody("reconcile", "--prefix", "removed-", "--start", "--json")
    assert started.code == 0, started.err
    assert started.json["objects"][0]["started"] == f"{execution.rpartition(':')[2]}-r1"
    until(cloud, "removed", {"written": 1})
    cloud.client("s3").delete_object(**where, VersionId=marker)


def test_an_event_that_start_could_not_handle_is_replayed_when_it_can(cloud: Cloud, tmp_path: Path) -> None:
    with without(cloud, "start", "states:StartExecution"):
        send(cloud, tmp_path, "late")
        deadline = time.monotonic() + DEADLINE_SECONDS
        until(cloud, "late", {"in flight": 1})
        while not waiting(cloud):
            time.sleep(PAUSE_SECONDS)
            assert time.monotonic() < deadline, "the event came to the queue when Lambda's retries were used up"
        waits = cloud.custody("redrive", "--events", "--dry-run", "--json").json["events"]
        assert [event["objects"] for event in waits] == [["late-0.json"]]
        assert waiting(cloud) == 1, "to look changes nothing"

    ran = cloud.custody("redrive", "--events")
    assert ran.code == 0, ran.out
    assert "late-0.json" in ran.out
    assert "1 of 1 events handled" in ran.out
    assert waiting(cloud) == 0
    until(cloud, "late", {"written": 1})


def test_ctrl_c_tells_what_was_started_and_how_far_it_is(cloud: Cloud, tmp_path: Path) -> None:
    with without(cloud, "write", "s3:PutObject"):
        (execution,) = send(cloud, tmp_path, "slow")
        until(cloud, "slow", {"failed": 1})
    object_id = execution.rpartition(":")[2]
    with slow(cloud, 8, 600):
        # The definition is another one now, so a new execution does the work; and that one waits first.
        environment = clean_environment() | {"CUSTODY_FOLDER": str(cloud.folder)}
        with subprocess.Popen(  # noqa: S603 - our own command
            [CUSTODY, "redrive", object_id, "--json"], env=environment, stdout=PIPE, stderr=PIPE, text=True
        ) as running:
            until(cloud, "slow", {"in flight": 1})
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=DEADLINE_SECONDS)
        (one,) = json.loads(out)["redrives"]
        assert (running.returncode, one["outcome"], one["execution"]) == (130, "running", f"{execution}-r1"), err
        assert "Traceback" not in err
        until(cloud, "slow", {"written": 1})


def test_to_redrive_nothing_in_particular_is_wrong_usage(cloud: Cloud) -> None:
    ran = cloud.custody("redrive")
    assert ran.code == 2
    assert "--open" in ran.err
