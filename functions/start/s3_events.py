"""From an event of S3 or EventBridge, or messages that hold such events, to the objects that arrived.

What S3 sends itself: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
What EventBridge sends: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
The messages: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from functions.shared.errors import MessageRefused
from functions.shared.model.ids import RawObject

_NO_VERSION = "null"
"""What S3 calls the version of an object that has none (https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html)."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the buffer; `body` is an event of S3 or EventBridge as JSON."""

    id: str
    body: str

    def event(self) -> dict[str, Any]:
        """Read the body; raise MessageRefused if it is no JSON object."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise MessageRefused(f"message {self.id} of the buffer is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise MessageRefused(f"message {self.id} of the buffer is no JSON object")
        return found


def messages(event: dict[str, Any]) -> list[Message] | None:
    """Give the messages of the buffer that an event brings; None if it is not from a queue."""
    found = event.get("Records")
    if not found or not all(isinstance(each, dict) and each.get("eventSource") == "aws:sqs" for each in found):
        return None
    return [Message(each["messageId"], each["body"]) for each in found]


def records(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give each record of an event that tells of an object; pass over S3's test event and folder markers.

    An event of EventBridge is one record. Raises MessageRefused for an event that tells of no new object.
    """
    if event.get("Event") == "s3:TestEvent":
        return
    if event.get("detail-type") == "Object Created":
        found = [event]
    elif isinstance(event.get("Records"), list):
        found = event["Records"]
    else:
        raise MessageRefused(f"an event came that tells of no new object in S3; it has {sorted(event)}")
    yield from (record for record in found if not _is_folder_marker(record))


def raw_object(record: dict[str, Any]) -> RawObject:
    """Read one record; raise MessageRefused for one that names no immutable version of an object.

    The same object gives the same, whichever way its record came.
    """
    try:
        raw = _of_eventbridge(record["detail"]) if "detail" in record else _of_s3(record["s3"])
        is_odd = not isinstance(raw.size, int)
    except (KeyError, TypeError, AttributeError) as error:
        raise MessageRefused(f"a record of an S3 event lacks {error}") from error
    if raw.version_id == _NO_VERSION:
        raise MessageRefused(
            f"s3://{raw.bucket}/{raw.key} has no version id, so it could change while it is read; "
            "enable versioning on the bucket and upload it again"
        )
    if is_odd:
        raise MessageRefused(f"a record of an S3 event has a size that is no number: {raw.uri}")
    return raw


def _of_s3(told: dict[str, Any]) -> RawObject:
    found = told["object"]
    return RawObject(
        bucket=told["bucket"]["name"],
        key=unquote_plus(found["key"]),
        version_id=_version(found.get("versionId")),
        size=found["size"],
        etag=found["eTag"],
    )


def _of_eventbridge(told: dict[str, Any]) -> RawObject:
    """Read what EventBridge tells: the key is as it is, and a bucket that is not versioned gives no version id."""
    found = told["object"]
    return RawObject(
        bucket=told["bucket"]["name"],
        key=found["key"],
        version_id=_version(found.get("version-id")),
        size=found["size"],
        etag=found["etag"],
    )


def _version(told: Any) -> str:
    return told if isinstance(told, str) and told else _NO_VERSION


def _is_folder_marker(record: dict[str, Any]) -> bool:
    try:
        found = (record["detail"] if "detail" in record else record["s3"])["object"]
        return bool(found["key"].endswith("/") and not found.get("size"))
    except (KeyError, TypeError, AttributeError):
        return False  # `raw_object` says what it lacks
