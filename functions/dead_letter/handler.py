"""Write the letter for a batch that failed, then end the execution with the true error."""

from dataclasses import dataclass
from typing import Any, NoReturn

from functions.dead_letter import verdict
from functions.shared import claims, ledger, runtime, store
from functions.shared.errors import AccessRefused, ObjectMissing
from functions.shared.identity import dataset_of
from functions.shared.ledger import Failure
from functions.shared.messages import Contents, Step


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables that this function reads."""

    staging_bucket: str
    audit_bucket: str
    default_dataset: str
    code_version: str


ENVIRONMENT = runtime.environment(Environment)


@runtime.observed
def handle(event: dict[str, Any], _: Any) -> NoReturn:
    """Put the letter, book the records if all of them were rejected, and raise what the step raised.

    Raises the error of the step; ObjectMissing, AccessRefused, CallRefused, ServiceUnavailable or MessageRefused if
    the letter cannot be written.
    """
    step = Step.decode(event)
    failure = verdict.failure_of(step.message)
    contents = _contents(step, failure)
    dataset = dataset_of(step.batch.object.key, ENVIRONMENT.default_dataset)
    letter = ledger.letter(step, failure, dataset, contents)
    key = ledger.letter_key(step.batch, failure.step, step.execution)
    store.write_once(ENVIRONMENT.audit_bucket, key, letter, "application/json")
    if contents and verdict.left_its_contents(failure):
        entry = ledger.ledger_file(step, contents)
        store.write_once(ENVIRONMENT.audit_bucket, ledger.ledger_key(step.batch), entry, "application/gzip")
    raise verdict.error_of(failure)


def _contents(step: Step, failure: Failure) -> Contents | None:
    """Find what was known of the batch when the step failed; None if it had not been read, or is gone.

    A letter that lacks the contents is better than no letter.
    """
    try:
        if verdict.left_its_contents(failure):
            found = claims.left_by(failure.step, step.batch, bucket=ENVIRONMENT.staging_bucket)
        elif claims.has_contents(step.message):
            found = claims.unpack(step.message)
        else:
            return None
    except (ObjectMissing, AccessRefused) as error:
        runtime.logger.warning("the contents of the batch cannot be read for its letter", cause=str(error))
        return None
    return found.passed(verdict.STAGE, ENVIRONMENT.code_version)
