"""The ids of objects and records: the same however often an event is delivered."""

import hashlib
import re
from typing import Annotated
from urllib.parse import quote

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

SLUG_LENGTH = 40
HASH_LENGTH = 24

NOT_SLUG = re.compile(r"[^0-9A-Za-z_-]+")

_MARKER = re.compile(r"(^|/)(_SUCCESS\Z|_temporary/)")

Count = Annotated[int, Meta(ge=0)]
Text = Annotated[str, Meta(min_length=1)]


class RawObject(Struct, frozen=True):
    """One version of an S3 object in the raw bucket; `size` is in bytes, `etag` without quotes.

    `id` is the object id, which also names its execution: at most 65 characters of `[0-9A-Za-z_-]`.
    """

    bucket: Text
    key: Text
    version_id: Text
    size: Count
    etag: str
    id: str = ""

    def __post_init__(self) -> None:
        """Derive the id unless it is given."""
        if self.id:
            return
        slug = NOT_SLUG.sub("-", self.key)[:SLUG_LENGTH].strip("-") or "object"
        name = f"{self.bucket}\0{self.key}\0{self.version_id}"
        force_setattr(self, "id", f"{slug}-{hashlib.sha256(name.encode()).hexdigest()[:HASH_LENGTH]}")

    @property
    def uri(self) -> str:
        """The S3 URI, with the version as a query, for people."""
        return f"s3://{self.bucket}/{self.key}?versionId={quote(self.version_id)}"


def dataset_of(key: str, default: str, prefix: str = "") -> str:
    """Return the dataset of a key: its first folder after the prefix, or the default if there is no folder.

    An object outside the prefix was uploaded before the prefix was set, and keeps its dataset.
    """
    folder, separator, _ = key.removeprefix(prefix).partition("/")
    return folder if separator else default


def is_marker(key: str) -> bool:
    """Return whether an object is one that Hadoop and Spark leave beside their data, and no data itself."""
    return _MARKER.search(key) is not None


def record_id(object_id: str, position: int) -> str:
    """Return the id of a record; `position` as in docs/architecture.md."""
    return f"{object_id}.{position}"
