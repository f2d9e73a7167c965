"""Executions that are aborted, time out or are rejected: a dead letter within seconds, and a successful redrive."""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from custody.audit.reader import AuditReader
from custody.deployment.target import ROOT
from tests.support.breaking import slow, until
from tests.support.deployed import GOOD, Cloud, command_environment, json_file

NEW_SOURCE = GOOD | {"source": "RUMINT"}
BAD = NEW_SOURCE | {"confidence": 1.7}
DEAD_LETTER_SECONDS = 15
CONTRACT = "datasets/mission/contract.schema.json"


def put(cloud: Cloud, folder: Path, name: str, *records: Any) -> Any:
    """Put an object; return it, with the ARN of its execution."""
    path = json_file(folder / f"{name}.json", *records)
    (sent,) = cloud.custody("put", path, "--no-wait", "--json").json["objects"]
    return sent["object"] | {"execution": sent["execution"]}


def status(cloud: Cloud, execution: str) -> str:
    return str(cloud.client("stepfunctions").describe_execution(executionArn=execution)["status"])


def dead_letters(cloud: Cloud, object_id: str) -> list[str]:
    """List the names of the dead letters of an object, whatever the day."""
    audit = AuditReader(cloud.client("s3"), cloud.deployment.audit)
    return [each.key.rpartition("/")[2] for each in audit.dead_letters_of(object_id)]


def test_an_aborted_execution_has_a_dead_letter_within_seconds_and_can_be_redriven(
    cloud: Cloud, tmp_path: Path
) -> None:
    client = cloud.client("stepfunctions")
    with slow(cloud, seconds=2, timeout=600):
        sent = put(cloud, tmp_path, "stopped", GOOD)
        until(lambda: _exists(cloud, sent["execution"]), 30, "the execution starts")
        client.stop_execution(executionArn=sent["execution"], error="Maintenance", cause="aborted by an operator")
        name = "000000000000000.0.Aborted.json"
        until(lambda: dead_letters(cloud, sent["id"]) == [name], DEAD_LETTER_SECONDS, "a dead letter of the abort")
        client.redrive_execution(executionArn=sent["execution"])
        until(lambda: status(cloud, sent["execution"]) != "RUNNING", 30, "the end of the redrive")

    assert status(cloud, sent["execution"]) == "SUCCEEDED"
    listed = cloud.custody("dead-letters", "--error", "ExecutionAborted", "--json").json
    assert sent["id"] not in json.dumps(listed), "the dead letter is resolved: the records are written"
    assert cloud.ledger_keys(sent["id"]) == ["000000000000000.1.jsonl.gz"], "a redrive is the next attempt"


def test_a_timed_out_execution_has_a_dead_letter_and_a_new_one_runs_the_fixed_definition(
    cloud: Cloud, tmp_path: Path
) -> None:
    with slow(cloud, seconds=60, timeout=1):
        sent = put(cloud, tmp_path, "late", GOOD)
        name = "000000000000000.0.TimedOut.json"
        until(
            lambda: dead_letters(cloud, sent["id"]) == [name],
            30 + DEAD_LETTER_SECONDS,
            "a dead letter of the timeout",
        )

    ran = cloud.custody("redrive", sent["id"], "--json")
    assert ran.code == 0, ran.err
    (redriven,) = ran.json["redrives"]
    assert redriven["how"] == "new", "a native redrive would run the old definition"
    assert redriven["execution"].endswith(f"{sent['id']}-r1")
    assert redriven["outcome"] == "succeeded"
    shown = cloud.custody("reconcile", "--prefix", "late.json", "--json")
    assert (shown.code, shown.json["counts"]["written"]) == (0, 1), shown.out


def test_a_looser_contract_accepts_redriven_records_once_it_is_deployed(cloud: Cloud, tmp_path: Path) -> None:
    since = datetime.now(UTC).isoformat()
    fixed = put(cloud, tmp_path, "fixed", NEW_SOURCE, GOOD)
    still_bad = put(cloud, tmp_path, "still-bad", NEW_SOURCE, BAD)
    until(
        lambda: dead_letters(cloud, fixed["id"]) and dead_letters(cloud, still_bad["id"]),
        30,
        "both dead letters",
    )
    project = _copy(tmp_path / "project")
    contract = json.loads((project / CONTRACT).read_text(encoding="utf-8"))
    contract["properties"]["source"]["enum"].append("RUMINT")
    (project / CONTRACT).write_text(json.dumps(contract), encoding="utf-8")
    try:
        _deploy(cloud, project)
        ran = cloud.custody("redrive", "--error", "RecordsRejected", "--since", since, "--json")
    finally:
        _deploy(cloud, ROOT)

    assert ran.code == 3, ran.err
    by_object = {redrive["object"]["id"]: redrive for redrive in ran.json["redrives"]}
    assert {object_id: redrive["how"] for object_id, redrive in by_object.items()} == {
        fixed["id"]: "native",
        still_bad["id"]: "native",
    }
    assert by_object[fixed["id"]]["outcome"] == "succeeded"
    assert ".1.Rejected" in by_object[still_bad["id"]]["new_dead_letter"]
    assert dead_letters(cloud, fixed["id"]) == ["000000000000000.0.Rejected.json"]
    verified = cloud.custody("verify", fixed["id"], still_bad["id"], "--json")
    assert verified.code == 0, verified.out


def _exists(cloud: Cloud, execution: str) -> bool:
    client = cloud.client("stepfunctions")
    try:
        return bool(client.describe_execution(executionArn=execution))
    except client.exceptions.ExecutionDoesNotExist:
        return False


def _copy(project: Path) -> Path:
    """Copy the sources of the deployment, and link its dependencies."""
    for folder in ("custody", "datasets", "functions", "infra", "local", "requirements", "statemachine"):
        shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "cdk.json", project)
    for folder in (".venv", "node_modules", "build"):
        (project / folder).symlink_to(ROOT / folder)
    return project


def _deploy(cloud: Cloud, project: Path) -> None:
    """Deploy a project to the running embedded AWS, by its own `custody up`."""
    environment = command_environment(cloud.folder) | {"PYTHONPATH": str(project)}
    environment["PATH"] = f"{ROOT / '.venv/bin'}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "custody", "up"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "cdk deploy" in done.stderr, "the deployment changed"


pytestmark = pytest.mark.timeout(600)
