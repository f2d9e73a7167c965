"""Taking a stack away through CloudFormation: what it holds, what its template keeps, and each event of its end."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import ClientError

from custody.deployment.target import Target, describe_stack
from custody.executions.pipeline import Pipeline

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

KEPT = frozenset({"Retain", "RetainExceptOnCreate"})
"""Deletion policies by which a resource outlives its stack
(https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html)."""

BUCKET = "AWS::S3::Bucket"
KINDS = {
    BUCKET: "bucket",
    "AWS::KMS::Key": "key",
    "AWS::Logs::LogGroup": "log group",
    "AWS::SQS::Queue": "queue",
}
"""What holds data, by its type, and what the command line calls it."""

ENDED = "DELETE_COMPLETE"
FAILED = "DELETE_FAILED"
_MACHINE = "AWS::StepFunctions::StateMachine"
_STACK = "AWS::CloudFormation::Stack"
_DONE = frozenset({ENDED, "DELETE_SKIPPED"})
_ENDS = frozenset({ENDED, FAILED})
"""An event of the stack itself tells the end; its status may be that of an earlier attempt for a moment."""

_NEVER_MADE = "REVIEW_IN_PROGRESS"
"""There is a change set that nobody has carried out, and nothing else."""

_PAUSE_SECONDS = 2.0
_PAUSE_SECONDS_LOCAL = 0.2


@dataclass(frozen=True)
class Resource:
    """One resource of a stack; `is_kept` if the template says that it outlives the stack."""

    logical_id: str
    type: str
    name: str
    is_kept: bool


@dataclass(frozen=True)
class Stack:
    """A stack as it is before it is taken away."""

    id: str
    name: str
    status: str
    is_protected: bool
    resources: tuple[Resource, ...]

    @classmethod
    def find(cls, target: Target, name: str) -> Self | None:
        """Read a stack, with what its template says of the end of each resource; None if there is none."""
        client, found = target.client("cloudformation"), describe_stack(target, name)
        if found is None:
            return None
        template = client.get_template(StackName=name)["TemplateBody"]
        said = (json.loads(template) if isinstance(template, str) else template)["Resources"]
        pages = client.get_paginator("list_stack_resources").paginate(StackName=name)
        resources = tuple(
            Resource(
                one["LogicalResourceId"],
                one["ResourceType"],
                one.get("PhysicalResourceId", ""),
                said.get(one["LogicalResourceId"], {}).get("DeletionPolicy") in KEPT,
            )
            for page in pages
            for one in page["StackResourceSummaries"]
            if one["ResourceStatus"] != ENDED
        )
        protected = found.get("EnableTerminationProtection", False)
        return cls(found["StackId"], name, found["StackStatus"], protected, resources)

    @property
    def is_busy(self) -> bool:
        """Whether CloudFormation is at work on it."""
        return self.status.endswith("_IN_PROGRESS") and self.status != _NEVER_MADE

    def of(self, kind: str) -> tuple[Resource, ...]:
        """Give the resources of a type that were made."""
        return tuple(one for one in self.resources if one.type == kind and one.name)

    def in_flight(self, target: Target) -> tuple[int, bool]:
        """Count the executions in flight of its state machines; say whether there are more than were counted."""
        client = target.client("stepfunctions")
        counts = [_running(Pipeline(client, machine.name)) for machine in self.of(_MACHINE)]
        return sum(number for number, _ in counts), any(is_more for _, is_more in counts)


def _running(pipeline: Pipeline) -> tuple[int, bool]:
    try:
        return pipeline.count("RUNNING")
    except ClientError as error:
        if error.response["Error"]["Code"] != "StateMachineDoesNotExist":
            raise
        # Somebody has deleted it; nothing can be in flight.
        return 0, False


def owner(target: Target, name: str) -> str | None:
    """Name the stack that has a thing, whatever that stack is called; None if there is none, or none any more.

    CloudFormation answers with the first 100 resources of that stack, so that the thing need not be among them; and a
    deleted stack may still be known
    (https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackResources.html). Embedded AWS
    cannot be asked for the stack of a thing, and says of each that there is none.
    """
    client = target.client("cloudformation")
    try:
        found = client.describe_stack_resources(PhysicalResourceId=name)["StackResources"]
        if not found or any(one["PhysicalResourceId"] == name and one["ResourceStatus"] in _DONE for one in found):
            return None
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        return None
    stack = describe_stack(target, found[0]["StackId"])
    return str(stack["StackName"]) if stack and stack["StackStatus"] != ENDED else None


@dataclass(frozen=True)
class Event:
    """What CloudFormation says of a resource while it deletes the stack; `reason` is why it could not."""

    logical_id: str
    type: str
    name: str
    status: str
    reason: str

    @property
    def is_failure(self) -> bool:
        """Whether a resource, not the stack for its sake, could not be deleted."""
        return self.status == FAILED and self.type != _STACK

    @property
    def is_done(self) -> bool:
        """Whether nothing more comes of a resource."""
        return self.status in _DONE and self.type != _STACK

    def encode(self) -> dict[str, Any]:
        """Give the JSON shape of `--json`."""
        return {"resource": self.logical_id, "type": self.type, "name": self.name, "reason": self.reason}


def delete(target: Target, stack: Stack) -> Iterator[Event]:
    """Have CloudFormation delete a stack, and give each event until that is over, as it comes.

    The stack is named by its id: by its name, it could not be found any more when it is gone.
    """
    client = target.client("cloudformation")
    # The newest ones are enough: it is looked back as far as one of them.
    seen = {event["EventId"] for event in client.describe_stack_events(StackName=stack.id)["StackEvents"]}
    client.delete_stack(StackName=stack.id)
    is_over = False
    while not is_over:
        time.sleep(_PAUSE_SECONDS_LOCAL if target.is_local else _PAUSE_SECONDS)
        fresh = _events(client, stack.id, seen)
        seen.update(event["EventId"] for event in fresh)
        for event in map(_told, reversed(fresh)):
            is_over = is_over or (event.name == stack.id and event.status in _ENDS)
            yield event


def _events(client: "CloudFormationClient", stack_id: str, seen: set[str]) -> list[Any]:
    """Give the events that were not seen, the newest first, as CloudFormation does."""
    fresh: list[Any] = []
    for page in client.get_paginator("describe_stack_events").paginate(StackName=stack_id):
        for event in page["StackEvents"]:
            if event["EventId"] in seen:
                return fresh
            fresh.append(event)
    return fresh


def _told(event: Any) -> Event:
    return Event(
        event["LogicalResourceId"],
        event["ResourceType"],
        event.get("PhysicalResourceId", ""),
        event["ResourceStatus"],
        event.get("ResourceStatusReason", ""),
    )
