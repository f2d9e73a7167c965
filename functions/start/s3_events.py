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
from functions.shared.model.decoding import Undecodable, from_builtins
from functions.shared.model.ids import RawObject

_NO_VERSION = (None, "", "null")
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

    Records of S3 and of EventBridge give the same raw object; in a record of S3 the key is encoded.
    """
    try:
        is_direct = "detail" not in record
        place = record["s3"] if is_direct else record["detail"]
        version = place["object"]
        raw = {
            "bucket": place["bucket"]["name"],
            "key": unquote_plus(version["key"]) if is_direct else version["key"],
            "version_id": version.get("versionId" if is_direct else "version-id"),
            "size": version["size"],
            "etag": version["eTag" if is_direct else "etag"],
        }
        if raw["version_id"] in _NO_VERSION or not isinstance(raw["version_id"], str):
            raise MessageRefused(
                f"s3://{raw['bucket']}/{raw['key']} has no version id, so it could change while it is read; "
                "enable versioning on the bucket and upload it again"
            )
        return from_builtins(raw, RawObject)
    except (KeyError, TypeError, AttributeError, Undecodable) as error:
        raise MessageRefused(f"a record of an S3 event is incomplete or malformed: {error}") from error


def _is_folder_marker(record: dict[str, Any]) -> bool:
    try:
        version = (record["detail"] if "detail" in record else record["s3"])["object"]
        return bool(version["key"].endswith("/") and not version.get("size"))
    except (KeyError, TypeError, AttributeError):
        return False  # `raw_object` reports what it lacks
