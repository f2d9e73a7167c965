"""Objects of tens of megabytes are uploaded and read as on AWS, without a copy for each reader."""

import hashlib
import io
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.embedded_aws import EmbeddedAws

MIB = 1024 * 1024
LARGE = random.Random(4).randbytes(48 * MIB)  # noqa: S311 - only its size matters
SUM = hashlib.md5(LARGE, usedforsecurity=False).hexdigest()


@pytest.fixture(scope="module")
def bucket(cloud: EmbeddedAws) -> str:
    cloud.s3.create_bucket(Bucket="large")
    cloud.s3.put_bucket_versioning(Bucket="large", VersioningConfiguration={"Status": "Enabled"})
    return "large"


def digest(answer: Any) -> str:
    """Read an object piece by piece."""
    digest = hashlib.md5(usedforsecurity=False)
    for piece in answer["Body"].iter_chunks(64 * 1024):
        digest.update(piece)
    return digest.hexdigest()


def peak(cloud: EmbeddedAws) -> int:
    """Return the peak memory of the server, in MiB."""
    status = Path(f"/proc/{cloud.instance.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the memory of a process is read from /proc")
def test_large_objects_need_little_memory(cloud: EmbeddedAws, bucket: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(LARGE)
    put: list[Any] = [
        lambda: cloud.s3.put_object(Bucket=bucket, Key="raw", Body=LARGE),
        lambda: cloud.s3.put_object(Bucket=bucket, Key="staged", Body=io.BytesIO(LARGE)),
        lambda: cloud.s3.upload_file(str(file), bucket, "processed"),
        lambda: cloud.s3.upload_file(str(file), bucket, "ledger"),
    ]
    with ThreadPoolExecutor() as pool:
        for future in [pool.submit(upload) for upload in put]:
            future.result()
        read = pool.map(lambda key: digest(cloud.s3.get_object(Bucket=bucket, Key=key)), ["raw", "ledger"] * 4)
        assert set(read) == {SUM}
    for _ in range(8):  # readers that leave before the end
        body = cloud.s3.get_object(Bucket=bucket, Key="staged")["Body"]
        assert body.read(3) == LARGE[:3]
        body.close()
    cloud.s3.put_object(Bucket=bucket, Key="later", Body=b"")
    assert peak(cloud) < 500, "eight readers and four writers of 48 MiB each"


def test_an_overwritten_version_is_read_whole_and_in_ranges(cloud: EmbeddedAws, bucket: str) -> None:
    body = LARGE[: 3 * MIB + 1]
    version = cloud.s3.put_object(Bucket=bucket, Key="old", Body=body)["VersionId"]
    cloud.s3.put_object(Bucket=bucket, Key="old", Body=b"new")
    named: Any = {"Bucket": bucket, "Key": "old", "VersionId": version}
    assert cloud.s3.get_object(**named)["Body"].read() == body
    assert cloud.s3.head_object(**named)["ContentLength"] == len(body)
    part = cloud.s3.get_object(**named, Range=f"bytes={MIB - 1}-{2 * MIB}")
    assert (part["ContentRange"], part["ContentLength"]) == (f"bytes {MIB - 1}-{2 * MIB}/{len(body)}", MIB + 2)
    assert part["Body"].read() == body[MIB - 1 : 2 * MIB + 1]
    last = cloud.s3.get_object(**named, Range="bytes=-1")["Body"].read()
    assert last == body[-1:]
    cloud.s3.copy_object(Bucket=bucket, Key="copy", CopySource=named)
    assert cloud.s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == body
    assert cloud.s3.get_object(Bucket=bucket, Key="old")["Body"].read() == b"new"
    cloud.s3.delete_object(
        Bucket=bucket, Key="old", VersionId=cloud.s3.head_object(Bucket=bucket, Key="old")["VersionId"]
    )
    assert cloud.s3.get_object(Bucket=bucket, Key="old")["Body"].read() == body
