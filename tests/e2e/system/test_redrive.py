"""Redrives on a deployed stack, by RedriveExecution and by the command line, after the cause was fixed."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from custody.audit.object_state import ObjectState
from custody.audit.reader import AuditReader
from tests.support.breaking import wait_for_status, without
from tests.support.deployed import GOOD, Cloud, json_file


def send(cloud: Cloud, folder: Path, name: str, number: int = 1, status: str = "FAILED") -> list[str]:
    """Put several objects of one record; return the ARNs of their executions, which must end with this status."""
    files = [json_file(folder / f"{name}-{index}.json", GOOD) for index in range(number)]
    ran = cloud.custody("put", *files, "--no-wait", "--json")
    assert ran.code == 0, ran.err
    executions = [sent["execution"] for sent in ran.json["objects"]]
    wait(cloud, executions, status)
    return executions


def wait(cloud: Cloud, executions: list[str], status: str) -> None:
    """Wait until all executions have a status."""
    for arn in executions:
        wait_for_status(cloud, arn, status)


def counts(cloud: Cloud, name: str) -> dict[str, int]:
    """Reconcile the objects of a name with the command."""
    ran = cloud.custody("reconcile", "--prefix", f"{name}-", "--json")
    assert ran.code in {0, 1}, ran.err
    return {state: number for state, number in ran.json["counts"].items() if number}


def open_dead_letters(cloud: Cloud, executions: list[str]) -> list[Any]:
    audit = AuditReader(cloud.client("s3"), cloud.deployment.audit)
    ids = [arn.rpartition(":")[2] for arn in executions]
    return [dead_letter for object_id in ids for dead_letter in ObjectState(audit, object_id).open_dead_letters]


def statuses(cloud: Cloud, executions: list[str]) -> list[tuple[str, int]]:
    client = cloud.client("stepfunctions")
    described = [client.describe_execution(executionArn=arn) for arn in executions]
    return [(execution["status"], execution["redriveCount"]) for execution in described]


@pytest.mark.aws
def test_ten_executions_that_could_not_write_are_redriven_by_the_plain_api(cloud: Cloud, tmp_path: Path) -> None:
    with without(cloud, "write", "s3:PutObject"):
        executions = send(cloud, tmp_path, "ten", 10)
    assert counts(cloud, "ten") == {"failed": 10}
    assert statuses(cloud, executions) == [("FAILED", 0)] * 10
    assert [dead_letter.name for dead_letter in open_dead_letters(cloud, executions)] == ["Write"] * 10

    for arn in executions:
        cloud.client("stepfunctions").redrive_execution(executionArn=arn)
    wait(cloud, executions, "SUCCEEDED")

    assert counts(cloud, "ten") == {"written": 10}
    assert statuses(cloud, executions) == [("SUCCEEDED", 1)] * 10, "the same executions"
    assert open_dead_letters(cloud, executions) == []
    for arn in executions:
        assert cloud.ledger_keys(arn.rpartition(":")[2]) == ["000000000000000.1.jsonl.gz"]


@pytest.mark.aws
def test_the_command_redrives_what_it_selects_and_reports_the_outcome(cloud: Cloud, tmp_path: Path) -> None:
    with without(cloud, "write", "s3:PutObject"):
        since = datetime.now(UTC).isoformat()
        selection = ("redrive", "--step", "Write", "--error", "AccessRefused", "--since", since)
        executions = send(cloud, tmp_path, "selected", 3)
        again = cloud.custody(*selection, "--json")
    assert again.code == 1, "nothing was fixed"
    assert {(redrive["outcome"], redrive["error"], redrive["attempt"]) for redrive in again.json["redrives"]} == {
        ("failed", "AccessRefused", 1)
    }
    assert {redrive["new_dead_letter"].rpartition("/")[2] for redrive in again.json["redrives"]} == {
        "000000000000000.1.Write"
    }

    planned = cloud.custody(*selection, "--dry-run")
    assert planned.code == 0
    assert "3 would be redriven: 3 native" in planned.out
    assert statuses(cloud, executions) == [("FAILED", 1)] * 3, "a dry run starts nothing"

    ran = cloud.custody(*selection, "--rate", "50/s")
    assert ran.code == 0, ran.out
    assert "3 redriven: 3 succeeded" in ran.out
    assert statuses(cloud, executions) == [("SUCCEEDED", 2)] * 3
    assert counts(cloud, "selected") == {"written": 3}

    dead_letter = again.json["redrives"][0]["new_dead_letter"]
    resolved = cloud.custody("redrive", dead_letter)
    assert resolved.code == 0
    assert "resolved" in resolved.out
    assert "attempt 2 was committed" in resolved.out


@pytest.mark.aws
def test_a_new_execution_runs_a_changed_state_machine(cloud: Cloud, tmp_path: Path) -> None:
    client, arn = cloud.client("stepfunctions"), cloud.deployment.pipeline_arn
    with without(cloud, "write", "s3:PutObject"):
        (execution,) = send(cloud, tmp_path, "changed")
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
def test_reconcile_finds_and_restores_a_deleted_ledger_file(cloud: Cloud, tmp_path: Path) -> None:
    (execution,) = send(cloud, tmp_path, "removed", status="SUCCEEDED")
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
    wait_for_status(cloud, f"{execution}-r1", "SUCCEEDED")
    assert counts(cloud, "removed") == {"written": 1}
    cloud.client("s3").delete_object(**where, VersionId=marker)
