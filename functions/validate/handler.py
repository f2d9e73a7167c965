"""Read the object of a batch, and set aside the records that break the contract of their dataset."""

from dataclasses import dataclass
from typing import Any

from functions.shared import runtime
from functions.shared.model.ids import dataset_of
from functions.shared.model.messages import Facts, Step
from functions.shared.records import raw_object
from functions.shared.records.reader import Limits
from functions.shared.staging import claim_check
from functions.validate import contracts, rules


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables that this function reads; limits are in bytes."""

    staging_bucket: str
    default_dataset: str
    raw_prefix: str
    inline_limit_bytes: int
    document_limit_bytes: int
    chunk_bytes: int
    code_version: str


ENVIRONMENT = runtime.environment(Environment)


@runtime.observed
def handle(event: dict[str, Any], _: Any) -> dict[str, Any]:
    """Give the batch with its good records and its rejected ones.

    Raises RecordsRejected if no record is left, UnknownDataset, ObjectTooLarge, ObjectMissing, AccessRefused,
    CallRefused, ServiceUnavailable or MessageRefused.
    """
    step = Step.decode(event)
    dataset = dataset_of(step.batch.object.key, ENVIRONMENT.default_dataset, ENVIRONMENT.raw_prefix)
    contract = contracts.load(dataset)
    limits = Limits(ENVIRONMENT.document_limit_bytes, ENVIRONMENT.chunk_bytes)
    with raw_object.opened(step.batch, limits) as found:
        facts = Facts(dataset, found.last_modified, contract.id, {rules.STAGE: ENVIRONMENT.code_version})
        return claim_check.forward_read(
            step,
            facts,
            (rules.check(raws, contract.validator) for raws in found.pages),
            bucket=ENVIRONMENT.staging_bucket,
            inline_limit=ENVIRONMENT.inline_limit_bytes,
        )
