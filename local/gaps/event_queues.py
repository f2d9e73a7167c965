"""An event reaches a queue only if the queue's policy lets the rule in.

MiniStack puts it there in any case. On AWS it does not come, and nothing tells so but the rule's metric
FailedInvocations: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
"""

import logging
from typing import Any

from local.gaps.patch import change, member, module

_log = logging.getLogger(__name__)


def fill() -> None:
    """Ask the policy before the event is put into the queue."""
    member(module("services.sqs"), "queue_policy_allows")
    send = '_dispatch_to_sqs(spec, event_payload, target.get("SqsParameters") or {})'
    change(
        module("services.eventbridge"),
        "_invoke_target",
        {send: f'_local_lets_in(arn, rule["Arn"]) and {send}'},
        {"_local_lets_in": _lets_in},
    )


def _lets_in(queue: str, rule: str) -> bool:
    account = rule.split(":")[4]
    allowed: Any = module("services.sqs").queue_policy_allows(queue, "events.amazonaws.com", rule, account)
    if not allowed:
        _log.warning("An event is lost: the policy of %s does not let %s in.", queue, rule)
    return bool(allowed)
