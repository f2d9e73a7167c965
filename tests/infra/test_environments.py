"""Environments: side by side in one account, prod for good, dev without a trace."""

import json

from infra.app import ROOT
from tests.support.template import ACCOUNT, REGION, Deployment

STATEFUL = ("AWS::KMS::Key", "AWS::Logs::LogGroup", "AWS::S3::Bucket", "AWS::SQS::Queue")


def stateful(deployment: Deployment) -> list[tuple[str, str]]:
    return [
        (each["DeletionPolicy"], each["UpdateReplacePolicy"])
        for each in deployment.resources.values()
        if each["Type"] in STATEFUL
    ]


def test_no_two_environments_share_a_name(prod: Deployment, dev: Deployment) -> None:
    assert prod.names().isdisjoint(dev.names())
    assert len(prod.names()) == len(dev.names())
    assert all("custody-prod" in name for name in prod.names())


def test_every_name_fits_in_the_longest_region(prod: Deployment) -> None:
    for name in prod.of_type("AWS::S3::Bucket"):
        longest = name.replace(REGION, "ap-southeast-1").replace("prod", "a" * 12)
        assert len(longest) <= 63


def test_prod_keeps_its_data_unless_its_creation_failed(prod: Deployment) -> None:
    assert set(stateful(prod)) == {("RetainExceptOnCreate", "Retain")}
    assert prod.termination_protection


def test_dev_leaves_nothing_behind(dev: Deployment, local: Deployment) -> None:
    for deployment in (dev, local):
        assert set(stateful(deployment)) == {("Delete", "Delete")}
        assert not deployment.termination_protection


def test_only_dev_on_aws_has_a_function_that_empties_its_buckets(
    prod: Deployment, dev: Deployment, local: Deployment
) -> None:
    emptied = {each["BucketName"] for each in dev.of_type("Custom::S3AutoDeleteObjects").values()}

    assert emptied == set(dev.of_type("AWS::S3::Bucket"))
    for deployment in (prod, local):
        assert not [each for each in deployment.resources.values() if each["Type"].startswith("Custom::")]


def test_every_taggable_resource_is_tagged(prod: Deployment) -> None:
    tags = [each["Properties"]["Tags"] for each in prod.resources.values() if "Tags" in each["Properties"]]

    assert len(tags) > 30
    assert {json.dumps(each) for each in tags} == {
        json.dumps([{"Key": "env", "Value": "prod"}, {"Key": "project", "Value": "custody"}])
    }


def test_the_outputs_that_the_command_line_reads(deployment: Deployment) -> None:
    buffer = {"BufferQueueUrl"} if deployment.is_buffered else set()
    prefix = {"RawPrefix"} if deployment.arrivals else set()

    assert set(deployment.template["Outputs"]) == buffer | prefix | {
        "RawBucket",
        "StagingBucket",
        "ProcessedBucket",
        "AuditBucket",
        "PipelineArn",
        "BulkArn",
        "ChunkBytes",
        "StartDlqUrl",
        "AlarmTopicArn",
        "KeyArn",
        "StartFunctionName",
        "DeadLetterDlqUrl",
        "DeadLetterFunctionName",
    }


def test_the_template_names_no_account_and_no_local_path(deployment: Deployment) -> None:
    assert ACCOUNT not in json.dumps(deployment.template)
    assert str(ROOT) not in json.dumps(deployment.template)
