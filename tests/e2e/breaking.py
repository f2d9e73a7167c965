"""Ways to break a deployed stack for a while, and to wait for what comes of it."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.e2e.conftest import Cloud


def until(look: Callable[[], Any], seconds: float, what: str) -> Any:
    """Look again until there is something; fail the test when there is nothing in time."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.05)
    return found


@contextmanager
def slow(cloud: Cloud, seconds: int, timeout: int) -> Iterator[None]:
    """Let each execution wait before Validate, and give it only so much time; put the machine back afterwards."""
    client, arn = cloud.client("stepfunctions"), cloud.deployment.pipeline_arn
    deployed = client.describe_state_machine(stateMachineArn=arn)["definition"]
    definition = json.loads(deployed)
    definition["States"]["Pause"] = {"Type": "Wait", "Seconds": seconds, "Next": "Validate"}
    changed = json.dumps(definition | {"StartAt": "Pause", "TimeoutSeconds": timeout})
    client.update_state_machine(stateMachineArn=arn, definition=changed)
    try:
        yield
    finally:
        client.update_state_machine(stateMachineArn=arn, definition=deployed)


@contextmanager
def without(cloud: Cloud, function: str, action: str) -> Iterator[None]:
    """Take a permission away from a function, and give it back."""
    iam = cloud.client("iam")
    configuration = cloud.client("lambda").get_function_configuration(FunctionName=f"custody-dev-{function}")
    role = configuration["Role"].rpartition("/")[2]
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    policy = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    kept = [statement for statement in policy["Statement"] if action not in json.dumps(statement["Action"])]
    assert kept != policy["Statement"], f"{function} may {action} as it is deployed"
    put = {"RoleName": role, "PolicyName": name}
    iam.put_role_policy(**put, PolicyDocument=json.dumps(policy | {"Statement": kept}))
    try:
        yield
    finally:
        iam.put_role_policy(**put, PolicyDocument=json.dumps(policy))
