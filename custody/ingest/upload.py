"""Upload a file of any size with boto3, and learn which object version it became."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


class Uploader:
    """Uploads to a bucket; nothing else may create objects with the same client meanwhile.

    `arrived` are the object versions so far. They are noted as soon as S3 has confirmed them, in another thread, so an
    interrupt cannot come between the two.
    """

    def __init__(self, s3: "S3Client", bucket: str) -> None:
        self.arrived: list[RawObject] = []
        self._s3 = s3
        self._bucket = bucket

    def upload(self, file: Path, key: str, on_progress: Callable[[int], object] = lambda _: None) -> RawObject:
        """Upload a file; `on_progress` is called with the number of bytes just sent, in other threads.

        Raises CommandFailed if the bucket is not versioned or the file changes meanwhile; OSError, ClientError or
        BotoCoreError. An incomplete upload leaves no parts behind.
        """
        number = len(self.arrived)
        # The open file remains the same file, even if another one takes its name.
        with file.open("rb") as stream:
            source = _Source(file, stream)
            config = TransferConfig(
                multipart_threshold=PART_BYTES,
                multipart_chunksize=max(PART_BYTES, -(-source.size // _MAX_PARTS)),
                max_concurrency=_WORKERS,
                preferred_transfer_client="classic",  # the one that calls hooks
            )
            config.max_in_memory_upload_chunks = _WORKERS
            with self._hooks(source, key):
                body = cast("Any", source)
                self._s3.upload_fileobj(body, self._bucket, key, Callback=on_progress, Config=config)
        if len(self.arrived) == number:
            raise CommandFailed(
                f"s3://{self._bucket} is not versioned, so {key} could change while it is processed. Enable "
                "versioning, then upload it again."
            )
        return self.arrived[-1]

    @contextmanager
    def _hooks(self, source: "_Source", key: str) -> Iterator[None]:
        """Check the source before each request that creates a version, and note the version when it has succeeded."""

        def before_call(**_: object) -> None:
            source.require_unchanged()

        def after_call(http_response: Any, parsed: dict[str, Any], **_: object) -> None:
            if http_response.status_code == 200 and (version := parsed.get("VersionId")):  # noqa: PLR2004 - OK
                self.arrived.append(RawObject(self._bucket, key, version, source.size, parsed["ETag"].strip('"')))

        events = self._s3.meta.events
        hooks: list[tuple[str, Callable[..., None]]] = []
        for operation in _CREATES_A_VERSION:
            hooks += [(f"before-call.s3.{operation}", before_call), (f"after-call.s3.{operation}", after_call)]
        for event, hook in hooks:
            events.register(event, hook)
        try:
            yield
        finally:
            for event, hook in hooks:
                events.unregister(event, hook)


class _Source:
    """A file that must not change while it is read.

    It has no seek(), so boto3 reads each part into memory once: the bytes that were checked are those that are sent.
    """

    def __init__(self, file: Path, stream: BinaryIO) -> None:
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
                f"{visible(str(self._file))} changed during the upload, so nothing was uploaded. Upload it again once "
                "it is complete."
            )

    def _current_state(self) -> tuple[int, int]:
        status = os.fstat(self._stream.fileno())
        return status.st_size, status.st_mtime_ns
