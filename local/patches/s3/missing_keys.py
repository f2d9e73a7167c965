"""A key that is not there is 404 only for who may list the bucket; for others it is 403.

MiniStack always says 404, so that code which waits for NoSuchKey works here and fails on AWS:
https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html. The read names no prefix, so that a permission to
list which demands one (`s3:prefix`) is none for this; AWS does not say so, and the stricter reading is safe.
"""

from collections.abc import Callable
from typing import Any

from local.patches.patch import member, module, wrap

_NOT_FOUND = 404


def fill() -> None:
    """Ask whether the caller may list before saying that a key is not there."""
    s3, app = module("services.s3"), module("app")
    enforce, caller = member(app, "_enforce_data_plane"), member(app, "extract_access_key_id")

    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        def read(bucket: str, key: str, headers: Any = None, query: Any = None) -> Any:
            answer = original(bucket, key, headers, query)
            if answer[0] != _NOT_FOUND or b"NoSuchKey" not in answer[2] or not caller(headers or {}, query or {}):
                return answer
            arn = f"arn:aws:s3:::{bucket}"
            named = f'"{arn}"'
            denied = enforce("s3", "s3:ListBucket", headers, query or {}, "", resource_arn=arn, named_resource=named)
            return denied or answer

        return read

    for name in ("_get_object", "_head_object"):
        wrap(s3, name, around)
