"""A bucket notifies a queue, the queue feeds a function, and failed messages are dead-lettered, as on AWS.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
"""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.patches.lambda_ import event_sources
from tests.support.embedded_aws import EmbeddedAws, allow, until

RECEIVING = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
# Records each batch; messages with "bad" in them fail.
TAKING = """
    import json, uuid
    import boto3
    s3 = boto3.client("s3")
    def handler(event, context):
        bodies = [record["body"] for record in event["Records"]]
        s3.put_object(Bucket="batches", Key=f"{context.function_name}/{uuid.uuid4()}", Body=json.dumps(bodies))
        failed = [record["messageId"] for record in event["Records"] if "bad" in record["body"]]
        return {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}
"""
ROLE = {
    "Type": "AWS::IAM::Role",
    "Properties": {
        "AssumeRolePolicyDocument": {
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "lambda.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                }
            ]
        },
        "Policies": [{"PolicyName": "may", "PolicyDocument": allow(["s3:*", "sqs:*"])}],
    },
}


@pytest.fixture(scope="module", autouse=True)
def batches(cloud: EmbeddedAws) -> None:
    cloud.s3.create_bucket(Bucket="batches")


def taken(cloud: EmbeddedAws, function: str) -> list[list[str]]:
    keys = [
        item["Key"] for item in cloud.s3.list_objects_v2(Bucket="batches", Prefix=f"{function}/").get("Contents", [])
    ]
    return [json.loads(cloud.s3.get_object(Bucket="batches", Key=key)["Body"].read()) for key in keys]


def function(cloud: EmbeddedAws, name: str, actions: list[str], **options: Any) -> str:
    cloud.function(name, TAKING, policy=allow(["s3:*", *actions]), **options)
    return name


def count(cloud: EmbeddedAws, url: str) -> int:
    names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(
        int(number)
        for number in cloud.queues.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()
    )


def test_uploads_pass_through_a_queue_and_failures_are_dead_lettered(cloud: EmbeddedAws) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/ways-to-add-notification-config-to-bucket.html."""
    cloud.stack(
        "buffered",
        {
            "Key": {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": {}}},
            "Dead": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "dead", "SqsManagedSseEnabled": True}},
            "Queue": {
                "Type": "AWS::SQS::Queue",
                "Properties": {
                    "QueueName": "buffer",
                    "KmsMasterKeyId": {"Ref": "Key"},
                    "VisibilityTimeout": 6,
                    "RedrivePolicy": {"deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}, "maxReceiveCount": 2},
                },
            },
            "Policy": {
                "Type": "AWS::SQS::QueuePolicy",
                "Properties": {
                    "Queues": [{"Ref": "Queue"}],
                    "PolicyDocument": {
                        "Statement": [
                            {
                                "Effect": "Allow",
                                "Principal": {"Service": "s3.amazonaws.com"},
                                "Action": ["sqs:SendMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl"],
                                "Resource": {"Fn::GetAtt": ["Queue", "Arn"]},
                                "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::uploads"}},
                            }
                        ]
                    },
                },
            },
            "Uploads": {
                "Type": "AWS::S3::Bucket",
                "DependsOn": "Policy",
                "Properties": {
                    "BucketName": "uploads",
                    "VersioningConfiguration": {"Status": "Enabled"},
                    "NotificationConfiguration": {
                        "QueueConfigurations": [
                            {"Event": "s3:ObjectCreated:*", "Queue": {"Fn::GetAtt": ["Queue", "Arn"]}}
                        ]
                    },
                },
            },
            "Role": ROLE,
            "Function": {
                "Type": "AWS::Lambda::Function",
                "Properties": {
                    "FunctionName": "start",
                    "Runtime": "python3.14",
                    "Handler": "index.handler",
                    "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                    "Code": {"ZipFile": "\n".join(line[4:] for line in TAKING.splitlines())},
                    "Timeout": 6,
                },
            },
            "Mapping": {
                "Type": "AWS::Lambda::EventSourceMapping",
                "Properties": {
                    "EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]},
                    "FunctionName": {"Ref": "Function"},
                    "BatchSize": 10,
                    "MaximumBatchingWindowInSeconds": 1,
                    "FunctionResponseTypes": ["ReportBatchItemFailures"],
                    "ScalingConfig": {"MaximumConcurrency": 2},
                },
            },
        },
    )
    (mapping,) = cloud.functions.list_event_source_mappings(FunctionName="start")["EventSourceMappings"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 2}
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    urls = {name: cloud.queues.get_queue_url(QueueName=name)["QueueUrl"] for name in ("buffer", "dead")}
    # On a busy machine a first call may run into its timeout, and then a good message would come again too.
    until(
        lambda: "FunctionError" not in cloud.functions.invoke(FunctionName="start", Payload=b'{"Records": []}'),
        "a call",
    )
    put = cloud.s3.put_object(Bucket="uploads", Key="good ü.json", Body=b"1")
    cloud.s3.put_object(Bucket="uploads", Key="bad.json", Body=b"1")

    until(lambda: count(cloud, urls["dead"]) == 1, "the message that fails twice, among the dead letters")
    assert count(cloud, urls["buffer"]) == 0
    records = [
        json.loads(body)["Records"][0]["s3"]["object"]
        for batch in taken(cloud, "start")
        for body in batch
        if "Records" in json.loads(body)
    ]
    keys = [record["key"] for record in records]
    assert (keys.count("good+%C3%BC.json"), keys.count("bad.json")) == (1, 2)
    assert next(record for record in records if record["key"] != "bad.json")["versionId"] == put["VersionId"]


def test_a_batch_waits_for_its_window_and_takes_more_than_ten(cloud: EmbeddedAws) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html."""
    url, arn = cloud.queue("window")
    for first in (0, 10):
        entries: Any = [{"Id": str(n), "MessageBody": f"{first + n:02}"} for n in range(10)]
        cloud.queues.send_message_batch(QueueUrl=url, Entries=entries)
    cloud.functions.create_event_source_mapping(
        FunctionName=function(cloud, "waiting", RECEIVING),
        EventSourceArn=arn,
        BatchSize=50,
        MaximumBatchingWindowInSeconds=2,
    )
    until(lambda: taken(cloud, "waiting"), "the batch")
    (batch,) = taken(cloud, "waiting")
    assert sorted(batch) == [f"{n:02}" for n in range(20)]


