"""The properties of a bucket in a template take effect.

MiniStack's CloudFormation ignores encryption, Object Lock and tags of buckets, and deletes buckets that are not empty.
Here the properties are set through S3's own API. Properties without effect there, such as lifecycle rules, are not:
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
    """A property: its root element in S3's API, its conversion to that form, and what stores and removes it."""

    element: str
    convert: Callable[[Any], dict[str, Any]]
    put: str
    remove: str | None = None


def _encryption(properties: Properties) -> dict[str, Any]:
    return {
        "Rule": [
            {
                "ApplyServerSideEncryptionByDefault": rule.get("ServerSideEncryptionByDefault"),
                "BucketKeyEnabled": rule.get("BucketKeyEnabled"),
            }
            for rule in properties.get("ServerSideEncryptionConfiguration", [])
        ]
    }


_CONFIGURATIONS = {
    "BucketEncryption": _Configuration(
        "ServerSideEncryptionConfiguration", _encryption, "_put_bucket_encryption", "_delete_bucket_encryption"
    ),
    "VersioningConfiguration": _Configuration("VersioningConfiguration", dict, "_put_bucket_versioning"),
    "ObjectLockConfiguration": _Configuration("ObjectLockConfiguration", dict, "_put_object_lock_configuration"),
    "Tags": _Configuration(
        "Tagging", lambda tags: {"TagSet": {"Tag": tags}}, "_put_bucket_tagging", "_delete_bucket_tagging"
    ),
}


def apply() -> None:
    """Apply the properties when a bucket is created or updated, and refuse to delete one that is not empty."""
    s3 = module("services.s3")
    for configuration in _CONFIGURATIONS.values():
        for name in filter(None, (configuration.put, configuration.remove)):
            member(s3, name)
    member(s3, "_bucket_has_versions")
    after(_TYPE, _apply)
    replace(_TYPE, {"delete": _deleting})


def _apply(bucket: str, properties: Properties, earlier: Properties) -> None:
    s3 = module("services.s3")
    if str(properties.get("ObjectLockEnabled", False)).lower() == "true":
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock-configure.html: it turns versioning on
        _put(s3, bucket, "VersioningConfiguration", {"Status": "Enabled"})
        _put(s3, bucket, "ObjectLockConfiguration", {"ObjectLockEnabled": "Enabled"})
    for name, configuration in _CONFIGURATIONS.items():
        if properties.get(name):
            _put(s3, bucket, name, properties[name])
        elif earlier.get(name) and configuration.remove:
            getattr(s3, configuration.remove)(bucket)


def _deleting(delete: Callable[..., Any]) -> Callable[..., Any]:
    def delete_if_empty(bucket: str, properties: Properties) -> None:
        s3 = module("services.s3")
        stored = s3._buckets.get(bucket)  # noqa: SLF001
        if stored is not None and (stored["objects"] or s3._bucket_has_versions(bucket)):  # noqa: SLF001
            raise ValueError(f"The bucket {bucket} is not empty: it holds objects, versions or delete markers.")
        delete(bucket, properties)

    return delete_if_empty


def _put(s3: Any, bucket: str, name: str, properties: Any) -> None:
    configuration = _CONFIGURATIONS[name]
    root = Element(configuration.element, xmlns=_NAMESPACE)
    _fill(root, configuration.convert(properties))
    accepted(getattr(s3, configuration.put)(bucket, tostring(root)), f"{_TYPE} {name} of {bucket}")


def _fill(parent: Element, content: dict[str, Any]) -> None:
    """Write a dictionary as elements: a list repeats its element, and empty values are omitted."""
    for name, value in content.items():
        for item in value if isinstance(value, list) else [value]:
            if item is None or (isinstance(item, dict) and not any(v is not None for v in item.values())):
                continue
            child = SubElement(parent, name)
            if isinstance(item, dict):
                _fill(child, item)
            else:
                child.text = str(item).lower() if isinstance(item, bool) else str(item)
