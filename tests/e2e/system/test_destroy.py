"""`custody destroy` on embedded AWS: what it shows, what it refuses, what goes, and what is left with its command."""

import json
import os
import pty
import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.breaking import until
from tests.support.deployed import CUSTODY, Cloud, clean_environment

REGION, SUMMARIZE = "us-east-1", "000000000000"


def bucket_name(env: str, bucket: str) -> str:
    return f"custody-{env}-{bucket}-{SUMMARIZE}-{REGION}"


def resource(kind: str, *, keep: bool = False, **properties: Any) -> dict[str, Any]:
    said = {"DeletionPolicy": "RetainExceptOnCreate" if keep else "Delete"}
    return {"Type": f"AWS::{kind}", "Properties": properties} | said


def a_bucket(env: str, bucket: str, *, keep: bool = False, **properties: Any) -> dict[str, Any]:
    versioned = {"VersioningConfiguration": {"Status": "Enabled"}}
    return resource("S3::Bucket", keep=keep, BucketName=bucket_name(env, bucket), **versioned, **properties)


def locked(days: int) -> dict[str, Any]:
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": days}}
    configuration = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    return {"ObjectLockEnabled": True, "ObjectLockConfiguration": configuration}


def a_machine(env: str, seconds: int) -> dict[str, dict[str, Any]]:
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "*"}, "Action": "sts:AssumeRole"}]}
    definition = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": seconds, "End": True}}}
    return {
        "Role": resource("IAM::Role", AssumeRolePolicyDocument=trust),
        "Machine": resource(
            "StepFunctions::StateMachine",
            StateMachineName=f"custody-{env}-pipeline",
            DefinitionString=json.dumps(definition),
            RoleArn={"Fn::GetAtt": ["Role", "Arn"]},
        ),
    }


def a_key(env: str, *, keep: bool) -> dict[str, Any]:
    tags = [{"Key": "project", "Value": "custody"}, {"Key": "env", "Value": env}]
    return resource("KMS::Key", keep=keep, KeyPolicy={}, Tags=tags)


def deploy(cloud: Cloud, env: str, resources: dict[str, Any], *, protected: bool = False) -> None:
    """Make a small stack that is an environment by its names."""
    client, name = cloud.client("cloudformation"), f"custody-{env}"
    client.create_stack(
        StackName=name,
        TemplateBody=json.dumps({"Resources": resources}),
        Capabilities=["CAPABILITY_IAM"],
        EnableTerminationProtection=protected,
    )
    client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})


def names(left: Any, *, billed: bool | None = None) -> set[str]:
    return {one["name"] for one in left if billed in {None, one["billed"]}}


def exists(cloud: Cloud, env: str) -> bool:
    stacks = cloud.client("cloudformation").describe_stacks()["Stacks"]
    return f"custody-{env}" in {one["StackName"] for one in stacks if one["StackStatus"] != "DELETE_COMPLETE"}


def deploy_what_goes(cloud: Cloud, env: str) -> None:
    """Deploy an environment that goes whole, with versions in its bucket."""
    log_group = resource("Logs::LogGroup", LogGroupName=f"/aws/lambda/custody-{env}-start", RetentionInDays=90)
    what = {"Raw": a_bucket(env, "raw"), "Key": a_key(env, keep=False), "Logs": log_group}
    deploy(cloud, env, what | a_machine(env, 600))
    s3, raw = cloud.client("s3"), bucket_name(env, "raw")
    for _ in range(2):
        s3.put_object(Bucket=raw, Key="mission/a.json", Body=b"{}")
    s3.delete_object(Bucket=raw, Key="mission/a.json")


@pytest.fixture(scope="module")
def stays(cloud: Cloud) -> Iterator[str]:
    """Deploy an environment that no test takes away; give its name."""
    deploy_what_goes(cloud, "stays")
    yield "stays"
    assert cloud.custody("destroy", "--env", "stays", "--yes").code == 0


@pytest.fixture
def gone(cloud: Cloud) -> str:
    """Deploy one that is to go; give its name."""
    deploy_what_goes(cloud, "gone")
    return "gone"


def test_a_dry_run_says_what_would_go_and_changes_nothing(cloud: Cloud, stays: str) -> None:
    ran = cloud.custody("destroy", "--env", stays, "--dry-run", "--json")

    assert ran.code == 0, ran.err
    assert {one["kind"] for one in ran.json["plan"]["goes"]} == {"bucket", "key", "log group"}
    (raw,) = (one for one in ran.json["plan"]["goes"] if one["kind"] == "bucket")
    assert raw["holds"] == "3 versions, 4 bytes"
    assert ran.json["plan"]["stays"] == ran.json["left"] == []
    assert exists(cloud, stays)

    shown = cloud.custody("destroy", "--env", stays, "--dry-run")
    assert bucket_name(stays, "raw") in shown.out
    assert "from then on nobody can read what it encrypts" in shown.out


