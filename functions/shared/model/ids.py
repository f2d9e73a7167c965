"""Who is who: the names of objects and records, the same however often an event is delivered."""

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import quote

SLUG_LENGTH = 40
HASH_LENGTH = 24

NOT_SLUG = re.compile(r"[^0-9A-Za-z_-]+")


@dataclass(frozen=True, slots=True)
class RawObject:
    """One version of an S3 object in the raw bucket; `size` is in bytes, `etag` without quotes."""

    bucket: str
    key: str
    version_id: str
    size: int
    etag: str

    @property
    def id(self) -> str:
        """The object id: also the name of its execution, hence at most 65 characters of `[0-9A-Za-z_-]`."""
        slug = NOT_SLUG.sub("-", self.key)[:SLUG_LENGTH].strip("-") or "object"
        name = f"{self.bucket}\0{self.key}\0{self.version_id}"
        return f"{slug}-{hashlib.sha256(name.encode()).hexdigest()[:HASH_LENGTH]}"

    @property
    def uri(self) -> str:
        """An address for people: the S3 URI, with the version as a query."""
        return f"s3://{self.bucket}/{self.key}?versionId={quote(self.version_id)}"


def dataset_of(key: str, default: str, prefix: str = "") -> str:
    """Name the dataset of a key: its first folder behind the prefix, or the default dataset if it has no folder there.

    An object that lies elsewhere, for it came before the prefix was set, keeps the dataset that it had.
    """
    folder, separator, _ = key.removeprefix(prefix).partition("/")
    return folder if separator else default


def record_id(object_id: str, position: int) -> str:
    """Name a record of an object; `position` as in docs/architecture.md."""
    return f"{object_id}.{position}"
