"""What an environment has in an account that is billed or holds data: found by name, with or without its stack."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from shlex import join
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.filesize import decimal

from custody.deployment.target import Target
from custody.recovery.event_queue import depth

LISTED = 1_000
"""How many versions of a bucket are counted by listing them: one call, and as many as it answers."""

_DAYS_OF_METRICS = 3
"""S3 tells CloudWatch once a day how much a bucket holds
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/metrics-dimensions.html)."""

_PENDING = frozenset({"PendingDeletion", "PendingReplicaDeletion"})
_NO_LOCK = "ObjectLockConfigurationNotFoundError"

_ABSENT = frozenset(
    {"NoSuchBucket", "NotFoundException", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
)
"""What S3, KMS and SQS answer of a thing that is not there; CloudWatch Logs lists nothing."""

GONE = "gone"
UNKNOWN = "not known"
REFUSALS = (ClientError, BotoCoreError)
"""What a call to AWS ends with that it refuses, or that does not get there."""

KEEP_A_KEY = "`aws kms cancel-key-deletion --key-id`"


@dataclass(frozen=True)
class Holding:
    """One thing of an environment: what is in it, what is to be known of it, and the command that removes it.

    `is_billed` says whether it costs something while nobody uses it; `command` is None where none is needed.
    """

    kind: str
    name: str
    holds: str
    note: str
    is_billed: bool
    command: str | None

    @property
    def is_gone(self) -> bool:
        """Whether there is no such thing any more: somebody has deleted it."""
        return self.holds == GONE

    def encode(self) -> dict[str, Any]:
        """Give the JSON shape of `--json`."""
        return {
            "kind": self.kind,
            "name": self.name,
            "holds": self.holds,
            "note": self.note,
            "billed": self.is_billed,
            "command": self.command,
        }


def counted(number: int, one: str) -> str:
    """Say how many there are of something."""
    return f"{number:,} {one}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Contents:
    """What a bucket holds: `versions` is None if they are too many to count; `newest` is when the last one was put."""

    versions: int | None
    size: int | None
    newest: datetime | None = None

    def __str__(self) -> str:
        """Say it in a few words."""
        if self.versions == 0:
            return "empty"
        number = f"more than {LISTED:,} versions" if self.versions is None else counted(self.versions, "version")
        return number if self.size is None else f"{number}, {decimal(self.size)}"


@dataclass(frozen=True)
class Account:
    """The part of an account and region in which an environment has its things: all are named `custody-<env>-…`."""

    target: Target
    env: str
    profile: str | None = None

    @property
    def prefix(self) -> str:
        """What every name of the environment begins with; no other environment's does, for none has a hyphen in it."""
        return f"custody-{self.env}-"

    @property
    def region(self) -> str:
        """The region that is looked in."""
        return str(self.target.session.region_name)

    @cached_property
    def number(self) -> str:
        """Give the number of the account."""
        return str(self.target.client("sts").get_caller_identity()["Account"])

    def command(self, *words: str) -> str:
        """Write a command of the AWS CLI for this account and region, ready to be typed."""
        where = ("--profile", self.profile) if self.profile else ()
        if self.target.endpoint:
            # Of its configuration alone, the AWS CLI would not take where SQS is.
            where = ("--endpoint-url", self.target.endpoint)
        return join(("aws", *words, "--region", self.region, *where))

    def again(self, *words: str) -> str:
        """Write a `custody destroy` of this environment, ready to be typed."""
        where = () if self.target.is_local else (("--profile", self.profile) if self.profile else ("--aws",))
        return join(("custody", "destroy", "--env", self.env, *where, *words))

    def holdings(self) -> Iterator[Holding]:
        """Find everything of the environment, what may hold data first."""
        for kind, find in _FINDERS.items():
            try:
                names = list(find(self))
            except REFUSALS as error:
                # Said, and not passed over: something may be there, and the other kinds are to be named all the same.
                yield Holding(kind, UNKNOWN, "", f"could not be looked for: {error}", is_billed=True, command=None)
            else:
                yield from (one for one in (self.holding(kind, name) for name in names) if not one.is_gone)

    def buckets(self) -> list[str]:
        """Name the buckets of the environment."""
        return list(_buckets(self))

    def holding(self, kind: str, name: str) -> Holding:
        """Look into a bucket, a key, a log group or a queue; say of anything else only how it is removed."""
        looked = {"bucket": self._bucket, "key": self._key, "log group": self._log_group, "queue": self._queue}
        try:
            found = looked[kind](name) if kind in looked else None
        except REFUSALS as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] in _ABSENT:
                return _gone(kind, name)
            note = f"could not be looked into: {error}"
            return Holding(kind, name, UNKNOWN, note, is_billed=True, command=self._removal(kind, name))
        return found or Holding(kind, name, "", "", kind in _BILLED, self._removal(kind, name))

    def _removal(self, kind: str, name: str) -> str:
        if kind == "bucket":
            return self.again("--bucket", name)
        return self.command(*_REMOVALS[kind](name))

    def _bucket(self, name: str) -> Holding:
        found = self.contents(name)
        note = "" if found.versions == 0 else "every version is stored and billed"
        if locked := self.lock(name):
            mode, days = locked
            note = f"Object Lock ({mode}) holds each file for {days} days"
            if found.versions != 0:
                last = (found.newest or datetime.now(UTC)) + timedelta(days=days)
                note += f", the last one until {last:%Y-%m-%d}"
        return Holding("bucket", name, str(found), note, found.versions != 0, self._removal("bucket", name))

    def contents(self, bucket: str) -> Contents:
        """Count what is in a bucket: exactly if one listing shows all, else as CloudWatch was told of it.

        It was told up to two days ago: a number that the listing has passed is none.
        """
        page = self.target.client("s3").list_object_versions(Bucket=bucket, MaxKeys=LISTED)
        versions, markers = page.get("Versions", []), page.get("DeleteMarkers", [])
        if not page.get("IsTruncated"):
            newest = max((one["LastModified"] for one in versions), default=None)
            return Contents(len(versions) + len(markers), sum(one["Size"] for one in versions), newest)
        versions = self._measured(bucket, "NumberOfObjects", "AllStorageTypes")
        if versions is None or versions <= LISTED:
            return Contents(None, None)
        return Contents(versions, self._measured(bucket, "BucketSizeBytes", "StandardStorage"))

    def _measured(self, bucket: str, metric: str, storage: str) -> int | None:
        now = datetime.now(UTC)
        points = self.target.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/S3",
            MetricName=metric,
            Dimensions=[{"Name": "BucketName", "Value": bucket}, {"Name": "StorageType", "Value": storage}],
            StartTime=now - timedelta(days=_DAYS_OF_METRICS),
            EndTime=now,
            Period=86_400,
            Statistics=["Average"],
        )["Datapoints"]
        return int(max(points, key=lambda point: point["Timestamp"])["Average"]) if points else None

    def lock(self, bucket: str) -> tuple[str, int] | None:
        """Say how Object Lock holds what is put into a bucket, and for how many days; None if it does not."""
        try:
            found = self.target.client("s3").get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
        except ClientError as error:
            if error.response["Error"]["Code"] == _NO_LOCK:
                return None
            raise
        kept = found.get("Rule", {}).get("DefaultRetention")
        return (kept["Mode"].lower(), kept.get("Days") or 365 * kept["Years"]) if kept else None

    def _key(self, name: str) -> Holding:
        found = self.target.client("kms").describe_key(KeyId=name)["KeyMetadata"]
        if found["KeyState"] in _PENDING:
            gone = f"{found['DeletionDate']:%Y-%m-%d}" if "DeletionDate" in found else "the end of its waiting period"
            note = f"deleted on {gone}: from then on nobody can read what it encrypts. {KEEP_A_KEY} keeps it"
            return Holding("key", name, "pending deletion", note, is_billed=False, command=None)
        note = "billed each month. Once it is deleted, nobody can read what it encrypts: remove it last"
        return Holding("key", name, "", note, is_billed=True, command=self._removal("key", name))

    def _log_group(self, name: str) -> Holding:
        found = self.target.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        group = next((one for one in found if one["logGroupName"] == name), None)
        if group is None:
            return _gone("log group", name)
        kept = group.get("retentionInDays")
        note = f"each line is kept for {kept} days" if kept else "kept for ever"
        stored = decimal(group.get("storedBytes", 0))
        return Holding("log group", name, stored, note, is_billed=True, command=self._removal("log group", name))

    def _queue(self, url: str) -> Holding:
        waiting = depth(self.target.client("sqs"), url).total
        note = "events of objects that nobody has handled" if waiting else "billed by use only"
        holds, removal = counted(waiting, "event"), self._removal("queue", url)
        return Holding("queue", url, holds, note, is_billed=False, command=removal)


