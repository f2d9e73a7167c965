"""Call the handlers on buckets in memory, as the state machine does."""

from typing import Any

from functions.transform.handler import handle as transform
from functions.validate.handler import handle as validate
from functions.write.handler import handle as write
from tests.support.buckets import Buckets, called_with

GOOD = b'{"mission": "space", "source": "MASINT", "confidence": 0.95}'
BAD = b'{"mission": "space", "source": "RUMINT", "confidence": 1.7}'


def validated(buckets: Buckets, key: str, body: bytes) -> Any:
    """Upload an object; return the result of Validate."""
    return validate(called_with(buckets.upload(key, body).encode(), "Validate"), None)


def transformed(buckets: Buckets, key: str, body: bytes) -> Any:
    """Upload an object; return the result of Transform."""
    return transform(called_with(validated(buckets, key, body), "Transform"), None)


def written(buckets: Buckets, key: str, body: bytes) -> Any:
    """Upload an object; return the result of Write."""
    return write(called_with(transformed(buckets, key, body), "Write"), None)
