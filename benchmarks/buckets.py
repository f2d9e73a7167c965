"""S3 without a network: the handlers run unchanged on buckets in memory or in files."""

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import IO, Protocol
from unittest.mock import patch
from urllib.parse import quote, unquote

from functions.shared import aws
from functions.shared.aws import PIECE_BYTES, Body, Streamed

VARIABLES: Mapping[str, str] = {
    "AUDIT_BUCKET": "audit",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SECRET_ACCESS_KEY": "none",
    "BULK_ARN": "arn:aws:states:us-east-1:123456789012:stateMachine:bulk",
    "CHUNK_BYTES": str(2**26),
    "CODE_VERSION": "benchmark",
    "CODE_VERSIONS": "{}",
    "DEFAULT_DATASET": "mission",
    "DOCUMENT_LIMIT_BYTES": str(2**24),
    "INLINE_LIMIT_BYTES": str(2**16),
    "PIPELINE_ARN": "arn:aws:states:us-east-1:123456789012:stateMachine:pipeline",
    "POWERTOOLS_LOG_LEVEL": "CRITICAL",
    "POWERTOOLS_SERVICE_NAME": "benchmark",
    "PROCESSED_BUCKET": "processed",
    "RAW_PREFIX": "",
    "STAGING_BUCKET": "staging",
    "TOLERATED_REJECTS_PERCENT": "0",
}
"""What the handlers read when they are imported."""

LAST_MODIFIED = "2026-11-23T09:00:00Z"
VERSION = "1"


class Buckets(Protocol):
    """Where the bodies of objects are kept."""

    def open(self, bucket: str, key: str) -> IO[bytes]:
        """Open an object for reading."""

    def put(self, bucket: str, key: str, body: Body) -> None:
        """Store an object; a file is read from its current position."""

    def keys(self, bucket: str) -> list[str]:
        """List the objects of a bucket, sorted."""

    def clear(self) -> None:
        """Delete all objects."""


class InMemory:
    """Bodies in memory: what is timed does not wait for a disk."""

    def __init__(self) -> None:
        self._bodies: dict[tuple[str, str], bytes] = {}

    def open(self, bucket: str, key: str) -> IO[bytes]:
        """Open an object for reading."""
        return io.BytesIO(self.body(bucket, key))

    def body(self, bucket: str, key: str) -> bytes:
        """Return the body of an object."""
        return self._bodies[bucket, key]

    def put(self, bucket: str, key: str, body: Body) -> None:
        """Store an object; a file is read from its current position."""
        self._bodies[bucket, key] = body if isinstance(body, bytes) else body.read()

    def keys(self, bucket: str) -> list[str]:
        """List the objects of a bucket, sorted."""
        return sorted(key for name, key in self._bodies if name == bucket)

    def clear(self) -> None:
        """Delete all objects."""
        self._bodies.clear()


class InFiles:
    """Bodies in a folder: they take no memory of the process that is measured."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, bucket: str, key: str) -> IO[bytes]:
        """Open an object for reading."""
        return (self._folder / bucket / quote(key, safe="")).open("rb")

    def put(self, bucket: str, key: str, body: Body) -> None:
        """Store an object; a file is read from its current position."""
        path = self._folder / bucket / quote(key, safe="")
        path.parent.mkdir(parents=True, exist_ok=True)
        source = io.BytesIO(body) if isinstance(body, bytes) else body
        with path.open("wb") as file:
            file.writelines(iter(partial(source.read, PIECE_BYTES), b""))

    def keys(self, bucket: str) -> list[str]:
        """List the objects of a bucket, sorted."""
        return sorted(unquote(path.name) for path in self._folder.glob(f"{bucket}/*"))

    def clear(self) -> None:
        """Delete all objects."""
        for path in self._folder.glob("*/*"):
            path.unlink()


class _S3:
    """The calls of `functions.shared.aws` that the three stages make."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets

    @contextmanager
    def streamed(
        self, bucket: str, key: str, _: str | None = None, span: tuple[int, int] | None = None
    ) -> Iterator[Streamed]:
        with self._buckets.open(bucket, key) as body:
            start, end = span or (0, body.seek(0, os.SEEK_END))
            body.seek(start)
            yield Streamed(_pieces(body, end - start), LAST_MODIFIED)

    def read_start(self, bucket: str, key: str, length: int) -> bytes:
        with self._buckets.open(bucket, key) as body:
            return body.read(length)

    def write(self, bucket: str, key: str, body: Body, _: str) -> str:
        if not isinstance(body, bytes):
            body.seek(0)
        self._buckets.put(bucket, key, body)
        return VERSION

    def write_once(self, bucket: str, key: str, body: Body, content_type: str) -> bool:
        if key in self._buckets.keys(bucket):
            return False
        self.write(bucket, key, body, content_type)
        return True

    def keys(self, bucket: str, prefix: str) -> list[str]:
        return [key for key in self._buckets.keys(bucket) if key.startswith(prefix)]


def _pieces(body: IO[bytes], length: int) -> Iterator[bytes]:
    while piece := body.read(min(PIECE_BYTES, length)):
        length -= len(piece)
        yield piece


@contextmanager
def replacing_s3(buckets: Buckets) -> Iterator[None]:
    """Have the handlers use these buckets, and hide the metrics and logs that they print."""
    s3 = _S3(buckets)
    calls = {name: getattr(s3, name) for name in ("streamed", "read_start", "write", "write_once", "keys")}
    with patch.multiple(aws, **calls), redirect_stdout(io.StringIO()):
        yield
