"""Buckets read, write, publish and refuse as on AWS."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.embedded_aws import EmbeddedAws, allow, until

TLS_ONLY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": ["arn:aws:s3:::raw", "arn:aws:s3:::raw/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    ],
}


@pytest.fixture(scope="module")
def raw(cloud: EmbeddedAws) -> str:
    cloud.s3.create_bucket(Bucket="raw")
    cloud.s3.put_bucket_versioning(Bucket="raw", VersioningConfiguration={"Status": "Enabled"})
    cloud.s3.put_bucket_policy(Bucket="raw", Policy=json.dumps(TLS_ONLY))
    return "raw"


@pytest.mark.parametrize(
    ("wanted", "answered", "content_range"),
    [
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
    ],
)
def test_a_range_of_a_version_is_returned_and_one_beyond_its_end_refused(
    cloud: EmbeddedAws, raw: str, wanted: str, answered: bytes, content_range: str
) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html."""
    version = cloud.s3.put_object(Bucket=raw, Key="digits", Body=b"0123456789")["VersionId"]
    cloud.s3.put_object(Bucket=raw, Key="digits", Body=b"changed")
    answer = cloud.s3.get_object(Bucket=raw, Key="digits", VersionId=version, Range=wanted)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert (answer["Body"].read(), answer["ContentRange"]) == (answered, content_range)
    assert answer["ContentLength"] == len(answered)
    with pytest.raises(ClientError) as refused:
        cloud.s3.get_object(Bucket=raw, Key="digits", VersionId=version, Range="bytes=10-")
    assert refused.value.response["Error"]["Code"] == "InvalidRange"


def test_if_none_match_refuses_a_second_write(cloud: EmbeddedAws, raw: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html."""
    cloud.s3.put_object(Bucket=raw, Key="once", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as refused:
        cloud.s3.put_object(Bucket=raw, Key="once", Body=b"2", IfNoneMatch="*")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412


def test_kms_without_a_key_uses_the_key_of_the_bucket_or_the_account(cloud: EmbeddedAws, raw: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/specifying-kms-encryption.html."""
    answer = cloud.s3.put_object(Bucket=raw, Key="secret", Body=b"1", ServerSideEncryption="aws:kms")
    assert answer["SSEKMSKeyId"].endswith("alias/aws/s3")


def test_a_function_is_notified_of_created_objects(cloud: EmbeddedAws, raw: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html."""
    source = """
        import json
        def handler(event, context):
            print(json.dumps(event["Records"][0]["s3"]))
    """
    arn = cloud.function("on-upload", source)
    cloud.functions.add_permission(
        FunctionName="on-upload",
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::raw",
    )
    cloud.s3.put_bucket_notification_configuration(
        Bucket=raw,
        NotificationConfiguration={
            "LambdaFunctionConfigurations": [{"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}]
        },
    )
    put = cloud.s3.put_object(Bucket=raw, Key="é+ü/a b.json", Body=b"12345")

    def look() -> dict[str, Any] | None:
        groups = cloud.logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/on-upload")["logGroups"]
        events = cloud.logs.filter_log_events(logGroupName="/aws/lambda/on-upload")["events"] if groups else []
        records = [json.loads(event["message"]) for event in events if event["message"].startswith("{")]
        return records[0] if records else None

    details = until(look, "the event")
    assert details["bucket"]["name"] == raw
    assert details["object"].pop("sequencer")
    assert details["object"] == {
        "key": "%C3%A9%2B%C3%BC/a+b.json",
        "size": 5,
        "eTag": put["ETag"].strip('"'),
        "versionId": put["VersionId"],
    }


READING = """
    import boto3
    s3 = boto3.client("s3")
    def handler(event, context):
        return s3.get_object(Bucket="raw", Key="shared")["Body"].read().decode()
"""


def test_a_role_without_permission_is_refused(cloud: EmbeddedAws, raw: str) -> None:
    cloud.s3.put_object(Bucket=raw, Key="shared", Body=b"text")
    cloud.function("stranger", READING)
    refused = cloud.call("stranger")
    assert "AccessDenied" in refused["errorMessage"]
    assert "s3:GetObject" in refused["errorMessage"]
    cloud.function("reader", READING, policy=allow("s3:GetObject", "arn:aws:s3:::raw/*"))
    assert cloud.call("reader") == "text"


@pytest.mark.parametrize("key", ["control/\x1b", "control/\r\x01", "control/a b+é"])
def test_versions_are_listed_whatever_characters_their_keys_contain(cloud: EmbeddedAws, raw: str, key: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html."""
    cloud.s3.put_object(Bucket=raw, Key=key, Body=b"1")
    cloud.s3.delete_object(Bucket=raw, Key=key)
    listed = cloud.s3.list_object_versions(Bucket=raw, Prefix=key)
    assert [version["Key"] for version in (*listed["Versions"], *listed["DeleteMarkers"])] == [key, key]
    assert listed["Prefix"] == key


def test_a_listing_of_versions_with_control_characters_is_paged_and_grouped(cloud: EmbeddedAws, raw: str) -> None:
    keys = [f"paged/{name}\x01/" for name in "abc"]
    for key in keys:
        cloud.s3.put_object(Bucket=raw, Key=key, Body=b"1")
    pages = cloud.s3.get_paginator("list_object_versions").paginate(
        Bucket=raw, Prefix="paged/", PaginationConfig={"PageSize": 1}
    )
    assert [version["Key"] for page in pages for version in page["Versions"]] == keys
    listed = cloud.s3.list_object_versions(Bucket=raw, Prefix="paged/", Delimiter="/")
    assert (listed["Delimiter"], listed["CommonPrefixes"]) == ("/", [{"Prefix": key} for key in keys])


def test_a_key_has_at_most_1024_bytes_and_may_hold_a_line_feed(cloud: EmbeddedAws, raw: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html."""
    cloud.s3.put_object(Bucket=raw, Key="mission/a\nb.json", Body=b"{}")
    source = """
import boto3
def handler(event, _):
    return boto3.client("s3").get_object(**event)["Body"].read().decode()
"""
    cloud.function("line-feed", source, policy=allow("s3:GetObject", f"arn:aws:s3:::{raw}/mission/*"))
    assert cloud.call("line-feed", {"Bucket": raw, "Key": "mission/a\nb.json"}) == "{}"
    cloud.s3.put_object(Bucket=raw, Key="\u00e9" * 512, Body=b"{}")
    with pytest.raises(ClientError, match="KeyTooLongError"):
        cloud.s3.put_object(Bucket=raw, Key="\u00e9" * 512 + "x", Body=b"{}")


@pytest.mark.parametrize("storage", ["GLACIER", "DEEP_ARCHIVE"])
def test_an_archived_version_cannot_be_read(cloud: EmbeddedAws, raw: str, storage: Any) -> None:
    version = cloud.s3.put_object(Bucket=raw, Key="archived", Body=b"{}", StorageClass=storage)["VersionId"]
    with pytest.raises(ClientError, match="InvalidObjectState"):
        cloud.s3.get_object(Bucket=raw, Key="archived", VersionId=version, Range="bytes=0-1")
