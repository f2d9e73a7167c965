"""Events of a history name their predecessor, and status events on EventBridge cover every end and redrive.

MiniStack sets no `previousEventId`
(https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html); what the first event after a
redrive names is not documented, here it is ExecutionRedriven. Its status events lack error and cause of stopped and
timed out executions and everything about redrives, and delay the execution until their targets have run. On AWS the
fields are those of DescribeExecution, with dates in epoch milliseconds:
https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
"""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import Any

from local.patches.patch import change, module, wrap
from local.patches.step_functions.redrive import describe

_log = logging.getLogger(__name__)
_publisher = ThreadPoolExecutor(max_workers=1, thread_name_prefix="execution-events")

_STARTED = '"type": "ExecutionStarted",'
_FIRST = 1
_OF_NO_BRANCH = frozenset({"ExecutionAborted", "ExecutionTimedOut", "ExecutionRedriven"})
"""Events that follow every earlier one, in whatever branch."""

# The last event of each execution by ARN; a child of a Map has a context of its own, copied when it starts.
_last: ContextVar[Mapping[str, int]] = ContextVar("last_events")

_REDRIVABLE = "redrivable = failed  # TIMED_OUT is never set locally; FAILED is the one"
_REASON = """"redriveStatusReason": (
            f"Execution is {status} and is redrivable" if redrivable
            else f"Execution is {status} and cannot be redriven"
        ),"""


def apply() -> None:
    """Add the previous event to each event, complete the status event, and publish it in a thread of its own."""
    machines = module("services.stepfunctions")
    change(machines, "_start_execution", {_STARTED: f'{_STARTED} "previousEventId": 0,'})
    wrap(machines, "_add_event", _adding)
    change(
        machines,
        "_emit_execution_status_event",
        {
            'failed = status == "FAILED"': 'failed = status in ("FAILED", "TIMED_OUT", "ABORTED")',
            _REDRIVABLE: "redrives = _local_redrive_fields(execution)",
            '"redriveCount": 0,': '"redriveCount": redrives["redriveCount"],',
            '"redriveDate": None,': '"redriveDate": _iso_to_epoch_ms(redrives.get("redriveDate")),',
            '"redriveStatus": "REDRIVABLE" if redrivable else "NOT_REDRIVABLE",': (
                '"redriveStatus": redrives["redriveStatus"],'
            ),
            _REASON: '"redriveStatusReason": redrives.get("redriveStatusReason"),',
            "eventbridge._put_events({": "_local_publish(eventbridge._put_events, {",
        },
        {"_local_redrive_fields": describe, "_local_publish": _publish},
    )


def _adding(add: Callable[..., Any]) -> Callable[..., Any]:
    def add_after_previous(execution: dict[str, Any], kind: str, details: Any = None) -> Any:
        event = add(execution, kind, details)
        arn, last = execution["executionArn"], _last.get({})
        previous = event["id"] - 1 if kind in _OF_NO_BRANCH else last.get(arn, 0)
        event["previousEventId"] = 0 if previous == _FIRST else previous
        _last.set({**last, arn: event["id"]})
        return event

    return add_after_previous


def _publish(put: Callable[..., Any], request: dict[str, Any], *, allow_aws_source: bool) -> None:
    def publish() -> None:
        put(request, allow_aws_source=allow_aws_source)

    _publisher.submit(copy_context().run, publish).add_done_callback(_log_failure)


def _log_failure(published: Future[None]) -> None:
    error = published.exception()
    if error is not None:
        _log.error("A status event is lost", exc_info=error)
