"""A rule delivers to functions (asynchronously) and queues if their policies allow it; else events are dead-lettered.

MiniStack delivers whether it may or not, invokes a function once, without Lambda's retries and destinations, and has no
dead-letter queues. On AWS a missing permission, function or queue is not retried, and the event goes to the target's
dead-letter queue as it is: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html and
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html. Asynchronous invocations are always
accepted here: hence RETRY_ATTEMPTS is 0, EXHAUSTED_RETRY_CONDITION is absent, and RetryPolicy has no effect.
"""

import json
import logging
from typing import Any

from local.patches import roles
from local.patches.patch import change, member, module

SERVICE = "events.amazonaws.com"
_SEND = '_dispatch_to_sqs(spec, event_payload, target.get("SqsParameters") or {})'
_log = logging.getLogger(__name__)


def apply() -> None:
    """Check policies before delivery, and deliver to functions as Lambda's own clients do."""
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
            ),
            _SEND: f"_local_may_send(rule, target, json.dumps(view.event_with_detail())) and {_SEND}",
        },
        {"_local_deliver": _deliver, "_local_may_send": _may_send},
    )


def _deliver(rule: dict[str, Any], target: dict[str, Any], payload: str, event: str) -> None:
    functions = module("services.lambda_svc")
    arn = target["Arn"]
    function, config, _ = functions._get_func_record_for_ref(arn)  # noqa: SLF001
    if not function or not config:
        _dead_letter(rule, target, event, "NO_RESOURCE", f"Function not found: {arn}")
    elif roles.are_enforced() and not _may_invoke(function, arn, rule["Arn"]):
        message = f"User: {SERVICE} is not authorized to perform: lambda:InvokeFunction on resource: {arn}"
        _dead_letter(rule, target, event, "NO_PERMISSIONS", message)
    else:
        record = functions._execution_record_for_config(function, config)  # noqa: SLF001
        functions.invoke_async_with_retry(record, json.loads(payload))


def _may_send(rule: dict[str, Any], target: dict[str, Any], event: str) -> bool:
    queues, queue, account = module("services.sqs"), target["Arn"], rule["Arn"].split(":")[4]
    allowed = bool(queues.queue_policy_allows(queue, SERVICE, rule["Arn"], account))
    if queues._queue_by_arn(queue) is None:  # noqa: SLF001
        _dead_letter(rule, target, event, "NO_RESOURCE", f"Queue not found: {queue}")
    elif not allowed:
        message = f"User: {SERVICE} is not authorized to perform: sqs:SendMessage on resource: {queue}"
        _dead_letter(rule, target, event, "NO_PERMISSIONS", message)
    return allowed


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


def _dead_letter(rule: dict[str, Any], target: dict[str, Any], event: str, code: str, message: str) -> None:
    """Send an undeliverable event to the dead-letter queue of its target if the policy allows it; else it is lost."""
    queues = module("services.sqs")
    arn = (target.get("DeadLetterConfig") or {}).get("Arn", "")
    queue = queues._queue_by_arn(arn)  # noqa: SLF001
    account = target["Arn"].split(":")[4]
    may = not roles.are_enforced() or queues.queue_policy_allows(arn, SERVICE, rule["Arn"], account)
    if queue is None or not may:
        _log.warning("An event is lost: %s. The target has no dead-letter queue that allows it: %r", message, arn)
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
