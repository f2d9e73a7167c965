"""Write the dead letter for a batch that failed, then end the execution with the true error; let a redrive go on."""

import json
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from functions.dead_letter import failure as dead_letter_failure
from functions.dead_letter.execution_events import End, is_end
from functions.dead_letter.failure import Standing
from functions.shared import aws, runtime
from functions.shared.audit import chunk_totals, commit, ledger_file
from functions.shared.audit.ledger_file import Failure, Known
from functions.shared.errors import AccessRefused, CallRefused, MessageRefused, ObjectMissing, ServiceUnavailable
from functions.shared.model.ids import dataset_of
from functions.shared.model.messages import Counts, Facts, Json, Rejected, Step
from functions.shared.records.gzip_lines import Packed
from functions.shared.records.strict_json import decode
from functions.shared.staging import claim_check, staged_batch


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables that this function reads; `code_versions` is JSON, the version of each stage by its name."""

    staging_bucket: str
    audit_bucket: str
    default_dataset: str
    raw_prefix: str
    code_version: str
    code_versions: str


ENVIRONMENT = runtime.environment(Environment)


@runtime.observed
def handle(event: dict[str, Any], _: Any) -> Json:
    """Tell of a failed step or, for an event of EventBridge, of an execution that ended otherwise.

    Raises what the step failed of; ObjectMissing, AccessRefused, CallRefused, ServiceUnavailable, AttemptTaken or
    MessageRefused if the dead letter cannot be written.
    """
    return _end(End.decode(event)) if is_end(event) else _failure(Step.decode(event), can_go_on="resumable" in event)


def _failure(step: Step, *, can_go_on: bool) -> Json:
    """Write the dead letter of a new failure and raise it; let one that was redriven since go on.

    It cannot go on in an execution that began with a definition of the state machine that had no Resume yet.
    """
    failure = dead_letter_failure.failure_of(step.message)
    dead_letters = _dead_letters(step) if step.execution.redrives and can_go_on else []
    standing = dead_letter_failure.standing(step, failure, dead_letters) if can_go_on else Standing.NEW
    if standing is Standing.UNTOLD:
        _tell(dead_letter_failure.as_it_failed(step), failure)
    if standing is not Standing.NEW:
        return _resumption(step, failure, step.execution.redrives)
    is_new = _tell(step, failure)
    if can_go_on and not is_new and (redrives := _redrives(step)) > step.execution.redrives:
        return _resumption(step, failure, redrives)
    raise dead_letter_failure.error_of(failure)


def _resumption(step: Step, failure: Failure, redrives: int) -> Json:
    if not dead_letter_failure.needs_summary(failure):
        return dead_letter_failure.resumption(step, failure, redrives)
    keys = aws.all_keys(ENVIRONMENT.audit_bucket, chunk_totals.chunks_prefix(step.batch))
    return dead_letter_failure.resumption(step, failure, redrives, _summary(step, keys), chunk_totals.given_up(keys))


def _summary(step: Step, keys: list[str]) -> list[Json]:
    """Read the lines of the latest summary that this execution wrote of its chunks.

    If there is none, or it is gone, all of the chunks are processed again.
    """
    try:
        key = chunk_totals.summary_of(step, keys)
        body = aws.read(ENVIRONMENT.audit_bucket, key).body if key else None
    except (ObjectMissing, AccessRefused) as error:
        runtime.logger.warning("the summary of the chunks cannot be read", cause=str(error))
        return []
    header, lines = ledger_file.parse_ledger_file(body) if body else ({}, [])
    return lines if header.get("execution") == step.execution.arn else []


def _tell(step: Step, failure: Failure) -> bool:
    """Write the dead letter of a failure, and commit its records if all were rejected; return whether the dead letter is new."""
    with Packed() as lines:
        known = _known(step, failure, lines)
        is_new = _write_dead_letter(step, failure, dead_letter_failure.dead_letter_name(failure), known)
        if known and dead_letter_failure.left_its_contents(failure):
            with ledger_file.ledger_file(ledger_file.header(step, known.facts, known.counts), lines) as entry:
                commit.commit(ENVIRONMENT.audit_bucket, step, entry)
    return is_new


def _end(end: End | None) -> Json:
    """Write the dead letter of an execution that ended, unless its own branch has told of that attempt."""
    if end is None:
        runtime.logger.warning("an execution ended that somebody began with no batch: there is nothing to account for")
        return {"counts": {"dead_letters": 0}}
    if end.is_told(_dead_letters(end)):
        return {"counts": {"dead_letters": 0}}
    state = _state_of(end)
    is_new = _write_dead_letter(end.step(state), end.failure(state), end.name, None)
    return {"counts": {"dead_letters": int(is_new)}}


def _dead_letters(of: Step | End) -> list[str]:
    return aws.keys(ENVIRONMENT.audit_bucket, ledger_file.dead_letters_prefix(of.batch, of.execution))


def _write_dead_letter(step: Step, failure: Failure, name: str, known: Known | None) -> bool:
    dataset = dataset_of(step.batch.object.key, ENVIRONMENT.default_dataset, ENVIRONMENT.raw_prefix)
    code = json.loads(ENVIRONMENT.code_versions)
    failed = {stage: code[stage] for stage in code if stage == failure.step.lower()}
    dead_letter = ledger_file.dead_letter(step, failure, dataset, known, failed)
    key = ledger_file.dead_letter_key(step.batch, name, step.execution)
    return aws.write_once(ENVIRONMENT.audit_bucket, key, dead_letter, "application/json")


def _known(step: Step, failure: Failure, lines: Packed) -> Known | None:
    """Find what was known of the batch when the step failed; None if it had not been read, or is gone.

    If the step had rejected every record, `lines` takes their ledger lines. A dead letter that lacks what was known is
    better than no dead letter.
    """
    try:
        if dead_letter_failure.left_its_contents(failure):
            known = _left(step, failure, lines)
        elif claim_check.has_records(step.message):
            with claim_check.rejected(step.message) as rejected:
                listed = list(islice(rejected, ledger_file.LISTED))
            known = Known(Facts.decode(step.message), claim_check.counts(step.message), listed)
        else:
            return None
    except (ObjectMissing, AccessRefused, MessageRefused) as error:
        # The dead letter of a step that refused its message is of one that cannot be read here either.
        runtime.logger.warning("the records of the batch cannot be read for its dead letter", cause=str(error))
        return None
    return replace(known, facts=known.facts.passed(dead_letter_failure.STAGE, ENVIRONMENT.code_version))


def _left(step: Step, failure: Failure, lines: Packed) -> Known:
    batch, listed, number = dead_letter_failure.as_it_failed(step).batch, [], 0
    with claim_check.left_by(failure.step, batch, bucket=ENVIRONMENT.staging_bucket) as (facts, staged):
        for page in staged:
            listed += [Rejected.decode(decode(line)) for line in page[: max(0, ledger_file.LISTED - number)]]
            number += len(page)
            lines.add(b"".join(map(staged_batch.ledger_line, page)))
    return Known(facts, Counts(0, number), listed)


def _redrives(step: Step) -> int:
    """Ask how often the execution was redriven, in case the state machine called with an old answer.

    If that cannot be learned, the failure is raised again, and another redrive asks again.
    """
    try:
        return aws.redrives_of(step.execution.arn)
    except (AccessRefused, CallRefused, ServiceUnavailable) as error:
        runtime.logger.warning("cannot ask whether the execution was redriven", cause=str(error))
        return step.execution.redrives


def _state_of(end: End) -> str | None:
    """Ask in which state an execution ended; a dead letter that does not say so is better than no dead letter."""
    try:
        return aws.last_state_of(end.execution.arn, end.ended_at)
    except (AccessRefused, CallRefused, ServiceUnavailable) as error:
        runtime.logger.warning("the history of the execution cannot be read for its dead letter", cause=str(error))
        return None
