"""A function's role may do what its policy says, and nothing else.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from typing import Any

import pytest

from tests.support.embedded_aws import EmbeddedAws

LOOKING = """
    import boto3
    from botocore.exceptions import ClientError

    def handler(event, context):
        service, action, arguments = event
        try:
            getattr(boto3.client(service), action)(**arguments)
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "done"
"""
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["states:DescribeExecution", "states:GetExecutionHistory", "states:RedriveExecution"],
            "Resource": "arn:aws:states:us-east-1:000000000000:execution:seen:*",
        },
        {
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": "arn:aws:s3:::shelf",
            "Condition": {"StringLike": {"s3:prefix": ["open/*", "both"]}},
        },
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::shelf/open/*"},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::listed"},
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::listed/*"},
    ],
}


@pytest.fixture(scope="module")
def looking(cloud: EmbeddedAws) -> str:
    for bucket in ("shelf", "listed"):
        cloud.s3.create_bucket(Bucket=bucket)
        for key in ("open/a", "shut/a"):
            cloud.s3.put_object(Bucket=bucket, Key=key, Body=b"1")
    cloud.function("looking", LOOKING, policy=POLICY)
    return "looking"


@pytest.fixture(scope="module")
def executions(cloud: EmbeddedAws) -> list[str]:
    definition = {"StartAt": "No", "States": {"No": {"Type": "Fail"}}}
    return [str(cloud.run(cloud.machine(name, definition))["executionArn"]) for name in ("seen", "unseen")]


@pytest.mark.parametrize(
    ("action", "arguments"),
    [("describe_execution", {}), ("get_execution_history", {"includeExecutionData": False}), ("redrive_execution", {})],
)
def test_executions_are_allowed_by_a_pattern_of_their_arn(
    cloud: EmbeddedAws, looking: str, executions: list[str], action: str, arguments: dict[str, Any]
) -> None:
    """https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsstepfunctions.html."""
    asked = [["stepfunctions", action, {"executionArn": arn, **arguments}] for arn in executions]
    assert [cloud.call(looking, request) for request in asked] == ["done", "AccessDeniedException"]


@pytest.mark.parametrize(
    ("prefix", "answer"), [("open/", "done"), ("open/a", "done"), ("shut/", "AccessDenied"), ("", "AccessDenied")]
)
def test_a_bucket_is_listed_under_allowed_prefixes_only(
    cloud: EmbeddedAws, looking: str, prefix: str, answer: str
) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/amazon-s3-policy-keys.html."""
    assert cloud.call(looking, ["s3", "list_objects_v2", {"Bucket": "shelf", "Prefix": prefix}]) == answer


@pytest.mark.parametrize(
    ("bucket", "key", "answer"),
    [
        ("shelf", "open/a", "done"),
        ("shelf", "shut/a", "AccessDenied"),
        ("shelf", "open/missing", "AccessDenied"),
        ("listed", "open/missing", "NoSuchKey"),
    ],
)
def test_a_missing_key_is_reported_only_to_callers_that_may_list(
    cloud: EmbeddedAws, looking: str, bucket: str, key: str, answer: str
) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html."""
    assert cloud.call(looking, ["s3", "get_object", {"Bucket": bucket, "Key": key}]) == answer
    status = {"NoSuchKey": "404", "AccessDenied": "403"}.get(answer, answer)
    assert cloud.call(looking, ["s3", "head_object", {"Bucket": bucket, "Key": key}]) == status
