"""Resolve what an operator names: an object or a record, by its id or by any address that contains the id."""

import re
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING
from urllib.parse import unquote

from botocore.exceptions import ClientError

from custody.audit.object_versions import object_versions
from custody.errors import CommandFailed
from custody.executions.pipeline import OBJECT_ID, Pipeline
from functions.shared.model.ids import NOT_SLUG, SLUG_LENGTH, RawObject
from functions.shared.model.keys import START_DIGITS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ID = OBJECT_ID.pattern
_RECORD = re.compile(rf"(?P<id>{_ID})\.(?P<position>[0-9]{{1,{START_DIGITS}}})")
_ARN = re.compile(r"arn:[\w-]+:states:[^:]*:[^:]*:execution:[^:]+:(?P<name>[^:]+)")
_EXECUTION = re.compile(rf"(?P<id>{_ID})(-r\d+)?")
_DEAD_LETTER = re.compile(rf"(s3://[^/]+/)?(dead-letters/)?dt=[\d-]{{10}}/(?P<id>{_ID})/[^/]+")
_LEDGER_FILE = re.compile(rf"(s3://[^/]+/)?ledger/(?P<id>{_ID})/[^/]+")
_PROCESSED = re.compile(rf"(?P<id>{_ID})(\.\d{{{START_DIGITS}}})?\.jsonl")
_VERSION = "?versionId="


@dataclass(frozen=True)
class Subject:
    """An object, or the record at a position of it.

    `raw` is known if it was named by its key; `other_versions` are then the object ids of the other versions of that.
    """

    object_id: str
    position: int | None = None
    raw: RawObject | None = None
    other_versions: tuple[str, ...] = ()


def slug_of_prefix(prefix: str) -> str:
    """Return the common prefix of the ids of all objects whose keys have a prefix; empty if there is none."""
    return NOT_SLUG.sub("-", prefix).rstrip("-")[:SLUG_LENGTH].strip("-")


def object_id_in(text: str) -> str | None:
    """Return the object id in an object id or a record id; None if the text is neither."""
    if record := _RECORD.fullmatch(text):
        return record["id"]
    return text if OBJECT_ID.fullmatch(text) else None


def id_of(s3: "S3Client", raw_bucket: str, text: str) -> str:
    """Return the object id of the newest version of a key in the raw bucket; return anything else unchanged."""
    if not text or object_id_in(text):
        return text
    subject = _subject_by_key(s3, raw_bucket, text)
    return subject.object_id if subject else text


def resolve_subject(s3: "S3Client", pipeline: Pipeline, raw_bucket: str, processed_bucket: str, text: str) -> Subject:
    """Resolve a record id, an object id, a key, or any address that Custody prints.

    These are the S3 URIs of raw versions, processed objects, dead letters and ledger files, the ids of dead letters,
    and the ARNs of executions. Raises CommandFailed for anything else.
    """
    if record := _RECORD.fullmatch(text):
        return Subject(record["id"], int(record["position"]))
    if OBJECT_ID.fullmatch(text):
        return Subject(text)
    # A key may look like the address of a dead letter or ledger file: an object in the raw bucket takes precedence.
    if subject := _subject_by_key(s3, raw_bucket, text):
        return subject
    if not text.startswith(f"s3://{raw_bucket}/") and (
        object_id := _object_id_in_address(pipeline, processed_bucket, text)
    ):
        return Subject(object_id)
    raise CommandFailed(
        f"No record, object or key {text!r} found in {raw_bucket}. To see what there is: custody executions, or "
        "custody dead-letters --all."
    )


def _subject_by_key(s3: "S3Client", raw_bucket: str, text: str) -> Subject | None:
    """Find the newest version of a key, or the version that a URI names; None if there is none."""
    key = text.removeprefix(f"s3://{raw_bucket}/")
    if not key or key.startswith(("s3://", "arn:")):
        return None
    # What looks like the version in a URI may be part of the key itself.
    name, _, version_id = key.rpartition(_VERSION)
    versions = _versions(s3, raw_bucket, name) if name else []
    raw = next((each for each in versions if each.version_id == unquote(version_id)), None)
    if raw is None:
        versions = _versions(s3, raw_bucket, key)
        raw = next(iter(versions), None)
    return Subject(raw.id, None, raw, tuple(each.id for each in versions if each != raw)) if raw else None


def _object_id_in_address(pipeline: Pipeline, processed_bucket: str, text: str) -> str | None:
    """Parse the object id in an address; None if it has none."""
    if execution := _ARN.fullmatch(text):
        if not pipeline.has(text):
            raise CommandFailed(
                f"{text} is not an execution of this deployment. Name its deployment with --env, --aws or --profile."
            )
        by_name = _EXECUTION.fullmatch(execution["name"])
        return by_name["id"] if by_name else _object_id_in_input(pipeline, text)
    processed = f"s3://{processed_bucket}/"
    name = text.partition(_VERSION)[0].rpartition("/")[2] if text.startswith(processed) else ""
    match = _DEAD_LETTER.fullmatch(text) or _LEDGER_FILE.fullmatch(text) or _PROCESSED.fullmatch(name)
    return match["id"] if match else None


def _object_id_in_input(pipeline: Pipeline, arn: str) -> str | None:
    """Read the object id in the input of an execution, such as that of a chunk; None if it is not known."""
    try:
        execution = pipeline.describe(arn)
    except ClientError:
        return None
    return execution.batch.object.id if execution and execution.batch else None


def _versions(s3: "S3Client", bucket: str, key: str) -> list[RawObject]:
    """List the versions of a key, newest first."""
    # Keys come in order: longer ones with the same beginning follow.
    of_key = takewhile(lambda version: version.key == key, object_versions(s3, bucket, key))
    return [version.raw for version in of_key if not version.is_marker]
