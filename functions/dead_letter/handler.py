"""Write the letter for a batch that failed, then end the execution with the true error; let a redrive go on."""

import json
from dataclasses import dataclass
from typing import Any

from functions.dead_letter import verdict
from functions.dead_letter.ends import End, is_end
from functions.shared import booking, claims, ledger, runtime, store
from functions.shared.errors import AccessRefused, CallRefused, ObjectMissing, ServiceUnavailable
from functions.shared.identity import dataset_of
from functions.shared.ledger import Failure
from functions.shared.messages import Contents, Json, Step


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables that this function reads; `code_versions` is JSON, the version of each stage by its name."""

    staging_bucket: str
    audit_bucket: str
    default_dataset: str
    code_version: str
    code_versions: str


ENVIRONMENT = runtime.environment(Environment)


@runtime.observed
def handle(event: dict[str, Any], _: Any) -> Json:
    """Tell of a failed step or, for an event of EventBridge, of an execution that ended otherwise.

    Raises what the step failed of; ObjectMissing, AccessRefused, CallRefused, ServiceUnavailable, AttemptTaken or
    MessageRefused if the letter cannot be written.
    """
    return _end(End.decode(event)) if is_end(event) else _failure(Step.decode(event))


def _failure(step: Step) -> Json:
    """Write the letter of a new failure and raise it; let one that was redriven since go on."""
    failure = verdict.failure_of(step.message)
    name = verdict.letter_name(failure)
    told = bool(step.execution.redrives) and verdict.was_told_before(step, name, _letters(step))
    if told or step.is_redriven:
        if not told:  # the attempt before died before its letter was written
            before = verdict.attempt_before(step)
            _write_letter(before, failure, name, _contents(before, failure))
        return verdict.resumption(step, failure, step.execution.redrives)
    contents = _contents(step, failure)
    is_new = _write_letter(step, failure, name, contents)
    if contents and verdict.left_its_contents(failure):
        booking.book(ENVIRONMENT.audit_bucket, step, ledger.ledger_file(step, contents))
    if not is_new and (redrives := _redrives(step)) > step.execution.redrives:
        return verdict.resumption(step, failure, redrives)
    raise verdict.error_of(failure)


def _end(end: End) -> Json:
    """Write the letter of an execution that ended, unless its own branch has told of that attempt."""
    if end.is_told(_letters(end)):
        return {"counts": {"letters": 0}}
    state = _state_of(end.execution.arn)
    is_new = _write_letter(end.step(state), end.failure(state), end.name, None)
    return {"counts": {"letters": int(is_new)}}


def _letters(of: Step | End) -> list[str]:
    return store.keys(ENVIRONMENT.audit_bucket, ledger.letters_prefix(of.batch, of.execution))


def _write_letter(step: Step, failure: Failure, name: str, contents: Contents | None) -> bool:
    dataset = dataset_of(step.batch.object.key, ENVIRONMENT.default_dataset)
    code = json.loads(ENVIRONMENT.code_versions)
    failed = {stage: code[stage] for stage in code if stage == failure.step.lower()}
    letter = ledger.letter(step, failure, dataset, contents, failed)
    key = ledger.letter_key(step.batch, name, step.execution)
    return store.write_once(ENVIRONMENT.audit_bucket, key, letter, "application/json")


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


def _redrives(step: Step) -> int:
    """Ask how often the execution was redriven, in case the state machine called with an old answer.

    If that cannot be learned, the failure is raised again, and another redrive asks again.
    """
    try:
        return store.redrives_of(step.execution.arn)
    except (AccessRefused, CallRefused, ServiceUnavailable) as error:
        runtime.logger.warning("cannot ask whether the execution was redriven", cause=str(error))
        return step.execution.redrives


def _state_of(execution: str) -> str | None:
    """Ask in which state an execution ended; a letter that does not say so is better than no letter."""
    try:
        return store.last_state_of(execution)
    except (AccessRefused, CallRefused, ServiceUnavailable) as error:
        runtime.logger.warning("the history of the execution cannot be read for its letter", cause=str(error))
        return None
