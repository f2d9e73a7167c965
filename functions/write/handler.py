"""Deliver the records of a batch to the processed bucket, then commit the outcome of each."""

from typing import IO, Any

from functions.shared import aws, runtime
from functions.shared.audit import commit
from functions.shared.audit.ledger_file import header_of, ledger_file
from functions.shared.model import tolerance
from functions.shared.model.ledger import Output
from functions.shared.model.messages import Facts, Step
from functions.shared.staging import claim_check
from functions.write import plan
from functions.write.plan import Delivery

ENVIRONMENT = runtime.environment(runtime.Environment)


@runtime.observed
def handle(event: dict[str, Any], _: Any) -> dict[str, Any]:
    """Put the processed object, then the dead letter, then the ledger file: the ledger claims only what is true.

    Raises RecordsRejected after everything is delivered and committed if too many records were rejected; but not for a
    chunk, because Summarize decides for the whole object. Raises AttemptTaken, ObjectMissing, AccessRefused,
    CallRefused, ServiceUnavailable or MessageRefused.
    """
    step = Step.decode(event)
    facts = Facts.decode(step.message).passed(plan.STAGE, ENVIRONMENT.code_version)
    committed = commit.headers(ENVIRONMENT.audit_bucket, step)
    commit.require_free(step, committed)
    with Delivery(step, facts) as delivery:
        for lines in claim_check.lines(step.message):
            delivery.add(lines)
        claim_check.require_all(step.message, delivery.counts)
        counts = delivery.counts
        output = _put(delivery.key, delivery.body) if counts.written or _was_delivered(step, delivery.key) else None
        for outdated in plan.outdated_keys(delivery, committed):
            _put(outdated, b"")
        if key := plan.dead_letter_key(step, counts):
            aws.write_once(
                ENVIRONMENT.audit_bucket, key, plan.dead_letter_of(step, facts, delivery), "application/json"
            )
        with ledger_file(header_of(step, facts, counts, output), delivery.ledger_lines) as file:
            commit.commit(ENVIRONMENT.audit_bucket, step, file)
    runtime.count(facts.dataset, written=counts.written)
    if step.batch.chunk is None and not tolerance.is_tolerable(counts, ENVIRONMENT.tolerated_rejects_percent):
        raise tolerance.rejection(step.batch, counts, delivery.first)
    return plan.report(step, facts, counts, output, ENVIRONMENT.audit_bucket)


def _was_delivered(step: Step, key: str) -> bool:
    """Return whether an earlier attempt delivered records that an empty object must now replace."""
    return step.batch.attempt > 0 and bool(aws.keys(ENVIRONMENT.processed_bucket, key))


def _put(key: str, body: bytes | IO[bytes]) -> Output:
    bucket = ENVIRONMENT.processed_bucket
    return Output(bucket, key, aws.write(bucket, key, body, plan.MEDIA_TYPE))
