"""Close the ledger of a bulk object, once all of its chunks have been processed or have failed."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from functions.shared import aws, runtime
from functions.shared.audit import chunk_totals, commit
from functions.shared.audit.chunk_totals import Commit
from functions.shared.model.ids import dataset_of
from functions.shared.model.messages import Json, Step
from functions.summarize import summary

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
    whole, processed = summary.plans(step.batch)
    keys = aws.all_keys(ENVIRONMENT.audit_bucket, chunk_totals.chunks_prefix(step.batch))
    since = chunk_totals.processed_at(step.message)
    found = chunk_totals.close(whole, processed, since, _committed(keys), chunk_totals.given_up(keys))
    dataset = dataset_of(step.batch.object.key, ENVIRONMENT.default_dataset, ENVIRONMENT.raw_prefix)
    with summary.summary(step, found, dataset=dataset, code_version=ENVIRONMENT.code_version) as entry:
        commit.commit(ENVIRONMENT.audit_bucket, step, entry)
    if error := summary.shortfall(found, ENVIRONMENT.tolerated_rejects_percent):
        raise error
    return summary.report(step, found, dataset=dataset, audit_bucket=ENVIRONMENT.audit_bucket)


def _committed(listed: list[str]) -> dict[int, Commit]:
    """Read the header of the latest ledger file of each chunk, several at a time."""
    keys = chunk_totals.latest(listed)
    with ThreadPoolExecutor(READERS) as readers:
        return dict(zip(keys, readers.map(_header, keys.values()), strict=True))


def _header(key: str) -> Commit:
    return Commit.decode(key, commit.header_at(ENVIRONMENT.audit_bucket, key))
