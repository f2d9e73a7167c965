"""Each event of a history names the one before it in its branch by `previousEventId`; what begins it names 0.

MiniStack names none, so that code which tells branches apart by it would run on AWS alone:
https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html. What the first event after a
redrive names is not documented; here it is ExecutionRedriven.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

from local.patches.patch import change, module, wrap

_STARTED = '"type": "ExecutionStarted",'
_FIRST = 1
_FROM_OUTSIDE = frozenset({"ExecutionAborted", "ExecutionTimedOut", "ExecutionRedriven"})
"""What belongs to no branch, and follows all that was there."""

# The event that was added last to an execution, by its ARN: a branch has a context of its own, copied as it begins.
_last: ContextVar[Mapping[str, int]] = ContextVar("last_events")


def fill() -> None:
    """Name the event before as an event is added; ExecutionStarted, which is made with its execution, names none."""
    machines = module("services.stepfunctions")
    change(machines, "_start_execution", {_STARTED: f'{_STARTED} "previousEventId": 0,'})
    wrap(machines, "_add_event", _adding)


def _adding(add: Callable[..., Any]) -> Callable[..., Any]:
    def added(execution: dict[str, Any], kind: str, details: Any = None) -> Any:
        event = add(execution, kind, details)
        arn, last = execution["executionArn"], _last.get({})
        before = event["id"] - 1 if kind in _FROM_OUTSIDE else last.get(arn, 0)
        event["previousEventId"] = 0 if before == _FIRST else before
        _last.set({**last, arn: event["id"]})
        return event

    return added
