"""What failed, and the error with which the execution must therefore end."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from functions.shared.audit import chunk_totals
from functions.shared.audit.dead_letter import PROCESS_CHUNKS, SUMMARIZE, VALIDATE, WRITE, Failure, resumes_at
from functions.shared.errors import (
    BY_NAME,
    CustodyError,
    MessageRefused,
    RecordsRejected,
    ServiceUnavailable,
    StepFailed,
)
from functions.shared.model.keys import REJECTED, DeadLetterKey
from functions.shared.model.ledger import ChunkLine
from functions.shared.model.messages import Batch, Json, Step

STAGE = "dead_letter"

COMMITTING = frozenset({WRITE, PROCESS_CHUNKS, SUMMARIZE})
"""The states whose records are committed before they fail; any other leaves the rejected records to DeadLetter."""

_RETRIED = ServiceUnavailable.__name__
"""The error of ours that a Retry names: raising it by that name would start DeadLetter's own Retry."""


def failure_of(message: dict[str, Any]) -> Failure:
    """Decode the failure that the state machine caught, beside the input of the step.

    Raises MessageRefused if there is none. The cause of a foreign error is its place in the code, not its message, and
    that of the engine is kept only where it cannot quote a record, because a dead letter is kept forever.
    """
    try:
        step, caught = next(iter(message["failure"].items()))
        error, cause = caught["Error"], caught["Cause"]
    except (KeyError, AttributeError, StopIteration, TypeError) as missing:
        raise MessageRefused(f"DeadLetter was called without a failure: {missing!r}") from missing
    return Failure(step, error, safe_cause(error, cause))


def safe_cause(error: str, cause: str) -> str:
    """Return the cause for a dead letter, without what may quote a record."""
    if error in BY_NAME or (error.startswith("Lambda.") and error != "Lambda.Unknown"):
        return _parsed(cause).get("errorMessage") or cause
    trace = _parsed(cause).get("stackTrace")
    where = f", raised {str(trace[-1]).strip()}" if trace else ""
    return f"{error or 'no error was given'}{where} (see the execution's history for its message)"


def error_of(failure: Failure) -> CustodyError:
    """Return the error to raise: the original by name, unless a Retry would match that name.

    An error of the engine (`Lambda.…`, `States.…`) becomes StepFailed, with its name at the start of the cause.
    """
    if "." in failure.error or failure.error == _RETRIED:
        return StepFailed(f"{failure.error} at {failure.step}: {failure.cause}")
    named: type[CustodyError] = BY_NAME.get(failure.error) or type(failure.error, (StepFailed,), {})
    return named(failure.cause)


def dead_letter_name(failure: Failure) -> str:
    """Return the name of the dead letter: the step, or REJECTED if Write has already written it."""
    is_written = failure.error == RecordsRejected.__name__ and failure.step == WRITE
    return REJECTED if is_written else failure.step


def recorded(step: Step, failure: Failure, keys: list[str]) -> tuple[bool, bool]:
    """Return whether the failure has the dead letter of an earlier attempt, and of the current one, by their keys.

    The message of the failed step names the first attempt at which the failure can have occurred. A dead letter of the
    current attempt belongs to a failure after the redrive, so it does not show that the redrive reached this state.
    """

    def is_recorded(attempt: int) -> bool:
        batch = replace(step.batch, attempt=attempt)
        return DeadLetterKey.of(batch, dead_letter_name(failure), step.execution).key in keys

    before = any(map(is_recorded, range(step.message["attempt"], step.batch.attempt)))
    return before, is_recorded(step.batch.attempt)


def is_redriven(step: Step) -> bool:
    """Return whether a redrive called this state again: it was entered before the execution was redriven."""
    redriven_at = step.execution.redriven_at
    return redriven_at is not None and datetime.fromisoformat(step.entered_at) < datetime.fromisoformat(redriven_at)


def at_failed_attempt(step: Step) -> Step:
    """Return the step at the attempt that failed, by the message that was caught."""
    return replace(step, batch=Batch.decode(step.message))


def resumption(
    step: Step,
    failure: Failure,
    redrives: int,
    summary: Iterable[ChunkLine] = (),
    discarded: frozenset[int] = frozenset(),
) -> Json:
    """Return the message with which the batch resumes, and the step at which it does.

    `summary` has the lines that Summarize wrote before it failed: a bulk object resumes with the chunks that they
    name as not written, without those that were `discarded`.
    """
    state = resumes_at(failure)
    batch = replace(step.batch, attempt=step.batch.attempt + redrives - step.execution.redrives)
    if state in (VALIDATE, PROCESS_CHUNKS):  # which need nothing but the batch
        return chunk_totals.to_repeat(batch, summary, discarded).encode() | {"resume": state}
    message = {name: part for name, part in step.message.items() if name != "failure"}
    if state == SUMMARIZE:
        message |= {chunk_totals.CHUNKS_ATTEMPT: chunk_totals.processed_at(step.message)}
    return message | batch.encode() | {"resume": state}


def needs_summary(failure: Failure) -> bool:
    """Return whether Summarize failed because of some chunks, which its summary names."""
    return failure.step == SUMMARIZE and resumes_at(failure) == PROCESS_CHUNKS


def is_uncommitted(failure: Failure) -> bool:
    """Return whether the step rejected every record and left them, uncommitted, in the staging bucket."""
    return failure.error == RecordsRejected.__name__ and failure.step not in COMMITTING


def _parsed(cause: str) -> dict[str, Any]:
    try:
        document = json.loads(cause)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
