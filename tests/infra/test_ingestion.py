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
    return [found for found in configurations if found["FunctionName"] == f"custody-{deployment.env}-{function}"]


def logical_id(deployment: Deployment, kind: str, principal: str) -> str:
    """Name the one permission or policy that lets a service in."""
    (found,) = (
        name
        for name, resource in deployment.resources.items()
        if resource["Type"] == kind and f"'{principal}'" in str(resource["Properties"])
    )
    return found


def comes_after(deployment: Deployment) -> list[str]:
    buckets = (found for found in deployment.resources.values() if found["Type"] == "AWS::S3::Bucket")
    (raw,) = (found for found in buckets if found["Properties"]["BucketName"] == deployment.bucket("raw"))
    return listed(raw["DependsOn"])


def synthesise(folder: Path, **settings: str) -> Deployment:
    return Deployment.synthesise({"buffered": "true", **settings}, folder)


def test_every_new_object_version_calls_the_start_function_without_a_helper_in_between(direct: Deployment) -> None:
    start = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:custody-{direct.env}-start"

    assert notifications(direct) == {"LambdaConfigurations": [{"Event": "s3:ObjectCreated:*", "Function": start}]}
    assert not direct.is_buffered


def test_there_are_no_functions_but_ours(prod: Deployment) -> None:
    assert len(prod.of_type("AWS::Lambda::Function")) == len(FUNCTIONS)


def test_the_raw_bucket_alone_may_call_the_start_function(direct: Deployment) -> None:
    permissions = direct.of_type("AWS::Lambda::Permission").values()

    assert [found for found in permissions if found["FunctionName"].endswith("-start")] == [
        {
            "Action": "lambda:InvokeFunction",
            "FunctionName": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:custody-{direct.env}-start",
            "Principal": "s3.amazonaws.com",
            "SourceAccount": ACCOUNT,
            "SourceArn": f"arn:aws:s3:::{direct.bucket('raw')}",
        }
    ]


def test_the_bucket_comes_after_the_permission_that_s3_tries_out(direct: Deployment, buffered: Deployment) -> None:
    assert logical_id(direct, "AWS::Lambda::Permission", "s3.amazonaws.com") in comes_after(direct)
    assert logical_id(buffered, "AWS::SQS::QueuePolicy", "s3.amazonaws.com") in comes_after(buffered)


def test_an_event_that_start_cannot_handle_is_tried_thrice_and_then_kept_for_a_fortnight(
    direct: Deployment, existing: Deployment
) -> None:
    for deployment in (direct, existing):
        (found,) = delivery(deployment, "start")

        assert_kept(deployment, found, "start-dlq")


def test_an_event_that_dead_letter_cannot_handle_is_tried_thrice_and_then_kept_for_a_fortnight(
    deployment: Deployment,
) -> None:
    (found,) = delivery(deployment, "dead-letter")

    assert_kept(deployment, found, "dead-letter-dlq")


def assert_kept(deployment: Deployment, found: dict[str, Any], name: str) -> None:
    queue = deployment.of_type("AWS::SQS::Queue")[f"custody-{deployment.env}-{name}"]

    assert (found["MaximumRetryAttempts"], found["MaximumEventAgeInSeconds"]) == (2, 6 * 3600)
    assert found["DestinationConfig"] == {
        "OnFailure": {"Destination": f"arn:aws:sqs:{REGION}:{ACCOUNT}:custody-{deployment.env}-{name}"}
    }
    assert (queue["MessageRetentionPeriod"], queue["KmsMasterKeyId"]) == (14 * 86_400, deployment.key)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_buffered_event_goes_to_the_queue_and_nowhere_else(buffered: Deployment, name: str) -> None:
    assert notifications(buffered) == {
        "QueueConfigurations": [{"Event": "s3:ObjectCreated:*", "Queue": f"{QUEUE}-buffer"}]
    }
    if name != "dead_letter":
        assert delivery(buffered, name) == [], "a function that is called synchronously has no destination"


