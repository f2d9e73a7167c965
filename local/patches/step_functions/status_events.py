"""Every start, end and redrive of an execution is published on EventBridge, except those of a Map's children.

MiniStack's events lack error and cause of stopped and timed out executions and everything about redrives, and delay the
execution until their targets have run. On AWS the fields are those of DescribeExecution, with dates in epoch
milliseconds: https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
"""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from local.patches.patch import module
from local.patches.step_functions.executions import Execution
from local.patches.step_functions.redrive import describe

_COPIED = ("executionArn", "stateMachineArn", "name", "status", "input", "inputDetails", "output", "error", "cause")
_DATES = ("startDate", "stopDate", "redriveDate")
_ABSENT = ("outputDetails", "redriveStatusReason", "stateMachineVersionArn", "stateMachineAliasArn")

_log = logging.getLogger(__name__)
_publisher = ThreadPoolExecutor(max_workers=1, thread_name_prefix="execution-events")
machines = module("services.stepfunctions")


def apply() -> None:
    """Publish the events, in a thread of its own."""
    machines._emit_execution_status_event = _emit


def _emit(execution: Execution) -> None:
    if "mapRunArn" in execution:
        return
    detail = dict.fromkeys(_ABSENT) | describe(execution) | {field: execution.get(field) for field in _COPIED}
    detail |= {field: machines._iso_to_epoch_ms(execution.get(field)) for field in _DATES}
    if execution["status"] == "SUCCEEDED":
        detail["outputDetails"] = {"included": True}
    _publisher.submit(copy_context().run, _publish, execution["executionArn"], detail)


def _publish(arn: str, detail: dict[str, Any]) -> None:
    entry = {
        "Source": "aws.states",
        "DetailType": "Step Functions Execution Status Change",
        "Detail": json.dumps(detail),
        "Resources": [arn],
    }
    try:
        module("services.eventbridge")._put_events({"Entries": [entry]}, allow_aws_source=True)
    except Exception:  # noqa: BLE001 - the execution continues
        _log.exception("A status event of %s is lost", arn)
