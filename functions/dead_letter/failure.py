"""What a step failed of, and the error with which the execution must therefore end."""

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from enum import Enum, auto
from typing import Any

from functions.shared.audit import chunk_totals, ledger_file
from functions.shared.audit.ledger_file import Failure
from functions.shared.errors import (
    BY_NAME,
    CustodyError,
    MessageRefused,
    RecordsRejected,
    ServiceUnavailable,
    StepFailed,
)
from functions.shared.model.messages import Batch, Json, Step

STAGE = "dead_letter"

LEAVES_NOTHING = frozenset({ledger_file.WRITE, ledger_file.PROCESS_CHUNKS, ledger_file.SUMMARIZE})
"""The states whose records are committed before they fail; any other leaves those that it rejects to DeadLetter."""

FIRST = frozenset({ledger_file.VALIDATE, ledger_file.PROCESS_CHUNKS})
"""The states that need nothing but the batch."""

_RETRIED = ServiceUnavailable.__name__
"""The error of ours that a Retry names: raised by that name it would start DeadLetter's own Retry."""


def failure_of(message: dict[str, Any]) -> Failure:
    """Read the failure that the state machine caught beside the input of the step.

    Raises MessageRefused if there is none. The cause of a foreign error is given by its place in the code and not by
    its message, and that of the engine only where it cannot quote a record: a dead letter is kept for good.
    """
    try:
        step, caught = next(iter(message["failure"].items()))
        error, cause = caught["Error"], caught["Cause"]
    except (KeyError, AttributeError, StopIteration, TypeError) as missing:
        raise MessageRefused(f"DeadLetter was called without a failure: {missing!r}") from missing
    return Failure(step, error, told_cause(error, cause))


def told_cause(error: str, cause: str) -> str:
    """Say what a dead letter may say of a cause: never what may quote a record."""
    if error in BY_NAME or (error.startswith("Lambda.") and error != "Lambda.Unknown"):
        return _parsed(cause).get("errorMessage") or cause
    trace = _parsed(cause).get("stackTrace")
    where = f", raised {str(trace[-1]).strip()}" if trace else ""
    return f"{error or 'no error was given'}{where} (see the execution's history for its message)"


def error_of(failure: Failure) -> CustodyError:
    """Make the error to raise: by the name of the true one, unless a Retry would match that name.

    An error of the engine (`Lambda.…`, `States.…`) becomes StepFailed, with its name at the start of the cause.
    """
    if _is_of_the_engine(failure.error) or failure.error == _RETRIED:
        return StepFailed(f"{failure.error} at {failure.step}: {failure.cause}")
    named: type[CustodyError] = BY_NAME.get(failure.error) or type(failure.error, (StepFailed,), {})
    return named(failure.cause)


def dead_letter_name(failure: Failure) -> str:
    """Name the dead letter of a failure: by its step, unless that is Write, which has written one of what it rejected."""
    wrote_it = failure.error == RecordsRejected.__name__ and failure.step == ledger_file.WRITE
    return ledger_file.REJECTED if wrote_it else failure.step


class Standing(Enum):
    """What is known of a failure when DeadLetter is called with it."""

    NEW = auto()
    """Nobody has told of it before: write its dead letter, and raise it."""
    REDRIVEN = auto()
    """It was told of at an earlier attempt, and the execution was redriven since: let the batch go on."""
    UNTOLD = auto()
    """The execution was redriven, but the attempt before died before its dead letter was written: do so, and go on."""


def standing(step: Step, failure: Failure, keys: list[str]) -> Standing:
    """Judge a failure by the dead letters of its batch, given by key.

    The message of the step that failed tells the first attempt at which the failure can have been. A dead letter of the
    attempt that is under way tells of a failure that came after the redrive, so that one is not the redrive's.
    """

    def is_told_at(attempt: int) -> bool:
        batch = replace(step.batch, attempt=attempt)
        return ledger_file.dead_letter_key(batch, dead_letter_name(failure), step.execution) in keys

    told = any(map(is_told_at, range(step.message["attempt"], step.batch.attempt)))
    if told and (is_redriven(step) or not is_told_at(step.batch.attempt)):
        return Standing.REDRIVEN
    return Standing.UNTOLD if is_redriven(step) else Standing.NEW


def is_redriven(step: Step) -> bool:
    """Say whether it is this state that a redrive called again: it was entered before the execution was redriven."""
    redriven_at = step.execution.redriven_at
    return redriven_at is not None and datetime.fromisoformat(step.entered_at) < datetime.fromisoformat(redriven_at)


def as_it_failed(step: Step) -> Step:
    """Give the step as it was when its batch failed, by the message that was caught."""
    return replace(step, batch=Batch.decode(step.message))


def resumption(
    step: Step,
    failure: Failure,
    redrives: int,
    summary: Iterable[Json] = (),
    discarded: frozenset[int] = frozenset(),
) -> Json:
    """Make the message with which the batch goes on, and name the step at which it does.

    `summary` are the lines of what Summarize wrote down before it failed: a bulk object goes on with the chunks that they
    tell to process again, without those that were `discarded`.
    """
    state = ledger_file.resumes_at(failure)
    batch = replace(step.batch, attempt=step.batch.attempt + redrives - step.execution.redrives)
    if state in FIRST:
        return chunk_totals.narrowed(batch, summary, discarded).encode() | {"resume": state}
    begun = {name: part for name, part in step.message.items() if name != "failure"}
    if state == ledger_file.SUMMARIZE:
        begun |= {chunk_totals.CHUNKS_ATTEMPT: chunk_totals.processed_at(step.message)}
    return begun | batch.encode() | {"resume": state}


def needs_summary(failure: Failure) -> bool:
    """Say whether Summarize found fault with some of the chunks, and wrote down with which."""
    return failure.step == ledger_file.SUMMARIZE and ledger_file.resumes_at(failure) == ledger_file.PROCESS_CHUNKS


def left_its_contents(failure: Failure) -> bool:
    """Say whether the step rejected every record and left them, uncommitted, in the staging bucket."""
    return failure.error == RecordsRejected.__name__ and failure.step not in LEAVES_NOTHING


def _is_of_the_engine(error: str) -> bool:
    return "." in error


def _parsed(cause: str) -> dict[str, Any]:
    try:
        said = json.loads(cause)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
