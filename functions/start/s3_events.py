"""Parse events of S3 and EventBridge, and queue messages that hold such events.

From S3 itself: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
From EventBridge: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
The messages: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

from msgspec import Struct

from functions.shared.errors import MessageRefused
from functions.shared.model.ids import RawObject

_NO_VERSION = "null"
"""The version id of an object without one (https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html)."""


class Message(Struct, frozen=True):
    """A message of the buffer queue; `body` is an event of S3 or EventBridge as JSON."""

    id: str
    body: str

    def event(self) -> dict[str, Any]:
        """Parse the body; raise MessageRefused if it is not a JSON object."""
        try:
            event = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise MessageRefused(f"message {self.id} of the buffer is not JSON: {error}") from error
        if not isinstance(event, dict):
            raise MessageRefused(f"message {self.id} of the buffer is not a JSON object")
        return event


def messages(event: dict[str, Any]) -> list[Message] | None:
    """Return the messages of an event from the buffer queue; None for any other event."""
    batch = event.get("Records")
    if not batch or not all(isinstance(each, dict) and each.get("eventSource") == "aws:sqs" for each in batch):
        return None
    return [Message(each["messageId"], each["body"]) for each in batch]


def records(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each record of an event about an object; skip the test event of S3 and folder markers.

    An event of EventBridge is one record. Raises MessageRefused for an event that is not about new objects.
    """
    if event.get("Event") == "s3:TestEvent":
        return
    if event.get("detail-type") == "Object Created":
        batch = [event]
    elif isinstance(event.get("Records"), list):
        batch = event["Records"]
    else:
        raise MessageRefused(f"an event is not about a new object in S3; it has {sorted(event)}")
    yield from (record for record in batch if not _is_folder_marker(record))


def raw_object(record: dict[str, Any]) -> RawObject:
    """Parse one record; raise MessageRefused unless it names an immutable version of an object.

    Records of S3 and of EventBridge give the same raw object.
    """
    try:
        raw = _from_eventbridge(record["detail"]) if "detail" in record else _from_s3(record["s3"])
    except (KeyError, TypeError, AttributeError) as error:
        raise MessageRefused(f"a record of an S3 event lacks {error}") from error
    if raw.version_id == _NO_VERSION:
        raise MessageRefused(
            f"s3://{raw.bucket}/{raw.key} has no version id, so it could change while it is read; "
            "enable versioning on the bucket and upload it again"
        )
    if not isinstance(raw.size, int):
        raise MessageRefused(f"a record of an S3 event has a size that is not a number: {raw.uri}")
    return raw


def _from_s3(entity: dict[str, Any]) -> RawObject:
    version = entity["object"]
    return RawObject(
        bucket=entity["bucket"]["name"],
        key=unquote_plus(version["key"]),
        version_id=_version_id(version.get("versionId")),
        size=version["size"],
        etag=version["eTag"],
    )


def _from_eventbridge(detail: dict[str, Any]) -> RawObject:
    """Parse a detail, in which the key is not encoded, and the version id is missing for an unversioned bucket."""
    version = detail["object"]
    return RawObject(
        bucket=detail["bucket"]["name"],
        key=version["key"],
        version_id=_version_id(version.get("version-id")),
        size=version["size"],
        etag=version["etag"],
    )


def _version_id(value: Any) -> str:
    return value if isinstance(value, str) and value else _NO_VERSION


def _is_folder_marker(record: dict[str, Any]) -> bool:
    try:
        version = (record["detail"] if "detail" in record else record["s3"])["object"]
        return bool(version["key"].endswith("/") and not version.get("size"))
    except (KeyError, TypeError, AttributeError):
        return False  # `raw_object` reports what it lacks
