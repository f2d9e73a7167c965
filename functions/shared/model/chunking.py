"""Divide a large object into chunks, by its name and size alone, so that the result is always the same."""

from functions.shared.model.ids import RawObject
from functions.shared.model.messages import Plan

MOST_CHUNKS = 5_000
"""Chunks of an object: their offsets are the input of one execution, which is limited to 256 KiB, and one call of
Summarize reads the ledger of all of them (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html)."""

BULK_FROM = 8 * 2**20
"""Objects named as JSON Lines, of more bytes go to the bulk state machine, even as a single chunk.

This is not a setting. The name of an execution is unique only within one state machine, so an event that is delivered
both before and after a deployment must go to the same one, however the object would be divided.
"""


def suffixes(setting: str) -> tuple[str, ...]:
    """Parse the setting `json_lines_suffixes`: suffixes of keys, separated by commas."""
    return tuple(filter(None, setting.lower().split(",")))


def has_suffix(key: str, suffixes: tuple[str, ...]) -> bool:
    """Return whether a key names an object that can be read from the middle: JSON Lines that are not gzipped."""
    return key.lower().endswith(suffixes)


def divide(raw: RawObject, chunk_bytes: int, suffixes: tuple[str, ...]) -> Plan | None:
    """Divide an object into chunks of `chunk_bytes`, of which the last may be shorter; return None for a single batch.

    It is a single batch unless its key has a suffix of JSON Lines and it is larger than BULK_FROM, or if it would be
    more than MOST_CHUNKS chunks; then Validate refuses it.
    """
    if not has_suffix(raw.key, suffixes) or raw.size <= BULK_FROM:
        return None
    plan = whole(raw, chunk_bytes)
    return plan if len(plan.chunks) <= MOST_CHUNKS else None


def whole(raw: RawObject, chunk_bytes: int) -> Plan:
    """Return the plan with all chunks of an object."""
    return Plan(chunk_bytes, tuple(range(0, raw.size, chunk_bytes)))
