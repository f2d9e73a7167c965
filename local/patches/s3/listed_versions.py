"""ListObjectVersions encodes keys as URLs when it is asked to, as boto3 does by default.

MiniStack does so where it lists objects, but not where it lists versions: a key with a control character, which XML
cannot hold, then makes the answer unreadable for the whole bucket:
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
"""

from typing import Any

from local.patches.patch import change, member, module

_BODY = "_xml_body(root)"
_ENCODED = frozenset({"Key", "Prefix", "Delimiter", "KeyMarker", "NextKeyMarker"})


def fill() -> None:
    """Encode what may hold a key before the answer is written."""
    s3 = module("services.s3")
    for name in ("_qp", "_url_encode"):
        member(s3, name)
    change(
        s3,
        "_list_object_versions",
        {_BODY: "_xml_body(_local_encoded(root, query_params))"},
        {"_local_encoded": _encoded},
    )


def _encoded(root: Any, query: Any) -> Any:
    s3 = module("services.s3")
    if s3._qp(query, "encoding-type") != "url":  # noqa: SLF001
        return root
    for element in root.iter():
        if element.tag in _ENCODED:
            element.text = s3._url_encode(element.text or "")  # noqa: SLF001
    kind = root.makeelement("EncodingType", {})
    kind.text = "url"
    root.append(kind)
    return root
