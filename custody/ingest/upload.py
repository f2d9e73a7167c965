"""Upload a file of any size with boto3, and learn which object version it became."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from boto3.s3.transfer import TransferConfig

from custody.errors import CommandFailed
from custody.terminal.text import visible
from functions.shared.model.ids import RawObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PART_BYTES = 16 * 2**20
"""A file of at least this size is uploaded in parts of at least this size."""

_MAX_PARTS = 10_000
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""

_WORKERS = 4
"""Each holds a part in memory."""

_CREATES_A_VERSION = ("PutObject", "CompleteMultipartUpload")


@dataclass(frozen=True)
class Destination:
    """The bucket and key to upload to; nothing else may upload with the same client meanwhile."""

    s3: "S3Client"
    bucket: str
    key: str


def upload(
    destination: Destination,
    file: Path,
    on_progress: Callable[[int], object] = lambda _: None,
    on_arrival: Callable[[RawObject], object] = lambda _: None,
) -> RawObject:
    """Upload a file and return the object version that it became.

    `on_progress` is called with the number of bytes just sent, `on_arrival` as soon as S3 has confirmed the version.
    Both are called in other threads, so an interrupt cannot come between the version and `on_arrival`.

    Raises CommandFailed if the bucket is not versioned or the file changes meanwhile; OSError, ClientError or
    BotoCoreError. An incomplete upload leaves no parts behind.
    """
    s3, bucket, key = destination.s3, destination.bucket, destination.key
    versions: list[RawObject] = []

    # The open file remains the same file, even if another one takes its name.
    with file.open("rb") as stream:
        source = _Source(file, stream)

        def note_version(parsed: dict[str, Any]) -> None:
            if version_id := parsed.get("VersionId"):
                versions.append(RawObject(bucket, key, version_id, source.size, parsed["ETag"].strip('"')))
                on_arrival(versions[0])

        with _hooks(s3, source.require_unchanged, note_version):
            s3.upload_fileobj(cast("Any", source), bucket, key, Callback=on_progress, Config=_config(source.size))
    if not versions:
        raise CommandFailed(
            f"s3://{bucket} is not versioned, so {key} could change while it is processed. Enable versioning, then "
            "upload it again."
        )
    return versions[0]


class _Source:
    """A file that must not change while it is read.

    It has no seek(), so boto3 reads each part into memory once: the bytes that were checked are those that are sent.
    """

    def __init__(self, file: Path, stream: BinaryIO) -> None:
        self._file = file
        self._stream = stream
        self._state = self._current_state()
        self._read = 0

    @property
    def size(self) -> int:
        """The number of bytes when the file was opened."""
        return self._state[0]

    def read(self, size: int = -1) -> bytes:
        """Read the next bytes; raise CommandFailed if the file has changed."""
        body = self._stream.read(size)
        self._read += len(body)
        if self._current_state() != self._state:
            raise self._changed()
        return body

    def require_unchanged(self) -> None:
        """Raise CommandFailed unless the file is as it was opened, and was read to its end."""
        if self._current_state() != self._state or self._read != self.size:
            raise self._changed()

    def _current_state(self) -> tuple[int, int]:
        status = os.fstat(self._stream.fileno())
        return status.st_size, status.st_mtime_ns

    def _changed(self) -> CommandFailed:
        return CommandFailed(
            f"{visible(str(self._file))} changed during the upload, so nothing was uploaded. Upload it again once "
            "it is complete."
        )


def _config(size: int) -> TransferConfig:
    config = TransferConfig(
        multipart_threshold=PART_BYTES,
        multipart_chunksize=max(PART_BYTES, -(-size // _MAX_PARTS)),
        max_concurrency=_WORKERS,
        preferred_transfer_client="classic",  # the one that calls hooks
    )
    config.max_in_memory_upload_chunks = _WORKERS
    return config


@contextmanager
def _hooks(s3: "S3Client", before: Callable[[], None], after: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Call `before` before each request that creates a version, and `after` with the response once it has succeeded."""

    def before_call(**_: object) -> None:
        before()

    def after_call(http_response: Any, parsed: dict[str, Any], **_: object) -> None:
        if http_response.status_code < 300:  # noqa: PLR2004 - the status codes of success
            after(parsed)

    events = s3.meta.events
    for operation in _CREATES_A_VERSION:
        events.register(f"before-call.s3.{operation}", before_call)
        events.register(f"after-call.s3.{operation}", after_call)
    try:
        yield
    finally:
        for operation in _CREATES_A_VERSION:
            events.unregister(f"before-call.s3.{operation}", before_call)
            events.unregister(f"after-call.s3.{operation}", after_call)
