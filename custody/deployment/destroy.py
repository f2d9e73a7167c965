"""Destroy an environment: plan what is deleted and retained, delete its stack and buckets, and list what is left."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from shlex import join
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct
from msgspec.structs import replace

from custody.deployment.target import Target, describe_stack
from custody.terminal.text import plural

MACHINE = "AWS::StepFunctions::StateMachine"
KINDS = {
    "AWS::S3::Bucket": "bucket",
    "AWS::KMS::Key": "key",
    "AWS::Logs::LogGroup": "log group",
    "AWS::SQS::Queue": "queue",
}
"""The kinds of resources that hold data, or are needed to read it, by their type in CloudFormation."""

RETAINED = frozenset({"Retain", "RetainExceptOnCreate"})
"""https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html"""

GONE = "gone"
PENDING = "pending deletion"
UNKNOWN = "unknown"
REFUSALS = (ClientError, BotoCoreError)
"""Raised by a call that AWS refuses, or that does not reach it."""

PAGE = 1_000
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html"""

_ABSENT = ("NoSuchBucket", "NotFoundException", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
_NAMES = {"s3": ("bucket", ""), "kms": ("key", "key/"), "logs": ("log group", "log-group:"), "sqs": ("queue", "")}
"""The kind of resource of a service, and what precedes its name in an ARN."""

_REMOVALS = {
    "key": ("kms", "schedule-key-deletion", "--pending-window-in-days", "30", "--key-id"),
    "log group": ("logs", "delete-log-group", "--log-group-name"),
    "queue": ("sqs", "delete-queue", "--queue-url"),
}
_EMPTYING_FUNCTION = "CustomS3AutoDeleteObjects"
"""The CDK's function that empties buckets; Lambda creates its log group, so that no stack has it."""

_POLL_SECONDS = {True: 0.2, False: 3.0}
_STALE_LOOKS = 10
"""How often a status may still be that of an earlier attempt before it counts."""


class Resource(Struct, frozen=True, order=True):
    """A resource of an environment.

    `contents` are the versions of a bucket, or `pending deletion` of a key; `gone` if it does not exist any more; and
    `unknown`, and why, if that could not be read. `retained` tells whether it outlives its stack. `command` removes
    it; null if there is none, or while its stack has it.
    """

    kind: str
    name: str
    contents: str = ""
    retained: bool = False
    command: str | None = None


class Stack(Struct, frozen=True):
    """A stack before it is deleted, and its resources; those that hold no data are not inspected."""

    id: str
    name: str
    status: str
    protected: bool
    resources: list[Resource]

    @property
    def is_busy(self) -> bool:
        """Whether CloudFormation is working on it; not if a change set was only created."""
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"

    def of_kind(self, kind: str) -> list[Resource]:
        """Return the existing resources of a kind."""
        return [resource for resource in self.resources if resource.kind == kind and resource.name]


class DestroyReport(Struct):
    """What an environment consists of, what is unfinished in it, what was deleted, and what is left.

    `stack` is null if there is none; `blockers` are what must be resolved before it is deleted. `open_dead_letters` is
    null if they could not be counted, and 1,000 if there may be more. `buckets` are those named by --bucket, as they
    were before. `emptied` has the number of versions that were deleted, by bucket, and `failures` why which resource
    was not deleted. `left` is empty while the stack exists; after a deletion, `stack_remains` tells whether it does.
    """

    target: str
    env: str
    dry_run: bool
    stack: Stack | None
    running_executions: int = 0
    open_dead_letters: int | None = 0
    blockers: list[str] = []
    buckets: list[Resource] = []
    emptied: dict[str, int] = {}
    failures: dict[str, str] = {}
    stack_remains: bool = False
    left: list[Resource] = []


@dataclass(frozen=True)
class Account:
    """The account and region of an environment, whose resources are named `custody-<env>-…` and tagged with it."""

    target: Target
    env: str
    profile: str | None = None

    @property
    def prefix(self) -> str:
        """The prefix of every name; no other environment shares it, since their names have no hyphens."""
        return f"custody-{self.env}-"

    def aws_command(self, *words: str) -> str:
        """Format an AWS CLI command for this account and region, ready to be pasted into a shell."""
        options = ("--profile", self.profile) if self.profile else ()
        if self.target.endpoint:
            # The AWS CLI's configuration has no endpoint of SQS.
            options = ("--endpoint-url", self.target.endpoint)
        return join(("aws", *words, "--region", str(self.target.session.region_name), *options))

    def destroy_command(self, *words: str) -> str:
        """Format a `custody destroy` of this environment, ready to be pasted into a shell."""
        options = () if self.target.is_local else (("--profile", self.profile) if self.profile else ("--aws",))
        return join(("custody", "destroy", "--env", self.env, *options, *words))

    def left(self) -> list[Resource]:
        """List what carries the environment's tags, with commands; a refusal is listed, too: something may be left."""
        try:
            return [
                replace(resource, command=self._removal(resource))
                for resource in map(self.inspect, sorted(set(self._tagged())))
                if resource.contents != GONE
            ]
        except REFUSALS as error:
            return [Resource("resource", "", f"{UNKNOWN}: {error}")]

    def buckets(self) -> list[str]:
        """List the names of the environment's buckets: they carry its tags, and are named as its stack names them."""
        pattern = re.compile(rf"{self.prefix}[a-z]+(-logs)?-\d{{12}}-{self.target.session.region_name}(-an)?")
        names = [resource.name for resource in self._tagged("s3") if resource.kind == "bucket"]
        return list(filter(pattern.fullmatch, names))

    def _tagged(self, *resource_types: str) -> Iterator[Resource]:
        """Yield the tagged resources; one that holds no data has its service as its kind, and its ARN as its name."""
        filters = [{"Key": "project", "Values": ["custody"]}, {"Key": "env", "Values": [self.env]}]
        pages = self.target.client("resourcegroupstaggingapi").get_paginator("get_resources")
        for page in pages.paginate(TagFilters=filters, ResourceTypeFilters=list(resource_types)):
            for mapping in page["ResourceTagMappingList"]:
                # CloudFormation's own tag; a retained resource keeps it.
                stack = {tag["Key"]: tag["Value"] for tag in mapping["Tags"]}.get("aws:cloudformation:stack-name")
                if stack in {None, f"custody-{self.env}"}:
                    arn = mapping["ResourceARN"]
                    _, _, service, _, _, name = arn.split(":", 5)
                    kind, prefix = _NAMES.get(service, (service, None))
                    yield Resource(kind, arn if prefix is None else name.removeprefix(prefix).removesuffix(":*"))

    def inspect(self, resource: Resource) -> Resource:
        """Read what a resource holds, by one call."""
        name = resource.name
        try:
            if resource.kind == "bucket":
                page = self.target.client("s3").list_object_versions(Bucket=name, MaxKeys=PAGE)
                number = len(page.get("Versions", [])) + len(page.get("DeleteMarkers", []))
                contents = f"{'more than ' * page.get('IsTruncated', False)}{plural(number, 'version')}"
                return replace(resource, contents=contents)
            if resource.kind == "key":
                state = self.target.client("kms").describe_key(KeyId=name)["KeyMetadata"]["KeyState"]
                return replace(resource, contents=PENDING if state.startswith("Pending") else "")
            if resource.kind == "log group":
                groups = self.target.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
                exists = any(group["logGroupName"] == name for group in groups)
                return replace(resource, contents="" if exists else GONE)
            if resource.kind == "queue":
                # Stacks know its URL, and ARNs its name.
                url = self.target.client("sqs").get_queue_url(QueueName=name.rpartition("/")[2])["QueueUrl"]
                return replace(resource, name=url)
        except REFUSALS as error:
            is_absent = isinstance(error, ClientError) and error.response["Error"]["Code"] in _ABSENT
            return replace(resource, contents=GONE if is_absent else f"{UNKNOWN}: {error}")
        return replace(resource, contents="AWS may list it for a while after it was deleted")

    def _removal(self, resource: Resource) -> str | None:
        if resource.kind == "bucket":
            return self.destroy_command("--bucket", resource.name)
        if resource.kind not in _REMOVALS or resource.contents == PENDING:
            return None
        return self.aws_command(*_REMOVALS[resource.kind], resource.name)

    def find_stack(self) -> Stack | None:
        """Read a stack, the deletion policies in its template, and what it holds; None if there is no such stack."""
        name = f"custody-{self.env}"
        stack = describe_stack(self.target, name)
        if stack is None:
            return None
        template = self.target.client("cloudformation").get_template(StackName=name)["TemplateBody"]
        definitions = (json.loads(template) if isinstance(template, str) else template)["Resources"]
        resources = [
            Resource(
                KINDS.get(summary["ResourceType"], summary["ResourceType"]),
                summary.get("PhysicalResourceId", ""),
                retained=definitions.get(summary["LogicalResourceId"], {}).get("DeletionPolicy") in RETAINED,
            )
            for summary in _summaries(self.target, name)
            if summary["ResourceStatus"] != "DELETE_COMPLETE"
        ]
        holding = [self.inspect(each) if each.name and each.kind in KINDS.values() else each for each in resources]
        protected = stack.get("EnableTerminationProtection", False)
        return Stack(stack["StackId"], name, stack["StackStatus"], protected, holding)

    def blockers(self, stack: Stack, running: int) -> Iterator[str]:
        """Name what must be resolved before a stack is deleted."""
        if stack.is_busy:
            yield f"CloudFormation is working on {stack.name} ({stack.status}); wait until it has finished."
        if stack.protected:
            words = ("cloudformation", "update-termination-protection", "--no-enable-termination-protection")
            command = self.aws_command(*words, "--stack-name", stack.name)
            yield f"Termination protection is on; if you are sure, turn it off: {command}"
        if running:
            listing = f"`custody executions --status running --env {self.env}`"
            yield (
                f"{plural(running, 'execution')} running. Stop sending objects, and wait until {listing} lists none, "
                "or stop each with `aws stepfunctions stop-execution`."
            )


def delete_stack(account: Account, stack: Stack, report: DestroyReport) -> None:
    """Delete a stack; if that fails, empty its buckets and delete it again. `report` is updated while it runs.

    CloudFormation deletes only empty buckets. On AWS a function of the CDK empties them, within 15 minutes; embedded
    AWS has no such function.
    """
    target = account.target
    if failures := _delete(target, stack):
        # Whatever failed: CloudFormation does not even try a bucket whose emptying function has timed out.
        for bucket in stack.of_kind("bucket"):
            if not bucket.retained and (refusal := _empty(target, bucket.name, report)):
                report.failures[bucket.name] = refusal
        if report.emptied:
            failures = _delete(target, stack)
        report.failures = failures | report.failures if failures else {}
    report.stack_remains = bool(failures)
    logs, prefix = target.client("logs"), f"/aws/lambda/{account.prefix}{_EMPTYING_FUNCTION}"
    try:
        for group in logs.describe_log_groups(logGroupNamePrefix=prefix)["logGroups"]:
            logs.delete_log_group(logGroupName=group["logGroupName"])
    except REFUSALS as error:
        report.failures[prefix] = str(error)


def delete_bucket(target: Target, name: str, report: DestroyReport) -> None:
    """Empty and delete a bucket; one with locked versions stays."""
    refusal = _empty(target, name, report)
    try:
        if refusal is None:
            target.client("s3").delete_bucket(Bucket=name)
    except REFUSALS as error:
        refusal = str(error)
    if refusal:
        report.failures[name] = refusal


def _delete(target: Target, stack: Stack) -> dict[str, str]:
    """Delete a stack, by its id since a deleted one cannot be found by name, and wait; return what failed, and why."""
    before = (describe_stack(target, stack.id) or {}).get("StackStatus")
    target.client("cloudformation").delete_stack(StackName=stack.id)
    looks = 0
    while True:
        looks += 1
        time.sleep(_POLL_SECONDS[target.is_local])
        current = describe_stack(target, stack.id)
        if current is None or current["StackStatus"] == "DELETE_COMPLETE":
            return {}
        if current["StackStatus"].endswith("_IN_PROGRESS"):
            before = current["StackStatus"]
        elif current["StackStatus"] != before or looks >= _STALE_LOOKS:
            break
    failures = {
        summary.get("PhysicalResourceId") or summary["LogicalResourceId"]: summary.get("ResourceStatusReason", "")
        for summary in _summaries(target, stack.id)
        if summary["ResourceStatus"] == "DELETE_FAILED"
    }
    # Not every failure is a resource's: a role that cannot be assumed, for example.
    return failures or {stack.name: current.get("StackStatusReason") or current["StackStatus"]}


def stack_of(target: Target, name: str) -> str | None:
    """Return the name of the stack that a resource belongs to, whatever its tags say; None if there is none.

    Embedded AWS does not look up resources by their physical id, and reports none.
    """
    try:
        resources = target.client("cloudformation").describe_stack_resources(PhysicalResourceId=name)["StackResources"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        return None
    # A deleted stack may still be known.
    stack = describe_stack(target, resources[0]["StackId"]) if resources else None
    return str(stack["StackName"]) if stack and stack["StackStatus"] != "DELETE_COMPLETE" else None


def _summaries(target: Target, stack: str) -> Iterator[Any]:
    for page in target.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack):
        yield from page["StackResourceSummaries"]


def _empty(target: Target, name: str, report: DestroyReport) -> str | None:
    """Delete every version and delete marker that is not locked; return why some remain, if any do."""
    s3 = target.client("s3")
    versions = (
        {"Key": version["Key"], "VersionId": version["VersionId"]}
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=name)
        for version in (*page.get("Versions", []), *page.get("DeleteMarkers", []))
    )
    number, example = 0, ""
    try:
        while batch := list(islice(versions, PAGE)):
            errors = s3.delete_objects(Bucket=name, Delete={"Objects": batch, "Quiet": True}).get("Errors", [])
            if deleted := len(batch) - len(errors):
                report.emptied[name] = report.emptied.get(name, 0) + deleted
            if errors:
                number += len(errors)
                example = f"{errors[0].get('Key')}: {errors[0].get('Message') or errors[0].get('Code')}"
    except REFUSALS as error:
        is_absent = isinstance(error, ClientError) and error.response["Error"]["Code"] in _ABSENT
        return None if is_absent else str(error)
    if not number:
        return None
    return f"{plural(number, 'version')} cannot be deleted, such as {example} (Object Lock may keep them)"
