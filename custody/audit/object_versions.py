"""List what a versioned bucket keeps, and read a version: a raw one as the pipeline read it, or a processed one."""

import io
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError
from msgspec import Struct

from functions.shared.model.chunking import BULK_FROM
from functions.shared.model.ids import RawObject
from functions.shared.model.keys import START_DIGITS
from functions.shared.model.ledger import Output, OutputSpan
from functions.shared.model.records import Span
from functions.shared.records.formats import GZIP
from functions.shared.records.reader import as_read

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Answer = TypeVar("Answer")

GONE = frozenset({"NoSuchKey", "NoSuchVersion", "404", "MethodNotAllowed"})
"""The error codes with which S3 answers for a version that no longer exists; the last for a delete marker."""

ARCHIVED = "InvalidObjectState"
"""The error code with which S3 answers for a version that must be restored before it can be read."""

BEYOND = 10**START_DIGITS
"""Behind the last byte of any object."""

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


def unless_gone(read: Callable[[], Answer]) -> Answer | None:
    """Return what a call to S3 returns; None if the version is gone or archived, or raise ClientError."""
    try:
        return read()
    except ClientError as error:
        if error.response["Error"]["Code"] in {*GONE, ARCHIVED}:
            return None
        raise


def record_bytes(
    s3: "S3Client", version: RawObject | Output, record: Span | OutputSpan, *, is_divided: bool = False
) -> bytes | None:
    """Read the bytes of a record, or what is left of them; None if that version of the object is gone or archived."""
    if record.length == 0:
        return b""
    end = record.offset + record.length
    stream = unless_gone(lambda: open_span(s3, version, record.offset, end, is_divided=is_divided))
    if stream is None:
        return None
    with closing(stream):
        return bytes(stream.read())


def open_span(
    s3: "S3Client", version: RawObject | Output, start: int, end: int | None = None, *, is_divided: bool = False
) -> Any:
    """Open a version from byte `start` to `end`, or to its end, decompressed; raise ClientError if it is gone.

    A raw object that is gzipped is read whole, unless it was divided into chunks: then it was read as it is. Its first
    bytes tell; of one that is small, they come with the rest.
    """
    get = partial(s3.get_object, Bucket=version.bucket, Key=version.key, VersionId=version.version_id)
    if (
        isinstance(version, RawObject)
        and not is_divided
        and (version.size <= BULK_FROM or get(Range=f"bytes=0-{len(GZIP) - 1}")["Body"].read() == GZIP)
    ):
        return io.BytesIO(as_read(get()["Body"].read(), BEYOND if end is None else end)[start:])
    if end is not None and start >= end:
        s3.head_object(Bucket=version.bucket, Key=version.key, VersionId=version.version_id)
        return io.BytesIO()
    span = f"bytes={start}-" + ("" if end is None else str(end - 1))
    try:
        return get(Range=span)["Body"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "InvalidRange":
            return io.BytesIO()
        raise
