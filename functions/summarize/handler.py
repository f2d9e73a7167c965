"""Write the summary of a bulk object, once all of its chunks have been processed or have failed."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from functions.shared import runtime
from functions.shared.audit import chunk_totals, commit
from functions.shared.model.ids import dataset_of
from functions.shared.model.keys import LedgerKey, discarded, latest
from functions.shared.model.ledger import LedgerHeader
from functions.shared.model.messages import Json, Step
from functions.summarize import summary

READERS = 10
"""How many ledger files are read at a time: as many as boto3 keeps connections."""


ENVIRONMENT = runtime.environment(runtime.Environment)


@runtime.observed
def handle(event: dict[str, Any], _: Any) -> Json:
    """Put the summary of the object into the ledger, then decide whether the object as a whole is a success.

    Raises ChunksFailed or RecordsRejected after that, AttemptTaken, ObjectMissing, AccessRefused, CallRefused,
    ServiceUnavailable or MessageRefused.
    """
    step = Step.decode(event)
    whole, processed = summary.plans(step.batch)
    keys = commit.keys(ENVIRONMENT.audit_bucket, step)
    since = chunk_totals.processed_at(step.message)
    totals = chunk_totals.totals(whole, processed, since, _committed(keys), discarded(keys))
    dataset = dataset_of(step.batch.object.key, ENVIRONMENT.default_dataset, ENVIRONMENT.raw_prefix)
    with summary.summary(step, totals, dataset=dataset, code_version=ENVIRONMENT.code_version) as file:
        commit.commit(ENVIRONMENT.audit_bucket, step, file)
    if error := summary.failure(totals, ENVIRONMENT.tolerated_rejects_percent):
        raise error
    return summary.report(step, totals, dataset=dataset, audit_bucket=ENVIRONMENT.audit_bucket)


def _committed(listed: list[LedgerKey]) -> dict[int, LedgerHeader]:
    """Read the header of the latest ledger file of each chunk, several at a time."""
    keys = {start: key for start, key in latest(listed).items() if not key.is_summary}
    with ThreadPoolExecutor(READERS) as readers:
        headers = readers.map(partial(commit.header_at, ENVIRONMENT.audit_bucket), keys.values())
        return dict(zip(keys, headers, strict=True))
