"""The executions of the pipeline, as Step Functions tells of them: each, and each redrive of one, does an attempt.

An execution is named by its object, and `-r<attempt>` stands behind that if it does the work of an earlier one again.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from itertools import repeat
from typing import TYPE_CHECKING, Self, cast

from functions.shared.documents import encode
from functions.shared.messages import Batch

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_stepfunctions.literals import ExecutionStatusType
    from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

RUNNING = frozenset({"RUNNING", "PENDING_REDRIVE"})
SUCCEEDED = "SUCCEEDED"
STATUSES = ("RUNNING", SUCCEEDED, "FAILED", "TIMED_OUT", "ABORTED")

COUNTED = 10_000
"""How many executions of a status are counted at most."""

_PAGE = 1000
"""Executions in an answer of Step Functions, which gives no more."""


@dataclass(frozen=True)
class Execution:
    """An execution now: `attempt` is the one that it does or did last, `redrives` how often it was redriven.

    `stuck` says why Step Functions will not redrive it, in its own words; None if it will.
    """

    arn: str
    status: str
    attempt: int
    redrives: int
    started_at: datetime
    stuck: str | None
    error: str | None = None

    @classmethod
    def of(cls, described: "DescribeExecutionOutputTypeDef") -> Self:
        """Read what DescribeExecution answers."""
        redrives = described.get("redriveCount", 0)
        is_redrivable = described.get("redriveStatus") == "REDRIVABLE"
        return cls(
            described["executionArn"],
            described["status"],
            _attempt(described.get("input", "")) + redrives,
            redrives,
            described["startDate"].astimezone(UTC),
            None if is_redrivable else described.get("redriveStatusReason", "it cannot be redriven"),
            described.get("error"),
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
    def day(self) -> str:
        """The day under which its letters lie."""
        return self.started_at.date().isoformat()


@dataclass(frozen=True)
class Started:
    """A batch that has an execution: one started now or, if not `is_new`, one that was running already."""

    batch: Batch
    execution: str
    is_new: bool


@dataclass(frozen=True)
class Pipeline:
    """The state machine of a deployment, and its executions."""

    client: "SFNClient"
    arn: str

    def arn_of(self, name: str) -> str:
        """Say which ARN an execution of that name has."""
        return f"{self.arn.replace(':stateMachine:', ':execution:')}:{name}"

    def describe(self, arn: str) -> Execution | None:
        """Ask for an execution; None if there is none, or if Step Functions has forgotten it, as it does in 90 days."""
        try:
            return Execution.of(self.client.describe_execution(executionArn=arn))
        except self.client.exceptions.ExecutionDoesNotExist:
            return None

    def history(self, object_id: str, arn: str, attempt: int | None) -> tuple[Execution, ...]:
        """Give an execution of an object, and those that were started since to do its work again, the latest last.

        `attempt` is the highest that the books know, None if they know nothing of the object: a later one of theirs has
        a name that follows from it. Step Functions answers but some 15 such questions a second, so none is asked of
        which the answer is known: nothing does the work again of what was never done, or of what runs.
        """
        first = self.describe(arn)
        if first is None and attempt is None:
            return ()
        found = [first] if first else []
        attempt = max([attempt or 0, *(execution.attempt for execution in found)])
        while not (found and found[-1].is_running) and (
            later := self.describe(self.arn_of(execution_name(object_id, attempt + 1)))
        ):
            found.append(later)
            attempt = max(later.attempt, attempt + 1)
        return tuple(found)

    def latest(self, object_id: str, attempt: int) -> str:
        """Say which ARN the execution has that was started last of an object, of those that began by an attempt."""
        names = (execution_name(object_id, each) for each in range(attempt, 0, -1))
        return next((arn for arn in map(self.arn_of, names) if self.describe(arn)), self.arn_of(object_id))

    def count(self, status: str) -> tuple[int, bool]:
        """Count the executions of a status; say whether there are more, for it stops at `COUNTED`."""
        pages = self.client.get_paginator("list_executions").paginate(
            stateMachineArn=self.arn,
            statusFilter=cast("ExecutionStatusType", status),
            PaginationConfig={"PageSize": _PAGE},
        )
        number = 0
        for page in pages:
            number += len(page["executions"])
            if number >= COUNTED:
                return COUNTED, number > COUNTED or "nextToken" in page
        return number, False

    def running(self) -> frozenset[str]:
        """List the executions that run now; Step Functions may be some seconds behind."""
        pages = self.client.get_paginator("list_executions").paginate(stateMachineArn=self.arn, statusFilter="RUNNING")
        return frozenset(found["executionArn"] for page in pages for found in page["executions"])

    def redrive(self, arn: str, token: str) -> None:
        """Let an execution go on; raise what Step Functions answers. The same token twice is one redrive."""
        self.client.redrive_execution(executionArn=arn, clientToken=token)

    def start(self, batch: Batch) -> Started:
        """Start an execution of a batch as the start function does, at the next attempt that no other has taken."""
        while True:
            name = execution_name(batch.object.id, batch.attempt)
            text = encode(batch.encode()).decode()
            try:
                arn = self.client.start_execution(stateMachineArn=self.arn, name=name, input=text)["executionArn"]
            except self.client.exceptions.ExecutionAlreadyExists:
                taken = self.describe(self.arn_of(name))
            else:
                return Started(batch, arn, is_new=True)
            if taken and taken.is_running:
                return Started(replace(batch, attempt=taken.attempt), taken.arn, is_new=False)
            last = max(batch.attempt, taken.attempt if taken else 0)
            batch = replace(batch, attempt=last + 1, redrive_of=self.arn_of(name))

    def unchanged(self, executions: Sequence[Execution]) -> frozenset[str]:
        """Say which of some executions have the definition that the state machine has now; give their ARNs.

        Step Functions answers that question but once a second, so it is not asked of each: revisions follow one another
        in time, hence if two executions have the same one, so have all that were started between them.
        https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
        """
        if not executions:
            return frozenset()
        current = self.client.describe_state_machine(stateMachineArn=self.arn)["definition"]
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
        return frozenset(execution.arn for execution, is_unchanged in found if is_unchanged)


def execution_name(object_id: str, attempt: int) -> str:
    """Name the execution that begins with an attempt."""
    return f"{object_id}-r{attempt}" if attempt else object_id


def _attempt(begun: str) -> int:
    """Read the attempt in the input of an execution; 0 if somebody started it with anything else."""
    try:
        return int(json.loads(begun)["attempt"])
    except (ValueError, KeyError, TypeError):
        return 0
