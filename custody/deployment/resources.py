"""What an environment has in an account: listed by tag, with or without its stack, and what each resource holds."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from shlex import join

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from rich.filesize import decimal

from custody.deployment.queue_depth import depth
from custody.deployment.target import Target
from custody.terminal.text import plural

LISTED = 1_000
"""How many versions of a bucket are counted by listing: one call."""

KINDS = {
    "AWS::S3::Bucket": "bucket",
    "AWS::KMS::Key": "key",
    "AWS::Logs::LogGroup": "log group",
    "AWS::SQS::Queue": "queue",
}
"""The kinds of resources that hold data, or are needed to read it, by their type in CloudFormation."""

GONE = "gone"
UNKNOWN = "unknown"
PENDING = "pending deletion"
REFUSALS = (ClientError, BotoCoreError)
"""Raised by a call that AWS refuses, or that does not reach it."""

_ABSENT = frozenset(
    {"NoSuchBucket", "NotFoundException", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
)
_KIND_OF_SERVICE = {"s3": "bucket", "kms": "key", "logs": "log group", "sqs": "queue"}
_UNREADABLE = "after that, nothing it encrypted can be read"
_PREFIXES = {"key": "key/", "log group": "log-group:"}


class Resource(msgspec.Struct, frozen=True):
    """A resource of an environment: what it holds, what to know about it, and the command that removes it.

    `contents` is `gone` if it does not exist any more, and `unknown` if that could not be read. `billed` tells whether
    it costs money while unused. `command` is None if none is needed, or while its stack exists.
    """

    kind: str
    name: str
    contents: str = ""
    note: str = ""
    billed: bool = False
    command: str | None = None


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

    @property
    def region(self) -> str:
        """The region."""
        return str(self.target.session.region_name)

    @cached_property
    def number(self) -> str:
        """The account number."""
        return str(self.target.client("sts").get_caller_identity()["Account"])

    def aws_command(self, *words: str) -> str:
        """Format an AWS CLI command for this account and region, ready to be pasted into a shell."""
        options = ("--profile", self.profile) if self.profile else ()
        if self.target.endpoint:
            # The AWS CLI's configuration has no endpoint of SQS.
            options = ("--endpoint-url", self.target.endpoint)
        return join(("aws", *words, "--region", self.region, *options))

    def destroy_command(self, *words: str) -> str:
        """Format a `custody destroy` of this environment, ready to be pasted into a shell."""
        options = () if self.target.is_local else (("--profile", self.profile) if self.profile else ("--aws",))
        return join(("custody", "destroy", "--env", self.env, *options, *words))

    def list_resources(self, *, with_commands: bool) -> list[Resource]:
        """List what carries the environment's tags, data first; a refusal is listed, too: something may be left."""
        try:
            tagged = sorted(set(self._tagged()), key=lambda each: (each[0] not in KINDS.values(), each))
        except REFUSALS as error:
            return [Resource("resource", UNKNOWN, note=f"cannot be listed by tag: {error}", billed=True)]
        resources = [resource for kind, name in tagged if (resource := self.inspect(kind, name)).contents != GONE]
        return [self._with_command(resource) for resource in resources] if with_commands else resources

    def buckets(self) -> list[str]:
        """List the names of the environment's buckets: they carry its tags, and are named as its stack names them."""
        end = f"-{self.number}-{self.region}"
        names = [name for kind, name in self._tagged("s3") if kind == "bucket"]
        return [name for name in names if name.startswith(self.prefix) and name.endswith(end)]

    def _tagged(self, *resource_types: str) -> Iterator[tuple[str, str]]:
        filters = [{"Key": "project", "Values": ["custody"]}, {"Key": "env", "Values": [self.env]}]
        pages = self.target.client("resourcegroupstaggingapi").get_paginator("get_resources")
        for page in pages.paginate(TagFilters=filters, ResourceTypeFilters=list(resource_types)):
            for mapping in page["ResourceTagMappingList"]:
                # CloudFormation's own tag; a retained resource keeps it.
                stack = {tag["Key"]: tag["Value"] for tag in mapping["Tags"]}.get("aws:cloudformation:stack-name")
                if stack in {None, f"custody-{self.env}"}:
                    yield _parse_arn(mapping["ResourceARN"])

    def inspect(self, kind: str, name: str) -> Resource:
        """Read what a resource holds."""
        inspect = {"bucket": self._bucket, "key": self._key, "log group": self._log_group, "queue": self._queue}
        if kind not in inspect:
            return Resource(kind, name, note="AWS may list it for a while after it was deleted")
        try:
            return inspect[kind](name)
        except REFUSALS as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] in _ABSENT:
                return Resource(kind, name, GONE)
            return Resource(kind, name, UNKNOWN, f"cannot be read: {error}", billed=True)

    def _with_command(self, resource: Resource) -> Resource:
        words = {
            "key": ("kms", "schedule-key-deletion", "--pending-window-in-days", "30", "--key-id"),
            "log group": ("logs", "delete-log-group", "--log-group-name"),
            "queue": ("sqs", "delete-queue", "--queue-url"),
        }.get(resource.kind)
        command = None
        if resource.kind == "bucket":
            command = self.destroy_command("--bucket", resource.name)
        elif words and resource.contents != PENDING:
            command = self.aws_command(*words, resource.name)
        return msgspec.structs.replace(resource, command=command)

    def _bucket(self, name: str) -> Resource:
        s3 = self.target.client("s3")
        page = s3.list_object_versions(Bucket=name, MaxKeys=LISTED)
        versions, markers = page.get("Versions", []), page.get("DeleteMarkers", [])
        contents = (
            f"{plural(len(versions) + len(markers), 'version')}, {decimal(sum(each['Size'] for each in versions))}"
        )
        if page.get("IsTruncated"):
            contents = f"more than {LISTED:,} versions"
        is_empty = not versions and not markers
        try:
            lock = s3.get_object_lock_configuration(Bucket=name)["ObjectLockConfiguration"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ObjectLockConfigurationNotFoundError":
                raise
            lock = {}
        note = "" if is_empty else "every version is billed"
        if retention := lock.get("Rule", {}).get("DefaultRetention"):
            days = retention.get("Days") or 365 * retention["Years"]
            note = f"Object Lock ({retention['Mode'].lower()}) retains each version for {plural(days, 'day')}"
        return Resource("bucket", name, "empty" if is_empty else contents, note, billed=not is_empty)

    def _key(self, name: str) -> Resource:
        key = self.target.client("kms").describe_key(KeyId=name)["KeyMetadata"]
        if key["KeyState"] in {"PendingDeletion", "PendingReplicaDeletion"}:
            date = f"{key['DeletionDate']:%Y-%m-%d}" if "DeletionDate" in key else "the end of its waiting period"
            note = f"deleted on {date}; {_UNREADABLE}. `aws kms cancel-key-deletion --key-id` keeps it"
            return Resource("key", name, PENDING, note)
        return Resource(
            "key", name, "", f"billed monthly; deleted 30 days after it is scheduled: {_UNREADABLE}", billed=True
        )

    def _log_group(self, name: str) -> Resource:
        groups = self.target.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        group = next((each for each in groups if each["logGroupName"] == name), None)
        if group is None:
            return Resource("log group", name, GONE)
        days = group.get("retentionInDays")
        note = f"{days}-day retention" if days else "events never expire"
        return Resource("log group", name, decimal(group.get("storedBytes", 0)), note, billed=True)

    def _queue(self, name: str) -> Resource:
        sqs = self.target.client("sqs")
        url = name if "/" in name else sqs.get_queue_url(QueueName=name)["QueueUrl"]
        events = depth(sqs, url).total
        note = "events of objects that were never processed" if events else "billed by use only"
        return Resource("queue", url, plural(events, "event"), note)


def _parse_arn(arn: str) -> tuple[str, str]:
    """Return the kind and name of a resource; of kinds that hold no data, the service and the ARN."""
    _, _, service, _, _, resource = arn.split(":", 5)
    kind = _KIND_OF_SERVICE.get(service)
    return (kind, resource.removeprefix(_PREFIXES.get(kind, "")).removesuffix(":*")) if kind else (service, arn)
