"""Destroy an environment: plan what is deleted and what is retained, delete the stack, and empty its buckets."""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self

import msgspec
from botocore.exceptions import ClientError

from custody.deployment.resources import KINDS, REFUSALS, Account, Resource
from custody.deployment.target import Target, describe_stack
from custody.terminal.text import plural

BUCKET = "AWS::S3::Bucket"
MACHINE = "AWS::StepFunctions::StateMachine"
RETAINED = frozenset({"Retain", "RetainExceptOnCreate"})
"""https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html"""

_EMPTYING_FUNCTION = "CustomS3AutoDeleteObjects"
"""The CDK's function that empties buckets; Lambda creates its log group, so that no stack has it."""

_PAGE = 1_000
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html"""

_POLL_SECONDS = 3.0
_POLL_SECONDS_LOCAL = 0.2
_STALE_LOOKS = 10
"""How often a status may still be that of an earlier attempt before it counts."""


@dataclass(frozen=True)
class StackResource:
    """A resource of a stack; `is_retained` by its deletion policy."""

    logical_id: str
    type: str
    name: str
    is_retained: bool


@dataclass(frozen=True)
class Stack:
    """A stack before it is deleted."""

    id: str
    name: str
    status: str
    is_protected: bool
    resources: tuple[StackResource, ...]

    @classmethod
    def find(cls, target: Target, name: str) -> Self | None:
        """Read a stack and the deletion policies in its template; None if there is no such stack."""
        client, stack = target.client("cloudformation"), describe_stack(target, name)
        if stack is None:
            return None
        template = client.get_template(StackName=name)["TemplateBody"]
        definitions = (json.loads(template) if isinstance(template, str) else template)["Resources"]
        resources = tuple(
            StackResource(
                summary["LogicalResourceId"],
                summary["ResourceType"],
                summary.get("PhysicalResourceId", ""),
                definitions.get(summary["LogicalResourceId"], {}).get("DeletionPolicy") in RETAINED,
            )
            for summary in _summaries(target, name)
            if summary["ResourceStatus"] != "DELETE_COMPLETE"
        )
        protected = stack.get("EnableTerminationProtection", False)
        return cls(stack["StackId"], name, stack["StackStatus"], protected, resources)

    @property
    def is_busy(self) -> bool:
        """Whether CloudFormation is working on it; not if a change set was only created."""
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"

    def of_type(self, resource_type: str) -> list[StackResource]:
        """Return the existing resources of a type."""
        return [resource for resource in self.resources if resource.type == resource_type and resource.name]


class DestroyPlan(msgspec.Struct, frozen=True):
    """What destroying a stack deletes and retains, what is unfinished, and what must be resolved first.

    `open_dead_letters` is None if they could not be counted, and 1,000 if there may be more.
    """

    deletes: list[Resource]
    retains: list[Resource]
    other_resources: int
    running_executions: int
    open_dead_letters: int | None
    blockers: list[str]


class DeletionFailure(msgspec.Struct, frozen=True):
    """A resource that could not be deleted or emptied; `resource` is its logical id in the stack, if it has one."""

    resource: str
    type: str
    name: str
    reason: str


class Deletion(msgspec.Struct):
    """What was deleted, and what could not be: counts of resources, and of versions by bucket."""

    deleted: int = 0
    emptied: dict[str, int] = {}
    failures: list[DeletionFailure] = []
    stack_remains: bool = False


def plan(account: Account, stack: Stack, running_executions: int, open_dead_letters: int | None) -> DestroyPlan:
    """Inspect the resources of a stack that hold data, and find what must be resolved before it is deleted."""
    resources = [
        (resource.is_retained, account.inspect(kind, resource.name))
        for resource_type, kind in KINDS.items()
        for resource in stack.of_type(resource_type)
    ]
    return DestroyPlan(
        deletes=[resource for is_retained, resource in resources if not is_retained],
        retains=[resource for is_retained, resource in resources if is_retained],
        other_resources=len(stack.resources) - len(resources),
        running_executions=running_executions,
        open_dead_letters=open_dead_letters,
        blockers=list(_blockers(account, stack, running_executions)),
    )


def _blockers(account: Account, stack: Stack, running: int) -> Iterator[str]:
    if stack.is_busy:
        yield f"CloudFormation is working on {stack.name} ({stack.status}); wait until it has finished."
    if stack.is_protected:
        words = ("cloudformation", "update-termination-protection", "--no-enable-termination-protection")
        command = account.aws_command(*words, "--stack-name", stack.name)
        yield f"Termination protection is on; if you are sure, turn it off: {command}"
    if running:
        yield (
            f"{plural(running, 'execution')} running. Stop sending objects, and wait until `custody executions "
            f"--status running --env {account.env}` lists none, or stop each with `aws stepfunctions stop-execution`."
        )


def delete_stack(account: Account, stack: Stack, deletion: Deletion) -> None:
    """Delete a stack; if that fails for buckets that hold something, empty them and delete it again.

    CloudFormation deletes only empty buckets. On AWS a function of the CDK empties them, within 15 minutes; embedded
    AWS has no such function. `deletion` is updated while it runs.
    """
    deletion.failures = _delete(account, stack)
    # Whatever failed: CloudFormation does not even try a bucket whose emptying function has timed out.
    deletable_buckets = [bucket.name for bucket in stack.of_type(BUCKET) if not bucket.is_retained]
    full = [name for name in deletable_buckets if deletion.failures and _holds_something(account, name)]
    if full:
        refusals = [refusal for name in full if (refusal := _empty(account, name, deletion))]
        deletion.failures = _delete(account, stack)
        if deletion.failures:
            deletion.failures += refusals
    deletion.stack_remains = bool(deletion.failures)
    deletable = sum(1 for resource in stack.resources if not resource.is_retained)
    deletion.deleted = deletable - sum(1 for failure in deletion.failures if failure.resource)
    _delete_logs_of_emptying_function(account, deletion)


def delete_buckets(account: Account, names: Iterable[str], deletion: Deletion) -> None:
    """Empty and delete buckets; one with locked versions stays, and a failure does not affect the others."""
    for name in names:
        failure = _empty(account, name, deletion)
        if failure is None:
            try:
                account.target.client("s3").delete_bucket(Bucket=name)
            except REFUSALS as error:
                failure = DeletionFailure("", BUCKET, name, str(error))
        if failure:
            deletion.failures.append(failure)


def _delete(account: Account, stack: Stack) -> list[DeletionFailure]:
    """Delete a stack and wait for the end; it is identified by id, since a deleted stack cannot be found by name."""
    target = account.target
    before = (describe_stack(target, stack.id) or {}).get("StackStatus")
    target.client("cloudformation").delete_stack(StackName=stack.id)
    has_begun, looks = False, 0
    while True:
        looks += 1
        time.sleep(_POLL_SECONDS_LOCAL if target.is_local else _POLL_SECONDS)
        current = describe_stack(target, stack.id)
        if current is None or current["StackStatus"] == "DELETE_COMPLETE":
            return []
        if current["StackStatus"].endswith("_IN_PROGRESS"):
            has_begun = True
        elif has_begun or current["StackStatus"] != before or looks >= _STALE_LOOKS:
            break
    failures = [
        DeletionFailure(
            summary["LogicalResourceId"],
            summary["ResourceType"],
            summary.get("PhysicalResourceId", ""),
            summary.get("ResourceStatusReason", ""),
        )
        for summary in _summaries(target, stack.id)
        if summary["ResourceStatus"] == "DELETE_FAILED"
    ]
    # Not every failure is a resource's: a role that cannot be assumed, for example.
    reason = current.get("StackStatusReason") or current["StackStatus"]
    return failures or [DeletionFailure("", "AWS::CloudFormation::Stack", stack.name, reason)]


def stack_of(target: Target, name: str) -> str | None:
    """Return the name of the stack that a resource belongs to now, whatever its tags say; None if there is none.

    CloudFormation answers with the first 100 resources of that stack, and may still know a deleted stack
    (https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackResources.html). Embedded AWS
    does not look up resources by their physical id, and reports none.
    """
    client = target.client("cloudformation")
    try:
        resources = client.describe_stack_resources(PhysicalResourceId=name)["StackResources"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        return None
    deleted = {"DELETE_COMPLETE", "DELETE_SKIPPED"}
    if not resources or any(
        each["PhysicalResourceId"] == name and each["ResourceStatus"] in deleted for each in resources
    ):
        return None
    stack = describe_stack(target, resources[0]["StackId"])
    return str(stack["StackName"]) if stack and stack["StackStatus"] != "DELETE_COMPLETE" else None


def _holds_something(account: Account, name: str) -> bool:
    """Tell whether a bucket exists and has a version or a delete marker, as far as that is not refused."""
    try:
        page = account.target.client("s3").list_object_versions(Bucket=name, MaxKeys=1)
    except REFUSALS as error:
        return not (isinstance(error, ClientError) and error.response["Error"]["Code"] == "NoSuchBucket")
    return bool(page.get("Versions") or page.get("DeleteMarkers"))


def _summaries(target: Target, stack: str) -> Iterator[Any]:
    for page in target.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack):
        yield from page["StackResourceSummaries"]


def _empty(account: Account, name: str, deletion: Deletion) -> DeletionFailure | None:
    """Delete every version and delete marker that is not locked; return why some remain, if any do."""
    s3 = account.target.client("s3")
    versions = (
        {"Key": version["Key"], "VersionId": version["VersionId"]}
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=name)
        for version in (*page.get("Versions", []), *page.get("DeleteMarkers", []))
    )
    refused, example = 0, ""
    try:
        while batch := list(islice(versions, _PAGE)):
            errors = s3.delete_objects(Bucket=name, Delete={"Objects": batch, "Quiet": True}).get("Errors", [])
            deletion.emptied[name] = deletion.emptied.get(name, 0) + len(batch) - len(errors)
            if errors:
                refused += len(errors)
                example = example or f"{errors[0].get('Key')}: {errors[0].get('Message') or errors[0].get('Code')}"
    except REFUSALS as error:
        return DeletionFailure("", BUCKET, name, str(error))
    if refused:
        return DeletionFailure("", BUCKET, name, f"{plural(refused, 'version')} cannot be deleted, such as {example}")
    return None


def _delete_logs_of_emptying_function(account: Account, deletion: Deletion) -> None:
    logs = account.target.client("logs")
    prefix = f"/aws/lambda/{account.prefix}{_EMPTYING_FUNCTION}"
    try:
        for group in logs.describe_log_groups(logGroupNamePrefix=prefix)["logGroups"]:
            logs.delete_log_group(logGroupName=group["logGroupName"])
    except REFUSALS as error:
        deletion.failures.append(DeletionFailure("", "AWS::Logs::LogGroup", prefix, str(error)))
