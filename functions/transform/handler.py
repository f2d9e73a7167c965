"""Turn each record of a batch into the form in which it is delivered."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from functions.shared import claims, runtime
from functions.shared.messages import Facts, Step
from functions.shared.parcels import NoJson
from functions.shared.reading import Limits
from functions.transform import core


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables that this function reads; limits are in bytes."""

    staging_bucket: str
    inline_limit_bytes: int
    document_limit_bytes: int
    chunk_bytes: int
    code_version: str


ENVIRONMENT = runtime.environment(Environment)


@runtime.observed
def handle(event: dict[str, Any], _: Any) -> dict[str, Any]:
    """Give the batch with its records transformed.

    Raises RecordsRejected if no record is left, UnknownDataset, TransformFailed, ObjectMissing, AccessRefused,
    CallRefused, ServiceUnavailable or MessageRefused.
    """
    step = Step.decode(event)
    facts = Facts.decode(step.message)
    transform = partial(core.apply, core.load(facts.dataset))
    limits = Limits(ENVIRONMENT.document_limit_bytes, ENVIRONMENT.chunk_bytes)
    with claims.pages(step, limits) as pages:
        try:
            return claims.hand_on(
                step,
                facts.passed(core.STAGE, ENVIRONMENT.code_version),
                map(transform, pages),
                bucket=ENVIRONMENT.staging_bucket,
                inline_limit=ENVIRONMENT.inline_limit_bytes,
            )
        except NoJson as found:
            raise core.no_json(found) from found
