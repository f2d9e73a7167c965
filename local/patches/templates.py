"""Properties of a bucket in a template take effect, and a bucket that is not empty is not deleted.

MiniStack's CloudFormation ignores encryption, Object Lock, tags and account-regional names of buckets:
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-s3-bucket.html
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from local.patches.patch import module

provisioners, s3 = module("services.cloudformation.provisioners"), module("services.s3")
responses = module("core.responses")


def apply() -> None:
    """Add the properties to those that MiniStack applies, and check a bucket before it is deleted."""
    provisioners._S3_BUCKET_CONFIGURATIONS += (
        ("BucketEncryption", dict, _encrypt, s3._delete_bucket_encryption),
        ("ObjectLockConfiguration", dict, _lock, s3._bucket_object_lock.pop),
        ("Tags", list, _tag, s3._delete_bucket_tagging),
    )
    handlers = provisioners._RESOURCE_HANDLERS["AWS::S3::Bucket"]
    handlers["create"] = partial(_create, handlers["create"])
    handlers["update"] = partial(_update, handlers["update"])
    handlers["delete"] = partial(_delete, handlers["delete"])


def _named(properties: dict[str, Any]) -> dict[str, Any]:
    """Name a bucket in the namespace of its account: <prefix>-<account>-<region>-an."""
    if properties.get("BucketNamespace") != "account-regional":
        return properties
    prefix, account, region = properties["BucketNamePrefix"], responses.get_account_id(), responses.get_region()
    return properties | {"BucketName": f"{prefix}-{account}-{region}-an"}


def _create(create: Callable[..., Any], logical_id: str, properties: dict[str, Any], stack: str) -> Any:
    return create(logical_id, _named(properties), stack)


def _update(update: Callable[..., Any], bucket: str, old: dict[str, Any], new: dict[str, Any], stack: str) -> Any:
    return update(bucket, _named(old), _named(new), stack)


def _encrypt(bucket: str, encryption: dict[str, Any]) -> None:
    (rule,) = encryption["ServerSideEncryptionConfiguration"]
    default = "".join(f"<{name}>{value}</{name}>" for name, value in rule["ServerSideEncryptionByDefault"].items())
    has_key = str(rule.get("BucketKeyEnabled", False)).lower()
    s3._bucket_encryption[bucket] = (
        f'<ServerSideEncryptionConfiguration xmlns="{s3.S3_NS}"><Rule>'
        f"<ApplyServerSideEncryptionByDefault>{default}</ApplyServerSideEncryptionByDefault>"
        f"<BucketKeyEnabled>{has_key}</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>"
    )


def _lock(bucket: str, configuration: dict[str, Any]) -> None:
    s3._bucket_object_lock[bucket] = {
        "enabled": True,
        "default_retention": configuration["Rule"]["DefaultRetention"],
    }


def _tag(bucket: str, tags: list[dict[str, str]]) -> None:
    s3._bucket_tags[bucket] = {tag["Key"]: tag["Value"] for tag in tags}


def _delete(delete: Callable[..., Any], bucket: str, properties: dict[str, Any]) -> None:
    if bucket in s3._buckets and (s3._buckets[bucket]["objects"] or s3._bucket_has_versions(bucket)):
        raise ValueError(f"The bucket {bucket} is not empty: it holds objects, versions or delete markers.")
    delete(bucket, properties)
