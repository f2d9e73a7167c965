"""`custody status`, on a stack in memory: with a buffer before the start function, and without."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from custody.deployment.target import Deployment, find
from custody.errors import CommandFailed
from tests.support.audit_files import Run
from tests.support.buckets import session
from tests.support.command_line import CommandLine

COMMAND = "status"
OUTPUTS = {
    "RawBucket": "raw",
    "ProcessedBucket": "processed",
    "AuditBucket": "audit",
    "ChunkBytes": "67108864",
    "JsonLinesSuffixes": ".jsonl,.ndjson",
    "StartFunctionName": "custody-dev-start",
    "DeadLetterFunctionName": "custody-dev-dead-letter",
}
QUEUES = {"buffer": "BufferQueueUrl", "start-dlq": "StartDlqUrl", "dead-letter-dlq": "DeadLetterDlqUrl"}
Deploy = Callable[..., Deployment]


class Stacks:
    """Stands in for CloudFormation, which moto has only with libraries that nothing else here needs."""

    def __init__(self, outputs: dict[str, str]) -> None:
        self._outputs = [{"OutputKey": name, "OutputValue": value} for name, value in outputs.items()]

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - as boto3 names it
        return {"Stacks": [{"StackName": StackName, "StackStatus": "CREATE_COMPLETE", "Outputs": self._outputs}]}


@pytest.fixture
def deploy(command_line: CommandLine) -> Deploy:
    """Return a function that makes a stack whose outputs name real queues and machines, and finds it."""

    def deploy_stack(*queues: str, without: str = "") -> Deployment:
        client: Any = session().client
        sqs, states, iam = (client(name) for name in ("sqs", "stepfunctions", "iam"))
        role = iam.create_role(RoleName="machine", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
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
        command_line.clients = {"cloudformation": stacks, "stepfunctions": states, "sqs": sqs}
        command_line.deployment = find(command_line.target, "dev")
        return command_line.deployment

    return deploy_stack


def status(run: Run) -> Any:
    return json.loads(run("--json").stdout)


def test_events_waiting_in_a_buffer_are_counted(run: Run, deploy: Deploy) -> None:
    deployed = deploy("start-dlq", "dead-letter-dlq", "buffer")
    for _ in range(3):
        session().client("sqs").send_message(QueueUrl=str(deployed.buffer_url), MessageBody="{}")

    expected = {"buffer": 3, "start-dlq": 0, "dead-letter-dlq": 0}
    assert {name: status(run)[name] for name in expected} == expected


def test_a_deployment_without_a_buffer_shows_none_and_has_its_chunk_size(run: Run, deploy: Deploy) -> None:
    deployed = deploy("start-dlq", "dead-letter-dlq")

    assert deployed.buffer_url is None
    assert "buffer" not in status(run)
    assert deployed.chunk_bytes == 64 * 2**20
    assert deployed.bulk_arn.endswith(":bulk")


def test_a_stack_without_an_output_is_refused_by_its_name(deploy: Deploy) -> None:
    with pytest.raises(CommandFailed, match="`ChunkBytes`"):
        deploy("start-dlq", "dead-letter-dlq", without="ChunkBytes")
