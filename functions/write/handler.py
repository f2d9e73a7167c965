"""Deliver the records of a batch to the processed bucket, then commit what became of each."""

from dataclasses import dataclass
from typing import IO, Any

from functions.shared import aws, runtime
from functions.shared.audit import commit, ledger_file
from functions.shared.audit.ledger_file import Output
from functions.shared.model import tolerance
from functions.shared.model.messages import Facts, Step
from functions.shared.staging import claim_check
from functions.write import plan
from functions.write.plan import Delivery


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
    """Put the processed object, then the dead letter, then the ledger file, so that the ledger only claims what is true.

    Raises RecordsRejected after all is delivered and committed if more was rejected than is tolerated; but not for a
    chunk, for Summarize judges the whole object. Raises AttemptTaken, ObjectMissing, AccessRefused, CallRefused,
    ServiceUnavailable or MessageRefused.
    """
    step = Step.decode(event)
    facts = Facts.decode(step.message).passed(plan.STAGE, ENVIRONMENT.code_version)
    committed = commit.headers(ENVIRONMENT.audit_bucket, step)
    commit.require_free(step, committed)
    with Delivery(step, facts) as delivery:
        _fill(delivery, step)
        counts = delivery.counts
        output = _put(delivery.key, delivery.body) if counts.accepted or _was_delivered(step, delivery.key) else None
        for emptied in plan.taken_back(delivery, committed):
            _put(emptied.key, emptied.body)
        if dead_letter := plan.dead_letter(step, facts, delivery):
            aws.write_once(ENVIRONMENT.audit_bucket, dead_letter.key, dead_letter.body, dead_letter.content_type)
        with ledger_file.ledger_file(ledger_file.header(step, facts, counts, output), delivery.ledger_lines) as entry:
            commit.commit(ENVIRONMENT.audit_bucket, step, entry)
    runtime.count(facts.dataset, written=counts.accepted)
    if step.batch.chunk is None and not tolerance.is_tolerable(counts, ENVIRONMENT.tolerated_rejects_percent):
        raise tolerance.rejection(step.batch, counts, delivery.first)
    return plan.report(step, facts, counts, output, ENVIRONMENT.audit_bucket)


def _fill(delivery: Delivery, step: Step) -> None:
    """Lay out the records of a message; raise MessageRefused if they are not as many as it says."""
    with claim_check.lines(step.message) as pages:
        for lines in pages:
            delivery.add(lines)
    claim_check.require_all(step.message, delivery.counts)


def _was_delivered(step: Step, key: str) -> bool:
    """Say whether an earlier attempt put records where this one has none: an empty object must take their place."""
    return step.batch.attempt > 0 and bool(aws.keys(ENVIRONMENT.processed_bucket, key))


def _put(key: str, body: bytes | IO[bytes]) -> Output:
    bucket = ENVIRONMENT.processed_bucket
    return Output(bucket, key, aws.write(bucket, key, body, plan.MEDIA_TYPE))
