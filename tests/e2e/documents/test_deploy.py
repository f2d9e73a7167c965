"""docs/deploy.md and docs/ci, followed on embedded AWS; tests/infra checks what only AWS can run."""

import json
import os
import re
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

SECTIONS = sections(read("docs/deploy.md"))
PREAMBLE = blocks(SECTIONS.pop(""))
ENV = "staging"
ACCOUNT, REGION = "000000000000", "us-east-1"
SUBSTITUTIONS = {
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "Environment": "dev",
    "Qualifier": "hnb659fds",
}
BUCKET = "cdk-bucket-of-a-bootstrap"

pytestmark = pytest.mark.timeout(600)


def reader(cloud: Cloud, env: str, **answers: str) -> Shell:
    """Return the shell of somebody who has typed the preamble for an environment."""
    preamble = [block.replace("<environment>", env) for block in PREAMBLE]
    return Shell(cloud, {name.replace("_", " "): answer for name, answer in answers.items()}, preamble)


def test_an_environment_is_deployed_watched_and_removed(cloud: Cloud) -> None:
    left = cloud.deployment.raw.replace("-dev-", f"-{ENV}-")
    shell = reader(cloud, ENV, https_address="https://example.com/alarms", bucket_that_is_left=left)
    assert f"custody-{ENV}-raw" in "".join(shell.follow(SECTIONS["Deploy"].replace("-c env", "-c local=true -c env")))

    listed, subscribed, _ = shell.follow(SECTIONS["Alarm notifications"])
    assert "you@example.com" in listed
    assert "pending confirmation" in subscribed
    alarm = cloud.client("cloudwatch").describe_alarms(AlarmNames=[f"custody-{ENV}-executions-failed"])
    assert alarm["MetricAlarms"][0]["StateValue"] == "ALARM"

    dry_run, interactive, scripted, unprotect, rest = blocks(SECTIONS["Remove"])
    assert left in shell.run(dry_run)
    shell.run(unprotect)
    assert interactive == "custody destroy"
    assert f"custody-{ENV} was deleted" in shell.run(scripted)
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=left)
    tags = [{"Key": "project", "Value": "custody"}, {"Key": "env", "Value": ENV}]
    s3.put_bucket_tagging(Bucket=left, Tagging={"TagSet": tags})
    assert left not in shell.run(rest).rpartition("there is no stack")[2]


def test_the_first_files_are_processed(cloud: Cloud) -> None:
    good, bad = reader(cloud, "dev").follow(SECTIONS["The first file"])

    assert "written" in good
    assert "/confidence: maximum 1" in bad
    assert "RecordsRejected" in bad


def test_the_budget_of_the_costs_page_can_be_created(cloud: Cloud) -> None:
    answers = {"usd_a_month": "20", "e-mail_address": "you@example.com"}
    reader(cloud, "dev", **answers).follow(read("docs/costs.md"))

    (budget,) = cloud.client("budgets").describe_budgets(AccountId="000000000000")["Budgets"]
    assert float(budget["BudgetLimit"]["Amount"]) == 20
    assert budget["CostFilters"] == {"TagKeyValue": ["user:project$custody"]}


def test_the_role_of_pull_requests_can_diff_and_read_nothing_else(cloud: Cloud, tmp_path: Path) -> None:
    differ = cfn_yaml.loads(read("docs/ci/github-oidc.yaml"))["Resources"]["Differ"]["Properties"]
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    iam = cloud.client("iam")
    role = iam.create_role(RoleName="differ", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))["Role"]
    for policy in differ["Policies"]:
        document = re.sub(r'\{"Fn::Sub": ("[^"]*")\}', r"\1", json.dumps(policy["PolicyDocument"]))
        for name, value in SUBSTITUTIONS.items():
            document = document.replace(f"${{{name}}}", value)
        iam.put_role_policy(RoleName="differ", PolicyName=policy["PolicyName"], PolicyDocument=document)
    credentials = cloud.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="pull-request")["Credentials"]

    settings = ("-c", "env=dev", "-c", "local=true", "-c", "log_days=7")
    done = subprocess.run(  # noqa: S603 - our own
        [ROOT / "node_modules/.bin/cdk", "diff", *settings, "--method=template", "--output", tmp_path / "cdk.out"],
        cwd=ROOT,
        env=clean_environment()
        | {
            "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}",
            "AWS_ENDPOINT_URL": str(cloud.target.endpoint),
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
            "AWS_SESSION_TOKEN": credentials["SessionToken"],
        },
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "RetentionInDays" in output
    assert "lookup-role" in output, "it may not assume the role"

    session = boto3.Session(
        credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"], REGION
    )
    client: Any = partial(session.client, endpoint_url=cloud.target.endpoint)
    lookup_role = f"arn:aws:iam::{ACCOUNT}:role/cdk-hnb659fds-lookup-role-{ACCOUNT}-{REGION}"
    for forbidden in (
        client("s3").list_buckets,
        partial(client("stepfunctions").list_executions, stateMachineArn=cloud.deployment.pipeline_arn),
        partial(client("cloudformation").describe_stacks, StackName="CDKToolkit"),
        partial(client("sts").assume_role, RoleArn=lookup_role, RoleSessionName="pull-request"),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            forbidden()


def test_the_bucket_of_the_bootstrap_is_removed_with_its_versions_and_markers(cloud: Cloud) -> None:
    _, look, delete, rest = blocks(sections(read("docs/deploy.md"))["Remove the bootstrap"])
    (remove,) = (line for line in rest.splitlines() if "delete-bucket" in line)
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"first", b"second"):
        s3.put_object(Bucket=BUCKET, Key="asset with a space.zip", Body=body)
    s3.delete_object(Bucket=BUCKET, Key="asset with a space.zip")
    shell = Shell(cloud, {}, [*blocks(sections(read("docs/runbook.md"))[""]), f"BUCKET={BUCKET}"])

    assert len(json.loads(shell.run(look))["Objects"]) == 3, "two versions and a marker"
    shell.run(delete)
    shell.run(remove)

    assert BUCKET not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
