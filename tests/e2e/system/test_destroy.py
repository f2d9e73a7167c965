"""`custody destroy` on embedded AWS: what it plans, refuses and deletes, and what is left."""

import json
import os
import pty
import shlex
import subprocess
from typing import Any

import pytest

from tests.support.deployed import CUSTODY, Cloud, CommandResult, clean_environment

REGION, ACCOUNT = "us-east-1", "000000000000"


def bucket_name(env: str, bucket: str) -> str:
    return f"custody-{env}-{bucket}-{ACCOUNT}-{REGION}-an"


def resource(kind: str, *, retain: bool = False, **properties: Any) -> dict[str, Any]:
    policy = {"DeletionPolicy": "RetainExceptOnCreate" if retain else "Delete"}
    return {"Type": f"AWS::{kind}", "Properties": properties} | policy


def tags(env: str) -> list[dict[str, str]]:
    return [{"Key": "project", "Value": "custody"}, {"Key": "env", "Value": env}]


def bucket_resource(env: str, bucket: str, *, retain: bool = False, **properties: Any) -> dict[str, Any]:
    common = {"VersioningConfiguration": {"Status": "Enabled"}, "Tags": tags(env)}
    return resource("S3::Bucket", retain=retain, BucketName=bucket_name(env, bucket), **common, **properties)


def locked(days: int) -> dict[str, Any]:
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": days}}
    configuration = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    return {"ObjectLockEnabled": True, "ObjectLockConfiguration": configuration}


def machine_resources(env: str) -> dict[str, dict[str, Any]]:
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "*"}, "Action": "sts:AssumeRole"}]}
    definition = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}}
    return {
        "Role": resource("IAM::Role", AssumeRolePolicyDocument=trust),
        "Machine": resource(
            "StepFunctions::StateMachine",
            StateMachineName=f"custody-{env}-pipeline",
            DefinitionString=json.dumps(definition),
            RoleArn={"Fn::GetAtt": ["Role", "Arn"]},
        ),
    }


def key_resource(env: str, *, retain: bool) -> dict[str, Any]:
    return resource("KMS::Key", retain=retain, KeyPolicy={}, Tags=tags(env))


def deploy(cloud: Cloud, env: str, resources: dict[str, Any], *, protected: bool = False) -> None:
    """Deploy a small stack with the names and tags of an environment."""
    client, name = cloud.client("cloudformation"), f"custody-{env}"
    client.create_stack(
        StackName=name,
        TemplateBody=json.dumps({"Resources": resources}),
        Capabilities=["CAPABILITY_IAM"],
        EnableTerminationProtection=protected,
    )
    client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})


def names(left: Any) -> set[str]:
    """Return the names of what can be removed."""
    return {each["name"] for each in left if each["command"]}


def exists(cloud: Cloud, env: str) -> bool:
    stacks = cloud.client("cloudformation").describe_stacks()["Stacks"]
    return f"custody-{env}" in {stack["StackName"] for stack in stacks if stack["StackStatus"] != "DELETE_COMPLETE"}


@pytest.fixture
def doomed(cloud: Cloud) -> str:
    """Deploy an environment that retains nothing, with versions in its bucket; return its name."""
    env = "doomed"
    log_group = resource(
        "Logs::LogGroup", LogGroupName=f"/aws/lambda/custody-{env}-start", RetentionInDays=90, Tags=tags(env)
    )
    resources = {"Raw": bucket_resource(env, "raw"), "Key": key_resource(env, retain=False), "Logs": log_group}
    deploy(cloud, env, resources | machine_resources(env))
    s3, raw = cloud.client("s3"), bucket_name(env, "raw")
    for _ in range(2):
        s3.put_object(Bucket=raw, Key="mission/a.json", Body=b"{}")
    s3.delete_object(Bucket=raw, Key="mission/a.json")
    return env


