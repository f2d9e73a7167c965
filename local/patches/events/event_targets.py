"""A rule invokes its Lambda targets asynchronously, if it may; an event that it cannot deliver is dead-lettered.

MiniStack invokes a function once whether it may or not, so that neither Lambda's own retries nor its destinations
apply, and has no dead-letter queues. On AWS a missing permission or function is not retried, and the event goes to the
target's queue as it is: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html. Other errors cannot
happen here, for an asynchronous invocation is always taken: hence RETRY_ATTEMPTS is 0 and EXHAUSTED_RETRY_CONDITION
is left out, and RetryPolicy is kept and not needed. Targets of other services keep MiniStack's ways.
"""

import json
import logging
from typing import Any

from local.patches import roles
from local.patches.patch import change, member, module

SERVICE = "events.amazonaws.com"
_log = logging.getLogger(__name__)


def fill() -> None:
    """Deliver to functions here."""
    for owner, names in (
        (
            "services.lambda_svc",
            ("_get_func_record_for_ref", "_execution_record_for_config", "invoke_async_with_retry"),
        ),
        ("services.sqs", ("queue_policy_allows", "_queue_by_arn", "_act_send_message")),
    ):
        for name in names:
            member(module(owner), name)
    change(
        module("services.eventbridge"),
        "_invoke_target",
        {
            "_dispatch_to_lambda(arn, event_payload)": (
                "_local_deliver(rule, target, event_payload, json.dumps(view.event_with_detail()))"
            )
        },
        {"_local_deliver": _deliver},
    )


def _deliver(rule: dict[str, Any], target: dict[str, Any], payload: str, event: str) -> None:
    functions = module("services.lambda_svc")
    arn = target["Arn"]
    function, config, _ = functions._get_func_record_for_ref(arn)  # noqa: SLF001
    if not function or not config:
        dead_letter(rule, target, event, "NO_RESOURCE", f"Function not found: {arn}")
    elif roles.are_enforced() and not _may_invoke(function, arn, rule["Arn"]):
        message = f"User: {SERVICE} is not authorized to perform: lambda:InvokeFunction on resource: {arn}"
        dead_letter(rule, target, event, "NO_PERMISSIONS", message)
    else:
        record = functions._execution_record_for_config(function, config)  # noqa: SLF001
        functions.invoke_async_with_retry(record, json.loads(payload))


def _may_invoke(function: dict[str, Any], arn: str, rule: str) -> bool:
    evaluator = module("core.iam_evaluator")
    region, account = arn.split(":")[3:5]
    context = evaluator.EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action="lambda:InvokeFunction",
        resource_arn=arn,
        region=region,
        service_context={"aws:sourcearn": rule, "aws:sourceaccount": account},
    )
    return bool(evaluator.evaluate_resource_policy(function["policy"], context, service=SERVICE).decision == "Allow")


def dead_letter(rule: dict[str, Any], target: dict[str, Any], event: str, code: str, message: str) -> None:
    """Put an event that cannot be delivered into the queue of its target, if that lets the rule in; else it is lost."""
    queues = module("services.sqs")
    arn = (target.get("DeadLetterConfig") or {}).get("Arn", "")
    queue = queues._queue_by_arn(arn)  # noqa: SLF001
    account = target["Arn"].split(":")[4]
    may = not roles.are_enforced() or queues.queue_policy_allows(arn, SERVICE, rule["Arn"], account)
    if queue is None or not may:
        _log.warning("An event is lost: %s. There is no dead-letter queue, or it may not be used: %r", message, arn)
        return
    attributes = {
        "RULE_ARN": rule["Arn"],
        "TARGET_ARN": target["Arn"],
        "ERROR_CODE": code,
        "ERROR_MESSAGE": message,
        "RETRY_ATTEMPTS": "0",
    }
    texts = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    queues._act_send_message({"MessageBody": event, "MessageAttributes": texts}, queue["url"])  # noqa: SLF001