def test_the_start_function_empties_the_buffer_and_answers_for_each_message(buffered: Deployment) -> None:
    (mapping,) = buffered.of_type("AWS::Lambda::EventSourceMapping").values()

    assert {name: value for name, value in mapping.items() if name != "Tags"} == {
        "EventSourceArn": f"{QUEUE}-buffer",
        "FunctionName": "custody-dev-start",
        "BatchSize": 10,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": 10},
    }


def test_what_fails_in_the_buffer_comes_again_and_then_waits_in_the_start_dlq_queue(buffered: Deployment) -> None:
    queue = buffered.of_type("AWS::SQS::Queue")["custody-dev-buffer"]

    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html: at least 6 timeouts, and 5 receives.
    assert queue["VisibilityTimeout"] == 6 * buffered.function("start")["Timeout"]
    assert queue["RedrivePolicy"] == {"deadLetterTargetArn": f"{QUEUE}-start-dlq", "maxReceiveCount": 10}
    assert (queue["MessageRetentionPeriod"], queue["KmsMasterKeyId"]) == (14 * 86_400, buffered.key)


def test_a_slower_function_hides_a_message_for_longer(tmp_path: Path) -> None:
    queue = synthesise(tmp_path, start_timeout_seconds="900").of_type("AWS::SQS::Queue")["custody-dev-buffer"]

    assert queue["VisibilityTimeout"] == 5_400


def test_the_raw_bucket_of_this_account_alone_may_fill_the_buffer(buffered: Deployment) -> None:
    statements = [
        statement
        for found in buffered.of_type("AWS::SQS::QueuePolicy").values()
        if "custody-dev-buffer" in str(found)
        for statement in found["PolicyDocument"]["Statement"]
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


def test_s3_may_use_the_key_for_the_buffer_and_only_where_there_is_one(deployment: Deployment) -> None:
    (key,) = deployment.of_type("AWS::KMS::Key").values()
    statements = [
        found for found in key["KeyPolicy"]["Statement"] if found["Principal"] == {"Service": "s3.amazonaws.com"}
    ]

    assert bool(statements) is deployment.is_buffered
    for statement in statements:
        assert set(listed(statement["Action"])) == {"kms:Decrypt", "kms:GenerateDataKey"}
        assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_the_start_function_knows_both_machines_and_how_large_objects_are_cut(
    deployment: Deployment,
) -> None:
    told = deployment.function("start")["Environment"]["Variables"]
    machines = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:custody-{deployment.env}"

    assert (told["PIPELINE_ARN"], told["BULK_ARN"]) == (f"{machines}-pipeline", f"{machines}-bulk")
    assert told["CHUNK_BYTES"] == deployment.template["Outputs"]["ChunkBytes"]["Value"] == str(64 * 2**20)


def test_the_settings_of_ingestion_reach_the_template(tmp_path: Path) -> None:
    given = synthesise(tmp_path, buffer_concurrency="25", start_concurrency="30", chunk_bytes="2000000")
    (mapping,) = given.of_type("AWS::Lambda::EventSourceMapping").values()

    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 25}
    assert given.function("start")["ReservedConcurrentExecutions"] == 30
    assert given.function("start")["Environment"]["Variables"]["CHUNK_BYTES"] == "2000000"


def test_a_reserve_that_is_too_small_for_the_buffer_is_refused_for_calls_would_be_throttled() -> None:
    with pytest.raises(SettingRefused, match=r"start_concurrency cannot be 9 .* buffer_concurrency is 10"):
        parse({"buffered": "true", "start_concurrency": "9"})
    assert parse({"buffered": "true", "start_concurrency": "10"}).size("start").concurrency == 10
    assert parse({"start_concurrency": "9"}).size("start").concurrency == 9


def test_a_reserve_reaches_its_function_and_no_other_and_chunks_their_map(tmp_path: Path) -> None:
    given = {f"{name}_concurrency": str(number) for number, name in enumerate(FUNCTIONS, start=10)}
    deployment = synthesise(tmp_path, **given, chunk_concurrency="7")
    bulk = json.loads(deployment.definition("bulk"))

    assert {name: deployment.function(name)["ReservedConcurrentExecutions"] for name in FUNCTIONS} == {
        name: number for number, name in enumerate(FUNCTIONS, start=10)
    }
    assert bulk["States"]["ProcessChunks"]["MaxConcurrency"] == 7
