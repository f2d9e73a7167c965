"""The one door to AWS: a few calls on values, each of which fails with an error of ours or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
from urllib3.exceptions import HTTPError

from functions.shared.errors import AccessRefused, CallRefused, ObjectMissing, ServiceUnavailable

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

_CONFIG = Config(retries={"mode": "standard", "max_attempts": 3}, connect_timeout=3, read_timeout=30)

_COME_AGAIN = frozenset(
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
"""How much of a stream is held at a time."""

Body = bytes | IO[bytes]

_BROKEN = (ConnectionError, HTTPClientError, IncompleteReadError, FlexibleChecksumError, HTTPError)
"""What a connection that breaks raises, also in the middle of a body: the call is made again."""

_GONE = frozenset({"NoSuchKey", "NoSuchVersion", "404", "MethodNotAllowed"})
"""S3 answers 405 when the version named is a delete marker."""


_HISTORY_EVENTS = 200
"""More than one state can leave behind with all its retries, each of which is a handful of events."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object version as it was read; `last_modified` is ISO 8601, UTC."""

    body: bytes
    last_modified: str


@dataclass(frozen=True, slots=True)
class Streamed:
    """An object version as it is being read; `last_modified` as in Stored."""

    pieces: Iterator[bytes]
    last_modified: str


@cache
def _s3() -> "S3Client":
    return boto3.client("s3", config=_CONFIG)


@cache
def _stepfunctions() -> "SFNClient":
    return boto3.client("stepfunctions", config=_CONFIG)


def read(bucket: str, key: str, version_id: str | None = None) -> Stored:
    """Read an object: this version, or the newest one.

    Raises ObjectMissing, AccessRefused, CallRefused or ServiceUnavailable.
    """
    where = _where(bucket, key, version_id)
    version = {"VersionId": version_id} if version_id else {}
    with _named("GetObject", where):
        answer = _s3().get_object(Bucket=bucket, Key=key, **version)  # type: ignore[arg-type]  # the stub wants each key by name
        body = answer["Body"].read()
    return Stored(body, _iso(answer["LastModified"]))


def _where(bucket: str, key: str, version_id: str | None) -> str:
    return f"s3://{bucket}/{key}" + (f" version {version_id}" if version_id else "")


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def streamed(
    bucket: str, key: str, version_id: str | None = None, span: tuple[int, int] | None = None
) -> Iterator[Streamed]:
    """Open an object for reading piece by piece: this version, or the newest one; all of it, or the bytes of a span.

    `span` is the first byte and the one after the last; it may reach beyond the end. Raises ObjectMissing,
    AccessRefused, CallRefused or ServiceUnavailable, when it is opened and while it is read.
    """
    where = _where(bucket, key, version_id)
    options = {"VersionId": version_id} if version_id else {}
    if span:
        options["Range"] = f"bytes={span[0]}-{span[1] - 1}"
    with _named("GetObject", where):
        answer = _s3().get_object(Bucket=bucket, Key=key, **options)  # type: ignore[arg-type]  # the stub wants each key by name
    body = answer["Body"]
    try:
        yield Streamed(_pieces(body, where), _iso(answer["LastModified"]))
    finally:
        body.close()


def _pieces(body: "StreamingBody", where: str) -> Iterator[bytes]:
    while True:
        with _named("GetObject", where):
            piece = body.read(PIECE_BYTES)
        if not piece:
            return
        yield piece


def read_start(bucket: str, key: str, length: int) -> bytes:
    """Read the first bytes of an object, or all if it has fewer.

    Raises ObjectMissing, AccessRefused, CallRefused or ServiceUnavailable.
    """
    with streamed(bucket, key, span=(0, length)) as found:
        return b"".join(found.pieces)


def write(bucket: str, key: str, body: Body, content_type: str) -> str:
    """Write an object as a new version, and return its version id; a file is written from its beginning.

    Raises AccessRefused, CallRefused or ServiceUnavailable.
    """
    _rewind(body)
    with _named("PutObject", f"s3://{bucket}/{key}"):
        return _s3().put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type)["VersionId"]


def write_once(bucket: str, key: str, body: Body, content_type: str) -> bool:
    """Write an object unless there is one of that name; return whether it was written.

    Raises AccessRefused, CallRefused or ServiceUnavailable. Conditional writes:
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


def all_keys(bucket: str, prefix: str) -> list[str]:
    """List the keys that begin with a prefix, page by page.

    Raises AccessRefused, CallRefused or ServiceUnavailable.
    """
    with _named("ListObjectsV2", f"s3://{bucket}/{prefix}"):
        pages = _s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]


def keys(bucket: str, prefix: str) -> list[str]:
    """List the first thousand keys that begin with a prefix.

    Raises AccessRefused, CallRefused or ServiceUnavailable.
    """
    with _named("ListObjectsV2", f"s3://{bucket}/{prefix}"):
        return [found["Key"] for found in _s3().list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]


def redrives_of(execution: str) -> int:
    """Ask how often an execution was redriven.

    Raises AccessRefused, CallRefused or ServiceUnavailable.
    """
    with _named("DescribeExecution", execution):
        return _stepfunctions().describe_execution(executionArn=execution).get("redriveCount", 0)


def last_state_of(execution: str, until: str) -> str | None:
    """Ask which state an execution had entered last at a time (ISO 8601); None if it had entered none.

    Raises AccessRefused, CallRefused or ServiceUnavailable.
    """
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
    """Start an execution; return whether it was accepted now, and False if one of that name was there before.

    Raises AccessRefused, CallRefused or ServiceUnavailable.
    """
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
    """Translate what boto3 raises into our own errors, which say what was asked, of what."""
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        said = f"{operation} of {target} was answered {code}: {error.response['Error'].get('Message', '')}"
        if code in _COME_AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise ServiceUnavailable(said) from error
        if code in _GONE:
            raise ObjectMissing(said) from error
        if status == HTTPStatus.FORBIDDEN or code.startswith("AccessDenied"):
            raise AccessRefused(said) from error
        raise CallRefused(said) from error
    except _BROKEN as error:
        raise ServiceUnavailable(f"{operation} of {target} got no answer: {error}") from error
    except BotoCoreError as error:
        raise CallRefused(f"{operation} of {target} could not be made: {error}") from error
