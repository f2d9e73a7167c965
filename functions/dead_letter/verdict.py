"""What a step failed of, and the error with which the execution must therefore end."""

import json
from dataclasses import replace
from typing import Any

from functions.shared import ledger
from functions.shared.errors import (
    BY_NAME,
    CustodyError,
    MessageRefused,
    RecordsRejected,
    ServiceUnavailable,
    StepFailed,
)
from functions.shared.ledger import Failure
from functions.shared.messages import Json, Step

STAGE = "dead_letter"

BOOKS_ITSELF = frozenset({"Write"})
"""The states that book the records they reject before they raise; the others leave them to DeadLetter."""

_RETRIED = ServiceUnavailable.__name__
"""The error of ours that a Retry names: raised by that name it would start DeadLetter's own Retry."""


def failure_of(message: dict[str, Any]) -> Failure:
    """Read the failure that the state machine caught beside the input of the step.

    Raises MessageRefused if there is none. The cause of a foreign error is given by its place in the code and not by
    its message: that may quote a record, and a letter is kept for good.
    """
    try:
        step, caught = next(iter(message["failure"].items()))
        error, cause = caught["Error"], caught["Cause"]
    except (KeyError, AttributeError, StopIteration, TypeError) as missing:
        raise MessageRefused(f"DeadLetter was called without a failure: {missing!r}") from missing
    if error in BY_NAME or _is_of_the_engine(error):
        return Failure(step, error, sentence(cause))
    trace = _parsed(cause).get("stackTrace") or ["at a place that it did not tell"]
    return Failure(
        step, error, f"{error}, raised {str(trace[-1]).strip()} (see the execution's history for its message)"
    )


def error_of(failure: Failure) -> CustodyError:
    """Make the error to raise: by the name of the true one, unless a Retry would match that name.

    An error of the engine (`Lambda.…`, `States.…`) becomes StepFailed, with its name at the start of the cause.
    """
    if _is_of_the_engine(failure.error) or failure.error == _RETRIED:
        return StepFailed(f"{failure.error} at {failure.step}: {failure.cause}")
    named: type[CustodyError] = BY_NAME.get(failure.error) or type(failure.error, (StepFailed,), {})
    return named(failure.cause)


def letter_name(failure: Failure) -> str:
    """Name the letter of a failure: by its step, unless that step has written one itself."""
    wrote_it = failure.error == RecordsRejected.__name__ and failure.step in BOOKS_ITSELF
    return ledger.REJECTED if wrote_it else failure.step


def was_told_before(step: Step, name: str, keys: list[str]) -> bool:
    """Say whether one of the letters, given by key, is that of this failure at an earlier attempt.

    Then the execution was redriven since. The message of the step that failed tells the first attempt at which that can
    have been.
    """
    earlier = (replace(step.batch, attempt=attempt) for attempt in range(step.message["attempt"], step.batch.attempt))
    return any(ledger.letter_key(batch, name, step.execution) in keys for batch in earlier)


def attempt_before(step: Step) -> Step:
    """Give the step as it was before its execution was redriven last."""
    return replace(step, batch=replace(step.batch, attempt=step.batch.attempt - 1))


def resumption(step: Step, failure: Failure, redrives: int) -> Json:
    """Make the message with which the batch goes on, and name the step at which it does."""
    state = ledger.resumes_at(failure)
    attempt = step.batch.attempt + redrives - step.execution.redrives
    begun = {} if state == "Validate" else {name: part for name, part in step.message.items() if name != "failure"}
    return begun | replace(step.batch, attempt=attempt).encode() | {"resume": state}


def left_its_contents(failure: Failure) -> bool:
    """Say whether the step rejected every record and left them, unbooked, in the staging bucket."""
    return failure.error == RecordsRejected.__name__ and failure.step not in BOOKS_ITSELF


def sentence(cause: str) -> str:
    """Take the sentence out of the JSON that Lambda makes of an exception; anything else stays as it is."""
    return _parsed(cause).get("errorMessage") or cause


def _is_of_the_engine(error: str) -> bool:
    return "." in error


def _parsed(cause: str) -> dict[str, Any]:
    try:
        said = json.loads(cause)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
