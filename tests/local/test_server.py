"""Embedded AWS starts once, can be found, and stops cleanly."""

import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

import local
from local import server
from tests.support.embedded_aws import EmbeddedAws, until

PID = "import os\ndef handler(event, context): return os.getpid()\n"
ASLEEP = "import time\ndef handler(event, context): time.sleep(60)\n"


def test_a_running_server_is_found_and_not_started_twice(tmp_path: Path) -> None:
    instance = local.start(tmp_path)
    try:
        assert local.find(tmp_path) == instance
        assert local.start(tmp_path) == instance
        assert instance.endpoint == f"http://127.0.0.1:{instance.port}"
    finally:
        assert local.stop(tmp_path)
    assert local.find(tmp_path) is None
    assert not local.stop(tmp_path)


def test_stop_ends_server_and_workers_and_leaves_only_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv("TMPDIR", str(elsewhere))
    folder = tmp_path / "folder"
    cloud = EmbeddedAws(local.start(folder))
    cloud.function("worker", PID)
    worker = cloud.call("worker")
    cloud.close()
    local.stop(folder)
    for pid in (worker, cloud.instance.pid):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert [path.name for path in folder.iterdir()] == ["local.log"]
    assert not list(elsewhere.iterdir())


def test_workers_of_a_killed_server_are_ended_by_the_next_stop(tmp_path: Path) -> None:
    cloud = EmbeddedAws(local.start(tmp_path))
    cloud.function("busy", ASLEEP, Timeout=60)
    cloud.functions.invoke(FunctionName="busy", InvocationType="Event")
    folder = tmp_path / "tmp"
    until(lambda: list(folder.glob("ministack-lambda-busy-*/_worker.py")), "the worker")
    os.kill(cloud.instance.pid, signal.SIGKILL)
    cloud.close()
    until(lambda: local.find(tmp_path) is None, "the end of the server")
    local.stop(tmp_path)
    with pytest.raises(ProcessLookupError):
        os.killpg(cloud.instance.pid, 0)
    assert not folder.exists()


def test_a_port_in_use_is_refused_if_requested_and_else_avoided(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(local.PortTakenError, match=str(taken)):
            local.start(tmp_path, port=taken)
        server_port = local.start(tmp_path).port
    local.stop(tmp_path)
    assert server_port != taken


def test_a_server_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = server._server_environment  # noqa: SLF001

    def broken(*given: Any, **options: Any) -> dict[str, str]:
        return usual(*given, **options) | {"LAMBDA_WARM_TTL_SECONDS": "a minute"}

    monkeypatch.setattr(server, "_server_environment", broken)
    with pytest.raises(local.StartError, match=r"(?s)exited before it was ready.*'a minute'"):
        local.start(tmp_path)
    assert local.find(tmp_path) is None


def test_only_persistent_data_survives_a_restart(tmp_path: Path) -> None:
    before = EmbeddedAws(local.start(tmp_path, persist=True))
    before.s3.create_bucket(Bucket="kept")
    before.s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    version = before.s3.put_object(Bucket="kept", Key="a", Body=b"first")["VersionId"]
    before.s3.put_object(Bucket="kept", Key="a", Body=b"second")
    before.function("greet", "def handler(event, context): return 'hello'\n")
    machine = before.machine("pass", {"StartAt": "End", "States": {"End": {"Type": "Pass", "End": True}}})
    ended = before.run(machine)
    redriven = {"Variable": "$$.Execution.RedriveCount", "NumericEquals": 1, "Next": "Done"}
    states = {"Which": {"Type": "Choice", "Choices": [redriven]}, "Done": {"Type": "Succeed"}}
    failed = before.run(before.machine("choice", {"StartAt": "Which", "States": states}))
    child = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}}
    processor = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, **child}
    each = {"Type": "Map", "ItemsPath": "$.chunks", "ItemProcessor": processor, "End": True}
    running = before.machines.start_execution(
        stateMachineArn=before.machine("map", {"StartAt": "Each", "States": {"Each": each}}), input='{"chunks": [1, 2]}'
    )["executionArn"]
    until(lambda: any(event["type"] == "MapRunStarted" for event in before.history(running)), "the Map Run")
    ids = before.stack("stack", {"Topic": {"Type": "AWS::SNS::Topic"}})
    before.close()
    local.stop(tmp_path)

    after = EmbeddedAws(local.start(tmp_path, persist=True, settings=local.ServerSettings(wait_scale=0)))
    assert after.s3.get_object(Bucket="kept", Key="a", VersionId=version)["Body"].read() == b"first"
    assert after.call("greet") == "hello"
    assert after.ended(ended["executionArn"])["status"] == "SUCCEEDED"
    for unsuccessful in (failed["executionArn"], running):
        after.machines.redrive_execution(executionArn=unsuccessful)
        assert after.ended(unsuccessful)["status"] == "SUCCEEDED"
    assert after.stack_end("stack") == "CREATE_COMPLETE"
    assert after.topics.get_topic_attributes(TopicArn=ids["Topic"])
    after.close()
    local.stop(tmp_path)

    fresh = EmbeddedAws(local.start(tmp_path))
    assert fresh.s3.list_buckets()["Buckets"] == []
    fresh.close()
    local.stop(tmp_path)


def test_what_a_killed_server_leaves_is_set_aside(tmp_path: Path) -> None:
    before = EmbeddedAws(local.start(tmp_path, persist=True))
    before.s3.create_bucket(Bucket="kept")
    before.s3.put_object(Bucket="kept", Key="a", Body=b"first")
    before.close()
    os.killpg(local.Instance.read(tmp_path).pid, signal.SIGKILL)  # type: ignore[union-attr]  # it is running

    after = EmbeddedAws(local.start(tmp_path, persist=True))
    assert after.s3.list_buckets()["Buckets"] == []
    assert (tmp_path / "killed/objects/kept").exists() or list((tmp_path / "killed/objects").rglob("kept"))
    after.close()
    local.stop(tmp_path)
    assert local.has_data(tmp_path)


def test_the_environment_overrides_settings_for_real_aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3  # noqa: PLC0415 - beside the session that it is for

    for name, value in {"AWS_PROFILE": "work", "AWS_SESSION_TOKEN": "real", "AWS_ENDPOINT_URL_S3": "https://x"}.items():
        monkeypatch.setenv(name, value)
    instance = local.start(tmp_path)
    try:
        for name, value in instance.environment().items():
            monkeypatch.setenv(name, value)
        client = boto3.Session().client("sts")
        assert client.get_caller_identity()["Arn"] == f"arn:aws:iam::{instance.account}:root"
        client.close()
    finally:
        local.stop(tmp_path)
