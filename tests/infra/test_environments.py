"""Environments: side by side in one account, prod for good, dev without a trace."""

import json

from botocore.session import Session

from custody.deployment.destroy import KINDS, RETAINED
from infra.app import ROOT
from infra.partitions import PARTITIONS
from tests.support.template import ACCOUNT, REGION, Deployment

STATEFUL = ("AWS::KMS::Key", "AWS::Logs::LogGroup", "AWS::S3::Bucket", "AWS::SQS::Queue")


def stateful(deployment: Deployment) -> list[tuple[str, str]]:
    return [
        (each["DeletionPolicy"], each["UpdateReplacePolicy"])
        for each in deployment.resources.values()
        if each["Type"] in STATEFUL
    ]


def test_no_two_environments_share_a_name_and_each_fits_in_the_longest_region(
    prod: Deployment, dev: Deployment
) -> None:
    assert prod.names().isdisjoint(dev.names())
    assert len(prod.names()) == len(dev.names())
    assert all("custody-prod" in name for name in prod.names())
    for name in prod.of_type("AWS::S3::Bucket"):
        for region in (
            region for partition in PARTITIONS for region in Session().get_available_regions("s3", partition)
        ):
            assert len(name.replace(REGION, region).replace("prod", "a" * 12)) <= 63


def test_prod_keeps_its_data_unless_its_creation_failed(prod: Deployment) -> None:
    retained = [each for each in prod.resources.values() if each.get("DeletionPolicy") in RETAINED]

    assert set(stateful(prod)) == {("RetainExceptOnCreate", "Retain")}
    assert prod.termination_protection
    assert {each["Type"] for each in retained} == set(KINDS), "`custody destroy` lists what outlives its stack"
    for resource in retained:
        assert {tag["Key"] for tag in resource["Properties"]["Tags"]} >= {"project", "env"}


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


def test_only_a_stack_with_a_buffer_or_a_prefix_has_an_output_for_it(
    deployments: dict[str, Deployment], deployment: Deployment
) -> None:
    optional = {"BufferQueueUrl"} if deployment.is_buffered else set()
    optional |= {"RawPrefix"} if deployment is deployments["existing"] else set()

    assert deployment.template["Outputs"].keys() & {"BufferQueueUrl", "RawPrefix"} == optional


def test_only_the_key_and_the_alarms_are_billed_while_nothing_happens(deployment: Deployment) -> None:
    """As docs/costs.md promises; a policy, an alias and whatever these services hold are free."""
    free_when_idle = {"S3", "Logs", "SQS", "SNS", "Lambda", "StepFunctions", "Events", "IAM", "S3AutoDeleteObjects"}
    kinds = {each["Type"] for each in deployment.resources.values()}

    billed = {kind for kind in kinds if kind.split("::")[1] not in free_when_idle}
    assert billed == {"AWS::KMS::Key", "AWS::KMS::Alias", "AWS::CloudWatch::Alarm"}
    assert len(deployment.of_type("AWS::KMS::Key")) == 1


def test_the_template_names_no_account_and_no_local_path(deployment: Deployment) -> None:
    assert ACCOUNT not in json.dumps(deployment.template)
    assert str(ROOT) not in json.dumps(deployment.template)
