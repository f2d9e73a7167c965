"""A failed event reaches its on-failure destination only if the role of the function allows that.

MiniStack never checks the role; on AWS the event is lost:
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
"""

import logging
from collections.abc import Callable
from typing import Any

from local.patches import roles
from local.patches.patch import module, wrap

_log = logging.getLogger(__name__)
service = module("services.lambda_svc")


def apply() -> None:
    """Check the role before a queue receives an event."""
    wrap(service, "_route_async_failure", _route)


def _route(route: Callable[..., None], target: str, name: str, event: Any, result: Any) -> None:
    role = service._functions[name]["config"]["Role"]
    if roles.are_enforced() and ":sqs:" in target and not roles.may(role, "sqs:SendMessage", target, name):
        _log.warning("The role of %s does not allow sqs:SendMessage to %s: the event is lost", name, target)
        return
    route(target, name, event, result)
