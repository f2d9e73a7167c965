"""`custody status`, on a stack in memory: with a buffer before the start function, and without."""

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from typer.testing import CliRunner

from custody.app import app
from custody.deployment.target import Target, find
from custody.errors import CommandFailed
from tests.support.buckets import Buckets
from tests.support.command_line import InMemory

OUTPUTS = {
    "RawBucket": "raw",
    "ProcessedBucket": "processed",
    "AuditBucket": "audit",
    "ChunkBytes": "67108864",
    "StartFunctionName": "custody-dev-start",
    "DeadLetterFunctionName": "custody-dev-dead-letter",
}
QUEUES = {"buffer": "BufferQueueUrl", "start-dlq": "StartDlqUrl", "dead-letter-dlq": "DeadLetterDlqUrl"}
Deploy = Callable[..., Target]


class Stacks:
    """Stands in for CloudFormation, which moto has only with libraries that nothing else here needs."""

    def __init__(self, outputs: dict[str, str]) -> None:
        self._outputs = [{"OutputKey": name, "OutputValue": value} for name, value in outputs.items()]

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - as boto3 names it
        return {"Stacks": [{"StackName": StackName, "StackStatus": "CREATE_COMPLETE", "Outputs": self._outputs}]}


@pytest.fixture
def deploy(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> Deploy:  # noqa: ARG001 - AWS in memory
    """Return a function that makes a stack whose outputs name real queues and machines."""

    def deploy_stack(*, queues: tuple[str, ...], without: str = "") -> Target:
        sqs, states = boto3.client("sqs"), boto3.client("stepfunctions")
        role = boto3.client("iam").create_role(RoleName="machine", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        definition = json.dumps({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}})
        machines = {
            f"{name.title()}Arn": states.create_state_machine(name=name, definition=definition, roleArn=role)
            for name in ("pipeline", "bulk")
        }
        outputs = (
            OUTPUTS
            | {name: machine["stateMachineArn"] for name, machine in machines.items()}
            | {QUEUES[name]: sqs.create_queue(QueueName=name)["QueueUrl"] for name in queues}
        )
        stacks = Stacks({name: value for name, value in outputs.items() if name != without})
        here = InMemory("a stack in memory", boto3.Session(), None, {"cloudformation": stacks})
        monkeypatch.setattr("custody.session.open_target", lambda **_: here)
        return here

    return deploy_stack


def status() -> dict[str, Any]:
    ran = CliRunner().invoke(app, ["status", "--json"])
    assert ran.exit_code == 0, ran.output
    return dict(json.loads(ran.stdout))


def test_events_waiting_in_a_buffer_are_counted(deploy: Deploy) -> None:
    deployed = find(deploy(queues=("start-dlq", "dead-letter-dlq", "buffer")), "dev")
    for _ in range(3):
        boto3.client("sqs").send_message(QueueUrl=str(deployed.buffer_url), MessageBody="{}")

    expected = {"buffer": 3, "start-dlq": 0, "dead-letter-dlq": 0}
    assert {name: status()[name] for name in expected} == expected


def test_a_deployment_without_a_buffer_shows_none_and_has_its_chunk_size(deploy: Deploy) -> None:
    deployed = find(deploy(queues=("start-dlq", "dead-letter-dlq")), "dev")

    assert deployed.buffer_url is None
    assert "buffer" not in status()
    assert deployed.chunk_bytes == 64 * 2**20
    assert deployed.bulk_arn.endswith(":bulk")


def test_a_stack_without_an_output_is_refused_by_its_name(deploy: Deploy) -> None:
    here = deploy(queues=("start-dlq", "dead-letter-dlq"), without="ChunkBytes")

    with pytest.raises(CommandFailed, match="has no output 'ChunkBytes'"):
        find(here, "dev")