def _gone(kind: str, name: str) -> Holding:
    return Holding(kind, name, GONE, "somebody has deleted it", is_billed=False, command=None)


def _pages(account: Account, service: str, call: str, **asked: Any) -> Iterator[Any]:
    yield from account.target.client(service).get_paginator(call).paginate(**asked)


def _buckets(account: Account) -> Iterator[str]:
    # One of another region, or that somebody named alike, is none of this deployment.
    behind = f"-{account.number}-{account.region}"
    for found in account.target.client("s3").list_buckets()["Buckets"]:
        if found["Name"].startswith(account.prefix) and found["Name"].endswith(behind):
            yield found["Name"]


def _keys(account: Account) -> Iterator[str]:
    """Find keys by their tags: the alias goes with the stack, and a key has no other name."""
    tags = [{"Key": "project", "Values": ["custody"]}, {"Key": "env", "Values": [account.env]}]
    asked = {"TagFilters": tags, "ResourceTypeFilters": ["kms:key"]}
    for page in _pages(account, "resourcegroupstaggingapi", "get_resources", **asked):
        yield from (found["ResourceARN"].rpartition("/")[2] for found in page["ResourceTagMappingList"])


def _log_groups(account: Account) -> Iterator[str]:
    for service in ("lambda", "vendedlogs/states"):
        for page in _pages(
            account, "logs", "describe_log_groups", logGroupNamePrefix=f"/aws/{service}/{account.prefix}"
        ):
            yield from (found["logGroupName"] for found in page["logGroups"])