@pytest.mark.parametrize(
    ("options", "actions", "visible", "refusal"),
    [
        ({}, RECEIVING[1:], "30", "does not have permissions to call ReceiveMessage on SQS"),
        ({}, RECEIVING[:1], "30", "does not have permissions to call DeleteMessage on SQS"),
        ({"Timeout": 60}, RECEIVING, "30", "Queue visibility timeout: 30 seconds is less than Function timeout: 60"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused(
    cloud: EmbeddedAws, options: dict[str, Any], actions: list[str], visible: str, refusal: str
) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html."""
    name = f"refused-{len(actions)}-{len(options)}"
    _, arn = cloud.queue(name, {"VisibilityTimeout": visible})
    with pytest.raises(ClientError, match=refusal):
        cloud.functions.create_event_source_mapping(
            FunctionName=function(cloud, name, actions, **options), EventSourceArn=arn
        )
    resource = {
        "Type": "AWS::Lambda::EventSourceMapping",
        "Properties": {"EventSourceArn": arn, "FunctionName": name},
    }
    with pytest.raises(AssertionError, match=f"stack {name} ended as ROLLBACK_COMPLETE"):
        cloud.stack(name, {"Mapping": resource})


@pytest.mark.parametrize(
    ("answer", "all_fail"),
    [
        (None, False),
        ({}, False),
        ({"batchItemFailures": None}, False),
        ({"batchItemFailures": []}, False),
        ("text", True),
        ([1], True),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, True),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, True),
        ({"batchItemFailures": [{"identifier": "a"}]}, True),
        ({"batchItemFailures": [{"itemIdentifier": "unknown"}]}, True),
        ({"batchItemFailures": ["a"]}, True),
    ],
)
def test_an_invalid_response_fails_the_whole_batch(answer: Any, all_fail: bool) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting."""
    assert event_sources.failed(answer, {"a", "b"}) == ({"a", "b"} if all_fail else set())
