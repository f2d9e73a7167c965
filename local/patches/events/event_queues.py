"""An event reaches a queue only if the queue's policy lets the rule in; else it is dead-lettered.

MiniStack puts it there in any case. On AWS it does not come, and goes to the target's dead-letter queue, if it has one:
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
"""

from typing import Any

from local.patches.events.event_targets import SERVICE, dead_letter
from local.patches.patch import change, member, module


def fill() -> None:
    """Ask the policy before the event is put into the queue."""
    for name in ("queue_policy_allows", "_queue_by_arn"):
        member(module("services.sqs"), name)
    send = '_dispatch_to_sqs(spec, event_payload, target.get("SqsParameters") or {})'
    change(
        module("services.eventbridge"),
        "_invoke_target",
        {send: f"_local_lets_in(rule, target, json.dumps(view.event_with_detail())) and {send}"},
        {"_local_lets_in": _lets_in},
    )


def _lets_in(rule: dict[str, Any], target: dict[str, Any], event: str) -> bool:
    queue, account = target["Arn"], rule["Arn"].split(":")[4]
    allowed: Any = module("services.sqs").queue_policy_allows(queue, SERVICE, rule["Arn"], account)
    if module("services.sqs")._queue_by_arn(queue) is None:  # noqa: SLF001 - `fill` has asked for it
        dead_letter(rule, target, event, "NO_RESOURCE", f"Queue not found: {queue}")
    elif not allowed:
        message = f"User: {SERVICE} is not authorized to perform: sqs:SendMessage on resource: {queue}"
        dead_letter(rule, target, event, "NO_PERMISSIONS", message)
    return bool(allowed)
