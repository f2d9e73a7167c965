"""Custody's side: the three handlers, called with the messages of the state machine."""

from collections.abc import Callable
from typing import Any

from benchmarks.buckets import VERSION, Buckets, replacing_s3
from benchmarks.timing import Seconds, timed
from functions.shared.model.ids import RawObject
from functions.shared.model.messages import Batch, Chunk, Json
from functions.transform.handler import handle as transform
from functions.validate.handler import handle as validate
from functions.write.handler import handle as write

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


def run(key: str, body: bytes, buckets: Buckets) -> Seconds:
    """Process an object, and return the time of each step."""
    buckets.clear()
    buckets.put(RAW, key, body)
    message = first_message(key, len(body))
    times: Seconds = {}
    for step in HANDLERS:
        with timed(times, step):
            message = call(step, message, buckets)
    return times
