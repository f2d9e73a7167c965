"""Put a file of any size into a bucket, in parts if it is large, and know which version of the key that became.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from custody.concurrency import map_ordered
from custody.errors import CommandFailed
from custody.terminal.signals import held_back
from custody.terminal.text import visible
from functions.shared.model.ids import RawObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART_BYTES = 16 * 2**20
"""Up to so much goes in one call; of a larger file, so much at least is in each part."""

_PARTS = 10_000
"""Parts that S3 takes at most."""

_WORKERS = 4
"""Each holds a part."""


@dataclass(frozen=True)
class Place:
    """Where a file goes; `arrived` is told what it became, and no signal comes between the two."""

    s3: "S3Client"
    bucket: str
    key: str
    arrived: Callable[[RawObject], object] = lambda _: None

    def became(self, version_id: str | None, etag: str, size: int) -> RawObject:
        """Tell what was put; raise CommandFailed in a bucket without versions, which names none."""
        if not version_id:
            raise CommandFailed(
                f"s3://{self.bucket} keeps no versions, so that {self.key} could change while it is read."
            )
        raw = RawObject(self.bucket, self.key, version_id, size, etag.strip('"'))
        self.arrived(raw)
        return raw


def upload(place: Place, file: Path, sent: Callable[[int], object] = lambda _: None) -> RawObject:
    """Put a file somewhere; `sent` is told how many bytes went, each time some did.

    Raises CommandFailed if the bucket keeps no versions, or if the file changes meanwhile; OSError, ClientError or
    BotoCoreError. Then no part is left behind.
    """
    # What is opened stays the same file, also if another one gets its name.
    with file.open("rb") as stream:
        source = _Source(file, stream.fileno(), _state(stream.fileno()))
        if source.size > PART_BYTES:
            return _in_parts(_Parts(source, place), sent)
        body = source.read(0, source.size)
        with held_back():
            answer = place.s3.put_object(Bucket=place.bucket, Key=place.key, Body=body)
            raw = place.became(answer.get("VersionId"), answer["ETag"], source.size)
        sent(source.size)
        return raw


_State = tuple[int, int]
"""How many bytes a file has, and when it was last changed, in ns."""


def _state(descriptor: int) -> _State:
    found = os.fstat(descriptor)
    return found.st_size, found.st_mtime_ns


@dataclass(frozen=True)
class _Source:
    """An open file, and its state as it was opened."""

    file: Path
    descriptor: int
    state: _State

    @property
    def size(self) -> int:
        """How many bytes it had."""
        return self.state[0]

    def read(self, start: int, number: int) -> bytes:
        """Read so many bytes from `start`; raise CommandFailed if they are not of the file as it was."""
        body = os.pread(self.descriptor, number, start)
        self.require_unchanged()
        if len(body) != number:
            raise self._changed()
        return body

    def require_unchanged(self) -> None:
        """Raise CommandFailed if the file is not as it was."""
        if _state(self.descriptor) != self.state:
            raise self._changed()

    def _changed(self) -> CommandFailed:
        name = visible(str(self.file))
        return CommandFailed(
            f"{name} changed while it was sent; nothing of it was put. Put it again when it is finished."
        )


@dataclass(frozen=True)
class _Parts:
    """A file, and where its parts go."""

    source: _Source
    place: Place

    @property
    def starts(self) -> range:
        """Where each part begins."""
        return range(0, self.source.size, max(PART_BYTES, -(-self.source.size // _PARTS)))

    def put(self, upload_id: str, start: int) -> tuple["CompletedPartTypeDef", int]:
        """Put the part that begins at a byte; say which it is, and how many bytes it has."""
        number = start // self.starts.step + 1
        body = self.source.read(start, min(self.starts.step, self.source.size - start))
        to = self.place
        answer = to.s3.upload_part(Bucket=to.bucket, Key=to.key, UploadId=upload_id, PartNumber=number, Body=body)
        return {"PartNumber": number, "ETag": answer["ETag"]}, len(body)


def _in_parts(parts: _Parts, sent: Callable[[int], object]) -> RawObject:
    to = parts.place
    upload_id = to.s3.create_multipart_upload(Bucket=to.bucket, Key=to.key)["UploadId"]
    try:
        done: list[CompletedPartTypeDef] = []
        for part, number in map_ordered(
            lambda start: parts.put(upload_id, start), parts.starts, _WORKERS, ahead=_WORKERS
        ):
            done.append(part)
            sent(number)
        parts.source.require_unchanged()
        with held_back():
            answer = to.s3.complete_multipart_upload(
                Bucket=to.bucket, Key=to.key, UploadId=upload_id, MultipartUpload={"Parts": done}
            )
            return to.became(answer.get("VersionId"), answer["ETag"], parts.source.size)
    except BaseException:
        _give_up(to, upload_id)
        raise


def _give_up(to: Place, upload_id: str) -> None:
    """Let S3 forget the parts; if it cannot be told, the lifecycle of the bucket forgets them later."""
    try:
        to.s3.abort_multipart_upload(Bucket=to.bucket, Key=to.key, UploadId=upload_id)
    except (ClientError, BotoCoreError):
        return
