"""What fails on a deployed stack, ends badly or must be judged anew: dead letters within seconds, and the way back."""

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
from tests.support.deployed import Cloud, clean_environment

GOOD = {"mission": "space", "source": "MASINT", "confidence": 0.95}
NEW_SOURCE = GOOD | {"source": "RUMINT"}
BAD = NEW_SOURCE | {"confidence": 1.7}
LETTER_SECONDS = 15
CONTRACT = "datasets/mission/contract.schema.json"


def put(cloud: Cloud, folder: Path, name: str, *records: Any) -> Any:
    """Put an object; give its id and its execution."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(list(records)), encoding="utf-8")
    (sent,) = cloud.custody("put", path, "--no-wait", "--json").json["objects"]
    return sent["object"] | {"execution": sent["execution"]}


def status(cloud: Cloud, execution: str) -> str:
    return str(cloud.client("stepfunctions").describe_execution(executionArn=execution)["status"])


def dead_letters(cloud: Cloud, object_id: str) -> list[str]:
    """List the names of the dead letters of an object, whatever the day."""
    audit = AuditReader(cloud.client("s3"), cloud.deployment.audit)
    return [each.key.rpartition("/")[2] for each in audit.dead_letters_of(object_id)]


def test_an_execution_that_somebody_stops_has_a_dead_letter_within_seconds_and_can_be_redriven(
    cloud: Cloud, tmp_path: Path
) -> None:
    client = cloud.client("stepfunctions")
    with slow(cloud, seconds=2, timeout=600):
        sent = put(cloud, tmp_path, "stopped", GOOD)
        until(lambda: _exists(cloud, sent["execution"]), 30, "the execution starts")
        client.stop_execution(executionArn=sent["execution"], error="Maintenance", cause="somebody stopped it")
        name = "000000000000000.0.Aborted.json"
        until(lambda: dead_letters(cloud, sent["id"]) == [name], LETTER_SECONDS, "a dead letter of the stop")
        client.redrive_execution(executionArn=sent["execution"])
        until(lambda: status(cloud, sent["execution"]) != "RUNNING", 30, "the end of the redrive")

    assert status(cloud, sent["execution"]) == "SUCCEEDED"
    listed = cloud.custody("dead-letters", "--error", "ExecutionAborted", "--json").json
    assert sent["id"] not in json.dumps(listed), "the dead letter is resolved: the records are written"
    assert cloud.keys(cloud.deployment.audit, f"ledger/{sent['id']}/") == [
        f"ledger/{sent['id']}/000000000000000.1.jsonl.gz"
    ], "a redrive is the next attempt"


def test_an_execution_that_runs_out_of_time_has_a_dead_letter_and_is_done_again_by_a_new_one_once_the_definition_is_mended(
    cloud: Cloud, tmp_path: Path
) -> None:
    with slow(cloud, seconds=60, timeout=1):
        sent = put(cloud, tmp_path, "late", GOOD)
        name = "000000000000000.0.TimedOut.json"
        until(
            lambda: dead_letters(cloud, sent["id"]) == [name],
            30 + LETTER_SECONDS,
            "a dead letter of the time-out",
        )

    ran = cloud.custody("redrive", sent["id"], "--json")
    assert ran.code == 0, ran.err
    (redriven,) = ran.json["redrives"]
    assert redriven["how"] == "new", "a redrive of the old one would have its old definition"
    assert redriven["execution"].endswith(f"{sent['id']}-r1")
    assert redriven["outcome"] == "succeeded"
    shown = cloud.custody("reconcile", "--prefix", "late.json", "--json")
    assert (shown.code, shown.json["counts"]["written"]) == (0, 1), shown.out


def test_a_contract_made_looser_and_deployed_lets_redriven_records_through(cloud: Cloud, tmp_path: Path) -> None:
    since = datetime.now(UTC).isoformat()
    mended = put(cloud, tmp_path, "fixed", NEW_SOURCE, GOOD)
    still_bad = put(cloud, tmp_path, "still-bad", NEW_SOURCE, BAD)
    until(
        lambda: dead_letters(cloud, mended["id"]) and dead_letters(cloud, still_bad["id"]),
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
    by_object = {one["object"]["id"]: one for one in ran.json["redrives"]}
    assert {name: one["how"] for name, one in by_object.items()} == {
        mended["id"]: "native",
        still_bad["id"]: "native",
    }
    assert by_object[mended["id"]]["outcome"] == "succeeded"
    assert ".1.Rejected" in by_object[still_bad["id"]]["new_dead_letter"]
    assert dead_letters(cloud, mended["id"]) == ["000000000000000.0.Rejected.json"]
    verified = cloud.custody("verify", mended["id"], still_bad["id"], "--json")
    assert verified.code == 0, verified.out


def _exists(cloud: Cloud, execution: str) -> bool:
    client = cloud.client("stepfunctions")
    try:
        return bool(client.describe_execution(executionArn=execution))
    except client.exceptions.ExecutionDoesNotExist:
        return False


def _copy(project: Path) -> Path:
    """Copy what is deployed, and link what it is deployed with."""
    for folder in ("custody", "datasets", "functions", "infra", "local", "requirements", "statemachine"):
        shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "cdk.json", project)
    for folder in (".venv", "node_modules", "build"):
        (project / folder).symlink_to(ROOT / folder)
    return project


def _deploy(cloud: Cloud, project: Path) -> None:
    """Deploy a project onto the embedded AWS that is up, as its `custody up` does."""
    environment = clean_environment() | {"CUSTODY_FOLDER": str(cloud.folder), "PYTHONPATH": str(project)}
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
    assert "cdk deploy" in done.stderr, "what is deployed is not what was deployed before"


pytestmark = pytest.mark.timeout(600)
