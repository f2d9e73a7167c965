"""The only module of the functions that calls AWS. Its errors are ours; nothing of boto3 leaves it.

Every call may raise AccessRefused, KmsKeyRefused, CallRefused or ServiceUnavailable, and a read ObjectMissing or
ObjectArchived.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache
from http import HTTPStatus
from typing import IO, TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
)
from msgspec import Struct
from urllib3.exceptions import HTTPError

from functions.shared.errors import (
    AccessRefused,
    CallRefused,
    KmsKeyRefused,
    ObjectArchived,
    ObjectMissing,
    ServiceUnavailable,
)

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

_CONFIG = Config(retries={"mode": "standard", "max_attempts": 3}, connect_timeout=3, read_timeout=30)

_TRANSIENT = frozenset(
    {
        "ConditionalRequestConflict",
        "InternalError",
        "InternalFailure",
        "KMS.ThrottlingException",
        "OperationAborted",
        "RequestLimitExceeded",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""From https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html and the common errors of the other APIs."""

PIECE_BYTES = 2**20
"""How much of a stream is in memory at a time."""

Body = bytes | IO[bytes]

_BROKEN = (ConnectionError, HTTPClientError, IncompleteReadError, FlexibleChecksumError, HTTPError)
"""What a broken connection raises, also in the middle of a body: the call is retried."""

_GONE = frozenset({"NoSuchKey", "NoSuchVersion", "404", "MethodNotAllowed"})
"""S3 answers 405 if the version is a delete marker."""

_ARCHIVED = "InvalidObjectState"
"""How S3 answers for an object in Glacier, Deep Archive, or an archive tier of Intelligent-Tiering
(https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html)."""

_HISTORY_EVENTS = 200
"""More events than one state leaves behind with all its retries."""


class Streamed(Struct, frozen=True):
    """An object version that is being read; `last_modified` is ISO 8601, UTC."""

    pieces: Iterator[bytes]
    last_modified: str


@cache
def _s3() -> "S3Client":
    return boto3.client("s3", config=_CONFIG)


@cache
def _stepfunctions() -> "SFNClient":
    return boto3.client("stepfunctions", config=_CONFIG)


def read(bucket: str, key: str, length: int | None = None) -> bytes:
    """Read an object, or its first bytes."""
    with streamed(bucket, key, span=(0, length) if length else None) as stored:
        return b"".join(stored.pieces)


@contextmanager
def streamed(
    bucket: str, key: str, version_id: str | None = None, span: tuple[int, int] | None = None
) -> Iterator[Streamed]:
    """Open an object for reading piece by piece: this version, or the newest; all of it, or the bytes of a span.

    `span` is the first byte and the one after the last; it may extend beyond the end. Raises errors when it is opened
    and while it is read.
    """
    where = f"s3://{bucket}/{key}" + (f" version {version_id}" if version_id else "")
    options = {"VersionId": version_id} if version_id else {}
    if span:
        options["Range"] = f"bytes={span[0]}-{span[1] - 1}"
    with _named("GetObject", where):
        answer = _s3().get_object(Bucket=bucket, Key=key, **options)  # type: ignore[arg-type]  # the stub wants each key by name
    body = answer["Body"]
    try:
        yield Streamed(_pieces(body, where), answer["LastModified"].strftime("%Y-%m-%dT%H:%M:%SZ"))
    finally:
        body.close()


def _pieces(body: "StreamingBody", where: str) -> Iterator[bytes]:
    while True:
        with _named("GetObject", where):
            piece = body.read(PIECE_BYTES)
        if not piece:
            return
        yield piece


def write(bucket: str, key: str, body: Body, content_type: str) -> str:
    """Write an object as a new version and return its version id; a file is written from its beginning."""
    _rewind(body)
    with _named("PutObject", f"s3://{bucket}/{key}"):
        return _s3().put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type)["VersionId"]


def write_once(bucket: str, key: str, body: Body, content_type: str) -> bool:
    """Write an object unless its key is taken; return whether it was written.

    Conditional writes:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    """
    _rewind(body)
    with _named("PutObject", f"s3://{bucket}/{key}"):
        try:
            _s3().put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type, IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] == "PreconditionFailed":
                return False
            raise
        return True


def _rewind(body: Body) -> None:
    if not isinstance(body, bytes):
        body.seek(0)


def keys(bucket: str, prefix: str) -> list[str]:
    """List the keys that begin with a prefix, page by page."""
    with _named("ListObjectsV2", f"s3://{bucket}/{prefix}"):
        pages = _s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]


def redrives_of(execution: str) -> int:
    """Return how often an execution was redriven."""
    with _named("DescribeExecution", execution):
        return _stepfunctions().describe_execution(executionArn=execution).get("redriveCount", 0)


def last_state_of(execution: str, until: str) -> str | None:
    """Return the last state that an execution had entered by a time (ISO 8601); None if it had entered none."""
    with _named("GetExecutionHistory", execution):
        history = _stepfunctions().get_execution_history(
            executionArn=execution, reverseOrder=True, maxResults=_HISTORY_EVENTS, includeExecutionData=False
        )
    end = datetime.fromisoformat(until) + timedelta(milliseconds=1)
    entered = (
        event["stateEnteredEventDetails"]["name"]
        for event in history["events"]
        if "stateEnteredEventDetails" in event and event["timestamp"] < end
    )
    return next(entered, None)


def start_execution(state_machine_arn: str, name: str, message: str) -> bool:
    """Start an execution; return False if one of that name was started before."""
    with _named("StartExecution", f"{state_machine_arn} as {name}"):
        try:
            _stepfunctions().start_execution(stateMachineArn=state_machine_arn, name=name, input=message)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ExecutionAlreadyExists":
                return False
            raise
        return True


@contextmanager
def _named(operation: str, target: str) -> Iterator[None]:
    """Translate what boto3 raises into our own errors, which name the operation and its target."""
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        message = f"{operation} of {target} was answered {code}: {error.response['Error'].get('Message', '')}"
        if code in _TRANSIENT or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise ServiceUnavailable(message) from error
        if code in _GONE:
            raise ObjectMissing(message) from error
        if code == _ARCHIVED:
            tier = error.response["Error"].get("AccessTier") or error.response["Error"].get("StorageClass")
            raise ObjectArchived(f"{message} ({tier}); restore it, then redrive") from error
        if code.startswith("KMS.") or (status == HTTPStatus.FORBIDDEN and "kms:" in message.lower()):
            raise KmsKeyRefused(message) from error
        if status == HTTPStatus.FORBIDDEN or code.startswith("AccessDenied"):
            raise AccessRefused(message) from error
        raise CallRefused(message) from error
    except _BROKEN as error:
        raise ServiceUnavailable(f"{operation} of {target} got no answer: {error}") from error
    except BotoCoreError as error:
        raise CallRefused(f"{operation} of {target} could not be made: {error}") from error
