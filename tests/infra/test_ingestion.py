"""From the raw bucket to the start function: directly, or by way of the buffer; and nothing is lost on either."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra.settings import FUNCTIONS, SettingRefused, parse
from tests.support.template import ACCOUNT, REGION, Deployment, listed

DIRECT = ("prod", "dev", "local")
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:custody-dev"


@pytest.fixture(params=DIRECT)
def direct(request: pytest.FixtureRequest, deployments: dict[str, Deployment]) -> Deployment:
    """Give each variant without a buffer in turn."""
    return deployments[request.param]


def notifications(deployment: Deployment) -> Any:
    return deployment.of_type("AWS::S3::Bucket")[deployment.bucket("raw")]["NotificationConfiguration"]


def delivery(deployment: Deployment, function: str) -> list[dict[str, Any]]:
    """What Lambda does with the events of a function that it cannot deliver to it."""
    configurations = deployment.of_type("AWS::Lambda::EventInvokeConfig").values()
    return [each for each in configurations if each["FunctionName"] == f"custody-{deployment.env}-{function}"]


def logical_id(deployment: Deployment, kind: str, principal: str) -> str:
    """Name the one permission or policy that lets a service in."""
    (each,) = (
        name
        for name, resource in deployment.resources.items()
        if resource["Type"] == kind and f"'{principal}'" in str(resource["Properties"])
    )
    return each


def comes_after(deployment: Deployment) -> list[str]:
    buckets = (each for each in deployment.resources.values() if each["Type"] == "AWS::S3::Bucket")
    (raw,) = (each for each in buckets if each["Properties"]["BucketName"] == deployment.bucket("raw"))
    return listed(raw["DependsOn"])


def synthesise(folder: Path, **settings: str) -> Deployment:
    return Deployment.synthesise({"buffered": "true", **settings}, folder)


def test_every_new_object_version_calls_start(direct: Deployment) -> None:
    start = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:custody-{direct.env}-start"

    assert notifications(direct) == {"LambdaConfigurations": [{"Event": "s3:ObjectCreated:*", "Function": start}]}
    assert not direct.is_buffered


def test_the_cdk_adds_no_functions(prod: Deployment) -> None:
    assert len(prod.of_type("AWS::Lambda::Function")) == len(FUNCTIONS)


def test_only_the_raw_bucket_may_call_start(direct: Deployment) -> None:
    permissions = direct.of_type("AWS::Lambda::Permission").values()

    assert [each for each in permissions if each["FunctionName"].endswith("-start")] == [
        {
            "Action": "lambda:InvokeFunction",
            "FunctionName": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:custody-{direct.env}-start",
            "Principal": "s3.amazonaws.com",
            "SourceAccount": ACCOUNT,
            "SourceArn": f"arn:aws:s3:::{direct.bucket('raw')}",
        }
    ]


def test_the_bucket_comes_after_the_permission_that_s3_tests(direct: Deployment, buffered: Deployment) -> None:
    assert logical_id(direct, "AWS::Lambda::Permission", "s3.amazonaws.com") in comes_after(direct)
    assert logical_id(buffered, "AWS::SQS::QueuePolicy", "s3.amazonaws.com") in comes_after(buffered)


def test_a_failing_event_of_start_is_tried_three_times_then_kept_for_14_days(
    direct: Deployment, existing: Deployment
) -> None:
    for deployment in (direct, existing):
        (each,) = delivery(deployment, "start")

        assert_kept(deployment, each, "start-dlq")


def test_a_failing_event_of_dead_letter_is_tried_three_times_then_kept_for_14_days(
    deployment: Deployment,
) -> None:
    (each,) = delivery(deployment, "dead-letter")

    assert_kept(deployment, each, "dead-letter-dlq")


def assert_kept(deployment: Deployment, delivery_of: dict[str, Any], name: str) -> None:
    queue = deployment.of_type("AWS::SQS::Queue")[f"custody-{deployment.env}-{name}"]

    assert (delivery_of["MaximumRetryAttempts"], delivery_of["MaximumEventAgeInSeconds"]) == (2, 6 * 3600)
    assert delivery_of["DestinationConfig"] == {
        "OnFailure": {"Destination": f"arn:aws:sqs:{REGION}:{ACCOUNT}:custody-{deployment.env}-{name}"}
    }
    assert (queue["MessageRetentionPeriod"], queue["KmsMasterKeyId"]) == (14 * 86_400, deployment.key)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_buffered_event_goes_to_the_queue_alone(buffered: Deployment, name: str) -> None:
    assert notifications(buffered) == {
        "QueueConfigurations": [{"Event": "s3:ObjectCreated:*", "Queue": f"{QUEUE}-buffer"}]
    }
    if name != "dead_letter":
        assert delivery(buffered, name) == [], "a function that is called synchronously has no destination"


def test_start_empties_the_buffer_and_reports_each_failed_message(buffered: Deployment) -> None:
    (mapping,) = buffered.of_type("AWS::Lambda::EventSourceMapping").values()

    assert {name: value for name, value in mapping.items() if name != "Tags"} == {
        "EventSourceArn": f"{QUEUE}-buffer",
        "FunctionName": "custody-dev-start",
        "BatchSize": 10,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": 10},
    }


def test_a_failing_message_of_the_buffer_is_retried_then_moved_to_the_start_dlq(buffered: Deployment) -> None:
    queue = buffered.of_type("AWS::SQS::Queue")["custody-dev-buffer"]

    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html: at least 6 timeouts, and 5 receives.
    assert queue["VisibilityTimeout"] == 6 * buffered.function("start")["Timeout"]
    assert queue["RedrivePolicy"] == {"deadLetterTargetArn": f"{QUEUE}-start-dlq", "maxReceiveCount": 10}
    assert (queue["MessageRetentionPeriod"], queue["KmsMasterKeyId"]) == (14 * 86_400, buffered.key)


def test_the_visibility_timeout_follows_the_timeout_of_start(tmp_path: Path) -> None:
    queue = synthesise(tmp_path, start_timeout_seconds="900").of_type("AWS::SQS::Queue")["custody-dev-buffer"]

    assert queue["VisibilityTimeout"] == 5_400


def test_only_the_raw_bucket_of_this_account_may_fill_the_buffer(buffered: Deployment) -> None:
    statements = [
        statement
        for each in buffered.of_type("AWS::SQS::QueuePolicy").values()
        if "custody-dev-buffer" in str(each)
        for statement in each["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]

    assert statements == [
        {
            "Sid": "Arrivals",
            "Effect": "Allow",
            "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": f"{QUEUE}-buffer",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": ACCOUNT},
                "ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{buffered.bucket('raw')}"},
            },
        }
    ]


def test_s3_may_use_the_key_only_with_a_buffer(deployment: Deployment) -> None:
    (key,) = deployment.of_type("AWS::KMS::Key").values()
    statements = [
        each for each in key["KeyPolicy"]["Statement"] if each["Principal"] == {"Service": "s3.amazonaws.com"}
    ]

    assert bool(statements) is deployment.is_buffered
    for statement in statements:
        assert set(listed(statement["Action"])) == {"kms:Decrypt", "kms:GenerateDataKey"}
        assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_start_knows_both_machines_and_the_size_of_chunks(
    deployment: Deployment,
) -> None:
    variables = deployment.function("start")["Environment"]["Variables"]
    machines = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:custody-{deployment.env}"

    assert (variables["PIPELINE_ARN"], variables["BULK_ARN"]) == (f"{machines}-pipeline", f"{machines}-bulk")
    assert variables["CHUNK_BYTES"] == deployment.template["Outputs"]["ChunkBytes"]["Value"] == str(64 * 2**20)


def test_the_settings_of_ingestion_reach_the_template(tmp_path: Path) -> None:
    given = synthesise(tmp_path, buffer_concurrency="25", start_concurrency="30", chunk_bytes="2000000")
    (mapping,) = given.of_type("AWS::Lambda::EventSourceMapping").values()

    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 25}
    assert given.function("start")["ReservedConcurrentExecutions"] == 30
    assert given.function("start")["Environment"]["Variables"]["CHUNK_BYTES"] == "2000000"


def test_a_reserve_smaller_than_the_concurrency_of_the_buffer_is_refused() -> None:
    with pytest.raises(SettingRefused, match=r"start_concurrency cannot be 9 .* buffer_concurrency is 10"):
        parse({"buffered": "true", "start_concurrency": "9"})
    assert parse({"buffered": "true", "start_concurrency": "10"}).size("start").concurrency == 10
    assert parse({"start_concurrency": "9"}).size("start").concurrency == 9


def test_each_concurrency_reaches_its_function_and_that_of_chunks_the_map(tmp_path: Path) -> None:
    given = {f"{name}_concurrency": str(number) for number, name in enumerate(FUNCTIONS, start=10)}
    deployment = synthesise(tmp_path, **given, chunk_concurrency="7")
    bulk = json.loads(deployment.definition("bulk"))

    assert {name: deployment.function(name)["ReservedConcurrentExecutions"] for name in FUNCTIONS} == {
        name: number for number, name in enumerate(FUNCTIONS, start=10)
    }
    assert bulk["States"]["ProcessChunks"]["MaxConcurrency"] == 7
