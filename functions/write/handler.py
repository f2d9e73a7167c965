"""Deliver the records of a batch to the processed bucket, then book what became of each."""

from dataclasses import dataclass
from typing import Any

from functions.shared import booking, claims, ledger, outcomes, runtime, store
from functions.shared.ledger import Output
from functions.shared.messages import Step
from functions.write import plan


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables that this function reads."""

    processed_bucket: str
    audit_bucket: str
    tolerated_rejects_percent: float
    code_version: str


ENVIRONMENT = runtime.environment(Environment)


@runtime.observed
def handle(event: dict[str, Any], _: Any) -> dict[str, Any]:
    """Put the processed object, then the letter, then the ledger file, so that the ledger only claims what is true.

    Raises RecordsRejected after all is delivered and booked if more was rejected than is tolerated, AttemptTaken,
    ObjectMissing, AccessRefused, CallRefused, ServiceUnavailable or MessageRefused.
    """
    step = Step.decode(event)
    contents = claims.unpack(step.message).passed(plan.STAGE, ENVIRONMENT.code_version)
    delivery = plan.deliver(step, contents)
    booked = booking.headers(ENVIRONMENT.audit_bucket, step)
    booking.require_free(step, booked)
    output = _put(delivery.put) if delivery.written or _was_delivered(step, delivery.put) else None
    for emptied in plan.taken_back(delivery, booked):
        _put(emptied)
    if letter := plan.letter(step, contents):
        store.write_once(ENVIRONMENT.audit_bucket, letter.key, letter.body, letter.content_type)
    booking.book(ENVIRONMENT.audit_bucket, step, ledger.ledger_file(step, contents, delivery.written, output))
    if not outcomes.is_tolerable(contents, ENVIRONMENT.tolerated_rejects_percent):
        raise outcomes.rejection(step.batch, contents)
    return plan.report(step, contents, output, ENVIRONMENT.audit_bucket)


def _was_delivered(step: Step, put: plan.Put) -> bool:
    """Say whether an earlier attempt put records where this one has none: an empty object must take their place."""
    return step.batch.attempt > 0 and bool(store.keys(ENVIRONMENT.processed_bucket, put.key))


def _put(put: plan.Put) -> Output:
    bucket = ENVIRONMENT.processed_bucket
    return Output(bucket, put.key, store.write(bucket, put.key, put.body, put.content_type))
