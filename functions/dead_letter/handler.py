"""Write the dead letter of a batch that failed, then fail with the original error; let a redrive resume."""

import json
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from msgspec.structs import replace

from functions.dead_letter import failure as failures
from functions.dead_letter.execution_events import End
from functions.shared import aws, runtime
from functions.shared.audit import chunk_totals, commit
from functions.shared.audit.dead_letter import LISTED, Contents, Failure, dead_letter
from functions.shared.audit.ledger_file import UNREADABLE, header_of, ledger_file, parse_summary
from functions.shared.errors import (
    AccessRefused,
    CallRefused,
    KmsKeyRefused,
    MessageRefused,
    ObjectMissing,
    ServiceUnavailable,
)
from functions.shared.model.ids import dataset_of
from functions.shared.model.keys import DeadLetterKey, LedgerKey, dead_letters_prefix, discarded
from functions.shared.model.ledger import ChunkLine
from functions.shared.model.messages import Counts, Facts, Json, Step
from functions.shared.records.gzip_lines import Packed
from functions.shared.staging import claim_check
from functions.shared.staging.staged_batch import ledger_line, read_rejected


class Environment(runtime.Environment, frozen=True):
    """The environment variables of this function; `code_versions` is JSON: the code version of each stage."""

    code_versions: str


ENVIRONMENT = runtime.environment(Environment)

Answer = TypeVar("Answer")


@runtime.observed
def handle(event: dict[str, Any], _: Any) -> Json:
    """Record a failed step or, for an event of EventBridge, an execution that ended elsewhere.

    Raises the error of the step; ObjectMissing, AccessRefused, CallRefused, ServiceUnavailable, AttemptTaken or
    MessageRefused if the dead letter cannot be written.
    """
    if "detail" in event:  # it comes from EventBridge, and not from the state machine
        return _record_end(End.decode(event))
    return _record_failure(Step.decode(event), can_resume="resumable" in event)


def _record_failure(step: Step, *, can_resume: bool) -> Json:
    """Write the dead letter of a new failure and raise its error; let a failure that was redriven since resume.

    It cannot resume in an execution that started with a definition without Resume.
    """
    failure = failures.failure_of(step.message)
    if can_resume and step.execution.redrives:
        before, now = failures.recorded(step, failure, _dead_letters(step))
        is_redriven = failures.is_redriven(step)
        if is_redriven and not before:  # before the dead letter of the failure was written
            _record(failures.at_failed_attempt(step), failure)
        if is_redriven or (before and not now):
            return _resumption(step, failure, step.execution.redrives)
    is_new = _record(step, failure)
    if can_resume and not is_new and (redrives := _redrives(step)) > step.execution.redrives:
        return _resumption(step, failure, redrives)
    raise failures.error_of(failure)


def _resumption(step: Step, failure: Failure, redrives: int) -> Json:
    if not failures.needs_summary(failure):
        return failures.resumption(step, failure, redrives)
    keys = commit.keys(ENVIRONMENT.audit_bucket, step)
    return failures.resumption(step, failure, redrives, _summary(step, keys), discarded(keys))


def _summary(step: Step, keys: list[LedgerKey]) -> list[ChunkLine]:
    """Read the lines of the latest summary that this execution wrote.

    If there is none, or it is gone, all of the chunks are processed again.
    """
    if (key := chunk_totals.summary_of(step, keys)) is None:
        return []
    try:
        header, lines = parse_summary(aws.read(ENVIRONMENT.audit_bucket, key.key))
    except (ObjectMissing, AccessRefused, KmsKeyRefused, *UNREADABLE) as error:
        runtime.logger.warning("cannot read the summary of the chunks", cause=str(error))
        return []
    return lines if header.execution == step.execution.arn else []


