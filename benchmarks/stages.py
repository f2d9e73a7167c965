"""Custody's side: the three handlers, called with messages as the state machine gives them."""

from collections.abc import Callable
from typing import Any

from benchmarks.buckets import VERSION, Shelf, instead_of_s3
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
    """Make the message that the state machine has for the first step of an object that is one chunk."""
    return Batch(RawObject(RAW, key, VERSION, size, "etag"), Chunk(0, size)).encode()


def event(name: str, message: Json) -> Json:
    """Make what the state machine calls a step with."""
    state = {"Name": f"{name}Chunk", "EnteredTime": _STARTED_AT, "RetryCount": 0}
    return {"batch": message, "execution": _EXECUTION, "state": state}


def called(name: str, message: Json, shelf: Shelf) -> Json:
    """Call a step as the state machine does, and give what it answers."""
    with instead_of_s3(shelf):
        return HANDLERS[name](event(name, message), None)


def run(key: str, body: bytes, shelf: Shelf) -> Seconds:
    """Take an object through the three steps; give the time that each took."""
    shelf.put(RAW, key, body)
    message = first_message(key, len(body))
    seconds: Seconds = {}
    for name in HANDLERS:
        with timed(seconds, name):
            message = called(name, message, shelf)
    return seconds
