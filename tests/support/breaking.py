"""Break a deployed stack for a while, and wait for the consequences."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from functions.shared.model.ids import RawObject
from tests.support import account
from tests.support.deployed import Cloud

T = TypeVar("T")
PAUSE_SECONDS = 0.05 if account.environment_name() is None else 2.0
"""Between two polls: AWS limits calls per second."""

PROBES = 3
"""Consecutive probes that must end alike before a policy counts as changed: it does not reach all of AWS at once."""

PROBE = b'{"mission": "space", "source": "MASINT", "confidence": 0.95}'


def until(poll: Callable[[], T | None], seconds: float, what: str) -> T:
    """Poll until the result is true, and return it; fail the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (result := poll()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(PAUSE_SECONDS)
    return result


@contextmanager
def slow(cloud: Cloud, seconds: int, timeout: int) -> Iterator[None]:
    """Let executions wait before Validate, with a timeout in seconds; restore the machine afterwards."""
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
    """Remove a permission from a function, and restore it."""
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
    """On AWS, wait until a changed policy has taken effect, as shown by objects uploaded for this purpose."""
    if cloud.is_aws:
        ended: list[str] = []

        def settled() -> bool:
            ended.append(_probe(cloud))
            return ended[-PROBES:] == [status] * PROBES

        until(settled, 60 * cloud.patience, f"probes that end {status}")


def _probe(cloud: Cloud) -> str:
    """Upload an object that no test uses; return the status in which its execution ends."""
    key = f"mission/probe-{time.time_ns()}.json"
    version = cloud.client("s3").put_object(Bucket=cloud.deployment.raw, Key=key, Body=PROBE)
    return end_of_execution(cloud, key, version, len(PROBE), 60 * cloud.patience)


def end_of_execution(cloud: Cloud, key: str, version: Any, size: int, seconds: float) -> str:
    """Wait for the end of the first execution of a raw object, described by S3; return its status."""
    deployment = cloud.deployment
    raw = RawObject(deployment.raw, key, version["VersionId"], size, version["ETag"].strip('"'))
    arn = f"{deployment.pipeline_arn.replace(':stateMachine:', ':execution:')}:{raw.id}"

    def status() -> str | None:
        current = execution_status(cloud, arn)
        return None if current == "RUNNING" else current

    return str(until(status, seconds, f"the end of {arn}"))


def execution_status(cloud: Cloud, arn: str) -> str | None:
    """Return the status of an execution; None if it does not exist."""
    client = cloud.client("stepfunctions")
    try:
        return str(client.describe_execution(executionArn=arn)["status"])
    except client.exceptions.ExecutionDoesNotExist:
        return None


def wait_for_status(cloud: Cloud, arn: str, status: str) -> None:
    """Wait until an execution has a status."""
    until(lambda: execution_status(cloud, arn) == status, 60 * cloud.patience, f"{arn} {status}")
