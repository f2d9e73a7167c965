"""Put a file of any size into a bucket, in parts if it is large, and know which version of the key that became.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from custody.failure import CommandFailed
from custody.parallel import answers
from functions.shared.identity import RawObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART_BYTES = 16 * 2**20
"""Up to so much goes in one call; of a larger file, so much at least is in each part."""

_PARTS = 10_000
"""Parts that S3 takes at most."""

_WORKERS = 4
"""Each holds a part."""


def upload(
    s3: "S3Client", bucket: str, file: Path, key: str, sent: Callable[[int], object] = lambda _: None
) -> RawObject:
    """Put a file under a key; `sent` is told how many bytes went, each time some did.

    Raises CommandFailed if the bucket keeps no versions, ClientError or BotoCoreError; then no part is left behind.
    """
    size = file.stat().st_size
    if size <= PART_BYTES:
        answer = s3.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())
        sent(size)
        found = _Version(answer.get("VersionId"), answer["ETag"])
    else:
        found = _in_parts(_Parts(s3, bucket, key, file, size), sent)
    if not found.id:
        raise CommandFailed(f"s3://{bucket} keeps no versions, so that {key} could change while it is read.")
    return RawObject(bucket, key, found.id, size, found.etag.strip('"'))


@dataclass(frozen=True)
class _Version:
    """The version that an upload became; `id` is None in a bucket without versions."""

    id: str | None
    etag: str


@dataclass(frozen=True)
class _Parts:
    """A file, and where its parts go."""

    s3: "S3Client"
    bucket: str
    key: str
    file: Path
    size: int

    @property
    def starts(self) -> range:
        """Where each part begins."""
        return range(0, self.size, max(PART_BYTES, -(-self.size // _PARTS)))

    def put(self, upload_id: str, start: int) -> tuple["CompletedPartTypeDef", int]:
        """Put the part that begins at a byte; say which it is, and how many bytes it has."""
        number = start // self.starts.step + 1
        with self.file.open("rb") as stream:
            stream.seek(start)
            body = stream.read(min(self.starts.step, self.size - start))
        etag = self.s3.upload_part(Bucket=self.bucket, Key=self.key, UploadId=upload_id, PartNumber=number, Body=body)[
            "ETag"
        ]
        return {"PartNumber": number, "ETag": etag}, len(body)


def _in_parts(parts: _Parts, sent: Callable[[int], object]) -> _Version:
    upload_id = parts.s3.create_multipart_upload(Bucket=parts.bucket, Key=parts.key)["UploadId"]
    try:
        done: list[CompletedPartTypeDef] = []
        for part, number in answers(lambda start: parts.put(upload_id, start), parts.starts, _WORKERS, ahead=_WORKERS):
            done.append(part)
            sent(number)
        answer = parts.s3.complete_multipart_upload(
            Bucket=parts.bucket, Key=parts.key, UploadId=upload_id, MultipartUpload={"Parts": done}
        )
    except BaseException:
        _give_up(parts, upload_id)
        raise
    return _Version(answer.get("VersionId"), answer["ETag"])


def _give_up(parts: _Parts, upload_id: str) -> None:
    """Let S3 forget the parts; if it cannot be told, the lifecycle of the bucket forgets them later."""
    try:
        parts.s3.abort_multipart_upload(Bucket=parts.bucket, Key=parts.key, UploadId=upload_id)
    except (ClientError, BotoCoreError):
        return
