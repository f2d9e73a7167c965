"""A rule delivers to functions (asynchronously) and queues if their policies allow it; else events are dead-lettered.

MiniStack delivers whether it may or not, invokes a function once, without Lambda's retries and destinations, and has no
dead-letter queues. On AWS a missing permission or function is not retried, and the event goes to the target's
dead-letter queue as it is: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html and
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html. Asynchronous invocations are always
accepted here: hence RETRY_ATTEMPTS is 0, EXHAUSTED_RETRY_CONDITION is absent, and RetryPolicy has no effect.
"""

import json
import logging
from typing import Any

from local.patches import roles
from local.patches.patch import change, module

SERVICE = "events.amazonaws.com"
_SEND = '_dispatch_to_sqs(spec, event_payload, target.get("SqsParameters") or {})'
_log = logging.getLogger(__name__)
functions, queues = module("services.lambda_svc"), module("services.sqs")


def apply() -> None:
    """Check policies before delivery, and deliver to functions as Lambda's own clients do."""
    event = "json.dumps(view.event_with_detail())"
    change(
        module("services.eventbridge"),
        "_invoke_target",
        {
            "_dispatch_to_lambda(arn, event_payload)": f"_local_deliver(rule, target, event_payload, {event})",
            _SEND: f"_local_may_send(rule, target, {event}) and {_SEND}",
        },
        {"_local_deliver": _deliver, "_local_may_send": _may_send},
    )


def _deliver(rule: dict[str, Any], target: dict[str, Any], payload: str, event: str) -> None:
    function, config, _ = functions._get_func_record_for_ref(target["Arn"])
    if not function or not config:
        _dead_letter(rule, target, event, "NO_RESOURCE", "No function found")
    elif roles.are_enforced() and not _may_invoke(function, target["Arn"], rule["Arn"]):
        _dead_letter(
            rule, target, event, "NO_PERMISSIONS", f"{SERVICE} is not authorized to perform: lambda:InvokeFunction"
        )
    else:
        record = functions._execution_record_for_config(function, config)
        functions.invoke_async_with_retry(record, json.loads(payload))


def _may_send(rule: dict[str, Any], target: dict[str, Any], event: str) -> bool:
    if _policy_allows(target["Arn"], rule):
        return True
    _dead_letter(rule, target, event, "NO_PERMISSIONS", f"{SERVICE} is not authorized to perform: sqs:SendMessage")
    return False


def _policy_allows(queue: str, rule: dict[str, Any]) -> bool:
    return bool(queues.queue_policy_allows(queue, SERVICE, rule["Arn"], rule["Arn"].split(":")[4]))


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
    arn = (target.get("DeadLetterConfig") or {}).get("Arn", "")
    queue = queues._queue_by_arn(arn)
    if queue is None or not _policy_allows(arn, rule):
        _log.warning("An event is lost: %s. The target has no dead-letter queue that allows it: %r", message, arn)
        return
    attributes = {
        "RULE_ARN": rule["Arn"],
        "TARGET_ARN": target["Arn"],
        "ERROR_CODE": code,
        "ERROR_MESSAGE": f"{message} on resource: {target['Arn']}",
        "RETRY_ATTEMPTS": "0",
    }
    texts = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    queues._act_send_message({"MessageBody": event, "MessageAttributes": texts}, queue["url"])
