"""Nothing is lost on the way from the raw bucket to the start function, nor from a failed execution to DeadLetter."""

from typing import Any

import pytest

from infra.settings import FUNCTIONS
from tests.support.template import ACCOUNT, REGION, Deployment, listed

DIRECT = ("prod", "dev", "local")
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:custody-dev"


@pytest.fixture(params=DIRECT)
def direct(request: pytest.FixtureRequest, deployments: dict[str, Deployment]) -> Deployment:
    return deployments[request.param]


def arn_of_buffer(deployment: Deployment) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{deployment.buffer}"


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
    (raw,) = (each for each in buckets if each["Properties"]["BucketNamePrefix"] == f"custody-{deployment.env}-raw")
    return listed(raw["DependsOn"])


def test_every_new_object_version_calls_start(direct: Deployment) -> None:
    start = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:custody-{direct.env}-start"

    assert notifications(direct) == {"LambdaConfigurations": [{"Event": "s3:ObjectCreated:*", "Function": start}]}
    assert not direct.is_buffered


def test_the_cdk_adds_no_functions(prod: Deployment) -> None:
    assert len(prod.of_type("AWS::Lambda::Function")) == len(FUNCTIONS)


def test_the_bucket_comes_after_the_permission_that_s3_tests(direct: Deployment, buffered: Deployment) -> None:
    assert logical_id(direct, "AWS::Lambda::Permission", "s3.amazonaws.com") in comes_after(direct)
    assert logical_id(buffered, "AWS::SQS::QueuePolicy", "s3.amazonaws.com") in comes_after(buffered)


def test_a_failing_event_is_tried_three_times_then_kept_for_14_days(deployment: Deployment) -> None:
    called_asynchronously = ["dead-letter"] if deployment.is_buffered else ["dead-letter", "start"]
    for function in called_asynchronously:
        (each,) = delivery(deployment, function)
        name = f"custody-{deployment.env}-{function}-dlq"
        queue = deployment.of_type("AWS::SQS::Queue")[name]

        assert (each["MaximumRetryAttempts"], each["MaximumEventAgeInSeconds"]) == (2, 6 * 3600)
        assert each["DestinationConfig"]["OnFailure"] == {"Destination": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"}
        assert (queue["MessageRetentionPeriod"], queue["KmsMasterKeyId"]) == (14 * 86_400, deployment.key)


def test_a_buffered_event_goes_to_the_queue_alone(buffered: Deployment) -> None:
    assert notifications(buffered) == {
        "QueueConfigurations": [{"Event": "s3:ObjectCreated:*", "Queue": arn_of_buffer(buffered)}]
    }
    for name in set(FUNCTIONS) - {"dead_letter"}:
        assert delivery(buffered, name) == [], "a function that is called synchronously has no destination"


@pytest.mark.parametrize("name", ["buffered", "into_buffer"])
def test_start_empties_the_buffer_and_reports_each_failed_message(
    deployments: dict[str, Deployment], name: str
) -> None:
    (mapping,) = deployments[name].of_type("AWS::Lambda::EventSourceMapping").values()

    assert {key: value for key, value in mapping.items() if key != "Tags"} == {
        "EventSourceArn": arn_of_buffer(deployments[name]),
        "FunctionName": "custody-dev-start",
        "BatchSize": 10,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": 10},
    }


def test_a_failing_message_of_the_buffer_is_retried_then_moved_to_the_start_dlq(buffered: Deployment) -> None:
    queue = buffered.of_type("AWS::SQS::Queue")[buffered.buffer]

    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html: at least 6 timeouts, and 5 receives.
    assert queue["VisibilityTimeout"] == 6 * buffered.function("start")["Timeout"]
    assert queue["RedrivePolicy"] == {"deadLetterTargetArn": f"{QUEUE}-start-dlq", "maxReceiveCount": 100}
    assert (queue["MessageRetentionPeriod"], queue["KmsMasterKeyId"]) == (14 * 86_400, buffered.key)


def test_start_knows_both_machines_and_the_size_of_chunks(deployment: Deployment) -> None:
    variables = deployment.function("start")["Environment"]["Variables"]
    machines = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:custody-{deployment.env}"

    assert (variables["PIPELINE_ARN"], variables["BULK_ARN"]) == (f"{machines}-pipeline", f"{machines}-bulk")
    assert variables["CHUNK_BYTES"] == deployment.template["Outputs"]["ChunkBytes"]["Value"] == str(64 * 2**20)


def test_every_failed_execution_reaches_dead_letter_and_an_undeliverable_event_is_kept(deployment: Deployment) -> None:
    """Failures that no Catch sees."""
    rule = deployment.of_type("AWS::Events::Rule")[f"custody-{deployment.env}-ends"]
    (target,) = rule["Targets"]
    dead_letter = f"custody-{deployment.env}-dead-letter"

    assert rule["EventPattern"] == {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {
            "status": ["FAILED", "TIMED_OUT", "ABORTED"],
            # Chunks have the machine `…-bulk/ProcessChunks`; Summarize covers them.
            "stateMachineArn": [deployment.machine_arn(machine) for machine in ("pipeline", "bulk")],
        },
    }
    assert target["Arn"] == f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{dead_letter}"
    assert target["RetryPolicy"] == {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 6 * 3600}
    assert target["DeadLetterConfig"] == {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{dead_letter}-dlq"}
