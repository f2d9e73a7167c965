"""Emptying a bucket of every version that it holds, but for those that Object Lock holds."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

_AT_ONCE = 1_000
"""How many versions S3 deletes in a call (https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html)."""


def empty(s3: "S3Client", bucket: str) -> Iterator[str | None]:
    """Delete each version and each delete marker of a bucket; give None for one that is gone, else why it is not.

    A lock is never bypassed: S3 refuses to delete what it holds, and that is told.
    """
    found = _versions(s3, bucket)
    while some := list(islice(found, _AT_ONCE)):
        errors = s3.delete_objects(Bucket=bucket, Delete={"Objects": some, "Quiet": True}).get("Errors", [])
        yield from (f"{error.get('Key')}: {error.get('Message') or error.get('Code')}" for error in errors)
        yield from (None for _ in range(len(some) - len(errors)))


def holds_something(s3: "S3Client", bucket: str) -> bool:
    """Say whether there is a version or a delete marker in a bucket."""
    page = s3.list_object_versions(Bucket=bucket, MaxKeys=1)
    return bool(page.get("Versions") or page.get("DeleteMarkers"))


def _versions(s3: "S3Client", bucket: str) -> "Iterator[ObjectIdentifierTypeDef]":
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for one in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
            yield {"Key": one["Key"], "VersionId": one["VersionId"]}
