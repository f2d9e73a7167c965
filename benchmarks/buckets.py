"""S3 without a network: the handlers run unchanged on folders, in memory where the machine has such a file system."""

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO
from unittest.mock import patch

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
    "JSON_LINES_SUFFIXES": ".jsonl,.ndjson",
    "INLINE_LIMIT_BYTES": str(2**16),
    "PIPELINE_ARN": "arn:aws:states:us-east-1:123456789012:stateMachine:pipeline",
    "POWERTOOLS_LOG_LEVEL": "CRITICAL",
    "POWERTOOLS_SERVICE_NAME": "benchmark",
    "PROCESSED_BUCKET": "processed",
    "RAW_PREFIX": "",
    "SKIP_MARKERS": "true",
    "STAGING_BUCKET": "staging",
    "TOLERATED_REJECTS_PERCENT": "0",
}
"""What the handlers read when they are imported."""

LAST_MODIFIED = "2026-11-23T09:00:00Z"
VERSION = "1"


class Buckets:
    """Buckets in a folder, with the calls of `functions.shared.aws` that the three stages make."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, bucket: str, key: str) -> Path:
        return self._folder / bucket / key

    def body(self, bucket: str, key: str) -> bytes:
        """Return the body of an object."""
        return self._path(bucket, key).read_bytes()

    @contextmanager
    def streamed(
        self, bucket: str, key: str, _: str | None = None, span: tuple[int, int] | None = None
    ) -> Iterator[Streamed]:
        """Open an object, or a span of it, for reading in pieces."""
        with self._path(bucket, key).open("rb") as body:
            start, end = span or (0, os.fstat(body.fileno()).st_size)
            body.seek(start)
            yield Streamed(_pieces(body, end - start), LAST_MODIFIED)

    def read(self, bucket: str, key: str, length: int | None = None) -> bytes:
        """Read an object, or its first bytes."""
        with self._path(bucket, key).open("rb") as body:
            return body.read(length)

    def write(self, bucket: str, key: str, body: Body, _: str = "") -> str:
        """Write an object, and return its version."""
        path = self._path(bucket, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        source = io.BytesIO(body) if isinstance(body, bytes) else body
        source.seek(0)
        with path.open("wb") as file:
            file.writelines(iter(partial(source.read, PIECE_BYTES), b""))
        return VERSION

    def write_once(self, bucket: str, key: str, body: Body, content_type: str) -> bool:
        """Write an object unless it exists; return whether it was written."""
        return not self._path(bucket, key).exists() and bool(self.write(bucket, key, body, content_type))

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """List the keys with a prefix, sorted."""
        root = self._folder / bucket
        keys = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        return sorted(key for key in keys if key.startswith(prefix))


def _pieces(body: IO[bytes], length: int) -> Iterator[bytes]:
    while piece := body.read(min(PIECE_BYTES, length)):
        length -= len(piece)
        yield piece


@contextmanager
def empty_buckets() -> Iterator[Buckets]:
    """Provide buckets in a temporary folder: in memory if the machine allows it, so that no disk is timed."""
    memory = Path("/dev/shm")  # noqa: S108 - a random folder in it
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Buckets(Path(folder))


@contextmanager
def replacing_s3(buckets: Buckets) -> Iterator[None]:
    """Have the handlers use these buckets, and hide the metrics and logs that they print."""
    calls = {name: getattr(buckets, name) for name in ("streamed", "read", "write", "write_once", "keys")}
    with patch.multiple(aws, **calls), redirect_stdout(io.StringIO()):
        yield
