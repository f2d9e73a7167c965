"""Turn each record of a batch into the form in which it is delivered."""

from dataclasses import dataclass
from typing import Any

from functions.shared import claims, runtime
from functions.shared.messages import Step
from functions.transform import core


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables that this function reads; the limit is in bytes."""

    staging_bucket: str
    inline_limit_bytes: int
    code_version: str


ENVIRONMENT = runtime.environment(Environment)


@runtime.observed
def handle(event: dict[str, Any], _: Any) -> dict[str, Any]:
    """Give the batch with its records transformed.

    Raises RecordsRejected if no record is left, UnknownDataset, TransformFailed, ObjectMissing, AccessRefused,
    CallRefused, ServiceUnavailable or MessageRefused.
    """
    step = Step.decode(event)
    contents = claims.unpack(step.message)
    transformed = core.apply(core.load(contents.dataset), contents).passed(core.STAGE, ENVIRONMENT.code_version)
    return claims.hand_on(
        step, transformed, bucket=ENVIRONMENT.staging_bucket, inline_limit=ENVIRONMENT.inline_limit_bytes
    )
