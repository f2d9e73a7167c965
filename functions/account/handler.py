"""Close the books of a bulk object, once all of its chunks have been processed or have failed."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from functions.account import core
from functions.shared import booking, closing, runtime, store
from functions.shared.closing import Booking
from functions.shared.identity import dataset_of
from functions.shared.messages import Json, Step

READERS = 10
"""Ledger files that are read at a time: as many as boto3 keeps connections."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables that this function reads."""

    audit_bucket: str
    default_dataset: str
    raw_prefix: str
    tolerated_rejects_percent: float
    code_version: str


ENVIRONMENT = runtime.environment(Environment)


@runtime.observed
def handle(event: dict[str, Any], _: Any) -> Json:
    """Put the summary of the object into the ledger, then judge it as a whole.

    Raises ChunksFailed or RecordsRejected after that, AttemptTaken, ObjectMissing, AccessRefused, CallRefused,
    ServiceUnavailable or MessageRefused.
    """
    step = Step.decode(event)
    whole, processed = core.plans(step.batch)
    keys = store.all_keys(ENVIRONMENT.audit_bucket, closing.chunks_prefix(step.batch))
    since = closing.processed_at(step.message)
    found = closing.close(whole, processed, since, _booked(keys), closing.given_up(keys))
    dataset = dataset_of(step.batch.object.key, ENVIRONMENT.default_dataset, ENVIRONMENT.raw_prefix)
    with core.summary(step, found, dataset=dataset, code_version=ENVIRONMENT.code_version) as entry:
        booking.book(ENVIRONMENT.audit_bucket, step, entry)
    if error := core.shortfall(found, ENVIRONMENT.tolerated_rejects_percent):
        raise error
    return core.report(step, found, dataset=dataset, audit_bucket=ENVIRONMENT.audit_bucket)


def _booked(listed: list[str]) -> dict[int, Booking]:
    """Read the header of the latest ledger file of each chunk, several at a time."""
    keys = closing.latest(listed)
    with ThreadPoolExecutor(READERS) as readers:
        return dict(zip(keys, readers.map(_header, keys.values()), strict=True))


def _header(key: str) -> Booking:
    return Booking.decode(key, booking.header_at(ENVIRONMENT.audit_bucket, key))