def test_without_a_terminal_it_wants_a_yes(cloud: Cloud, stays: str) -> None:
    ran = cloud.custody("destroy", "--env", stays)

    assert ran.code == 2
    assert "Say --yes" in ran.err
    assert exists(cloud, stays)


def test_on_a_terminal_it_wants_the_name_of_the_environment(cloud: Cloud, gone: str) -> None:
    refused = typed(cloud, gone, "dev")
    assert refused.returncode == 2
    assert exists(cloud, gone)

    taken = typed(cloud, gone, gone)
    assert taken.returncode == 0, taken.stderr
    assert "Type the name of the environment, gone" in taken.stderr
    assert not exists(cloud, gone)


def typed(cloud: Cloud, env: str, answer: str) -> subprocess.CompletedProcess[str]:
    """Answer `custody destroy` on a terminal."""
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    environment = clean_environment() | {"CUSTODY_FOLDER": str(cloud.folder)}
    command = [str(CUSTODY), "destroy", "--env", env]
    done = subprocess.run(  # noqa: S603 - our own command
        command, env=environment, stdin=theirs, capture_output=True, text=True, check=False
    )
    os.close(ours)
    os.close(theirs)
    return done


def test_it_refuses_while_executions_are_in_flight(cloud: Cloud, stays: str) -> None:
    machine = f"arn:aws:states:{REGION}:{SUMMARIZE}:stateMachine:custody-{stays}-pipeline"
    client = cloud.client("stepfunctions")
    execution = client.start_execution(stateMachineArn=machine)["executionArn"]
    try:
        ran = cloud.custody("destroy", "--env", stays, "--yes")
    finally:
        client.stop_execution(executionArn=execution)

    assert ran.code == 1
    assert "Executions are in flight: 1" in ran.err
    assert exists(cloud, stays)


def test_what_goes_is_gone_and_nobody_else_is_touched(cloud: Cloud, gone: str) -> None:
    ran = cloud.custody("destroy", "--env", gone, "--yes", "--json")

    assert ran.code == 0, ran.err
    assert ran.json["emptied"] == {bucket_name(gone, "raw"): 3}
    assert ran.json["failures"] == []
    assert names(ran.json["left"], billed=True) == set()
    pending = [one for one in ran.json["left"] if one["kind"] == "key"]
    assert {one["holds"] for one in pending} == {"pending deletion"}
    assert "cancel-key-deletion" in pending[0]["note"]
    assert ran.json["bootstrap"]["name"] == "CDKToolkit"
    assert "cdk-hnb659fds-assets" in ran.json["bootstrap"]["holds"]
    assert cloud.custody("status").code == 0, "the environment dev is as it was"

    again = cloud.custody("destroy", "--env", gone)
    assert again.code == 0
    assert "there is no stack custody-gone" in again.out


def test_what_the_template_keeps_is_listed_with_the_command_that_removes_it(cloud: Cloud) -> None:
    env = "kept"
    resources = {
        "Raw": a_bucket(env, "raw", keep=True),
        "Audit": a_bucket(env, "audit", keep=True, **locked(30)),
        "Staging": a_bucket(env, "staging"),
        "Key": a_key(env, keep=True),
        "Logs": resource("Logs::LogGroup", keep=True, LogGroupName=f"/aws/lambda/custody-{env}-start"),
        "Queue": resource("SQS::Queue", keep=True, QueueName=f"custody-{env}-start-dlq"),
    }
    deploy(cloud, env, resources, protected=True)
    s3, raw, audit = cloud.client("s3"), bucket_name(env, "raw"), bucket_name(env, "audit")
    for bucket in (raw, audit):
        s3.put_object(Bucket=bucket, Key="a", Body=b"1", ChecksumAlgorithm="SHA256")

    refused = cloud.custody("destroy", "--env", env, "--yes")
    assert refused.code == 1
    assert exists(cloud, env)
    off = refused.err[refused.err.index("aws cloudformation") :].split("\n")[0]
    aws(cloud, off)

    ran = cloud.custody("destroy", "--env", env, "--yes", "--json")
    assert ran.code == 0, ran.err
    assert {one["kind"] for one in ran.json["plan"]["stays"]} == {"bucket", "key", "log group", "queue"}
    left = {one["kind"]: one for one in ran.json["left"] if one["name"] != raw}
    assert names(ran.json["left"]) >= {raw, audit, f"/aws/lambda/custody-{env}-start"}
    assert bucket_name(env, "staging") not in names(ran.json["left"])
    assert "Object Lock (governance) holds each file for 30 days" in left["bucket"]["note"]

    for kind in ("log group", "queue"):
        aws(cloud, left[kind]["command"])
    held = cloud.custody(*shlex.split(left["bucket"]["command"])[1:], "--bucket", raw, "--yes", "--json")
    assert held.code == 1
    assert held.json["held"] == {audit: 1}, "a lock is not bypassed"
    assert {one["kind"]: one["name"] for one in held.json["left"]} == {"bucket": audit, "key": left["key"]["name"]}

    aws(cloud, left["key"]["command"])
    last = cloud.custody("destroy", "--env", env, "--json").json["left"]
    assert names(last, billed=True) == {audit}

    version = s3.list_object_versions(Bucket=audit)["Versions"][0]["VersionId"]
    s3.delete_object(Bucket=audit, Key="a", VersionId=version, BypassGovernanceRetention=True)
    s3.delete_bucket(Bucket=audit)


