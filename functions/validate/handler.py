"""Read the object of a batch, and set aside the records that break the contract of their dataset."""

from dataclasses import dataclass
from typing import Any

from functions.shared import claims, reading, runtime, store
from functions.shared.identity import dataset_of
from functions.shared.messages import Contents, Step
from functions.validate import contracts, rules


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables that this function reads; limits are in bytes."""

    staging_bucket: str
    default_dataset: str
    inline_limit_bytes: int
    document_limit_bytes: int
    code_version: str


ENVIRONMENT = runtime.environment(Environment)


@runtime.observed
def handle(event: dict[str, Any], _: Any) -> dict[str, Any]:
    """Give the batch with its good records and its rejected ones.

    Raises RecordsRejected if no record is left, UnknownDataset, ObjectTooLarge, ObjectMissing, AccessRefused,
    CallRefused, ServiceUnavailable or MessageRefused.
    """
    step = Step.decode(event)
    raw = step.batch.object
    dataset = dataset_of(raw.key, ENVIRONMENT.default_dataset)
    contract = contracts.load(dataset)
    reading.require_fits(raw, ENVIRONMENT.document_limit_bytes)
    stored = store.read(raw.bucket, raw.key, raw.version_id)
    raws = reading.read(stored.body, raw.key, ENVIRONMENT.document_limit_bytes)
    records, rejected = rules.check(raws, contract.validator)
    code = {rules.STAGE: ENVIRONMENT.code_version}
    contents = Contents(dataset, stored.last_modified, contract.id, code, records, rejected)
    return claims.hand_on(
        step, contents, bucket=ENVIRONMENT.staging_bucket, inline_limit=ENVIRONMENT.inline_limit_bytes
    )
