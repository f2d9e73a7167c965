"""List what a versioned bucket keeps: versions and delete markers."""

from collections.abc import Iterator
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from functions.shared.model.ids import RawObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PAGE = 1000
"""The most versions that S3 returns in a page."""


class ListedVersion(Struct, frozen=True):
    """A version of a key or, if `is_marker`, a delete marker; `is_latest` if S3 serves it for the key."""

    bucket: str
    key: str
    version_id: str
    modified: datetime
    is_latest: bool
    size: int = 0
    etag: str = ""
    is_marker: bool = False

    @property
    def raw(self) -> RawObject:
        """The object that the pipeline knows this version as."""
        return RawObject(self.bucket, self.key, self.version_id, self.size, self.etag)


def object_versions(s3: "S3Client", bucket: str, prefix: str = "", page: int = PAGE) -> Iterator[ListedVersion]:
    """List versions and delete markers by key, page by page: of a key its markers first, and each kind newest first.

    Where a page ends within a key, its later versions follow with the next page.
    """
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": page}
    )
    for listed in pages:
        of_page: list[Any] = [*listed.get("DeleteMarkers", []), *listed.get("Versions", [])]
        for each in sorted(of_page, key=itemgetter("Key")):
            version = bucket, each["Key"], each["VersionId"], each["LastModified"], each["IsLatest"]
            if "ETag" in each:
                yield ListedVersion(*version, each["Size"], each["ETag"].strip('"'))
            else:
                yield ListedVersion(*version, is_marker=True)
