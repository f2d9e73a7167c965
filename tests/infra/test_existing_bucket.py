"""An existing raw bucket: the stack listens to it and reads it, and changes nothing of it."""

import json
from typing import Any

import pytest

from tests.support.template import ACCOUNT, EXISTING, REGION, Deployment

ARN = f"arn:aws:s3:::{EXISTING['raw_bucket']}"
RULE = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/custody-dev-arrivals"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:custody-dev"
START = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:custody-dev-start"


def rule(deployment: Deployment) -> dict[str, Any]:
    assert deployment.arrivals, "the stack has a rule for new objects"
    return deployment.arrivals


def test_nothing_in_the_stack_changes_the_bucket(existing: Deployment) -> None:
    kinds = ("AWS::S3::Bucket", "AWS::S3::BucketPolicy")
    buckets = {existing.bucket(bucket) for bucket in ("staging", "processed", "audit", "access-logs")}

    assert set(existing.of_type("AWS::S3::Bucket")) == buckets
    assert not [
        each for kind in kinds for each in existing.of_type(kind).values() if EXISTING["raw_bucket"] in str(each)
    ]
    assert not [kind for each in existing.resources.values() if (kind := each["Type"]).startswith("Custom::S3Bucket")]


def test_only_new_objects_of_the_bucket_below_any_prefix_are_started(
    existing: Deployment, into_buffer: Deployment
) -> None:
    pattern = {"source": ["aws.s3"], "detail-type": ["Object Created"]}
    bucket = {"bucket": {"name": ["their-bucket"]}}

    below = {"object": {"key": [{"prefix": "incoming/"}]}}
    assert rule(existing)["EventPattern"] == pattern | {"detail": bucket | below}
    assert rule(into_buffer)["EventPattern"] == pattern | {"detail": bucket}


@pytest.mark.parametrize("name", ["existing", "into_buffer"])
def test_an_event_goes_to_start_or_the_buffer_and_an_undeliverable_one_to_the_start_dlq(
    deployments: dict[str, Deployment], name: str
) -> None:
    deployment = deployments[name]
    (each,) = rule(deployment)["Targets"]

    assert each["Arn"] == (f"arn:aws:sqs:{REGION}:{ACCOUNT}:{deployment.buffer}" if deployment.is_buffered else START)
    assert each["DeadLetterConfig"] == {"Arn": f"{QUEUE}-start-dlq"}
    assert each["RetryPolicy"] == {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 6 * 3600}


def created_before(deployment: Deployment, logical_id: str) -> set[str]:
    """Return everything that CloudFormation creates before a resource, because it depends on it or refers to it."""
    texts = {name: json.dumps(resource) for name, resource in deployment.template["Resources"].items()}
    created, ahead = set[str](), [logical_id]
    while ahead:
        text = texts[ahead.pop()]
        new = {name for name in texts if f'"{name}"' in text} - created
        created |= new
        ahead += new
    return created


def of_kind(deployment: Deployment, kind: str, text: str) -> set[str]:
    """Return the resources of a type whose properties contain a text."""
    names = {
        name
        for name, resource in deployment.resources.items()
        if resource["Type"] == kind and text in str(resource["Properties"])
    }
    assert names, f"the stack has no {kind} with {text}"
    return names


@pytest.mark.parametrize("name", ["existing", "into_buffer"])
def test_the_rule_comes_last_as_eventbridge_does_not_retry_without_permission(
    deployments: dict[str, Deployment], name: str
) -> None:
    deployment = deployments[name]
    (arrivals,) = of_kind(deployment, "AWS::Events::Rule", "custody-dev-arrivals")
    before = created_before(deployment, arrivals)

    needed = of_kind(deployment, "AWS::SQS::QueuePolicy", "custody-dev-start-dlq")
    needed |= of_kind(deployment, "AWS::KMS::Key", "events.amazonaws.com")
    needed |= of_kind(deployment, "AWS::IAM::Policy", "stateMachine:custody-dev-pipeline")
    if name == "existing":
        needed |= of_kind(deployment, "AWS::Lambda::Permission", RULE)
        needed |= of_kind(deployment, "AWS::Lambda::EventInvokeConfig", "custody-dev-start-dlq")
    else:
        needed |= of_kind(deployment, "AWS::SQS::QueuePolicy", deployment.buffer)
    assert needed <= before


def test_the_outputs_and_the_functions_know_the_bucket_and_the_prefix(existing: Deployment, prod: Deployment) -> None:
    outputs = {name: each["Value"] for name, each in existing.template["Outputs"].items()}

    assert (outputs["RawBucket"], outputs["RawPrefix"]) == ("their-bucket", "incoming/")
    for name in ("validate", "summarize", "dead_letter"):
        assert existing.function(name)["Environment"]["Variables"]["RAW_PREFIX"] == "incoming/"
        assert prod.function(name)["Environment"]["Variables"]["RAW_PREFIX"] == ""


def test_without_raw_key_arn_no_other_key_is_used(into_buffer: Deployment) -> None:
    statements = [
        statement
        for policy in into_buffer.of_type("AWS::IAM::Policy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if "kms:" in str(statement["Action"])
    ]
    assert {statement["Resource"] for statement in statements} == {into_buffer.key}
    assert ARN in str(into_buffer.of_type("AWS::IAM::Policy"))
