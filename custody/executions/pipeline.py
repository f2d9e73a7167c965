"""The executions of both state machines: each execution, and each redrive of it, makes an attempt.

An execution has the name of its object, followed by `-r<attempt>` if it repeats the work of an earlier one. The machine
`pipeline` processes a batch per execution, and `bulk` an object that is cut into chunks.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from itertools import islice, repeat
from typing import TYPE_CHECKING, Self, cast

from botocore.exceptions import ClientError
from msgspec import Struct, convert
from msgspec.structs import replace

from custody.deployment.target import Deployment, Target
from functions.shared.errors import MessageRefused
from functions.shared.model.chunking import divide, suffixes
from functions.shared.model.ids import HASH_LENGTH, RawObject
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

OBJECT_ID = re.compile(rf"[0-9A-Za-z_-]+-[0-9a-f]{{{HASH_LENGTH}}}")

COUNTED = 10_000
"""The most executions of a status that are counted."""

_PAGE = 1000
"""The most executions or events that Step Functions returns in a page."""

_SKIPPED = 100
"""Attempts in a row without an execution of their own: more than an operator redrives of single chunks."""

_AGAIN = re.compile(r"-r[0-9]+$")
"""Follows the object id in the name of a later execution; an object id ends with digits of a hash."""


@dataclass(frozen=True)
class ExecutionState:
    """An execution as it is now: `attempt` is its current or last one, `redrives` how often it was redriven.

    `stuck` says why Step Functions will not redrive it; None if it will.
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
    message: str = field(default="", repr=False)

    @classmethod
    def of(cls, described: "DescribeExecutionOutputTypeDef") -> Self:
        """Parse the response of DescribeExecution."""
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
            described.get("input", ""),
        )

    @property
    def batch(self) -> Batch | None:
        """The batch in its input; None if somebody started it with anything else."""
        try:
            return Batch.decode(json.loads(self.message))
        except (ValueError, RecursionError, MessageRefused):
            return None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self.status in RUNNING

    @property
    def name(self) -> str:
        """The name within its state machine."""
        return self.arn.rpartition(":")[2]

    @property
    def seconds(self) -> float:
        """How long it took, or has run so far, from its first start and including the time between redrives."""
        return ((self.ended_at or datetime.now(UTC)) - self.started_at).total_seconds()

    @property
    def day(self) -> str:
        """The UTC day under which its dead letters are stored."""
        return self.started_at.date().isoformat()


class Runs(Struct, frozen=True):
    """The executions of the chunks of a bulk object, by status."""

    total: int
    succeeded: int
    failed: int
    aborted: int
    timedOut: int  # noqa: N815 - as Step Functions and the document have it
    running: int
    pending: int


@dataclass(frozen=True)
class Started:
    """A batch with its execution: started now or, unless `is_new`, already running."""

    batch: Batch
    execution: str
    is_new: bool


