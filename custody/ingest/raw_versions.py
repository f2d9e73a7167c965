"""The object versions of the raw bucket: whatever arrived, in the order in which S3 lists it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from custody.audit.object_versions import PAGE, object_versions
from custody.errors import CommandFailed
from functions.shared.model.ids import RawObject, is_marker

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NO_VERSION = "null"
"""The version id of an object that was uploaded before its bucket was versioned."""

UNVERSIONED = (
    "start refuses it because it has no version id: it was uploaded before versioning was enabled; upload it again, or "
    "copy it onto itself (docs/existing-data.md)"
)
"""Why such an object is not started, and what to do."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An object version that arrived in the raw bucket; `is_deleted` if a delete marker hides its key now."""

    raw: RawObject
    at: datetime
    is_deleted: bool = False

    @property
    def day(self) -> str:
        """The UTC day on which it arrived: none of its executions started earlier."""
        return self.at.astimezone(UTC).date().isoformat()


@dataclass(frozen=True, slots=True)
class ArrivalFilter:
    """Which object versions to list; `since` and `until` are times of arrival, and None or empty means all.

    `skip_markers` is the setting: what `start` skips is not listed.
    """

    prefix: str = ""
    since: datetime | None = None
    until: datetime | None = None
    skip_markers: bool = True

    def accepts(self, arrival: Arrival) -> bool:
        """Tell whether to list an object version; a folder marker is not an object."""
        return (
            not (arrival.raw.key.endswith("/") and arrival.raw.size == 0)
            and not (self.skip_markers and is_marker(arrival.raw.key))
            and (self.since is None or arrival.at >= self.since)
            and (self.until is None or arrival.at <= self.until)
        )


def arrivals(s3: "S3Client", bucket: str, wanted: ArrivalFilter, page: int = PAGE) -> Iterator[Arrival]:
    """List the object versions that arrived in a bucket; raise CommandFailed if there is no such bucket."""
    hidden = None
    try:
        for version in object_versions(s3, bucket, wanted.prefix, page):
            if version.is_marker:
                hidden = version.key if version.is_latest else hidden
                continue
            arrival = Arrival(version.raw, version.modified, version.key == hidden)
            if wanted.accepts(arrival):
                yield arrival
    except s3.exceptions.NoSuchBucket as error:
        raise CommandFailed(
            f"There is no raw bucket {bucket}. Deploy with the name of an existing one: -c raw_bucket=NAME."
        ) from error
