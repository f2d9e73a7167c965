"""Taking an environment away: first what will go and what will stay, then the doing of it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol, TypeVar

from botocore.exceptions import ClientError

from custody.audit.dead_letters import Filter, select
from custody.audit.reader import AuditReader, Unreadable
from custody.deployment.empty_bucket import empty, holds_something
from custody.deployment.leftovers import KEEP_A_KEY, LISTED, REFUSALS, UNKNOWN, Account, Holding
from custody.deployment.stack import BUCKET, FAILED, KINDS, Event, Stack, delete

Item = TypeVar("Item")


class Watched(Protocol):
    """How whoever waits is told how far it is: gives items as they come, and says a line with their number."""

    def __call__(self, items: Iterable[Item], say: Callable[[int], str], /) -> Iterator[Item]:
        """Give each item again."""
        ...


_KEY_DAYS = 30
"""How long the CDK has a key wait for its deletion, unless it is told otherwise
(https://docs.aws.amazon.com/kms/latest/developerguide/deleting-keys.html)."""

_PROVIDER = "CustomS3AutoDeleteObjects"
"""The function of the CDK that empties buckets. Lambda makes its log group, so that no stack has it."""

_LOG_GROUP = "AWS::Logs::LogGroup"


@dataclass(frozen=True)
class Plan:
    """What will become of an environment: which of its data goes and which stays, and what speaks against it.

    `dead letters` is None if they could not be counted.
    """

    goes: tuple[Holding, ...]
    stays: tuple[Holding, ...]
    others: int
    in_flight: int
    dead_letters: int | None
    against: tuple[str, ...]

    def encode(self) -> dict[str, Any]:
        """Give the JSON shape of `--json`."""
        return {
            "goes": [one.encode() for one in self.goes],
            "stays": [one.encode() for one in self.stays],
            "other_resources": self.others,
            "executions_in_flight": self.in_flight,
            "open_letters": self.dead_letters,
            "against": list(self.against),
        }


@dataclass
class Held:
    """What a bucket still holds: how many versions could not be deleted, and why the first of them could not."""

    first: str
    number: int = 0


@dataclass
class Done:
    """What was done: the resources that went and that did not, and of each bucket what went and what it still holds.

    `stands` says whether the stack is still there after all.
    """

    deleted: int = 0
    stands: bool = False
    failures: list[Event] = field(default_factory=list)
    emptied: dict[str, int] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)


def plan(account: Account, stack: Stack, watched: Watched) -> Plan:
    """Look at each thing of a stack that holds data, and at what is under way."""
    holding = [one for kind in KINDS for one in stack.of(kind)]
    looked = [
        (one.is_kept, account.holding(KINDS[one.type], one.name))
        for one in watched(holding, lambda number: f"looking at what it holds: {number} of {len(holding)}")
    ]
    stays = tuple(found for is_kept, found in looked if is_kept)
    something_stays = not all(found.is_gone for found in stays)
    in_flight, is_more = (0, False) if stack.is_busy else stack.in_flight(account.target)
    return Plan(
        goes=tuple(_going(found, something_stays=something_stays) for is_kept, found in looked if not is_kept),
        stays=tuple(replace(found, command=None) for found in stays),
        others=len(stack.resources) - len(looked),
        in_flight=in_flight,
        dead_letters=_dead_letters(account, stack, watched),
        against=tuple(_against(account, stack, f"{in_flight:,}{'+' if is_more else ''}" if in_flight else "")),
    )


def _going(found: Holding, *, something_stays: bool) -> Holding:
    """Say of something that goes what is to be known of that."""
    if found.command is None or found.holds == UNKNOWN:
        # Gone, on its way there, or not to be looked into: that is told already.
        return replace(found, command=None)
    note = ""
    if found.kind == "key":
        note = f"deleted {_KEY_DAYS} days later: from then on nobody can read what it encrypts"
        if something_stays:
            note += f", and that is also what stays. Until then {KEEP_A_KEY} keeps it"
    return replace(found, note=note, command=None)


def _dead_letters(account: Account, stack: Stack, watched: Watched) -> int | None:
    """Count the open dead letters, up to as many as are worth it; None if that is refused."""
    audit = next((one.name for one in stack.of(BUCKET) if one.name.startswith(f"{account.prefix}audit-")), None)
    if audit is None:
        return 0
    odd: list[Unreadable] = []
    found = select(AuditReader(account.target.client("s3"), audit), Filter(), odd)
    try:
        readable = sum(1 for _ in islice(watched(found, lambda number: f"open dead letters: {number}"), LISTED))
    except ClientError as error:
        return 0 if error.response["Error"]["Code"] == "NoSuchBucket" else None
    return min(readable + len(odd), LISTED)


