"""Upload a file of any size with boto3, and learn which object version it became."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from boto3.s3.transfer import TransferConfig

from custody.errors import CommandFailed
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
_SOURCE = "custody_source"
"""Where the hooks of a request keep what it sends."""


class Uploader:
    """Uploads to a bucket, several files at a time; large ones, whose parts are sent together, one after the other.

    `arrived` are the object versions so far. They are noted as soon as S3 has confirmed them, in another thread, so an
    interrupt cannot come between the two. Nothing else may write to these keys with the same client meanwhile.
    """

    def __init__(self, s3: "S3Client", bucket: str) -> None:
        self.arrived: list[RawObject] = []
        self._s3 = s3
        self._bucket = bucket
        self._sources: dict[str, _Source] = {}
        self._large = Lock()
        self._is_stopped = False
        for operation in _CREATES_A_VERSION:
            s3.meta.events.register(f"before-parameter-build.s3.{operation}", self._before_build)
            s3.meta.events.register(f"before-call.s3.{operation}", self._before_call)
            s3.meta.events.register(f"after-call.s3.{operation}", self._after_call)

    def stop(self) -> None:
        """Make uploads that are running fail."""
        self._is_stopped = True

    def upload(self, file: Path, key: str, on_progress: Callable[[int], object] = lambda _: None) -> RawObject:
        """Upload a file; `on_progress` is called with the number of bytes just sent, in other threads.

        Raises CommandFailed if the bucket is not versioned or the file changes meanwhile; OSError, ClientError or
        BotoCoreError. An incomplete upload leaves no parts behind.
        """

        def advance(number: int) -> None:
            if self._is_stopped:
                raise CommandFailed(f"The upload of {key} was stopped, and nothing of it remains.")
            on_progress(number)

        # The open file remains the same file, even if another one takes its name.
        with file.open("rb") as stream:
            source = _Source(file, stream, key)
            config = TransferConfig(
                multipart_threshold=PART_BYTES,
                multipart_chunksize=max(PART_BYTES, -(-source.size // _MAX_PARTS)),
                max_concurrency=_WORKERS,
                preferred_transfer_client="classic",  # the one that calls hooks
            )
            config.max_in_memory_upload_chunks = _WORKERS
            self._sources[key] = source
            try:
                with self._large if source.size >= PART_BYTES else nullcontext():
                    body = cast("Any", source)
                    self._s3.upload_fileobj(body, self._bucket, key, Callback=advance, Config=config)
            finally:
                del self._sources[key]
        if source.arrived is None:
            raise CommandFailed(
                f"s3://{self._bucket} is not versioned, so {key} could change while it is processed. Enable "
                "versioning, then upload it again."
            )
        return source.arrived

    def _before_build(self, params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
        context[_SOURCE] = self._sources.get(params["Key"])

    def _before_call(self, context: dict[str, Any], **_: object) -> None:
        """Check the source before each request that creates a version."""
        if source := context.get(_SOURCE):
            source.require_unchanged()

    def _after_call(self, http_response: Any, parsed: dict[str, Any], context: dict[str, Any], **_: object) -> None:
        """Note the version when the request has succeeded."""
        source, version = context.get(_SOURCE), parsed.get("VersionId")
        if source and version and http_response.status_code == 200:  # noqa: PLR2004 - OK
            source.arrived = RawObject(self._bucket, source.key, version, source.size, parsed["ETag"].strip('"'))
            self.arrived.append(source.arrived)


class _Source:
    """A file that must not change while it is read.

    It has no seek(), so boto3 reads each part into memory once: the bytes that were checked are those that are sent.
    """

    def __init__(self, file: Path, stream: BinaryIO, key: str) -> None:
        self.key = key
        self.arrived: RawObject | None = None
        self._file = file
        self._stream = stream
        self._state = self._current_state()

    @property
    def size(self) -> int:
        """The number of bytes when the file was opened."""
        return self._state[0]

    def read(self, size: int = -1) -> bytes:
        """Read the next bytes; raise CommandFailed if the file has changed."""
        body = self._stream.read(size)
        self._require(self._stream.tell() <= self.size)
        return body

    def require_unchanged(self) -> None:
        """Raise CommandFailed unless the file is as it was opened, and was read to its end."""
        self._require(self._stream.tell() == self.size)

    def _require(self, is_in_place: bool) -> None:  # noqa: FBT001 - private
        if not is_in_place or self._current_state() != self._state:
            raise CommandFailed(
                f"{self._file} changed during the upload, so nothing was uploaded. Upload it again once it is complete."
            )

    def _current_state(self) -> tuple[int, int]:
        status = os.fstat(self._stream.fileno())
        return status.st_size, status.st_mtime_ns
