"""Call the handlers on buckets in memory, as the state machine does."""

from typing import Any

from functions.shared.model.messages import Batch
from functions.transform.handler import handle as transform
from functions.validate.handler import handle as validate
from functions.write.handler import handle as write
from tests.support.buckets import Buckets, called_with

GOOD = b'{"mission": "space", "source": "MASINT", "confidence": 0.95}'
BAD = b'{"mission": "space", "source": "RUMINT", "confidence": 1.7}'


MIXED = b"[" + GOOD + b", " + BAD + b"]"
STEPS = {"Validate": validate, "Transform": transform, "Write": write}


def call(state: str, message: dict[str, Any], **facts: Any) -> Any:
    """Call a step; return its result."""
    return STEPS[state](called_with(message, state, **facts), None)


def through(batch: Batch, **facts: Any) -> Any:
    """Send a batch through all steps, whose states have a suffix for a chunk; return the result of Write."""
    message, suffix = batch.encode(), "Chunk" if batch.chunk else ""
    for name, step in STEPS.items():
        message = step(called_with(message, name + suffix, **facts), None)
    return message


def validated(buckets: Buckets, key: str, body: bytes) -> Any:
    """Upload an object; return the result of Validate."""
    return call("Validate", buckets.upload(key, body).encode())


def transformed(buckets: Buckets, key: str, body: bytes) -> Any:
    """Upload an object; return the result of Transform."""
    return call("Transform", validated(buckets, key, body))


def written(buckets: Buckets, key: str, body: bytes) -> Any:
    """Upload an object; return the result of Write."""
    return through(buckets.upload(key, body))
