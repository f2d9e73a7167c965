"""Turn each record of a batch into the form in which it is delivered."""

from typing import Any

from functions.shared import runtime
from functions.shared.model.messages import Facts, Step
from functions.shared.records.reader import Limits
from functions.shared.staging import claim_check, map_records
from functions.transform import core

ENVIRONMENT = runtime.environment(runtime.Environment)


@runtime.observed
def handle(event: dict[str, Any], _: Any) -> dict[str, Any]:
    """Return the batch with its records transformed.

    Raises RecordsRejected if no record is left, UnknownDataset, TransformFailed, ObjectMissing, AccessRefused,
    CallRefused, ServiceUnavailable or MessageRefused.
    """
    step = Step.decode(event)
    facts = Facts.decode(step.message).passed(core.STAGE, ENVIRONMENT.code_version)
    transform = core.load(facts.dataset)
    limits = Limits.of(ENVIRONMENT)
    pages = claim_check.pages(step, limits)
    return map_records.forward(step, facts, pages, transform, core.STAGE, ENVIRONMENT)
