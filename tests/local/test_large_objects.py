"""Objects of tens of megabytes are uploaded, published and read as on AWS, in little memory."""

import base64
import hashlib
import http.client
import io
import json
import random
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

import local
from tests.support.embedded_aws import EmbeddedAws

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

MIB = 1024 * 1024
LARGE = random.Random(4).randbytes(48 * MIB)  # noqa: S311 - only its size matters
SUM = hashlib.md5(LARGE, usedforsecurity=False).hexdigest()


@pytest.fixture(scope="module")
def bucket(cloud: EmbeddedAws) -> str:
    return versioned(cloud, "large")


def versioned(cloud: EmbeddedAws, name: str) -> str:
    cloud.s3.create_bucket(Bucket=name)
    cloud.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


def digest(answer: "GetObjectOutputTypeDef") -> str:
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
    put: list[Callable[[], Any]] = [
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
    assert peak(cloud) < 400, "eight readers and four writers of 48 MiB each"


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


def test_a_multipart_upload_is_published_once(cloud: EmbeddedAws) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-event-types-and-destinations.html."""
    bucket = versioned(cloud, "parts")
    url, arn = cloud.queue("parts")
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    cloud.queues.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Statement": [statement]})})
    cloud.s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]},
    )
    cloud.s3.upload_fileobj(io.BytesIO(LARGE), bucket, "a b.jsonl")
    head = cloud.s3.head_object(Bucket=bucket, Key="a b.jsonl")
    _, event = cloud.received(url, 2)  # the first is s3:TestEvent
    (record,) = event["Records"]
    assert record["eventName"] == "ObjectCreated:CompleteMultipartUpload"
    assert record["s3"]["object"].pop("sequencer")
    assert record["s3"]["object"] == {
        "key": "a+b.jsonl",
        "size": len(LARGE),
        "eTag": head["ETag"].strip('"'),
        "versionId": head["VersionId"],
    }
    assert head["ETag"].endswith('-6"'), "48 MiB in parts of 8 MiB"
    named: Any = {"Bucket": bucket, "Key": "a b.jsonl", "VersionId": head["VersionId"]}
    assert digest(cloud.s3.get_object(**named)) == SUM


@pytest.mark.parametrize("checksum", ["right", "wrong"])
def test_a_body_in_signed_chunks_with_a_trailing_checksum_is_stored_intact(
    cloud: EmbeddedAws, bucket: str, checksum: str
) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html: boto3 sends it so over TLS."""
    body = LARGE[: 2 * MIB + 5]
    sent = io.BytesIO()
    for start in range(0, len(body), MIB):
        chunk = body[start : start + MIB]
        sent.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
    summed = zlib.crc32(body if checksum == "right" else b"other").to_bytes(4, "big")
    sent.write(b"0\r\nx-amz-checksum-crc32:%b\r\n\r\n" % base64.b64encode(summed))
    url = urlsplit(
        cloud.s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": f"chunked-{checksum}"})
    )
    connection = http.client.HTTPConnection(url.netloc)
    headers = {
        "Content-Encoding": "aws-chunked",
        "X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "X-Amz-Decoded-Content-Length": str(len(body)),
        "X-Amz-Trailer": "x-amz-checksum-crc32",
    }
    connection.request("PUT", f"{url.path}?{url.query}", sent.getvalue(), headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    if checksum == "wrong":
        assert (answer.status, "BadDigest" in text) == (400, True)
    else:
        assert answer.status == 200, text
        assert cloud.s3.get_object(Bucket=bucket, Key="chunked-right")["Body"].read() == body


def test_large_versions_survive_a_restart(tmp_path: Path) -> None:
    bodies = {"first": LARGE[:MIB], "second": LARGE[MIB : 3 * MIB]}
    up = EmbeddedAws(local.start(tmp_path, persist=True))
    versioned(up, "kept")
    versions = {key: up.s3.put_object(Bucket="kept", Key="a", Body=body)["VersionId"] for key, body in bodies.items()}
    up.close()
    local.stop(tmp_path)
    up = EmbeddedAws(local.start(tmp_path, persist=True))
    try:
        for key, version in versions.items():
            part = up.s3.get_object(Bucket="kept", Key="a", VersionId=version, Range="bytes=7-")["Body"].read()
            assert part == bodies[key][7:]
        assert up.s3.get_object(Bucket="kept", Key="a")["Body"].read() == bodies["second"]
    finally:
        up.close()
        local.stop(tmp_path)
