"""What a person names: an object or a record of it, by an id, or by any address in which its id stands."""

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from botocore.exceptions import ClientError

from custody.errors import CommandFailed
from custody.executions.pipeline import Pipeline
from functions.shared.errors import MessageRefused
from functions.shared.model.ids import HASH_LENGTH, NOT_SLUG, SLUG_LENGTH, RawObject
from functions.shared.model.keys import START_DIGITS
from functions.shared.model.messages import Batch

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ID = rf"[0-9A-Za-z_-]+-[0-9a-f]{{{HASH_LENGTH}}}"
_OBJECT = re.compile(_ID)
_RECORD = re.compile(rf"(?P<id>{_ID})\.(?P<position>[0-9]{{1,{START_DIGITS}}})")
_ARN = re.compile(r"arn:[\w-]+:states:[^:]*:[^:]*:execution:[^:]+:(?P<name>[^:]+)")
_EXECUTION = re.compile(rf"(?P<id>{_ID})(-r\d+)?")
_DEAD_LETTER = re.compile(rf"(s3://[^/]+/)?(dead-letters/)?dt=[\d-]{{10}}/(?P<id>{_ID})/[^/]+")
_LEDGER_FILE = re.compile(rf"(s3://[^/]+/)?ledger/(?P<id>{_ID})/[^/]+")
_PROCESSED = re.compile(rf"(?P<id>{_ID})(\.\d{{{START_DIGITS}}})?\.jsonl")
_VERSION = "?versionId="


@dataclass(frozen=True)
class Named:
    """What was asked for: an object, or the record at a position of it; `others` are other versions of its key."""

    object_id: str
    position: int | None = None
    raw: RawObject | None = None
    others: tuple[str, ...] = ()


def slug_of_prefix(prefix: str) -> str:
    """Say what the ids of all objects begin with whose keys begin with a prefix; nothing, if they may all differ."""
    return NOT_SLUG.sub("-", prefix).rstrip("-")[:SLUG_LENGTH].strip("-")


def object_of(text: str) -> str | None:
    """Give the object id in an object id or a record id; None if it is neither."""
    if record := _RECORD.fullmatch(text):
        return record["id"]
    return text if _OBJECT.fullmatch(text) else None


def id_of(s3: "S3Client", raw_bucket: str, text: str) -> str:
    """Give the object id of the newest version of a key in the raw bucket; what is no such key is given as it is."""
    if not text or object_of(text):
        return text
    found = _of_key(s3, raw_bucket, text)
    return found.object_id if found else text


def named(s3: "S3Client", pipeline: Pipeline, raw_bucket: str, processed_bucket: str, text: str) -> Named:
    """Say what is named by a record id, an object id, a key, or an address that Custody prints.

    Such are the S3 URIs of raw versions, processed objects, dead letters and ledger files, the id of a dead letter, and the ARN
    of an execution. Raises CommandFailed if it is nothing.
    """
    if record := _RECORD.fullmatch(text):
        return Named(record["id"], int(record["position"]))
    if _OBJECT.fullmatch(text):
        return Named(text)
    # A key may look like the address of a dead letter or of a ledger file: what lies in the raw bucket is meant then.
    if found := _of_key(s3, raw_bucket, text):
        return found
    is_of_raw = text.startswith(f"s3://{raw_bucket}/")
    if not is_of_raw and (object_id := _addressed(pipeline, processed_bucket, text)):
        return Named(object_id)
    raise CommandFailed(
        f"Nothing tells of {text!r}: it is no record id, no object id, and no key in {raw_bucket}. See what there "
        "is: custody executions, custody dead-letters --all."
    )


def _of_key(s3: "S3Client", raw_bucket: str, text: str) -> Named | None:
    """Find the newest version of a key, or the version that a URI names; None if there is neither."""
    key = text.removeprefix(f"s3://{raw_bucket}/")
    if not key or key.startswith(("s3://", "arn:")):
        return None
    if version := _version_of(s3, raw_bucket, key):
        return version
    if not (versions := _versions(s3, raw_bucket, key)):
        return None
    newest, *others = versions
    return Named(newest.id, None, newest, tuple(other.id for other in others))


def _addressed(pipeline: Pipeline, processed_bucket: str, text: str) -> str | None:
    """Read the object id out of an address that it stands in; None if it stands in none."""
    if execution := _ARN.fullmatch(text):
        if not pipeline.has(text):
            raise CommandFailed(f"{text} is of no state machine of this deployment. Name the other one: --env, --aws.")
        by_name = _EXECUTION.fullmatch(execution["name"])
        return by_name["id"] if by_name else _begun(pipeline, text)
    processed = f"s3://{processed_bucket}/"
    last = text.partition(_VERSION)[0].rpartition("/")[2] if text.startswith(processed) else ""
    found = _DEAD_LETTER.fullmatch(text) or _LEDGER_FILE.fullmatch(text) or _PROCESSED.fullmatch(last)
    return found["id"] if found else None


def _begun(pipeline: Pipeline, arn: str) -> str | None:
    """Say which object an execution is of that is not named by it: that of a chunk; None if nothing is known of it."""
    try:
        begun = pipeline.client.describe_execution(executionArn=arn).get("input", "")
        return Batch.decode(json.loads(begun)).object.id
    except (ClientError, ValueError, MessageRefused):
        return None


def _version_of(s3: "S3Client", bucket: str, text: str) -> Named | None:
    """Find the version that the URI of one names; None if it names none, for a key may look so too."""
    key, mark, version = text.rpartition(_VERSION)
    versions = _versions(s3, bucket, key) if mark and key else []
    found = next((one for one in versions if one.version_id == unquote(version)), None)
    return Named(found.id, None, found, tuple(one.id for one in versions if one != found)) if found else None


def _versions(s3: "S3Client", bucket: str, key: str) -> list[RawObject]:
    """List the versions of a key, the newest first."""
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key)
    found: list[RawObject] = []
    for page in pages:
        listed = page.get("Versions", [])
        found += [
            RawObject(bucket, key, each["VersionId"], each["Size"], each["ETag"].strip('"'))
            for each in listed
            if each["Key"] == key
        ]
        if any(each["Key"] != key for each in listed):
            # Keys come in order: what begins alike and is longer comes behind.
            break
    return found
