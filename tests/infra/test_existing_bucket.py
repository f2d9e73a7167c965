"""An existing raw bucket: the stack listens to it and reads it, and changes nothing of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.template import ACCOUNT, EXISTING, REGION, Deployment, listed

ARN = f"arn:aws:s3:::{EXISTING['raw_bucket']}"
RULE = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/custody-dev-arrivals"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:custody-dev"
START = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:custody-dev-start"


@pytest.fixture(scope="module")
def into_buffer(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Give a stack with a buffer, on the whole of an existing bucket that has no key of its own."""
    context = {"raw_bucket": EXISTING["raw_bucket"], "buffered": "true"}
    return Deployment.synthesise(context, tmp_path_factory.mktemp("into-buffer"))


def rule(deployment: Deployment) -> dict[str, Any]:
    assert deployment.arrivals, "the stack has a rule for new objects"
    return deployment.arrivals


def permitted_to_send(deployment: Deployment, queue: str) -> list[dict[str, Any]]:
    """Return the statements that permit sending to a queue."""
    return [
        statement
        for statement in deployment.policy("AWS::SQS::QueuePolicy")
        if statement["Resource"] == f"{QUEUE}-{queue}" and statement["Effect"] == "Allow"
    ]


def test_nothing_in_the_stack_changes_the_bucket(existing: Deployment) -> None:
    kinds = ("AWS::S3::Bucket", "AWS::S3::BucketPolicy")
    buckets = {existing.bucket(bucket) for bucket in ("staging", "processed", "audit", "access-logs")}

    assert set(existing.of_type("AWS::S3::Bucket")) == buckets
    assert not [
        each for kind in kinds for each in existing.of_type(kind).values() if EXISTING["raw_bucket"] in str(each)
    ]
    assert not [kind for each in existing.resources.values() if (kind := each["Type"]).startswith("Custom::S3Bucket")]


def test_only_new_objects_of_the_bucket_below_the_prefix_are_started(existing: Deployment) -> None:
    assert rule(existing)["EventPattern"] == {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": ["their-bucket"]}, "object": {"key": [{"prefix": "incoming/"}]}},
    }


def test_without_a_prefix_all_new_objects_are_started(into_buffer: Deployment) -> None:
    assert rule(into_buffer)["EventPattern"]["detail"] == {"bucket": {"name": ["their-bucket"]}}


@pytest.mark.parametrize(("name", "target"), [("existing", START), ("into_buffer", f"{QUEUE}-buffer")])
def test_an_event_goes_to_start_or_the_buffer_and_an_undeliverable_one_to_the_start_dlq(
    request: pytest.FixtureRequest, name: str, target: str
) -> None:
    deployment: Deployment = request.getfixturevalue(name)
    (each,) = rule(deployment)["Targets"]

    assert each["Arn"] == target
    assert each["DeadLetterConfig"] == {"Arn": f"{QUEUE}-start-dlq"}
    assert each["RetryPolicy"] == {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 6 * 3600}
    (statement,) = permitted_to_send(deployment, "start-dlq")
    assert_for_the_rule_alone(statement)


def assert_for_the_rule_alone(statement: dict[str, Any]) -> None:
    assert (statement["Principal"], statement["Action"]) == ({"Service": "events.amazonaws.com"}, "sqs:SendMessage")
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": RULE}}


def test_only_the_rule_may_fill_the_buffer_with_the_key(into_buffer: Deployment) -> None:
    (statement,) = permitted_to_send(into_buffer, "buffer")
    assert_for_the_rule_alone(statement)
    (key,) = into_buffer.of_type("AWS::KMS::Key").values()
    services = [each["Principal"].get("Service") for each in key["KeyPolicy"]["Statement"]]
    assert "events.amazonaws.com" in services
    assert "s3.amazonaws.com" not in services, "S3 itself sends nothing"


def test_only_the_rule_may_call_start(existing: Deployment, into_buffer: Deployment) -> None:
    (permission,) = (
        each for each in existing.of_type("AWS::Lambda::Permission").values() if each["FunctionName"] == START
    )
    assert (permission["Principal"], permission["SourceArn"]) == ("events.amazonaws.com", RULE)
    assert START not in str(into_buffer.of_type("AWS::Lambda::Permission"))


def created_before(deployment: Deployment, logical_id: str) -> set[str]:
    """List everything that CloudFormation creates before a resource, because it depends on it or refers to it."""
    resources, created, ahead = deployment.template["Resources"], set[str](), [logical_id]
    while ahead:
        resource = resources[ahead.pop()]
        needed = {*listed(resource.get("DependsOn", [])), *references(resource.get("Properties"))}
        new = needed & resources.keys() - created
        created |= new
        ahead += new
    return created


def references(value: Any) -> Iterator[str]:
    """Yield the logical ids that a part of a template refers to."""
    if isinstance(value, list):
        for each in value:
            yield from references(each)
    elif isinstance(value, dict):
        yield from filter(None, [value.get("Ref"), *listed(value.get("Fn::GetAtt", []))[:1]])
        yield from references(list(value.values()))


def of_kind(deployment: Deployment, kind: str, text: str) -> set[str]:
    """List the resources of a type whose properties contain a text."""
    names = {
        name
        for name, resource in deployment.resources.items()
        if resource["Type"] == kind and text in str(resource["Properties"])
    }
    assert names, f"the stack has no {kind} with {text}"
    return names


@pytest.mark.parametrize("name", ["existing", "into_buffer"])
def test_the_rule_comes_last_as_eventbridge_does_not_retry_without_permission(
    request: pytest.FixtureRequest, name: str
) -> None:
    deployment: Deployment = request.getfixturevalue(name)
    (arrivals,) = of_kind(deployment, "AWS::Events::Rule", "custody-dev-arrivals")
    before = created_before(deployment, arrivals)

    needed = of_kind(deployment, "AWS::SQS::QueuePolicy", "custody-dev-start-dlq")
    needed |= of_kind(deployment, "AWS::KMS::Key", "events.amazonaws.com")
    needed |= of_kind(deployment, "AWS::IAM::Policy", "stateMachine:custody-dev-pipeline")
    if name == "existing":
        needed |= of_kind(deployment, "AWS::Lambda::Permission", RULE)
        needed |= of_kind(deployment, "AWS::Lambda::EventInvokeConfig", "custody-dev-start-dlq")
    else:
        needed |= of_kind(deployment, "AWS::SQS::QueuePolicy", "custody-dev-buffer")
    assert needed <= before


def test_start_empties_the_buffer(into_buffer: Deployment) -> None:
    (mapping,) = into_buffer.of_type("AWS::Lambda::EventSourceMapping").values()

    assert mapping["EventSourceArn"] == f"{QUEUE}-buffer"


def test_the_outputs_name_the_bucket_and_the_prefix(existing: Deployment, into_buffer: Deployment) -> None:
    outputs = {name: each["Value"] for name, each in existing.template["Outputs"].items()}

    assert (outputs["RawBucket"], outputs["RawPrefix"]) == ("their-bucket", "incoming/")
    assert "RawPrefix" not in into_buffer.template["Outputs"], "an output cannot be empty"


@pytest.mark.parametrize("name", ["validate", "summarize", "dead_letter"])
def test_the_functions_know_the_prefix(existing: Deployment, prod: Deployment, name: str) -> None:
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


def test_cdk_nag_finds_nothing(into_buffer: Deployment) -> None:
    report = json.loads(Path(into_buffer.folder / "validation-report.json").read_text(encoding="utf-8"))

    assert report["pluginReports"] == []
