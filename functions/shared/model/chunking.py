"""Divide a large object into chunks, by its name and size alone, so that the result is always the same."""

from functions.shared.model.ids import RawObject
from functions.shared.model.messages import Plan

MOST_CHUNKS = 5_000
"""Chunks of an object: their offsets are the input of one execution, which is limited to 256 KiB, and one call of
Summarize reads the ledger of all of them (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html)."""

BULK_FROM = 8 * 2**20
"""Plain JSON Lines of more bytes go to the bulk state machine, even as a single chunk.

This is not a setting. The name of an execution is unique only within one state machine, so an event that is delivered
both before and after a deployment must go to the same one, however the object would be divided.
"""

PLAIN_LINES = (".jsonl", ".ndjson")
"""The suffixes of objects that can be read from the middle: JSON Lines that are not gzipped."""


def is_plain_lines(key: str) -> bool:
    """Return whether a key is that of JSON Lines that are not gzipped."""
    return key.lower().endswith(PLAIN_LINES)


def divide(raw: RawObject, chunk_bytes: int) -> Plan | None:
    """Divide an object into chunks of `chunk_bytes`, of which the last may be shorter; return None for a single batch.

    It is a single batch unless it is plain JSON Lines of more than BULK_FROM bytes, or if it would be more than
    MOST_CHUNKS chunks; then Validate refuses it.
    """
    if not is_plain_lines(raw.key) or raw.size <= BULK_FROM:
        return None
    plan = whole(raw, chunk_bytes)
    return plan if len(plan.chunks) <= MOST_CHUNKS else None


def whole(raw: RawObject, chunk_bytes: int) -> Plan:
    """Return the plan with all chunks of an object."""
    return Plan(chunk_bytes, tuple(range(0, raw.size, chunk_bytes)))
