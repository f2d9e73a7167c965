"""The ends of executions that no Catch sees, as EventBridge reports them.

The event: https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
"""

import json
from datetime import UTC, datetime
from typing import Any, Self

from msgspec import Struct
from msgspec.structs import replace

from functions.dead_letter.failure import safe_cause
from functions.shared.audit.dead_letter import PROCESS_CHUNKS, VALIDATE
from functions.shared.errors import ExecutionAborted, ExecutionTimedOut, MessageRefused, RecordsRejected
from functions.shared.model.keys import ENDS, REJECTED, DeadLetterKey
from functions.shared.model.messages import FORMAT, Batch, Execution, Step

_ERRORS = {"TIMED_OUT": ExecutionTimedOut.__name__, "ABORTED": ExecutionAborted.__name__}
_NO_ERROR = "Unknown"


class End(Struct, frozen=True):
    """How an execution ended: `name` is that of its dead letter, which has its `error` and `cause`."""

    name: str
    batch: Batch
    execution: Execution
    ended_at: str
    error: str
    cause: str

    @classmethod
    def decode(cls, event: dict[str, Any]) -> Self | None:
        """Decode the status-change event of an execution that failed; return None if its input is not a batch.

        Raises MessageRefused for any other event, and for a batch of an unknown format.
        """
        try:
            detail = event["detail"]
            status = detail["status"]
            redrives = detail.get("redriveCount") or 0
            batch = _batch(json.loads(detail["input"]))
            if batch is None:
                return None
            error = detail.get("error") or ""
            return cls(
                name=ENDS[status],
                batch=replace(batch, attempt=batch.attempt + redrives),
                execution=Execution(detail["executionArn"], _iso(detail["startDate"]), redrives),
                ended_at=_iso(detail["stopDate"]),
                error=_ERRORS.get(status, error or _NO_ERROR),
                cause=_cause(status, error, detail.get("cause") or ""),
            )
        except (KeyError, TypeError, ValueError) as reason:
            raise MessageRefused(
                f"an event does not describe an execution that failed: {reason!r}; check the rule that sent it"
            ) from reason

    def is_recorded_in(self, keys: list[str]) -> bool:
        """Return whether one of the dead letters of the batch, given by key, records this end.

        The dead letter of the records that Write did not deliver records no other failure.
        """
        key = DeadLetterKey.of(self.batch, REJECTED, self.execution)
        prefix = key.key.removesuffix(f"{REJECTED}.json")
        rejected_only = self.error != RecordsRejected.__name__
        return any(each.startswith(prefix) and not (rejected_only and each == key.key) for each in keys)

    def step(self, state: str | None) -> Step:
        """Return the step that was running: the first, the safest answer, if the history does not show the state."""
        first = PROCESS_CHUNKS if self.batch.plan else VALIDATE
        return Step(state or first, self.batch.encode(), self.batch, self.execution, self.ended_at)


def _cause(status: str, error: str, cause: str) -> str:
    """Return the cause without what may quote a record, because a dead letter is kept forever."""
    if status in _ERRORS:
        return ": ".join(filter(None, [error, cause])) or "no cause was given"
    return safe_cause(error, cause)


def _batch(message: Any) -> Batch | None:
    """Decode the input of an execution; return None if somebody started it with anything but a batch."""
    try:
        return Batch.decode(message)
    except MessageRefused:
        if isinstance(message, dict) and message.get("format", FORMAT) != FORMAT:
            raise
        return None


def _iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
