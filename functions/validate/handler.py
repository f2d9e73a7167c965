"""Read the object of a batch, and set aside the records that violate the contract of their dataset."""

from functools import partial
from typing import Any

from functions.shared import runtime
from functions.shared.model.ids import dataset_of
from functions.shared.model.messages import Facts, Step
from functions.shared.records import raw_object
from functions.shared.records.reader import Limits
from functions.shared.staging import claim_check
from functions.validate import contracts, rules

ENVIRONMENT = runtime.environment(runtime.Environment)


@runtime.observed
def handle(event: dict[str, Any], _: Any) -> dict[str, Any]:
    """Return the batch with its accepted and its rejected records.

    Raises RecordsRejected if no record is left, UnknownDataset, ObjectTooLarge, ObjectMissing, AccessRefused,
    CallRefused, ServiceUnavailable or MessageRefused.
    """
    step = Step.decode(event)
    dataset = dataset_of(step.batch.object.key, ENVIRONMENT.default_dataset, ENVIRONMENT.raw_prefix)
    contract = contracts.load(dataset)
    limits = Limits.of(ENVIRONMENT)
    with raw_object.opened(step.batch, limits) as source:
        facts = Facts(dataset, source.last_modified, contract.id, {rules.STAGE: ENVIRONMENT.code_version})
        checked = map(partial(rules.check, contract=contract), source.pages)
        return claim_check.forward_read(step, facts, checked, ENVIRONMENT)
