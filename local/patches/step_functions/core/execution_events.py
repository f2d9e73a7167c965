"""The event of a change of status tells of every end and of redrives, and reaches its targets in order.

MiniStack leaves out error and cause of what was stopped or timed out, calls it not redrivable, knows of no redrive,
tells of Express workflows too, and makes the execution wait for the targets. On AWS Standard workflows alone are told
of, and the fields are those of DescribeExecution, with dates in epoch milliseconds:
https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from local.patches.patch import change, module
from local.patches.step_functions.redrive.redrive import described, is_express

_log = logging.getLogger(__name__)
_one_at_a_time = ThreadPoolExecutor(max_workers=1, thread_name_prefix="execution-events")
_REDRIVABLE = "redrivable = failed  # TIMED_OUT is never set locally; FAILED is the one"
_REASON = """"redriveStatusReason": (
            f"Execution is {status} and is redrivable" if redrivable
            else f"Execution is {status} and cannot be redriven"
        ),"""


def fill() -> None:
    """Complete the detail, and hand the event over to a thread of its own."""
    change(
        module("services.stepfunctions"),
        "_emit_execution_status_event",
        {
            'if execution.get("sync"):': "if _local_is_express(execution):",
            'failed = status == "FAILED"': 'failed = status in ("FAILED", "TIMED_OUT", "ABORTED")',
            _REDRIVABLE: "told = _local_described(execution)",
            '"redriveCount": 0,': '"redriveCount": told["redriveCount"],',
            '"redriveDate": None,': '"redriveDate": _iso_to_epoch_ms(told.get("redriveDate")),',
            '"redriveStatus": "REDRIVABLE" if redrivable else "NOT_REDRIVABLE",': (
                '"redriveStatus": told["redriveStatus"],'
            ),
            _REASON: '"redriveStatusReason": told.get("redriveStatusReason"),',
            "eventbridge._put_events({": "_local_publish(eventbridge._put_events, {",
        },
        {"_local_described": described, "_local_is_express": is_express, "_local_publish": _publish},
    )


def _publish(put: Callable[..., Any], request: dict[str, Any], *, allow_aws_source: bool) -> None:
    def published() -> None:
        put(request, allow_aws_source=allow_aws_source)

    _one_at_a_time.submit(copy_context().run, published).add_done_callback(_tell_failure)


def _tell_failure(published: Future[None]) -> None:
    error = published.exception()
    if error is not None:
        _log.error("The event of a change of status is lost", exc_info=error)
