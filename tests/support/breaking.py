"""Ways to break a deployed stack for a while, and to wait for what comes of it."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from functions.shared.model.ids import RawObject
from tests.support import account
from tests.support.deployed import Cloud

PAUSE_SECONDS = 0.05 if account.environment_name() is None else 2.0
"""Between two looks: AWS answers only so many calls a second."""

PROBES = 3
"""How many probes in a row must end alike before a policy counts as changed: not all of AWS learns of it at once."""

PROBE = b'{"mission": "space", "source": "MASINT", "confidence": 0.95}'


def until(look: Callable[[], Any], seconds: float, what: str) -> Any:
    """Look again until there is something; fail the test when there is nothing in time."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(PAUSE_SECONDS)
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
    configuration = cloud.client("lambda").get_function_configuration(FunctionName=f"custody-{cloud.env}-{function}")
    role = configuration["Role"].rpartition("/")[2]
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    policy = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    kept = [statement for statement in policy["Statement"] if action not in json.dumps(statement["Action"])]
    assert kept != policy["Statement"], f"{function} may {action} as it is deployed"
    put = {"RoleName": role, "PolicyName": name}
    iam.put_role_policy(**put, PolicyDocument=json.dumps(policy | {"Statement": kept}))
    try:
        wait_for_probes(cloud, "FAILED")
        yield
    finally:
        iam.put_role_policy(**put, PolicyDocument=json.dumps(policy))
    wait_for_probes(cloud, "SUCCEEDED")


def wait_for_probes(cloud: Cloud, status: str) -> None:
    """On AWS, wait until a changed policy holds: until objects that are put just for this end as they should."""
    if cloud.is_aws:
        ended: list[str] = []

        def settled() -> bool:
            ended.append(_probed(cloud))
            return ended[-PROBES:] == [status] * PROBES

        until(settled, 60 * cloud.patience, f"probes that end {status}")


def _probed(cloud: Cloud) -> str:
    """Put an object that nobody asks for later; give how its execution ended."""
    key = f"mission/probe-{time.time_ns()}.json"
    version = cloud.client("s3").put_object(Bucket=cloud.deployment.raw, Key=key, Body=PROBE)
    raw = RawObject(cloud.deployment.raw, key, version["VersionId"], len(PROBE), version["ETag"].strip('"'))
    client = cloud.client("stepfunctions")
    arn = cloud.deployment.pipeline_arn.replace(":stateMachine:", ":execution:") + f":{raw.id}"

    def ended() -> str | None:
        try:
            found = str(client.describe_execution(executionArn=arn)["status"])
        except client.exceptions.ExecutionDoesNotExist:
            return None
        return None if found == "RUNNING" else found

    return str(until(ended, 60 * cloud.patience, f"the end of {arn}"))
