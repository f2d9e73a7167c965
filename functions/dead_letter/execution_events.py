"""The ends of executions that no Catch sees, as EventBridge tells of them.

The event: https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
"""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self

from functions.dead_letter.failure import told_cause
from functions.shared.audit.ledger_file import (
    ENDS,
    PROCESS_CHUNKS,
    REJECTED,
    VALIDATE,
    Failure,
    dead_letter_key,
    dead_letters_prefix,
)
from functions.shared.errors import ExecutionAborted, ExecutionTimedOut, MessageRefused, RecordsRejected
from functions.shared.model.messages import FORMAT, Batch, Execution, Step

_ERRORS = {"TIMED_OUT": ExecutionTimedOut.__name__, "ABORTED": ExecutionAborted.__name__}
_NO_ERROR = "Unknown"


def is_end(event: dict[str, Any]) -> bool:
    """Tell an event of EventBridge from the payload of the state machine."""
    return "detail" in event


@dataclass(frozen=True, slots=True)
class End:
    """How an execution ended: `name` is that of its dead letter, `error` and `cause` are what it shall say."""

    name: str
    batch: Batch
    execution: Execution
    ended_at: str
    error: str
    cause: str

    @classmethod
    def decode(cls, event: dict[str, Any]) -> Self | None:
        """Read a status-change event of an execution that ended badly; None if that was begun with no batch.

        Raises MessageRefused for any other event, and for a batch of a format that this code does not know.
        """
        try:
            detail = event["detail"]
            status = detail["status"]
            redrives = detail.get("redriveCount") or 0
            begun = _batch(json.loads(detail["input"]))
            if begun is None:
                return None
            error = detail.get("error") or ""
            return cls(
                name=ENDS[status],
                batch=replace(begun, attempt=begun.attempt + redrives),
                execution=Execution(detail["executionArn"], _iso(detail["startDate"]), redrives),
                ended_at=_iso(detail["stopDate"]),
                error=_ERRORS.get(status, error or _NO_ERROR),
                cause=_cause(status, error, detail.get("cause") or ""),
            )
        except (KeyError, TypeError, ValueError) as missing:
            raise MessageRefused(
                f"an event came that tells of no execution that ended badly: {missing!r}; see the rule that sent it"
            ) from missing

    def is_told(self, keys: list[str]) -> bool:
        """Say whether one of the batch's dead letters, given by key, tells of this end.

        That of the records which Write did not deliver tells of no other failure.
        """
        prefix = f"{dead_letters_prefix(self.batch, self.execution)}{self.batch.attempt}."
        rejected = dead_letter_key(self.batch, REJECTED, self.execution)
        return any(
            key.startswith(prefix) and (key != rejected or self.error == RecordsRejected.__name__) for key in keys
        )

    def step(self, state: str | None) -> Step:
        """Give the step that was under way, with all that is known of it."""
        return Step(state or self._beginning, self.batch.encode(), self.batch, self.execution, self.ended_at)

    def failure(self, state: str | None) -> Failure:
        """Say what the dead letter tells."""
        return Failure(state or self._beginning, self.error, self.cause)

    @property
    def _beginning(self) -> str:
        """Where a batch begins: the safest answer if the history does not tell where it was."""
        return PROCESS_CHUNKS if self.batch.plan else VALIDATE


def _cause(status: str, error: str, cause: str) -> str:
    """Say why; what the engine or a bug says may quote a record, and a dead letter is kept for good."""
    if status in _ERRORS:
        return ": ".join(filter(None, [error, cause])) or "no cause was given"
    return told_cause(error, cause)


def _batch(message: Any) -> Batch | None:
    """Read the input of an execution; None if somebody began it with anything but a batch."""
    try:
        return Batch.decode(message)
    except MessageRefused:
        if isinstance(message, dict) and message.get("format", FORMAT) != FORMAT:
            raise
        return None


def _iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