def aws(cloud: Cloud, command: str) -> None:
    """Run a command of the AWS CLI that was shown."""
    profile = {
        "AWS_CONFIG_FILE": str(cloud.folder / "aws.ini"),
        "AWS_SHARED_CREDENTIALS_FILE": str(cloud.folder / "aws.ini"),
    }
    assert command.startswith("aws ")
    cli = [str(CUSTODY.with_name("aws")), *shlex.split(command)[1:]]
    subprocess.run(cli, env=clean_environment() | profile, check=True, capture_output=True)  # noqa: S603 - its own words


def test_a_bucket_of_another_environment_is_not_emptied(cloud: Cloud) -> None:
    ran = cloud.custody("destroy", "--env", "never", "--bucket", cloud.deployment.raw, "--yes")

    assert ran.code == 2
    assert "is no bucket of custody-never" in ran.err


def test_no_name_that_begins_alike_is_an_environment(cloud: Cloud) -> None:
    ran = cloud.custody("destroy", "--env", "dev-audit", "--bucket", cloud.deployment.audit, "--yes")

    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert "No environment is called 'dev-audit'" in ran.err


def test_what_somebody_deleted_by_hand_keeps_nothing_from_going(cloud: Cloud) -> None:
    audit, log_group = bucket_name("half", "audit"), "/aws/lambda/custody-half-start"
    queue = resource("SQS::Queue", QueueName="custody-half-start-dlq")
    what = {"Audit": a_bucket("half", "audit"), "Logs": resource("Logs::LogGroup", LogGroupName=log_group)}
    deploy(cloud, "half", what | {"Queue": queue})
    cloud.client("s3").delete_bucket(Bucket=audit)
    cloud.client("logs").delete_log_group(logGroupName=log_group)
    sqs = cloud.client("sqs")
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName="custody-half-start-dlq")["QueueUrl"])

    planned = cloud.custody("destroy", "--env", "half", "--dry-run", "--json")
    assert planned.code == 0, planned.err
    assert [one["holds"] for one in planned.json["plan"]["goes"]] == ["gone"] * 3
    assert cloud.custody("destroy", "--env", "half", "--yes").code == 0
    assert not exists(cloud, "half")


def test_a_bucket_is_not_emptied_under_its_stack(cloud: Cloud) -> None:
    ran = cloud.custody("destroy", "--bucket", cloud.deployment.raw, "--yes")

    assert ran.code == 2
    assert "The stack custody-dev is still there" in ran.err


def test_what_cannot_be_deleted_is_named_and_can_be_tried_again(cloud: Cloud) -> None:
    env, s3 = "stuck", cloud.client("s3")
    raw = bucket_name(env, "raw")
    deploy(cloud, env, {"Raw": a_bucket(env, "raw", **locked(1))})
    version = s3.put_object(Bucket=raw, Key="a", Body=b"1", ChecksumAlgorithm="SHA256")["VersionId"]

    ran = cloud.custody("destroy", "--env", env, "--yes")
    assert ran.code == 1
    assert "Raw (AWS::S3::Bucket) is not deleted" in ran.out
    assert "fix what failed, and run this again" in ran.out

    s3.delete_object(Bucket=raw, Key="a", VersionId=version, BypassGovernanceRetention=True)
    assert cloud.custody("destroy", "--env", env, "--yes").code == 0
    until(lambda: not exists(cloud, env), 10, "the stack is gone")