@dataclass(frozen=True)
class Pipeline:
    """The state machines of a deployment, and their executions.

    `chunk_bytes` is the size of the chunks of new objects, if their keys have one of the `suffixes`.

    Where `bulk_arn` is empty there is only one machine, and no object is cut.
    """

    client: "SFNClient"
    arn: str
    bulk_arn: str = ""
    chunk_bytes: int = 0
    suffixes: tuple[str, ...] = ()

    @classmethod
    def of(cls, target: Target, deployment: Deployment) -> Self:
        """Return the pipeline of a deployment."""
        client, lines = target.client("stepfunctions"), suffixes(deployment.json_lines_suffixes)
        return cls(client, deployment.pipeline_arn, deployment.bulk_arn, deployment.chunk_bytes, lines)

    @property
    def machines(self) -> tuple[str, ...]:
        """The ARNs of the state machines."""
        return (self.arn, self.bulk_arn) if self.bulk_arn else (self.arn,)

    def plan_of(self, raw: RawObject) -> Plan | None:
        """Plan the chunks of an object as the start function does; None if it is one batch."""
        return divide(raw, self.chunk_bytes, self.suffixes) if self.bulk_arn else None

    def batch_of(self, raw: RawObject) -> Batch:
        """Return the batch that the start function makes of an object."""
        return Batch(raw, plan=self.plan_of(raw))

    def arn_of(self, name: str, *, is_bulk: bool = False) -> str:
        """Return the ARN of the execution of a name."""
        return f"{_executions_of(self.bulk_arn if is_bulk else self.arn)}:{name}"

    def is_bulk(self, execution: str) -> bool:
        """Tell from its ARN whether an execution is of the bulk machine."""
        return bool(self.bulk_arn) and execution.startswith(f"{_executions_of(self.bulk_arn)}:")

    def has(self, execution: str) -> bool:
        """Tell from its ARN whether an execution is of this deployment; those of chunks are of `machine/label`."""
        return any(execution.startswith((f"{of}:", f"{of}/")) for of in map(_executions_of, self.machines))

    def describe(self, arn: str) -> ExecutionState | None:
        """Look up an execution; None if there is none, such as 90 days after its end."""
        try:
            return ExecutionState.of(self.client.describe_execution(executionArn=arn))
        except self.client.exceptions.ExecutionDoesNotExist:
            return None

    def chunk_bytes_of(self, arn: str) -> int:
        """Read the chunk size in the input of a bulk execution; 0 if the execution is gone, or has none."""
        execution = self.describe(arn)
        batch = execution.batch if execution else None
        return batch.plan.chunk_bytes if batch and batch.plan else 0

    def history(
        self, object_id: str, arn: str, attempt: int | None, highest: int | None = None
    ) -> tuple[ExecutionState, ...]:
        """Look up an execution of an object and those started since to repeat its work, the latest last.

        `attempt` is the highest in the audit bucket, None if the object is not there: the names of later executions
        follow from it. Step Functions answers only some 15 such calls a second, so none is made whose answer is known:
        nothing repeats work that was never begun, or that still runs. Up to `highest`, names may be skipped: a chunk
        that was redriven alone has counted on. After _SKIPPED names without an execution the search ends: somebody may
        have written any attempt into a file or an input.
        """
        first = self.describe(arn)
        if first is None and attempt is None:
            return ()
        executions = [first] if first else []
        attempt = max([attempt or 0, *(execution.attempt for execution in executions)])
        last = max(attempt, highest or 0)
        machine, skipped = arn.rpartition(":")[0], 0
        while attempt <= last and skipped < _SKIPPED and not (executions and executions[-1].is_running):
            later = self.describe(f"{machine}:{execution_name(object_id, attempt + 1)}")
            attempt += 1
            skipped += 1
            if later:
                skipped = 0
                executions.append(later)
                attempt = max(later.attempt, attempt)
                last = max(last, attempt)
        return tuple(executions)

    def events(self, arn: str) -> "Iterator[HistoryEventTypeDef]":
        """Stream the history of an execution, page by page, without the input and output of its steps."""
        pages = self.client.get_paginator("get_execution_history").paginate(
            executionArn=arn, includeExecutionData=False, PaginationConfig={"PageSize": _PAGE}
        )
        return (event for page in pages for event in page["events"])

    def runs_of(self, map_run: str) -> Runs | None:
        """Count the executions of the chunks of a Map Run, by its ARN; None if that is refused."""
        try:
            return convert(self.client.describe_map_run(mapRunArn=map_run)["itemCounts"], Runs)
        except ClientError:
            return None

    def count(self, status: str) -> tuple[int, bool]:
        """Count the executions of a status, and tell whether there are more: counting stops at COUNTED per machine."""
        listed = (islice(self.list_executions(machine, status), COUNTED + 1) for machine in self.machines)
        numbers = [sum(1 for _ in of_machine) for of_machine in listed]
        return sum(min(number, COUNTED) for number in numbers), max(numbers) > COUNTED

    def list_executions(
        self, machine: str, status: str | None = None, since: datetime | None = None, page: int = _PAGE
    ) -> "Iterator[ExecutionListItemTypeDef]":
        """List the executions of a machine, newest first: those of a status, and those started since a time.

        The list ends once as many in a row as fit in a `page` were started before `since`, not at the first one: AWS
        does not document which time sorts an execution that was redriven.
        https://docs.aws.amazon.com/step-functions/latest/apireference/API_ListExecutions.html
        """
        only = {"statusFilter": cast("ExecutionStatusType", status)} if status else {}
        pages = self.client.get_paginator("list_executions").paginate(
            stateMachineArn=machine,
            PaginationConfig={"PageSize": page},
            **only,  # type: ignore[arg-type]  # the stub wants each key by name
        )
        older = 0
        for execution in (execution for listed in pages for execution in listed["executions"]):
            if since is None or execution["startDate"] >= since:
                older = 0
                yield execution
            else:
                older += 1
            if older >= page:
                return

    def running(self) -> frozenset[str]:
        """List the ARNs of the executions that run now; Step Functions may be some seconds behind."""
        running = (listed for machine in self.machines for listed in self.list_executions(machine, "RUNNING"))
        return frozenset(listed["executionArn"] for listed in running)

    def redrive(self, arn: str, token: str) -> None:
        """Redrive an execution; raise ClientError. Two calls with the same token are one redrive."""
        self.client.redrive_execution(executionArn=arn, clientToken=token)

    def begin(self, batch: Batch) -> str | None:
        """Start the execution with the name of a batch's attempt, and return its ARN; None if that name is taken."""
        machine = self.arn if batch.plan is None else self.bulk_arn
        name, text = execution_name(batch.object.id, batch.attempt), encode(batch.encode()).decode()
        try:
            return self.client.start_execution(stateMachineArn=machine, name=name, input=text)["executionArn"]
        except self.client.exceptions.ExecutionAlreadyExists:
            return None

    def start(self, batch: Batch) -> Started:
        """Start an execution of a batch as the start function does, at the next attempt that is not taken."""
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

    def unchanged(self, executions: Sequence[ExecutionState]) -> frozenset[str]:
        """Return the ARNs of the executions whose definition is still that of their state machine."""
        return frozenset(
            arn
            for machine in self.machines
            if (own := [each for each in executions if each.arn.startswith(f"{_executions_of(machine)}:")])
            for arn in self._unchanged(machine, own)
        )

    def _unchanged(self, machine: str, executions: Sequence[ExecutionState]) -> Iterator[str]:
        """Return the ARNs of those that have the current definition of a machine.

        Step Functions answers this call only once a second, so it is not made for each: revisions follow one another in
        time, so if two executions have the same one, so has every execution started between them.
        https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
        """
        current = self.client.describe_state_machine(stateMachineArn=machine)["definition"]
        ordered = sorted(executions, key=lambda execution: execution.started_at)

        @cache
        def revision(at: int) -> tuple[str | None, str]:
            described = self.client.describe_state_machine_for_execution(executionArn=ordered[at].arn)
            return described.get("revisionId"), described["definition"]

        def answers(first: int, last: int) -> Iterator[bool]:
            if revision(first) == revision(last):
                yield from repeat(revision(first)[1] == current, last - first + 1)
            else:
                middle = (first + last) // 2
                yield from answers(first, middle)
                yield from answers(middle + 1, last)

        pairs = zip(ordered, answers(0, len(ordered) - 1), strict=True)
        return (execution.arn for execution, is_unchanged in pairs if is_unchanged)


def _executions_of(machine: str) -> str:
    """Return the common beginning of the ARNs of a state machine's executions."""
    return machine.replace(":stateMachine:", ":execution:")


def execution_name(object_id: str, attempt: int) -> str:
    """Return the name of the execution that begins with an attempt."""
    return f"{object_id}-r{attempt}" if attempt else object_id


def object_of_execution(name: str) -> str:
    """Return the object id in the name of an execution; return a name of any other form unchanged."""
    return _AGAIN.sub("", name)


def _attempt(message: str) -> int:
    """Parse the attempt in the input of an execution; 0 if somebody started it with anything else."""
    try:
        return max(0, int(json.loads(message)["attempt"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return 0
