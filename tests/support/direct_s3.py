"""Answer the usual calls to S3 from moto's objects, which takes a fifth of the time of HTTP requests.

moto handles as a request whatever is unusual: most errors, a locked bucket, a list of more than one page.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO, IOBase
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.endpoint import Endpoint
from botocore.response import StreamingBody
from botocore.useragent import UserAgentString
from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT_ID
from moto.s3.models import FakeBucket, FakeDeleteMarker, FakeKey, s3_backends

_OBJECT = {"Bucket", "Key", "VersionId"}
_LIST = {"Bucket", "Prefix", "EncodingType"}
_USUAL = {
    "PutObject": {"Bucket", "Key", "Body", "ContentType", "IfNoneMatch"},
    "GetObject": _OBJECT | {"Range", "ChecksumMode"},
    "HeadObject": _OBJECT,
    "ListObjectsV2": _LIST | {"Delimiter"},
    "ListObjectVersions": _LIST | {"MaxKeys"},
}
_PAGE = 1_000
_SPAN = re.compile(r"bytes=(\d+)-(\d*)")
_TAKEN: dict[str, Any] = {
    "Error": {"Code": "PreconditionFailed", "Message": "The key is taken"},
    "ResponseMetadata": {"HTTPStatusCode": 412},
}


@contextmanager
def direct_calls() -> Iterator[None]:
    """Answer the usual calls of all clients in this process."""
    request = Endpoint.make_request

    def make_request(endpoint: Endpoint, operation: Any, request_dict: dict[str, Any]) -> Any:
        # Clients of S3 keep the parameters there, to repeat a call in another region.
        parameters = request_dict["context"].get("s3_redirect", {}).get("params", {})
        answer = _answer(operation.name, parameters)
        if answer is None:
            return request(endpoint, operation, request_dict)
        return SimpleNamespace(status_code=412 if answer is _TAKEN else 200), answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Endpoint, "make_request", make_request)
        # It is composed anew for each call.
        patch.setattr(UserAgentString, "to_string", lambda _: "tests")
        yield


def _answer(operation: str, parameters: dict[str, Any]) -> dict[str, Any] | None:
    """Answer a call; None if moto must."""
    bucket = s3_backends[ACCOUNT_ID]["aws"].buckets.get(parameters.get("Bucket", ""))
    if bucket is None or not bucket.is_versioned or parameters.keys() - _USUAL.get(operation, set()):
        return None
    match operation:
        case "PutObject":
            return _put(bucket, parameters["Key"], parameters.get("Body", b""), parameters)
        case "GetObject" | "HeadObject":
            return _object(bucket, parameters, reads=operation == "GetObject")
        case "ListObjectsV2":
            return _list(bucket, parameters.get("Prefix"), parameters.get("Delimiter"))
        case _:
            return _list_versions(bucket, parameters.get("Prefix", ""), parameters.get("MaxKeys", _PAGE))


def _put(bucket: FakeBucket, key: str, body: Any, parameters: dict[str, Any]) -> dict[str, Any] | None:
    if bucket.object_lock_enabled or not isinstance(body, bytes | IOBase):
        return None
    if "IfNoneMatch" in parameters and isinstance(bucket.keys.get(key), FakeKey):
        return _TAKEN
    content = body if isinstance(body, bytes) else body.read()
    stored = s3_backends[ACCOUNT_ID]["aws"].put_object(bucket.name, key, content)
    stored.set_metadata({"Content-Type": parameters.get("ContentType", "binary/octet-stream")})
    return {"ETag": stored.etag, "VersionId": stored.version_id}


def _object(bucket: FakeBucket, parameters: dict[str, Any], *, reads: bool) -> dict[str, Any] | None:
    stored = s3_backends[ACCOUNT_ID]["aws"].get_object(bucket.name, parameters["Key"], parameters.get("VersionId"))
    span = _SPAN.fullmatch(parameters.get("Range", "bytes=0-"))
    if stored is None or span is None or ("Range" in parameters and int(span[1]) >= stored.size):
        return None
    length, answer = stored.size, {}
    if reads:
        body = stored.value[int(span[1]) : int(span[2] or stored.size) + 1]
        length, answer = len(body), {"Body": StreamingBody(BytesIO(body), len(body))}
    described = {"ContentType": stored.metadata["Content-Type"], "ContentLength": length, "Metadata": {}}
    return answer | described | {"ETag": stored.etag, "LastModified": _time(stored), "VersionId": stored.version_id}


def _list(bucket: FakeBucket, prefix: str | None, delimiter: str | None) -> dict[str, Any] | None:
    keys, folders, *_ = s3_backends[ACCOUNT_ID]["aws"].list_objects(bucket, prefix, delimiter, None, None)
    if len(keys) + len(folders) > _PAGE:
        return None
    listed = {"Contents": list(map(_entry, keys)), "CommonPrefixes": [{"Prefix": folder} for folder in folders]}
    return {"KeyCount": len(keys) + len(folders)} | {name: each for name, each in listed.items() if each}


def _list_versions(bucket: FakeBucket, prefix: str, most: int) -> dict[str, Any] | None:
    versions = [each for _, stored in bucket.keys.iterlists() for each in stored if each.name.startswith(prefix)]
    if len(versions) > most:
        return None
    versions.sort(key=lambda each: (each.name, -each.last_modified.timestamp()))
    listed: dict[str, Any] = {"IsTruncated": False}
    latest = None
    for each in versions:
        entry = {"VersionId": each.version_id, "IsLatest": each.name != latest}
        latest = each.name
        kind = "DeleteMarkers" if isinstance(each, FakeDeleteMarker) else "Versions"
        listed.setdefault(kind, []).append(_entry(each) | entry)
    return listed


def _entry(stored: FakeKey | FakeDeleteMarker) -> dict[str, Any]:
    entry = {"Key": stored.name, "LastModified": _time(stored)}
    return entry if isinstance(stored, FakeDeleteMarker) else entry | {"ETag": stored.etag, "Size": stored.size}


def _time(stored: FakeKey | FakeDeleteMarker) -> datetime:
    return stored.last_modified.replace(microsecond=0, tzinfo=UTC)