def _queues(account: Account) -> Iterator[str]:
    for page in _pages(account, "sqs", "list_queues", QueueNamePrefix=account.prefix):
        yield from page.get("QueueUrls", [])


def _named(service: str, call: str, listed: str, name: str, **asked: str) -> Callable[[Account], Iterator[str]]:
    """Find things by the end of their ARN or by their name; `asked` maps a parameter to what the prefix goes into."""

    def find(account: Account) -> Iterator[str]:
        given = {parameter: value.format(prefix=account.prefix) for parameter, value in asked.items()}
        for page in _pages(account, service, call, **given):
            for found in page.get(listed, []):
                if found[name].rpartition(":")[2].startswith(account.prefix):
                    yield found[name]

    return find


_FINDERS: dict[str, Callable[[Account], Iterator[str]]] = {
    "bucket": _buckets,
    "key": _keys,
    "log group": _log_groups,
    "queue": _queues,
    "alarm": _named("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName", AlarmNamePrefix="{prefix}"),
    "dashboard": _named(
        "cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName", DashboardNamePrefix="{prefix}"
    ),
    "topic": _named("sns", "list_topics", "Topics", "TopicArn"),
    "state machine": _named("stepfunctions", "list_state_machines", "stateMachines", "stateMachineArn"),
    "function": _named("lambda", "list_functions", "Functions", "FunctionName"),
}
"""How each kind is found. Roles, rules and layers are not: they hold no data, and cost nothing."""

_REMOVALS: dict[str, Callable[[str], tuple[str, ...]]] = {
    "key": lambda name: ("kms", "schedule-key-deletion", "--key-id", name, "--pending-window-in-days", "30"),
    "log group": lambda name: ("logs", "delete-log-group", "--log-group-name", name),
    "queue": lambda url: ("sqs", "delete-queue", "--queue-url", url),
    "alarm": lambda name: ("cloudwatch", "delete-alarms", "--alarm-names", name),
    "dashboard": lambda name: ("cloudwatch", "delete-dashboards", "--dashboard-names", name),
    "topic": lambda arn: ("sns", "delete-topic", "--topic-arn", arn),
    "state machine": lambda arn: ("stepfunctions", "delete-state-machine", "--state-machine-arn", arn),
    "function": lambda name: ("lambda", "delete-function", "--function-name", name),
}
"""What the AWS CLI removes each kind with. A bucket must be emptied first, which is of this command line."""

_BILLED = frozenset({"alarm", "dashboard"})
"""What costs something without being used, of the kinds that are not looked into."""