def _record(step: Step, failure: Failure) -> bool:
    """Write the dead letter of a failure, and commit its records if all were rejected; return whether it is new."""
    with Packed() as lines:
        contents = _contents(step, failure, lines)
        is_new = _write(step, failure, failures.dead_letter_name(failure), contents)
        if contents and failures.is_uncommitted(failure):
            with ledger_file(header_of(step, contents.facts, contents.counts), lines) as file:
                commit.commit(ENVIRONMENT.audit_bucket, step, file)
    return is_new


def _record_end(end: End | None) -> Json:
    """Write the dead letter of an execution that ended, unless its own branch has recorded that attempt."""
    if end is None:
        runtime.logger.warning("an execution ended whose input is not a batch: there is nothing to account for")
    if end is None or end.is_recorded_in(_dead_letters(end)):
        return {"counts": {"dead_letters": 0}}
    step = end.step(_state_of(end))
    is_new = _write(step, Failure(step.name, end.error, end.cause), end.name, None)
    return {"counts": {"dead_letters": int(is_new)}}


def _dead_letters(of: Step | End) -> list[str]:
    return aws.keys(ENVIRONMENT.audit_bucket, dead_letters_prefix(of.batch, of.execution))


def _write(step: Step, failure: Failure, name: str, contents: Contents | None) -> bool:
    dataset = dataset_of(step.batch.object.key, ENVIRONMENT.default_dataset, ENVIRONMENT.raw_prefix)
    code = json.loads(ENVIRONMENT.code_versions)
    failed = {stage: code[stage] for stage in code if stage == failure.step.lower()}
    body = dead_letter(step, failure, dataset, contents, failed)
    key = DeadLetterKey.of(step.batch, name, step.execution).key
    return aws.write_once(ENVIRONMENT.audit_bucket, key, body, "application/json")


def _contents(step: Step, failure: Failure, lines: Packed) -> Contents | None:
    """Read what is known of the records of the batch; return None if it had not been read, or they are gone.

    If the step rejected every record, `lines` receives their ledger lines. A dead letter without the records is better
    than no dead letter.
    """
    try:
        if failures.is_uncommitted(failure):
            contents = _uncommitted(step, failure, lines)
        elif claim_check.has_records(step.message):
            first = list(islice(claim_check.rejected(step.message), LISTED))
            contents = Contents(Facts.decode(step.message), claim_check.counts_of(step.message), first)
        else:
            return None
    except (ObjectMissing, AccessRefused, KmsKeyRefused, MessageRefused) as error:
        # The message of a step that refused it cannot be read here either.
        runtime.logger.warning("cannot read the records of the batch for its dead letter", cause=str(error))
        return None
    return replace(contents, facts=contents.facts.passed(failures.STAGE, ENVIRONMENT.code_version))


def _uncommitted(step: Step, failure: Failure, lines: Packed) -> Contents:
    batch, first, number = failures.at_failed_attempt(step).batch, [], 0
    facts, staged = claim_check.rejected_by(failure.step, batch, bucket=ENVIRONMENT.staging_bucket)
    for page in staged:
        first += [read_rejected(line) for line in page[: max(0, LISTED - number)]]
        number += len(page)
        lines.add(b"".join(map(ledger_line, page)))
    return Contents(facts, Counts(number, 0, number), first)


def _redrives(step: Step) -> int:
    """Ask how often the execution was redriven, in case the context of the call is out of date.

    If Step Functions does not answer, the error is raised again, and another redrive asks again.
    """
    return _asked(partial(aws.redrives_of, step.execution.arn), step.execution.redrives)


def _state_of(end: End) -> str | None:
    """Ask in which state an execution ended; a dead letter that does not name it is better than no dead letter."""
    return _asked(partial(aws.last_state_of, end.execution.arn, end.ended_at), None)


def _asked(question: Callable[[], Answer], otherwise: Answer) -> Answer:
    try:
        return question()
    except (AccessRefused, CallRefused, ServiceUnavailable) as error:
        runtime.logger.warning("Step Functions cannot be asked about the execution", cause=str(error))
        return otherwise
