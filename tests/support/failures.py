"""What DeadLetter is called with: failures that a Catch saw, and events of executions that ended elsewhere."""

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.dead_letter.handler import handle
from functions.shared.errors import BY_NAME, AccessRefused
from tests.support.buckets import ENTERED_AT, EXECUTION_ARN, called_with

REDRIVEN_AT = "2026-11-23T10:00:00.000Z"


@dataclass
class StepFunctions:
    """A client of Step Functions that answers about the execution."""

    redrives: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    refusal: str | None = None

    def describe_execution(self, **_: Any) -> dict[str, Any]:
        return self._answer({"redriveCount": self.redrives})

    def get_execution_history(self, **request: Any) -> dict[str, Any]:
        assert request["reverseOrder"], "the last state is the one in which it ended"
        assert not request["includeExecutionData"], "no payload is fetched"
        return self._answer({"events": self.history})

    def _answer(self, answer: dict[str, Any]) -> dict[str, Any]:
        if self.refusal:
            refused = {"HTTPStatusCode": 400}
            raise ClientError({"Error": {"Code": self.refusal}, "ResponseMetadata": refused}, "any")  # type: ignore[typeddict-item]  # the rest of the metadata is not read
        return answer


def failed(
    message: dict[str, Any], step: str, error: str, cause: str = "a cause", *, redrives: int = 0
) -> dict[str, Any]:
    """Return the payload of DeadLetter after a step has raised an error."""
    caught = {"Error": error, "Cause": json.dumps({"errorMessage": cause, "errorType": error})}
    return called_with(message | {"failure": {step: caught}}, "DeadLetter", redrives=redrives)


def failed_in_engine(message: dict[str, Any], step: str, error: str, cause: str = "") -> dict[str, Any]:
    """Return the payload of DeadLetter after an error of the engine, whose cause is plain text."""
    return called_with(message | {"failure": {step: {"Error": error, "Cause": cause}}}, "DeadLetter")


def record(message: dict[str, Any], step: str, error: str, cause: str = "a cause", *, redrives: int = 0) -> None:
    """Call DeadLetter with a new failure, and require that it raises the original error."""
    with pytest.raises(BY_NAME[error], match=re.escape(cause)):
        handle(failed(message, step, error, cause, redrives=redrives), None)


def resume(message: dict[str, Any], step: str, error: str, *, redrives: int = 1, redriven_at: str | None = None) -> Any:
    """Call DeadLetter as a redrive does: with the same failure, and a higher count of redrives."""
    event = failed(message, step, error, redrives=redrives)
    event["execution"]["RedriveTime"] = redriven_at
    return handle(event, None)


def refuse_access(*_: Any) -> Any:
    """Stand for a call that AWS refuses."""
    raise AccessRefused("GetObject was answered AccessDenied")


def ended(message: Any, status: str, *, redrives: int = 0, **more: Any) -> dict[str, Any]:
    """Return the event of EventBridge for an execution with this input."""
    detail = {
        "executionArn": EXECUTION_ARN,
        "status": status,
        "startDate": 1795424400000,
        "stopDate": 1795424401250,
        "input": json.dumps(message),
        "redriveCount": redrives,
    }
    return {"source": "aws.states", "detail-type": "Step Functions Execution Status Change", "detail": detail | more}


def entered(state: str, at: str = ENTERED_AT) -> dict[str, Any]:
    """Return the event of an execution's history for a state."""
    return {
        "type": "TaskStateEntered",
        "timestamp": datetime.fromisoformat(at),
        "stateEnteredEventDetails": {"name": state},
    }
