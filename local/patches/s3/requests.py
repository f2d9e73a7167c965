"""Requests to S3 are answered as on AWS.

- A ranged GET of a version returns the range, without checksums of the whole object; MiniStack returns the whole body.
- A missing key is 404 only for callers that may list the bucket, else 403. The read names no prefix, so a permission to
  list that requires one (`s3:prefix`) does not count; AWS does not document this, and the stricter reading is safe:
  https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
- ListObjectVersions encodes keys as URLs on request, as boto3 does by default. A control character, which XML cannot
  contain, would make the answer for a whole bucket unreadable:
  https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
- A write with `aws:kms` and no key uses the key of the bucket, or else of the account. MiniStack refuses it, and so the
  assets that the CDK publishes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/specifying-kms-encryption.html
- Events of a versioned bucket have a `version-id`: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
- A request over loopback is secure transport; otherwise TLS-only bucket policies would deny every call.
"""

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from local.patches.patch import change, member, module, wrap

_OK = 200
_PARTIAL = 206
_NOT_FOUND = 404
_NOT_SATISFIABLE = 416
_SEQUENCER = '"sequencer": sequencer or "0"}'
_BODY = "_xml_body(root)"
_KEYS = frozenset({"Key", "Prefix", "Delimiter", "KeyMarker", "NextKeyMarker"})
_ENCRYPTION = "x-amz-server-side-encryption"
_KMS_KEY = "x-amz-server-side-encryption-aws-kms-key-id"


def apply() -> None:
    """Wrap what answers reads and writes, and complete listings and events."""
    s3 = module("services.s3")
    for name in ("_qp", "_url_encode", "_parse_range", "_range_error_xml", "_xml_body", "_bucket_default_sse_headers"):
        member(s3, name)
    wrap(s3, "_get_object", _cutting)
    for name in ("_get_object", "_head_object"):
        wrap(s3, name, _hiding)
    change(
        s3,
        "_list_object_versions",
        {_BODY: "_xml_body(_local_encode_keys(root, query_params))"},
        {"_local_encode_keys": _encode_keys},
    )
    wrap(s3, "_resolve_sse_write_headers", _naming_the_key)
    version = '({"version-id": version_id} if version_id else {})'
    change(s3, "_fire_s3_event", {f"{_SEQUENCER},": f"{_SEQUENCER} | {version},"})
    wrap(module("app"), "pin_request_origin", _securing)


def _cutting(get: Callable[..., Any]) -> Callable[..., Any]:
    s3 = module("services.s3")

    def get_range(bucket: str, key: str, headers: dict[str, str], query: dict[str, Any] | None = None) -> Any:
        answer = get(bucket, key, headers, query)
        status, answer_headers, body = answer
        requested = headers.get("range")
        if status != _OK or not requested or "versionId" not in (query or {}):
            return answer
        bounds = s3._parse_range(requested, len(body))  # noqa: SLF001
        if bounds is None:
            refused = {"Content-Type": "application/xml", "Content-Range": f"bytes */{len(body)}"}
            return _NOT_SATISFIABLE, refused, s3._xml_body(s3._range_error_xml(bucket, key))  # noqa: SLF001
        first, last = bounds
        cut = body[first : last + 1]
        kept = {k: v for k, v in answer_headers.items() if not k.lower().startswith("x-amz-checksum-")}
        kept |= {"Content-Length": str(len(cut)), "Content-Range": f"bytes {first}-{last}/{len(body)}"}
        return _PARTIAL, kept, cut

    return get_range


def _hiding(read: Callable[..., Any]) -> Callable[..., Any]:
    app = module("app")
    enforce, caller = member(app, "_enforce_data_plane"), member(app, "extract_access_key_id")

    def read_or_refuse(bucket: str, key: str, headers: Any = None, query: Any = None) -> Any:
        answer = read(bucket, key, headers, query)
        if answer[0] != _NOT_FOUND or b"NoSuchKey" not in answer[2] or not caller(headers or {}, query or {}):
            return answer
        arn = f"arn:aws:s3:::{bucket}"
        named = f'"{arn}"'
        denied = enforce("s3", "s3:ListBucket", headers, query or {}, "", resource_arn=arn, named_resource=named)
        return denied or answer

    return read_or_refuse


def _encode_keys(root: Any, query: Any) -> Any:
    s3 = module("services.s3")
    if s3._qp(query, "encoding-type") != "url":  # noqa: SLF001
        return root
    for element in root.iter():
        if element.tag in _KEYS:
            element.text = s3._url_encode(element.text or "")  # noqa: SLF001
    encoding = root.makeelement("EncodingType", {})
    encoding.text = "url"
    root.append(encoding)
    return root


def _naming_the_key(resolve: Callable[..., Any]) -> Callable[..., Any]:
    s3, responses = module("services.s3"), module("core.responses")

    def resolve_with_key(headers: dict[str, str], bucket: str) -> Any:
        if headers.get(_ENCRYPTION) == "aws:kms" and not headers.get(_KMS_KEY):
            of_account = f"arn:aws:kms:{responses.get_region()}:{responses.get_account_id()}:alias/aws/s3"
            key = s3._bucket_default_sse_headers(bucket).get(_KMS_KEY, of_account)  # noqa: SLF001
            headers = {**headers, _KMS_KEY: key}
        return resolve(headers, bucket)

    return resolve_with_key


def _securing(pin: Callable[..., Any]) -> Callable[..., Any]:
    def pin_origin(source: str, secure: bool) -> None:  # noqa: FBT001 - MiniStack's signature
        pin(source, secure or ip_address(source).is_loopback)

    return pin_origin
