"""A raw bucket that is there already: it is named, listened to and read, and nothing of it is touched."""

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


def let_in(deployment: Deployment, queue: str) -> list[dict[str, Any]]:
    """What lets EventBridge send to a queue."""
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
        found for kind in kinds for found in existing.of_type(kind).values() if EXISTING["raw_bucket"] in str(found)
    ]
    assert not [kind for found in existing.resources.values() if (kind := found["Type"]).startswith("Custom::S3Bucket")]


def test_only_new_objects_of_the_bucket_below_the_prefix_are_started(existing: Deployment) -> None:
    assert rule(existing)["EventPattern"] == {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": ["their-bucket"]}, "object": {"key": [{"prefix": "incoming/"}]}},
    }


def test_without_a_prefix_all_new_objects_of_the_bucket_are(into_buffer: Deployment) -> None:
    assert rule(into_buffer)["EventPattern"]["detail"] == {"bucket": {"name": ["their-bucket"]}}


@pytest.mark.parametrize(("name", "target"), [("existing", START), ("into_buffer", f"{QUEUE}-buffer")])
def test_an_event_goes_to_start_or_into_the_buffer_and_what_cannot_be_delivered_is_kept(
    request: pytest.FixtureRequest, name: str, target: str
) -> None:
    deployment: Deployment = request.getfixturevalue(name)
    (found,) = rule(deployment)["Targets"]

    assert found["Arn"] == target
    assert found["DeadLetterConfig"] == {"Arn": f"{QUEUE}-start-dlq"}
    assert found["RetryPolicy"] == {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 6 * 3600}
    (statement,) = let_in(deployment, "start-dlq")
    assert_of_the_rule_alone(statement)


def assert_of_the_rule_alone(statement: dict[str, Any]) -> None:
    assert (statement["Principal"], statement["Action"]) == ({"Service": "events.amazonaws.com"}, "sqs:SendMessage")
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": RULE}}


def test_the_rule_alone_may_fill_the_buffer_and_eventbridge_may_use_its_key(into_buffer: Deployment) -> None:
    (statement,) = let_in(into_buffer, "buffer")
    assert_of_the_rule_alone(statement)
    (key,) = into_buffer.of_type("AWS::KMS::Key").values()
    services = [found["Principal"].get("Service") for found in key["KeyPolicy"]["Statement"]]
    assert "events.amazonaws.com" in services
    assert "s3.amazonaws.com" not in services, "S3 itself sends nothing"


def test_the_rule_alone_may_call_start(existing: Deployment, into_buffer: Deployment) -> None:
    (permission,) = (
        one for one in existing.of_type("AWS::Lambda::Permission").values() if one["FunctionName"] == START
    )
    assert (permission["Principal"], permission["SourceArn"]) == ("events.amazonaws.com", RULE)
    assert not [one for one in into_buffer.of_type("AWS::Lambda::Permission").values() if one["FunctionName"] == START]


def made_before(deployment: Deployment, logical_id: str) -> set[str]:
    """Name all that CloudFormation makes before a resource, for it depends on it or refers to it, by whatever way."""
    resources, found, ahead = deployment.template["Resources"], set[str](), [logical_id]
    while ahead:
        said = resources[ahead.pop()]
        new = {*listed(said.get("DependsOn", [])), *references(said.get("Properties"))} & resources.keys() - found
        found |= new
        ahead += new
    return found


def references(value: Any) -> Iterator[str]:
    """Give the logical ids that a part of a template refers to."""
    if isinstance(value, list):
        for each in value:
            yield from references(each)
    elif isinstance(value, dict):
        yield from filter(None, [value.get("Ref"), *listed(value.get("Fn::GetAtt", []))[:1]])
        yield from references(list(value.values()))


def of_kind(deployment: Deployment, kind: str, said: str) -> set[str]:
    """Name the resources of a type in whose properties something is said."""
    found = {
        name
        for name, resource in deployment.resources.items()
        if resource["Type"] == kind and said in str(resource["Properties"])
    }
    assert found, f"the stack has no {kind} with {said}"
    return found


@pytest.mark.parametrize("name", ["existing", "into_buffer"])
def test_the_rule_comes_last_for_where_it_is_not_let_in_yet_eventbridge_does_not_try_again(
    request: pytest.FixtureRequest, name: str
) -> None:
    deployment: Deployment = request.getfixturevalue(name)
    (arrivals,) = of_kind(deployment, "AWS::Events::Rule", "custody-dev-arrivals")
    before = made_before(deployment, arrivals)

    needed = of_kind(deployment, "AWS::SQS::QueuePolicy", "custody-dev-start-dlq")
    needed |= of_kind(deployment, "AWS::KMS::Key", "events.amazonaws.com")
    needed |= of_kind(deployment, "AWS::IAM::Policy", "stateMachine:custody-dev-pipeline")
    if name == "existing":
        needed |= of_kind(deployment, "AWS::Lambda::Permission", RULE)
        needed |= of_kind(deployment, "AWS::Lambda::EventInvokeConfig", "custody-dev-start-dlq")
    else:
        needed |= of_kind(deployment, "AWS::SQS::QueuePolicy", "custody-dev-buffer")
    assert needed <= before


def test_start_empties_the_buffer_as_with_a_bucket_of_its_own(into_buffer: Deployment) -> None:
    (mapping,) = into_buffer.of_type("AWS::Lambda::EventSourceMapping").values()

    assert mapping["EventSourceArn"] == f"{QUEUE}-buffer"


def test_what_the_command_line_is_told(existing: Deployment, into_buffer: Deployment) -> None:
    outputs = {name: found["Value"] for name, found in existing.template["Outputs"].items()}

    assert (outputs["RawBucket"], outputs["RawPrefix"]) == ("their-bucket", "incoming/")
    assert "RawPrefix" not in into_buffer.template["Outputs"], "an output cannot be empty"


@pytest.mark.parametrize("name", ["validate", "summarize", "dead_letter"])
def test_the_dataset_begins_behind_the_prefix(existing: Deployment, prod: Deployment, name: str) -> None:
    assert existing.function(name)["Environment"]["Variables"]["RAW_PREFIX"] == "incoming/"
    assert prod.function(name)["Environment"]["Variables"]["RAW_PREFIX"] == ""


def test_a_bucket_without_a_key_of_its_own_needs_none(into_buffer: Deployment) -> None:
    statements = [
        statement
        for policy in into_buffer.of_type("AWS::IAM::Policy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if "kms:" in str(statement["Action"])
    ]
    assert {statement["Resource"] for statement in statements} == {into_buffer.key}
    assert ARN in str(into_buffer.of_type("AWS::IAM::Policy"))


def test_cdk_nag_has_no_complaint(into_buffer: Deployment) -> None:
    report = json.loads(Path(into_buffer.folder / "validation-report.json").read_text(encoding="utf-8"))

    assert report["pluginReports"] == []
