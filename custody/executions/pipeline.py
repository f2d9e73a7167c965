"""The executions of both state machines, as Step Functions tells of them: each, and each redrive, does an attempt.

An execution is named by its object, and `-r<attempt>` stands behind that if it does the work of an earlier one again.
The `pipeline` carries a batch an execution, `bulk` an object that is cut into chunks.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any, Self, cast

from botocore.exceptions import ClientError
from msgspec.structs import replace

from custody.deployment.target import Deployment, Target
from functions.shared.model.chunking import cut
from functions.shared.model.ids import RawObject
from functions.shared.model.messages import Batch, Plan
from functions.shared.records.strict_json import encode

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_stepfunctions.literals import ExecutionStatusType
    from mypy_boto3_stepfunctions.type_defs import (
        DescribeExecutionOutputTypeDef,
        ExecutionListItemTypeDef,
        HistoryEventTypeDef,
    )

RUNNING = frozenset({"RUNNING", "PENDING_REDRIVE"})
SUCCEEDED = "SUCCEEDED"
NOT_STARTED = "NOT STARTED"
"""Stands for the status of an execution that does not exist."""

STATUSES = ("RUNNING", SUCCEEDED, "FAILED", "TIMED_OUT", "ABORTED")

COUNTED = 10_000
"""How many executions of a status are counted at most."""

_PAGE = 1000
"""Executions or events in an answer of Step Functions, which gives no more."""

_ITEMS = ("total", "succeeded", "failed", "aborted", "timedOut", "running", "pending")

_AGAIN = re.compile(r"-r[0-9]+$")
"""What stands behind the object in the name of a later execution; an object id ends with digits of a hash."""


@dataclass(frozen=True)
class Execution:
    """An execution now: `attempt` is the one that it does or did last, `redrives` how often it was redriven.

    `stuck` says why Step Functions will not redrive it, in its own words; None if it will. `cause` is whole.
    """

    arn: str
    status: str
    attempt: int
    redrives: int
    started_at: datetime
    stuck: str | None
    error: str | None = None
    cause: str | None = None
    ended_at: datetime | None = None

    @classmethod
    def of(cls, described: "DescribeExecutionOutputTypeDef") -> Self:
        """Read what DescribeExecution answers."""
        redrives = described.get("redriveCount", 0)
        is_redrivable = described.get("redriveStatus") == "REDRIVABLE"
        stopped = described.get("stopDate")
        return cls(
            described["executionArn"],
            described["status"],
            _attempt(described.get("input", "")) + redrives,
            redrives,
            described["startDate"].astimezone(UTC),
            None if is_redrivable else described.get("redriveStatusReason", "it cannot be redriven"),
            described.get("error"),
            described.get("cause"),
            stopped.astimezone(UTC) if stopped else None,
        )

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.status in RUNNING

    @property
    def name(self) -> str:
        """Its name in the state machine."""
        return self.arn.rpartition(":")[2]

    @property
    def seconds(self) -> float:
        """How long it took, or takes since: from its first start, with the time between redrives."""
        return ((self.ended_at or datetime.now(UTC)) - self.started_at).total_seconds()

    @property
    def day(self) -> str:
        """The day under which its dead letters lie."""
        return self.started_at.date().isoformat()


@dataclass(frozen=True)
class Started:
    """A batch that has an execution: one started now or, if not `is_new`, one that was running already."""

    batch: Batch
    execution: str
    is_new: bool


@dataclass(frozen=True)
class Pipeline:
    """The state machines of a deployment, and their executions; `chunk_bytes` is where an object is cut.

    Where `bulk_arn` is empty there is but one machine, and nothing is cut.
    """

    client: "SFNClient"
    arn: str
    bulk_arn: str = ""
    chunk_bytes: int = 0

    @classmethod
    def of(cls, target: Target, deployment: Deployment) -> Self:
        """Give those of a deployment."""
        client = target.client("stepfunctions")
        return cls(client, deployment.pipeline_arn, deployment.bulk_arn, deployment.chunk_bytes)

    @property
    def machines(self) -> tuple[str, ...]:
        """The ARN of each state machine."""
        return (self.arn, self.bulk_arn) if self.bulk_arn else (self.arn,)

    def plan_of(self, raw: RawObject) -> Plan | None:
        """Cut an object as the start function does; None if it is one batch."""
        return cut(raw, self.chunk_bytes) if self.bulk_arn else None

    def batch_of(self, raw: RawObject) -> Batch:
        """Make the batch that the start function makes of an object."""
        return Batch(raw, plan=self.plan_of(raw))

    def arn_of(self, name: str, *, is_bulk: bool = False) -> str:
        """Say which ARN an execution of that name has."""
        return f"{_executions_of(self.bulk_arn if is_bulk else self.arn)}:{name}"

    def is_bulk(self, execution: str) -> bool:
        """Say whether an execution, by its ARN, is of the machine of bulk objects."""
        return bool(self.bulk_arn) and execution.startswith(f"{_executions_of(self.bulk_arn)}:")

    def has(self, execution: str) -> bool:
        """Say whether an execution, by its ARN, is of one of the machines: or of a chunk, and so of `machine/label`."""
        return any(execution.startswith((f"{of}:", f"{of}/")) for of in map(_executions_of, self.machines))

    def describe(self, arn: str) -> Execution | None:
        """Ask for an execution; None if there is none, or if Step Functions has forgotten it, as it does in 90 days."""
        try:
            return Execution.of(self.client.describe_execution(executionArn=arn))
        except self.client.exceptions.ExecutionDoesNotExist:
            return None

    def chunk_bytes_of(self, arn: str) -> int:
        """Say how large the chunks are that a bulk execution was told of; 0 if it is gone, or was told of none."""
        try:
            begun = json.loads(self.client.describe_execution(executionArn=arn).get("input", ""))
            return int(begun["plan"]["chunk_bytes"])
        except (self.client.exceptions.ExecutionDoesNotExist, ValueError, KeyError, TypeError):
            return 0

    def history(
        self, object_id: str, arn: str, attempt: int | None, highest: int | None = None
    ) -> tuple[Execution, ...]:
        """Give an execution of an object, and those that were started since to do its work again, the latest last.

        `attempt` is the highest that the ledger know, None if they know nothing of the object: a later one of theirs has
        a name that follows from it. Step Functions answers but some 15 such questions a second, so none is asked of
        which the answer is known: nothing does the work again of what was never done, or of what runs. `highest` is up
        to where names may have been left out: a chunk that was tried again by itself has counted on.
        """
        first = self.describe(arn)
        if first is None and attempt is None:
            return ()
        found = [first] if first else []
        attempt = max([attempt or 0, *(execution.attempt for execution in found)])
        last = max(attempt, highest or 0)
        machine = arn.rpartition(":")[0]
        while attempt <= last and not (found and found[-1].is_running):
            later = self.describe(f"{machine}:{execution_name(object_id, attempt + 1)}")
            attempt += 1
            if later:
                found.append(later)
                attempt = max(later.attempt, attempt)
                last = max(last, attempt)
        return tuple(found)

    def latest(self, object_id: str, attempt: int, *, is_bulk: bool = False) -> str:
        """Say which ARN the execution has that was started last of an object, of those that began by an attempt."""
        names = (execution_name(object_id, each) for each in range(attempt, 0, -1))
        arns = (self.arn_of(name, is_bulk=is_bulk) for name in names)
        return next((arn for arn in arns if self.describe(arn)), self.arn_of(object_id, is_bulk=is_bulk))

    def events(self, arn: str) -> "Iterator[HistoryEventTypeDef]":
        """Give the history of an execution, page by page, without the data that its steps were given and gave."""
        pages = self.client.get_paginator("get_execution_history").paginate(
            executionArn=arn, includeExecutionData=False, PaginationConfig={"PageSize": _PAGE}
        )
        return (event for page in pages for event in page["events"])

    def items_of(self, map_run: str) -> dict[str, int] | None:
        """Count the chunks of a Map Run, by its ARN, by how their executions went.

        None if that is refused: who may read a history may not ask for the run, and all else is as good.
        """
        try:
            counts: Any = self.client.describe_map_run(mapRunArn=map_run)["itemCounts"]
        except ClientError:
            return None
        return {name: counts[name] for name in _ITEMS}

    def count(self, status: str) -> tuple[int, bool]:
        """Count the executions of a status; say whether there are more, for it stops at `COUNTED` of a machine."""
        counts = [self._count(machine, status) for machine in self.machines]
        return sum(number for number, _ in counts), any(is_more for _, is_more in counts)

    def _count(self, machine: str, status: str) -> tuple[int, bool]:
        number = sum(1 for _ in islice(self.listed(machine, status), COUNTED + 1))
        return min(number, COUNTED), number > COUNTED

    def listed(
        self, machine: str, status: str | None = None, since: datetime | None = None, page: int = _PAGE
    ) -> "Iterator[ExecutionListItemTypeDef]":
        """List the executions of a machine, the most recent first: those of a status, and those started since then.

        `page` is how many come in an answer. It ends when a whole page's worth in a row was started before `since`, and
        not at the first: by which time one stands that was redriven, AWS does not say.
        https://docs.aws.amazon.com/step-functions/latest/apireference/API_ListExecutions.html
        """
        only = {"statusFilter": cast("ExecutionStatusType", status)} if status else {}
        pages = self.client.get_paginator("list_executions").paginate(
            stateMachineArn=machine,
            PaginationConfig={"PageSize": page},
            **only,  # type: ignore[arg-type]  # the stub wants each key by name
        )
        older = 0
        for found in (one for each in pages for one in each["executions"]):
            if since is None or found["startDate"] >= since:
                older = 0
                yield found
            else:
                older += 1
            if older >= page:
                return

    def running(self) -> frozenset[str]:
        """List the executions that run now; Step Functions may be some seconds behind."""
        found = (one for machine in self.machines for one in self.listed(machine, "RUNNING"))
        return frozenset(one["executionArn"] for one in found)

    def redrive(self, arn: str, token: str) -> None:
        """Let an execution go on; raise what Step Functions answers. The same token twice is one redrive."""
        self.client.redrive_execution(executionArn=arn, clientToken=token)

    def begin(self, batch: Batch) -> str | None:
        """Start an execution of a batch by the name of its attempt; give its ARN, None if that name is taken."""
        machine = self.arn if batch.plan is None else self.bulk_arn
        name, text = execution_name(batch.object.id, batch.attempt), encode(batch.encode()).decode()
        try:
            return self.client.start_execution(stateMachineArn=machine, name=name, input=text)["executionArn"]
        except self.client.exceptions.ExecutionAlreadyExists:
            return None

    def start(self, batch: Batch) -> Started:
        """Start an execution of a batch as the start function does, at the next attempt that no other has taken."""
        is_bulk = batch.plan is not None
        while True:
            if arn := self.begin(batch):
                return Started(batch, arn, is_new=True)
            name = execution_name(batch.object.id, batch.attempt)
            taken = self.describe(self.arn_of(name, is_bulk=is_bulk))
            if taken and taken.is_running:
                return Started(replace(batch, attempt=taken.attempt), taken.arn, is_new=False)
            last = max(batch.attempt, taken.attempt if taken else 0)
            batch = replace(batch, attempt=last + 1, redrive_of=self.arn_of(name, is_bulk=is_bulk))

    def unchanged(self, executions: Sequence[Execution]) -> frozenset[str]:
        """Say which of some executions have the definition that their state machine has now; give their ARNs."""
        of_machine = [
            (machine, [each for each in executions if each.arn.startswith(f"{_executions_of(machine)}:")])
            for machine in self.machines
        ]
        return frozenset(arn for machine, found in of_machine if found for arn in self._unchanged(machine, found))

    def _unchanged(self, machine: str, executions: Sequence[Execution]) -> Iterator[str]:
        """Give those that have the definition that a machine has now.

        Step Functions answers that question but once a second, so it is not asked of each: revisions follow one another
        in time, hence if two executions have the same one, so have all that were started between them.
        https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
        """
        current = self.client.describe_state_machine(stateMachineArn=machine)["definition"]
        ordered = sorted(executions, key=lambda execution: execution.started_at)

        @cache
        def revision(at: int) -> tuple[str | None, str]:
            found = self.client.describe_state_machine_for_execution(executionArn=ordered[at].arn)
            return found.get("revisionId"), found["definition"]

        def answers(first: int, last: int) -> Iterator[bool]:
            if revision(first) == revision(last):
                yield from repeat(revision(first)[1] == current, last - first + 1)
            else:
                middle = (first + last) // 2
                yield from answers(first, middle)
                yield from answers(middle + 1, last)

        found = zip(ordered, answers(0, len(ordered) - 1), strict=True)
        return (execution.arn for execution, is_unchanged in found if is_unchanged)


def _executions_of(machine: str) -> str:
    """Say what the ARNs of the executions of a state machine begin with."""
    return machine.replace(":stateMachine:", ":execution:")


def execution_name(object_id: str, attempt: int) -> str:
    """Name the execution that begins with an attempt."""
    return f"{object_id}-r{attempt}" if attempt else object_id


def object_of_execution(name: str) -> str:
    """Say which object an execution is of, by its name; a name that somebody else gave is given as it is."""
    return _AGAIN.sub("", name)


def _attempt(begun: str) -> int:
    """Read the attempt in the input of an execution; 0 if somebody started it with anything else."""
    try:
        return max(0, int(json.loads(begun)["attempt"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return 0
