"""What a template says about a bucket holds for it.

MiniStack's CloudFormation drops encryption, lifecycle, Object Lock, logging, ownership and tags of buckets, and deletes
a bucket that is not empty. The properties are put through S3's own API, so that reading them back gives what was said:
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-s3-bucket.html
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from local.patches.cloudformation.resources import Properties, accepted, after, replace
from local.patches.patch import member, module

_TYPE = "AWS::S3::Bucket"
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass(frozen=True)
class _Configuration:
    """One property: the root element of S3's own form of it, how to make that form, and the functions that store it."""

    element: str
    form: Callable[[Any], dict[str, Any]]
    put: str
    remove: str | None = None


def _encryption(said: Properties) -> dict[str, Any]:
    return {
        "Rule": [
            {
                "ApplyServerSideEncryptionByDefault": rule.get("ServerSideEncryptionByDefault"),
                "BucketKeyEnabled": rule.get("BucketKeyEnabled"),
            }
            for rule in said.get("ServerSideEncryptionConfiguration", [])
        ]
    }


def _logging(said: Properties) -> dict[str, Any]:
    return {
        "LoggingEnabled": {
            "TargetBucket": said.get("DestinationBucketName"),
            "TargetPrefix": said.get("LogFilePrefix", ""),
        }
    }


def _lifecycle(said: Properties) -> dict[str, Any]:
    return {"Rule": [_lifecycle_rule(rule) for rule in said.get("Rules", [])]}


def _lifecycle_rule(rule: Properties) -> dict[str, Any]:
    noncurrent = rule.get("NoncurrentVersionExpiration") or {
        "NoncurrentDays": rule.get("NoncurrentVersionExpirationInDays")
    }
    return {
        "ID": rule.get("Id"),
        "Filter": _lifecycle_filter(rule),
        "Status": rule.get("Status"),
        "Transition": [_transition(t, "Days") for t in rule.get("Transitions", [])],
        "NoncurrentVersionTransition": [
            _transition(t, "NoncurrentDays") for t in rule.get("NoncurrentVersionTransitions", [])
        ],
        "Expiration": {
            "Days": rule.get("ExpirationInDays"),
            "Date": rule.get("ExpirationDate"),
            "ExpiredObjectDeleteMarker": rule.get("ExpiredObjectDeleteMarker"),
        },
        "NoncurrentVersionExpiration": noncurrent,
        "AbortIncompleteMultipartUpload": rule.get("AbortIncompleteMultipartUpload"),
    }


def _lifecycle_filter(rule: Properties) -> dict[str, Any]:
    criteria = {
        "Prefix": rule.get("Prefix"),
        "Tag": rule.get("TagFilters", []),
        "ObjectSizeGreaterThan": rule.get("ObjectSizeGreaterThan"),
        "ObjectSizeLessThan": rule.get("ObjectSizeLessThan"),
    }
    count = sum(len(c) if isinstance(c, list) else c is not None for c in criteria.values())
    return {"And": criteria} if count > 1 else criteria


def _transition(said: Properties, days: str) -> dict[str, Any]:
    return {
        days: said.get("TransitionInDays"),
        "Date": said.get("TransitionDate"),
        "NewerNoncurrentVersions": said.get("NewerNoncurrentVersions"),
        "StorageClass": said.get("StorageClass"),
    }


_CONFIGURATIONS = {
    "BucketEncryption": _Configuration(
        "ServerSideEncryptionConfiguration", _encryption, "_put_bucket_encryption", "_delete_bucket_encryption"
    ),
    "LifecycleConfiguration": _Configuration(
        "LifecycleConfiguration", _lifecycle, "_put_bucket_lifecycle", "_delete_bucket_lifecycle"
    ),
    "VersioningConfiguration": _Configuration("VersioningConfiguration", dict, "_put_bucket_versioning"),
    "ObjectLockConfiguration": _Configuration("ObjectLockConfiguration", dict, "_put_object_lock_configuration"),
    "LoggingConfiguration": _Configuration("BucketLoggingStatus", _logging, "_put_bucket_logging"),
    "OwnershipControls": _Configuration(
        "OwnershipControls",
        lambda said: {"Rule": said.get("Rules", [])},
        "_put_bucket_ownership_controls",
        "_delete_bucket_ownership_controls",
    ),
    "Tags": _Configuration(
        "Tagging", lambda said: {"TagSet": {"Tag": said}}, "_put_bucket_tagging", "_delete_bucket_tagging"
    ),
}


def fill() -> None:
    """Apply the properties after MiniStack has made or changed a bucket, and refuse to delete a full one."""
    s3 = module("services.s3")
    for one in _CONFIGURATIONS.values():
        for name in filter(None, (one.put, one.remove)):
            member(s3, name)
    member(s3, "_bucket_has_versions")
    after(_TYPE, _apply)
    replace(_TYPE, {"delete": _deleting})


def _apply(bucket: str, said: Properties, earlier: Properties) -> None:
    s3 = module("services.s3")
    if str(said.get("ObjectLockEnabled", False)).lower() == "true":
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock-configure.html: it turns versioning on
        _put(s3, bucket, "VersioningConfiguration", {"Status": "Enabled"})
        _put(s3, bucket, "ObjectLockConfiguration", {"ObjectLockEnabled": "Enabled"})
    for name, configuration in _CONFIGURATIONS.items():
        if said.get(name):
            _put(s3, bucket, name, said[name])
        elif earlier.get(name) and configuration.remove:
            getattr(s3, configuration.remove)(bucket)


def _deleting(delete: Callable[..., Any]) -> Callable[..., Any]:
    def deleted(bucket: str, said: Properties) -> None:
        s3 = module("services.s3")
        found = s3._buckets.get(bucket)  # noqa: SLF001
        if found is not None and (found["objects"] or s3._bucket_has_versions(bucket)):  # noqa: SLF001
            raise ValueError(f"The bucket {bucket} is not empty: it holds objects, versions or delete markers.")
        delete(bucket, said)

    return deleted


def _put(s3: Any, bucket: str, name: str, said: Any) -> None:
    configuration = _CONFIGURATIONS[name]
    root = Element(configuration.element, xmlns=_NAMESPACE)
    _fill(root, configuration.form(said))
    accepted(getattr(s3, configuration.put)(bucket, tostring(root)), f"{_TYPE} {name} of {bucket}")


def _fill(parent: Element, content: dict[str, Any]) -> None:
    """Write a dictionary as elements: a list repeats its element, and what is empty is left out."""
    for name, value in content.items():
        for one in value if isinstance(value, list) else [value]:
            if one is None or (isinstance(one, dict) and not any(v is not None for v in one.values())):
                continue
            child = SubElement(parent, name)
            if isinstance(one, dict):
                _fill(child, one)
            else:
                child.text = str(one).lower() if isinstance(one, bool) else str(one)
