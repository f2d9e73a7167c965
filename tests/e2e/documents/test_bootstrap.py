"""What stands on `cdk bootstrap`: a role that may only compare, and a bucket that has to be emptied in the end."""

import json
import os
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from cfnlint.decode import cfn_yaml  # type: ignore[import-untyped]  # it has no types

from custody.deployment.target import ROOT
from tests.support.deployed import Cloud, clean_environment
from tests.support.documents import Shell, blocks, read, sections

SUMMARIZE, REGION = "000000000000", "us-east-1"
WHERE = {
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": SUMMARIZE,
    "Environment": "dev",
    "Qualifier": "hnb659fds",
}
BUCKET = "cdk-bucket-of-a-bootstrap"

pytestmark = pytest.mark.timeout(600)


def substituted(value: object) -> object:
    """Put what CloudFormation would put in the place of each `!Sub`."""
    if isinstance(value, dict) and "Fn::Sub" in value:
        text = str(value["Fn::Sub"])
        for name, meant in WHERE.items():
            text = text.replace(f"${{{name}}}", meant)
        return text
    if isinstance(value, dict):
        return {str(name): substituted(each) for name, each in value.items()}
    return [substituted(each) for each in value] if isinstance(value, list) else value


def test_the_role_of_pull_requests_can_compare_and_read_nothing_else(cloud: Cloud, tmp_path: Path) -> None:
    differ = cfn_yaml.loads(read("docs/ci/github-oidc.yaml"))["Resources"]["Differ"]["Properties"]
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{SUMMARIZE}:root"}, "Action": "sts:AssumeRole"}
    iam = cloud.client("iam")
    role = iam.create_role(RoleName="differ", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))["Role"]
    for policy in differ["Policies"]:
        document = json.dumps(substituted(policy["PolicyDocument"]))
        iam.put_role_policy(RoleName="differ", PolicyName=policy["PolicyName"], PolicyDocument=document)
    given = cloud.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="pull-request")["Credentials"]

    settings = ("-c", "env=dev", "-c", "local=true", "-c", "log_days=7")
    done = subprocess.run(  # noqa: S603 - our own
        [ROOT / "node_modules/.bin/cdk", "diff", *settings, "--method=template", "--output", tmp_path / "cdk.out"],
        cwd=ROOT,
        env=clean_environment()
        | {
            "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}",
            "AWS_ENDPOINT_URL": str(cloud.target.endpoint),
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
            "AWS_SESSION_TOKEN": given["SessionToken"],
        },
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "RetentionInDays" in said, "what would change"
    assert "lookup-role" in said, "which it may not assume"

    session = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], REGION)
    client: Any = partial(session.client, endpoint_url=cloud.target.endpoint)
    lookup_role = f"arn:aws:iam::{SUMMARIZE}:role/cdk-hnb659fds-lookup-role-{SUMMARIZE}-{REGION}"
    for refused in (
        client("s3").list_buckets,
        partial(client("stepfunctions").list_executions, stateMachineArn=cloud.deployment.pipeline_arn),
        partial(client("cloudformation").describe_stacks, StackName="CDKToolkit"),
        partial(client("sts").assume_role, RoleArn=lookup_role, RoleSessionName="pull-request"),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            refused()


def test_the_bucket_of_the_bootstrap_can_be_removed_once_its_versions_and_markers_are_gone(cloud: Cloud) -> None:
    section = sections(read("docs/deploy.md"))["Remove the bootstrap"]
    _, look, delete, rest, _ = blocks(section)
    (remove,) = (line for line in rest.splitlines() if "delete-bucket" in line)
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"first", b"second"):
        s3.put_object(Bucket=BUCKET, Key="asset with a space.zip", Body=body)
    s3.delete_object(Bucket=BUCKET, Key="asset with a space.zip")
    begun = [*blocks(sections(read("docs/runbook.md"))[""]), f"BUCKET={BUCKET}"]
    shell = Shell(cloud, {}, begun)

    shown = json.loads(shell.run(look))
    assert len(shown["Objects"]) == 3, "two versions and a marker"
    shell.before.append(look.partition('\nversions "$BUCKET"')[0])
    shell.run(delete)
    shell.run(remove)

    assert BUCKET not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
