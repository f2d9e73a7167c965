"""Properties in a template take effect: each service's own API returns them.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-template-resource-type-ref.html
"""

import json
from typing import Any

import pytest

from tests.support.embedded_aws import EmbeddedAws, until


@pytest.fixture(scope="module")
def buckets(cloud: EmbeddedAws) -> dict[str, str]:
    encryption = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": {"Ref": "Key"}}}
    retention = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 3}}
    return cloud.stack(
        "buckets",
        {
            "Key": {"Type": "AWS::KMS::Key", "Properties": {"EnableKeyRotation": True, "KeyPolicy": {}}},
            "Alias": {"Type": "AWS::KMS::Alias", "Properties": {"AliasName": "alias/b", "TargetKeyId": {"Ref": "Key"}}},
            "Bucket": {
                "Type": "AWS::S3::Bucket",
                "Properties": {
                    "BucketEncryption": {
                        "ServerSideEncryptionConfiguration": [encryption | {"BucketKeyEnabled": True}]
                    },
                    "ObjectLockEnabled": True,
                    "ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled", "Rule": retention},
                    "PublicAccessBlockConfiguration": {"BlockPublicAcls": True},
                    "Tags": [{"Key": "team", "Value": "data"}],
                    "VersioningConfiguration": {"Status": "Enabled"},
                },
            },
        },
    )


def test_encryption_of_a_bucket(cloud: EmbeddedAws, buckets: dict[str, str]) -> None:
    deployed = cloud.s3.get_bucket_encryption(Bucket=buckets["Bucket"])["ServerSideEncryptionConfiguration"]["Rules"]
    assert deployed == [
        {
            "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": buckets["Key"]},
            "BucketKeyEnabled": True,
        }
    ]
    put = cloud.s3.put_object(Bucket=buckets["Bucket"], Key="a", Body=b"1")
    assert put["SSEKMSKeyId"] == buckets["Key"]


def test_lock_public_access_and_tags_of_a_bucket(cloud: EmbeddedAws, buckets: dict[str, str]) -> None:
    name = buckets["Bucket"]
    deployed = cloud.s3.get_object_lock_configuration(Bucket=name)["ObjectLockConfiguration"]
    assert deployed == {
        "ObjectLockEnabled": "Enabled",
        "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 3}},
    }
    assert cloud.s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    assert cloud.s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]["BlockPublicAcls"]
    assert cloud.s3.get_bucket_tagging(Bucket=name)["TagSet"] == [{"Key": "team", "Value": "data"}]
    assert cloud.keys.get_key_rotation_status(KeyId=buckets["Key"])["KeyRotationEnabled"]
    assert cloud.keys.describe_key(KeyId="alias/b")["KeyMetadata"]["KeyId"] == buckets["Key"]


def test_a_bucket_in_the_namespace_of_its_account_keeps_its_name_when_it_is_changed(cloud: EmbeddedAws) -> None:
    properties: dict[str, Any] = {"BucketNamePrefix": "ours", "BucketNamespace": "account-regional"}
    bucket = {"Type": "AWS::S3::Bucket", "Properties": properties}
    assert cloud.stack("named", {"Bucket": bucket})["Bucket"] == "ours-000000000000-us-east-1-an"

    properties["Tags"] = [{"Key": "team", "Value": "data"}]
    cloud.stacks.update_stack(StackName="named", TemplateBody=json.dumps({"Resources": {"Bucket": bucket}}))
    assert until(lambda: cloud.stack_end("named"), "the update") == "UPDATE_COMPLETE"
    (resource,) = cloud.stacks.describe_stack_resources(StackName="named")["StackResources"]
    assert resource["PhysicalResourceId"] == "ours-000000000000-us-east-1-an"


def delete(cloud: EmbeddedAws, stack: str) -> str:
    arn = cloud.stacks.describe_stacks(StackName=stack)["Stacks"][0]["StackId"]
    cloud.stacks.delete_stack(StackName=stack)
    while (status := cloud.stack_end(arn)) is None:
        pass
    return status


def test_a_bucket_that_is_not_empty_is_not_deleted(cloud: EmbeddedAws) -> None:
    name = cloud.stack("full", {"Bucket": {"Type": "AWS::S3::Bucket"}})["Bucket"]
    cloud.s3.put_object(Bucket=name, Key="a", Body=b"1")
    assert delete(cloud, "full") == "DELETE_FAILED"
    assert cloud.s3.head_object(Bucket=name, Key="a")


def test_tagged_log_groups_are_listed_by_tag(cloud: EmbeddedAws) -> None:
    """https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html."""
    tags = [{"Key": "team", "Value": "logs"}]
    group = {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/tagged/logs", "Tags": tags}}
    cloud.stack("tagged", {"Group": group})
    listed = cloud.tags.get_resources(TagFilters=[{"Key": "team", "Values": ["logs"]}])["ResourceTagMappingList"]
    assert [resource["ResourceARN"].rpartition(":log-group:")[2] for resource in listed] == ["/tagged/logs"]
