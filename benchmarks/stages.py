"""What is compared: Custody's three handlers, called with the messages of the state machine, and the floor."""

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import orjson

from benchmarks.buckets import VERSION, Buckets, replacing_s3
from functions.shared.model.ids import RawObject
from functions.shared.model.messages import Batch, Chunk, Json
from functions.transform.handler import handle as transform
from functions.validate.handler import handle as validate
from functions.write.handler import handle as write

T = TypeVar("T")
RAW = "raw"
HANDLERS: dict[str, Callable[[Json, Any], Json]] = {"Validate": validate, "Transform": transform, "Write": write}

_STARTED_AT = "2026-11-23T09:00:00.000Z"
_EXECUTION = {
    "Id": "arn:aws:states:us-east-1:123456789012:execution:bulk/ProcessChunks:benchmark",
    "Name": "benchmark",
    "StartTime": _STARTED_AT,
    "Input": {"attempt": 0},
    "RedriveCount": 0,
}


def first_message(key: str, size: int) -> Json:
    """Return the input of the first step, for an object that is one chunk."""
    return Batch(RawObject(RAW, key, VERSION, size, "etag"), Chunk(0, size)).encode()


def call(step: str, message: Json, buckets: Buckets) -> Json:
    """Call the handler of a step as the state machine does, and return its result."""
    state = {"Name": f"{step}Chunk", "EnteredTime": _STARTED_AT, "RetryCount": 0}
    with replacing_s3(buckets):
        return HANDLERS[step]({"batch": message, "execution": _EXECUTION, "state": state}, None)


def run(key: str, body: bytes, buckets: Buckets) -> dict[str, float]:
    """Process an object, and return the time of each step."""
    buckets.write(RAW, key, body)
    message, times = first_message(key, len(body)), {}
    for step in HANDLERS:
        times[step], message = timed(call, step, message, buckets)
    return times


def timed(run: Callable[..., T], *arguments: object) -> tuple[float, T]:
    """Return the processor time of a call, which starts without garbage, and its result."""
    gc.collect()
    start = time.process_time()
    result = run(*arguments)
    return time.process_time() - start, result


def _convert_each(decode: Callable[[bytes], object], encode: Callable[[object], bytes]) -> Callable[..., list[bytes]]:
    def convert(documents: Sequence[bytes]) -> list[bytes]:
        return [encode(decode(document)) for document in documents]

    return convert


FLOORS: Mapping[str, Callable[[Sequence[bytes]], list[bytes]]] = {
    "msgspec": _convert_each(msgspec.json.Decoder().decode, msgspec.json.Encoder().encode),
    "orjson": _convert_each(orjson.loads, orjson.dumps),
}
"""Each decodes and encodes documents that are already split, and keeps the output, as a stage must until it uploads."""