def _against(account: Account, stack: Stack, in_flight: str) -> Iterator[str]:
    if stack.is_busy:
        yield f"CloudFormation is at work on {stack.name} ({stack.status}): wait until that is over."
    if stack.is_protected:
        words = ("cloudformation", "update-termination-protection", "--no-enable-termination-protection")
        off = account.command(*words, "--stack-name", stack.name)
        yield f"Termination protection is on; if you are sure, turn it off: {off}"
    if in_flight:
        yield (
            f"Executions are in flight: {in_flight}. Stop what sends objects, and wait until `custody executions "
            f"--status running --env {account.env}` lists none; or stop each with `aws stepfunctions stop-execution`."
        )


def delete_stack(account: Account, stack: Stack, watched: Watched) -> Done:
    """Delete a stack; if buckets of it that shall go are not empty, empty them and do it again."""
    done = Done()
    _watch(account, stack, done, watched)
    if done.failures and (full := _still_full(account, stack)):
        refused = [failure for name in full if (failure := _empty(account, name, done, watched))]
        _watch(account, stack, done, watched)
        if done.stands:
            done.failures += refused
    _delete_logs_of_provider(account, done)
    return done


def delete_buckets(account: Account, names: Iterable[str], watched: Watched) -> Done:
    """Empty buckets and delete them, but for those in which something is locked; go on where one is refused."""
    done = Done()
    for name in names:
        failure = _empty(account, name, done, watched)
        if failure is None and name not in done.held:
            try:
                account.target.client("s3").delete_bucket(Bucket=name)
            except REFUSALS as error:
                failure = _failure(BUCKET, name, error)
        if failure:
            done.failures.append(failure)
    return done


def _watch(account: Account, stack: Stack, done: Done, watched: Watched) -> None:
    """Have a stack deleted, and take down what comes of each resource."""
    done.failures, done.stands = [], False
    total = len(stack.resources)
    events = delete(account.target, stack)
    for event in watched(events, lambda _: f"CloudFormation deletes {stack.name}: {done.deleted} of {total}"):
        done.deleted += event.is_done
        if event.is_failure:
            done.failures.append(event)
        if event.name == stack.id and event.status == FAILED:
            done.stands = True
            # Mostly a resource is why; but a role that may not be assumed is of none.
            done.failures = done.failures or [event]


def _still_full(account: Account, stack: Stack) -> list[str]:
    """List the buckets of a stack that shall go with it, are still there, and hold something.

    CloudFormation deletes no bucket that is not empty. On AWS a function of the CDK empties them, but has 15 minutes
    only; on embedded AWS there is no such function.
    """
    return [one.name for one in stack.of(BUCKET) if not one.is_kept and _may_be_full(account, one.name)]


def _may_be_full(account: Account, name: str) -> bool:
    try:
        return holds_something(account.target.client("s3"), name)
    except ClientError as error:
        # Where it may not be listed, the emptying is refused too, and that is reported.
        return error.response["Error"]["Code"] != "NoSuchBucket"


def _empty(account: Account, name: str, done: Done, watched: Watched) -> Event | None:
    """Empty a bucket, and take down what went and what is held; give what ended it too early, if anything did."""
    emptied = empty(account.target.client("s3"), name)
    try:
        for refused in watched(emptied, lambda number: f"emptying {name}: {number:,} versions"):
            if refused is None:
                done.emptied[name] = done.emptied.get(name, 0) + 1
            else:
                done.held.setdefault(name, Held(refused)).number += 1
    except REFUSALS as error:
        return _failure(BUCKET, name, error)
    return None


def _failure(kind: str, name: str, error: Exception) -> Event:
    """Tell of what CloudFormation has no part in as it would."""
    return Event("", kind, name, FAILED, str(error))


def _delete_logs_of_provider(account: Account, done: Done) -> None:
    """Delete the log group that Lambda made for the function that empties buckets: its stack does not know of it."""
    logs = account.target.client("logs")
    prefix = f"/aws/lambda/{account.prefix}{_PROVIDER}"
    try:
        for group in logs.describe_log_groups(logGroupNamePrefix=prefix)["logGroups"]:
            logs.delete_log_group(logGroupName=group["logGroupName"])
    except REFUSALS as error:
        done.failures.append(_failure(_LOG_GROUP, prefix, error))
