"""From an S3 event, or messages that hold such events, to the objects that arrived.

The event: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
The messages: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from functions.shared.errors import MessageRefused
from functions.shared.identity import RawObject


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the buffer; `body` is an S3 event as JSON."""

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

    Raises MessageRefused for an event that is not from S3.
    """
    if event.get("Event") == "s3:TestEvent":
        return
    if not isinstance(event.get("Records"), list):
        raise MessageRefused(f"an event came that is not from S3; it has {sorted(event)}")
    yield from (record for record in event["Records"] if not _is_folder_marker(record))


def raw_object(record: dict[str, Any]) -> RawObject:
    """Read one record; raise MessageRefused for one that names no immutable version of an object."""
    try:
        s3_object = record["s3"]["object"]
        raw = RawObject(
            bucket=record["s3"]["bucket"]["name"],
            key=unquote_plus(s3_object["key"]),
            version_id=s3_object.get("versionId", "null"),
            size=s3_object["size"],
            etag=s3_object["eTag"],
        )
        is_odd = not isinstance(raw.size, int)
    except (KeyError, TypeError, AttributeError) as error:
        raise MessageRefused(f"a record of an S3 event lacks {error}") from error
    if is_odd:
        raise MessageRefused(f"a record of an S3 event has a size that is no number: {raw.uri}")
    if raw.version_id == "null":
        raise MessageRefused(
            f"s3://{raw.bucket}/{raw.key} has no version id, so it could change while it is read; "
            "enable versioning on the bucket and upload it again"
        )
    return raw


def _is_folder_marker(record: dict[str, Any]) -> bool:
    try:
        s3_object = record["s3"]["object"]
        return bool(s3_object["key"].endswith("/") and not s3_object.get("size"))
    except (KeyError, TypeError, AttributeError):
        return False  # `raw_object` says what it lacks
