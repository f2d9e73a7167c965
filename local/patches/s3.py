"""Requests to S3 are answered as on AWS.

- A ranged GET of a version returns the range, without checksums of the whole object; MiniStack returns the whole body.
- A large body is sent in pieces. MiniStack passes it to the socket as a whole: readers that are slow, or that leave
  before the end as those of chunks do, would need gigabytes.
- A missing key is 404 only for callers that may list the bucket, else 403. The read names no prefix, so a permission to
  list that requires one (`s3:prefix`) does not count; AWS does not document this, and the stricter reading is safe:
  https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
- A key has at most 1,024 bytes in UTF-8, and may hold a line feed, which a `*` in a policy matches too:
  https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
- ListObjectVersions encodes keys as URLs on request, as boto3 does by default. A control character, which XML cannot
  contain, would make the answer for a whole bucket unreadable:
  https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
- A write with `aws:kms` and no key uses the key of the bucket, or else of the account. MiniStack refuses it, and so the
  assets that the CDK publishes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/specifying-kms-encryption.html
- Events of a versioned bucket have a `version-id`: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
- A request over loopback is secure transport; otherwise TLS-only bucket policies would deny every call.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any

from local.patches.patch import change, module, wrap

_PIECE = 256 * 1024
_LONGEST_KEY = 1024
_SEQUENCER = '"sequencer": sequencer or "0"}'
_KEYS = frozenset({"Key", "Prefix", "Delimiter", "KeyMarker", "NextKeyMarker"})
_LINE_FEEDS = "(re.IGNORECASE if ignore_case else 0) | re.DOTALL"
_ENCRYPTION = "x-amz-server-side-encryption"
_KMS_KEY = "x-amz-server-side-encryption-aws-kms-key-id"

app, s3, responses = module("app"), module("services.s3"), module("core.responses")


def apply() -> None:
    """Wrap what answers reads and writes, and complete listings and events."""
    wrap(s3, "_get_object", _cut)
    for name in ("_get_object", "_head_object"):
        wrap(s3, name, _hide)
    wrap(s3, "_dispatch", _stream)
    wrap(s3, "_dispatch", _limit)
    change(module("core.iam_evaluator"), "_fnmatch_compile", {"re.IGNORECASE if ignore_case else 0": _LINE_FEEDS})
    change(
        s3,
        "_list_object_versions",
        {"_xml_body(root)": "_xml_body(_local_encode_keys(root, query_params))"},
        {"_local_encode_keys": _encode_keys},
    )
    wrap(s3, "_resolve_sse_write_headers", _name_the_key)
    version = '({"version-id": version_id} if version_id else {})'
    change(s3, "_fire_s3_event", {f"{_SEQUENCER},": f"{_SEQUENCER} | {version},"})
    wrap(app, "pin_request_origin", lambda pin, source, secure: pin(source, secure or ip_address(source).is_loopback))


def _cut(get: Callable[..., Any], bucket: str, key: str, headers: dict[str, str], query: Any = None) -> Any:
    answer = status, answer_headers, body = get(bucket, key, headers, query)
    requested = headers.get("range")
    if status != HTTPStatus.OK or not requested or "versionId" not in (query or {}):
        return answer
    bounds = s3._parse_range(requested, len(body))
    if bounds is None:
        refused = {"Content-Type": "application/xml", "Content-Range": f"bytes */{len(body)}"}
        error = s3._xml_body(s3._range_error_xml(bucket, key))
        return HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE.value, refused, error
    first, last = bounds
    kept = {name: value for name, value in answer_headers.items() if not name.lower().startswith("x-amz-checksum-")}
    kept |= {"Content-Length": str(last + 1 - first), "Content-Range": f"bytes {first}-{last}/{len(body)}"}
    return HTTPStatus.PARTIAL_CONTENT.value, kept, memoryview(body)[first : last + 1]


def _stream(dispatch: Callable[..., Any], *request: Any) -> Any:
    status, headers, body = dispatch(*request)
    module("core.iam_evaluator")._signed_request.set(None)  # it holds the body, and an idle connection holds it
    if isinstance(body, bytes | memoryview) and len(body) > _PIECE:
        headers.setdefault("Content-Length", str(len(body)))
        return status, headers, responses.StreamingResponse(_sender(memoryview(body)))
    return status, headers, bytes(body) if isinstance(body, memoryview) else body


def _limit(dispatch: Callable[..., Any], method: str, bucket: str, key: str, *request: Any) -> Any:
    if len(key.encode(errors="surrogatepass")) > _LONGEST_KEY:
        return s3._error("KeyTooLongError", "Your key is too long", HTTPStatus.BAD_REQUEST.value)
    return dispatch(method, bucket, key, *request)


def _sender(body: memoryview) -> Callable[..., Any]:
    async def send_all(send: Callable[..., Any], receive: Callable[..., Any]) -> None:
        gone = asyncio.ensure_future(_disconnect(receive))
        try:
            for start in range(0, len(body), _PIECE):
                if gone.done():
                    return  # unsent pieces would accumulate in memory
                piece = bytes(body[start : start + _PIECE])
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await asyncio.sleep(0)  # let the task that notices a disconnect run
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()

    return send_all


async def _disconnect(receive: Callable[..., Any]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _hide(read: Callable[..., Any], bucket: str, key: str, headers: Any = None, query: Any = None) -> Any:
    answer = read(bucket, key, headers, query)
    if answer[0] != HTTPStatus.NOT_FOUND or b"NoSuchKey" not in answer[2]:
        return answer
    if not app.extract_access_key_id(headers or {}, query or {}):
        return answer
    arn = f"arn:aws:s3:::{bucket}"
    refused = app._enforce_data_plane(
        "s3", "s3:ListBucket", headers, query or {}, "", resource_arn=arn, named_resource=f'"{arn}"'
    )
    return refused or answer


def _encode_keys(root: Any, query: Any) -> Any:
    if s3._qp(query, "encoding-type") != "url":
        return root
    for element in root.iter():
        if element.tag in _KEYS:
            element.text = s3._url_encode(element.text or "")
    encoding = root.makeelement("EncodingType", {})
    encoding.text = "url"
    root.append(encoding)
    return root


def _name_the_key(resolve: Callable[..., Any], headers: dict[str, str], bucket: str) -> Any:
    if headers.get(_ENCRYPTION) == "aws:kms" and not headers.get(_KMS_KEY):
        of_account = f"arn:aws:kms:{responses.get_region()}:{responses.get_account_id()}:alias/aws/s3"
        headers = {**headers, _KMS_KEY: s3._bucket_default_sse_headers(bucket).get(_KMS_KEY, of_account)}
    return resolve(headers, bucket)