def test_an_environment_is_planned_confirmed_and_deleted_with_its_data(cloud: Cloud, doomed: str) -> None:
    raw = bucket_name(doomed, "raw")
    cloud.client("logs").delete_log_group(logGroupName=f"/aws/lambda/custody-{doomed}-start")
    planned = cloud.custody("destroy", "--env", doomed, "--dry-run", "--json")
    assert planned.code == 0, planned.err
    resources = {each["kind"]: each for each in planned.json["stack"]["resources"]}
    assert (resources["bucket"]["contents"], resources["log group"]["contents"]) == ("3 versions", "gone")
    assert planned.json["left"] == []
    assert not any(each["retained"] for each in resources.values())
    shown = cloud.custody("destroy", "--env", doomed, "--dry-run")
    assert raw in shown.out
    assert "nothing it encrypted can be read" in shown.out

    unconfirmed = cloud.custody("destroy", "--env", doomed)
    assert (unconfirmed.code, "Add --yes" in unconfirmed.err) == (2, True)
    of_stack = cloud.custody("destroy", "--env", doomed, "--bucket", raw, "--yes")
    assert (of_stack.code, "The stack custody-doomed still exists" in of_stack.err) == (2, True)
    busy = while_executing(cloud, doomed, "destroy", "--env", doomed, "--yes")
    assert (busy.code, "1 execution running" in busy.err) == (1, True)
    assert typed(cloud, doomed, "dev").returncode == 2
    assert exists(cloud, doomed)

    accepted = typed(cloud, doomed, doomed)
    assert accepted.returncode == 0, accepted.stderr
    assert "Type the name of the environment, doomed" in accepted.stderr
    assert not exists(cloud, doomed)
    assert cloud.custody("status").code == 0, "the environment dev is as it was"

    again = cloud.custody("destroy", "--env", doomed)
    assert (again.code, "there is no stack custody-doomed" in again.out) == (0, True)
    assert "cancel-key-deletion" in again.out
    report = cloud.custody("destroy", "--env", doomed, "--json").json
    assert names(report["left"]) == set()
    assert {each["contents"] for each in report["left"]} == {"pending deletion"}


def while_executing(cloud: Cloud, env: str, *command: str) -> CommandResult:
    """Run a command while an execution of an environment is running."""
    client = cloud.client("stepfunctions")
    machine = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:custody-{env}-pipeline"
    execution = client.start_execution(stateMachineArn=machine)["executionArn"]
    try:
        return cloud.custody(*command)
    finally:
        client.stop_execution(executionArn=execution)


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


def test_retained_resources_are_listed_with_the_command_that_removes_each(cloud: Cloud) -> None:
    env = "kept"
    resources = {
        "Raw": bucket_resource(env, "raw", retain=True),
        "Audit": bucket_resource(env, "audit", retain=True, **locked(30)),
        "Staging": bucket_resource(env, "staging"),
        "Key": key_resource(env, retain=True),
        "Logs": resource(
            "Logs::LogGroup", retain=True, LogGroupName=f"/aws/lambda/custody-{env}-start", Tags=tags(env)
        ),
        "Queue": resource("SQS::Queue", retain=True, QueueName=f"custody-{env}-start-dlq", Tags=tags(env)),
    }
    deploy(cloud, env, resources, protected=True)
    s3, raw, audit = cloud.client("s3"), bucket_name(env, "raw"), bucket_name(env, "audit")
    for bucket in (raw, audit):
        s3.put_object(Bucket=bucket, Key="a", Body=b"1", ChecksumAlgorithm="SHA256")

    refused = cloud.custody("destroy", "--env", env, "--yes")
    assert refused.code == 1
    assert exists(cloud, env)
    aws(cloud, refused.err[refused.err.index("aws cloudformation") :].split("\n")[0])

    ran = cloud.custody("destroy", "--env", env, "--yes", "--json")
    assert ran.code == 0, ran.err
    retained = {each["kind"] for each in ran.json["stack"]["resources"] if each["retained"]}
    assert retained == {"bucket", "key", "log group", "queue"}
    left = {each["kind"]: each for each in ran.json["left"] if each["name"] != raw}
    assert names(ran.json["left"]) >= {raw, audit, f"/aws/lambda/custody-{env}-start"}
    assert bucket_name(env, "staging") not in names(ran.json["left"])

    for kind in ("log group", "queue"):
        aws(cloud, left[kind]["command"])
    locked_out = cloud.custody(*shlex.split(left["bucket"]["command"])[1:], "--bucket", raw, "--yes", "--json")
    assert locked_out.code == 1
    assert locked_out.json["failures"].keys() == {audit}, "a lock is never bypassed"
    assert "1 version cannot be deleted" in locked_out.json["failures"][audit]
    kinds = {each["kind"]: each["name"] for each in locked_out.json["left"]}
    assert kinds == {"bucket": audit, "key": left["key"]["name"]}

    aws(cloud, left["key"]["command"])
    last = cloud.custody("destroy", "--env", env, "--json").json["left"]
    assert names(last) == {audit}

    version = s3.list_object_versions(Bucket=audit)["Versions"][0]["VersionId"]
    s3.delete_object(Bucket=audit, Key="a", VersionId=version, BypassGovernanceRetention=True)
    s3.delete_bucket(Bucket=audit)


def aws(cloud: Cloud, command: str) -> None:
    """Run a command of the AWS CLI that was printed."""
    profile = {
        "AWS_CONFIG_FILE": str(cloud.folder / "aws.ini"),
        "AWS_SHARED_CREDENTIALS_FILE": str(cloud.folder / "aws.ini"),
    }
    assert command.startswith("aws ")
    cli = [str(CUSTODY.with_name("aws")), *shlex.split(command)[1:]]
    subprocess.run(cli, env=clean_environment() | profile, check=True, capture_output=True)  # noqa: S603 - its own words
