"""How a large object is cut into chunks: decided from its name and its size alone, so that it is always the same."""

from functions.shared.model.ids import RawObject
from functions.shared.model.messages import Plan

MOST_CHUNKS = 5_000
"""Chunks that an object may be cut into: their offsets are the input of one execution, which may have 256 KiB, and one
call of Summarize reads the ledger of them all (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html).
"""

BULK_FROM = 8 * 2**20
"""Plain JSON Lines of more bytes go to the bulk machine, if only as a single chunk.

It is no setting. A name is unique in a state machine and not in two, so an event that comes twice, once before and once
after a deployment, must go to the same one; there the name alone makes it one execution, however it would be cut.
"""

PLAIN_LINES = (".jsonl", ".ndjson")
"""How the keys end of objects that can be read from the middle: JSON Lines that are not gzipped."""


def is_plain_lines(key: str) -> bool:
    """Say whether the object of a key is JSON Lines that are not gzipped."""
    return key.lower().endswith(PLAIN_LINES)


def cut(raw: RawObject, chunk_bytes: int) -> Plan | None:
    """Cut an object into chunks of `chunk_bytes`, the last of which may be shorter; None if it is one batch.

    It is one if it is no plain JSON Lines, has no more than BULK_FROM bytes, or would be more than MOST_CHUNKS; in the
    last case Validate refuses it.
    """
    if not is_plain_lines(raw.key) or raw.size <= BULK_FROM:
        return None
    plan = whole(raw, chunk_bytes)
    return plan if len(plan.chunks) <= MOST_CHUNKS else None


def whole(raw: RawObject, chunk_bytes: int) -> Plan:
    """Give the plan with all the chunks of an object."""
    return Plan(chunk_bytes, tuple(range(0, raw.size, chunk_bytes)))
