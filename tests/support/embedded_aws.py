"""What the tests of embedded AWS do on it again and again; everything through boto3, with the credentials given."""

import functools
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from textwrap import dedent
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from botocore.config import Config

from local import Instance
from tests.support.breaking import until as wait_until

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

T = TypeVar("T")
DEADLINE_SECONDS = 30.0
_CONNECTIONS = Config(max_pool_connections=256, retries={"total_max_attempts": 1})


def until(poll: Callable[[], T | None], what: str) -> T:
    """Poll until there is a result, and return it; fail the test if there is none in time."""
    return wait_until(poll, DEADLINE_SECONDS, what)


def zipped(files: Mapping[str, str]) -> bytes:
    """Zip files as Lambda wants them."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, dedent(text))
    return content.getvalue()


def allow(action: str | list[str], resource: str = "*") -> dict[str, Any]:
    """Write a policy that allows something."""
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]}


class EmbeddedAws:
    """An embedded AWS with its clients."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        given = instance.environment()
        self._session = boto3.Session(
            aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
            region_name=given["AWS_REGION"],
        )
        url = given["AWS_ENDPOINT_URL"]
        self.s3: S3Client = self._session.client("s3", endpoint_url=url, config=_CONNECTIONS)
        self.functions: LambdaClient = self._session.client("lambda", endpoint_url=url, config=_CONNECTIONS)
        self.machines: SFNClient = self._session.client("stepfunctions", endpoint_url=url, config=_CONNECTIONS)
        self.stacks: CloudFormationClient = self._session.client("cloudformation", endpoint_url=url)
        self.alarms: CloudWatchClient = self._session.client("cloudwatch", endpoint_url=url)
        self.keys: KMSClient = self._session.client("kms", endpoint_url=url)
        self.events: EventBridgeClient = self._session.client("events", endpoint_url=url)
        self.logs: CloudWatchLogsClient = self._session.client("logs", endpoint_url=url)
        self.queues: SQSClient = self._session.client("sqs", endpoint_url=url)
        self.roles: IAMClient = self._session.client("iam", endpoint_url=url)
        self.topics: SNSClient = self._session.client("sns", endpoint_url=url)
        self.tags: Any = self._session.client("resourcegroupstaggingapi", endpoint_url=url)

    def close(self) -> None:
        """Close what the clients hold open."""
        for client in vars(self).values():
            if hasattr(client, "close"):
                client.close()

    def role(self, name: str, policy: Mapping[str, Any] | None = None) -> str:
        """Create a role with only the permissions of `policy`; return its ARN."""
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        arn = self.roles.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
        if policy is not None:
            self.roles.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=json.dumps(policy))
        return arn

    def function(self, name: str, source: str, *, policy: Mapping[str, Any] | None = None, **options: Any) -> str:
        """Create a function from a module with a `handler`; return its ARN."""
        answer = self.functions.create_function(
            FunctionName=name,
            Runtime="python3.14",
            Handler="index.handler",
            Role=self.role(f"{name}-role", policy),
            Code={"ZipFile": zipped({"index.py": source})},
            **options,
        )
        until(lambda: self.functions.get_function_configuration(FunctionName=name)["State"] == "Active", name)
        return answer["FunctionArn"]

    def call(self, name: str, event: Any = None) -> Any:
        """Invoke a function and return its response; the payload of a failure has `errorType`."""
        return json.loads(self.functions.invoke(FunctionName=name, Payload=json.dumps(event))["Payload"].read())

    def queue(self, name: str, attributes: Any = None) -> tuple[str, str]:
        """Create a queue; return its URL and its ARN."""
        url = self.queues.create_queue(QueueName=name, Attributes=attributes or {})["QueueUrl"]
        answer = self.queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, answer["Attributes"]["QueueArn"]

    def messages(self, queue: str) -> list[Any]:
        """Receive and delete what a queue holds by now."""
        answer = self.queues.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
        for message in answer.get("Messages", []):
            self.queues.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return list(answer.get("Messages", []))

    def received(self, queue: str, count: int) -> list[Any]:
        """Wait for at least so many messages of a queue; return the JSON in them."""
        bodies: list[Any] = []

        def look() -> bool:
            bodies.extend(json.loads(message["Body"]) for message in self.messages(queue))
            return len(bodies) >= count

        until(look, f"{count} messages")
        return bodies

    def machine(self, name: str, definition: Mapping[str, Any], policy: Mapping[str, Any] | None = None) -> str:
        """Create a state machine that may invoke functions and run Maps, or what `policy` allows; return its ARN."""
        usual = allow(["lambda:InvokeFunction", "states:StartExecution", "states:RedriveExecution"])
        role = self.role(f"{name}-machine", policy or usual)
        return self.machines.create_state_machine(name=name, definition=json.dumps(definition), roleArn=role)[
            "stateMachineArn"
        ]

    def run(self, machine: str, given: Any = None) -> dict[str, Any]:
        """Run a state machine to its end; return its description, with `output` decoded."""
        execution = self.machines.start_execution(stateMachineArn=machine, input=json.dumps(given or {}))
        return self.ended(execution["executionArn"])

    def ended(self, execution: str) -> dict[str, Any]:
        """Wait for the end of an execution; return its description, with `output` decoded."""

        def look() -> dict[str, Any] | None:
            described = dict(self.machines.describe_execution(executionArn=execution))
            return None if described["status"] == "RUNNING" else described

        ended = until(look, f"the end of {execution}")
        return ended | {"output": json.loads(ended.get("output") or "null")}

    def history(self, execution: str) -> list[Any]:
        """Return the events of an execution."""
        return list(self.machines.get_execution_history(executionArn=execution, maxResults=1000)["events"])

    def stack(self, name: str, resources: Mapping[str, Any]) -> dict[str, str]:
        """Deploy a stack of these resources; return their physical ids."""
        template = json.dumps({"Resources": resources})
        self.stacks.create_stack(StackName=name, TemplateBody=template, Capabilities=["CAPABILITY_NAMED_IAM"])
        status = until(functools.partial(self.stack_end, name), f"the end of stack {name}")
        assert status == "CREATE_COMPLETE", f"stack {name} ended as {status}"
        deployed = self.stacks.describe_stack_resources(StackName=name)["StackResources"]
        return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in deployed}

    def stack_end(self, name: str) -> str | None:
        """Return the status of a stack; None while CloudFormation is working on it."""
        status = self.stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        return None if status.endswith("IN_PROGRESS") else status
