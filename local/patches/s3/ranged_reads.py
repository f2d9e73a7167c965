"""A ranged GET of a version answers the range.

MiniStack answers the whole body when a version is named. AWS answers 206 with Content-Range, and leaves out checksums
of the whole object: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html.
"""

from collections.abc import Callable
from typing import Any

from local.patches.patch import member, module, wrap

_OK = 200
_PARTIAL = 206
_NOT_SATISFIABLE = 416


def fill() -> None:
    """Cut the range out of what MiniStack answers."""
    s3 = module("services.s3")
    parse, error_body, render = (member(s3, name) for name in ("_parse_range", "_range_error_xml", "_xml_body"))

    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        def get_object(bucket: str, key: str, headers: dict[str, str], query: dict[str, Any] | None = None) -> Any:
            answer = original(bucket, key, headers, query)
            status, answer_headers, body = answer
            wanted = headers.get("range")
            if status != _OK or not wanted or "versionId" not in (query or {}):
                return answer
            found = parse(wanted, len(body))
            if found is None:
                refused = {"Content-Type": "application/xml", "Content-Range": f"bytes */{len(body)}"}
                return _NOT_SATISFIABLE, refused, render(error_body(bucket, key))
            first, last = found
            cut = body[first : last + 1]
            kept = {k: v for k, v in answer_headers.items() if not k.lower().startswith("x-amz-checksum-")}
            kept |= {"Content-Length": str(len(cut)), "Content-Range": f"bytes {first}-{last}/{len(body)}"}
            return _PARTIAL, kept, cut

        return get_object

    wrap(s3, "_get_object", around)
