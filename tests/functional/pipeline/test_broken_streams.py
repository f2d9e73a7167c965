"""Streams that break: a partial read is never taken for the whole, and is retried."""

import io
from typing import Any

import pytest
from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError
from botocore.response import StreamingBody
from msgspec.structs import replace

from functions.shared import aws
from functions.shared.errors import ServiceUnavailable
from functions.shared.model.messages import Chunk
from tests.support.buckets import Buckets
from tests.support.stages import GOOD, call

LINES = (GOOD + b"\n") * 50
BREAKS = [
    IncompleteReadError(actual_bytes=1, expected_bytes=2),
    ReadTimeoutError(endpoint_url="https://s3"),
    ResponseStreamingError(error="reset by peer"),
]


@pytest.mark.parametrize("broken", BREAKS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("chunk", [None, Chunk(0, len(LINES))])
def test_a_broken_stream_is_retried(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch, broken: Exception, chunk: Chunk | None
) -> None:
    batch = replace(buckets.upload("mission/a.jsonl", LINES), chunk=chunk)
    real = StreamingBody.read
    reads: list[int] = []

    def read(self: StreamingBody, amt: int | None = None) -> Any:
        reads.append(1)
        if len(reads) > 1:
            raise broken
        return real(self, amt)

    monkeypatch.setattr(aws, "PIECE_BYTES", 1_000)
    monkeypatch.setattr(StreamingBody, "read", read)
    with pytest.raises(ServiceUnavailable, match=r"GetObject of s3://raw/mission/a\.jsonl .* got no answer"):
        call("Validate", batch.encode())
    monkeypatch.undo()
    again = call("Validate", batch.encode())
    assert again["counts"]["received"] == 50


def test_a_truncated_body_is_detected(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = buckets.upload("mission/a.jsonl", LINES)
    real = aws._s3()  # noqa: SLF001 - the client behind the module

    class Short:
        def get_object(self, **asked: Any) -> Any:
            answer = real.get_object(**asked)
            whole = answer["ContentLength"]
            return answer | {"Body": StreamingBody(io.BytesIO(LINES[: whole // 2]), whole)}

    monkeypatch.setattr(aws, "_s3", Short)
    with pytest.raises(ServiceUnavailable, match="got no answer"):
        call("Validate", batch.encode())
