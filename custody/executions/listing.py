"""List the executions of both state machines, newest first."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from msgspec import MsgspecError, Struct
from msgspec.json import decode

from custody.concurrency import map_ordered
from custody.executions.pipeline import OBJECT_ID, SUCCEEDED, ExecutionState, Pipeline, Runs, object_of_execution
from custody.executions.timeline import ExecutionFacts, Links, facts
from functions.shared.model.ledger import ChunkCounts
from functions.shared.model.messages import Counts

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

PAGE = 100
_DESCRIBERS = 4
"""Step Functions answers only some 15 DescribeExecution calls a second."""


class Totals(Struct, frozen=True):
    """What an attempt has committed: records and, of a bulk object, chunks."""

    counts: Counts | None = None
    chunks: ChunkCounts | None = None


class ExecutionRow(ExecutionFacts, frozen=True, kw_only=True):
    """An execution: what it works on, how it stands, and what its attempt has committed.

    `key` is null if somebody started it with another input. `counts` and, of a bulk object, `chunks` are null before
    they are committed; until then `runs` counts the executions of the chunks. A chunk of which every record is rejected
    is committed, though its execution FAILED.
    """

    status: str
    attempt: int
    started_at: str
    seconds: float
    key: str | None
    counts: Counts | None
    chunks: ChunkCounts | None
    runs: Runs | None


class ExecutionsDocument(Struct, frozen=True):
    """Executions of both state machines, newest first; `more` if there are more of them than --limit."""

    executions: list[ExecutionRow]
    more: bool


@dataclass(frozen=True)
class ExecutionLister:
    """Lists executions; `totals` reads from the ledger what an attempt has committed, if it has."""

    pipeline: Pipeline
    links: Links
    totals: Callable[[str, int, bool], Totals]

    def newest(self, limit: int, status: str | None, since: datetime | None, until: datetime | None) -> list[str]:
        """List the ARNs of the newest executions by start; no more pages are fetched than that takes."""
        # Step Functions returns the newest of each machine first.
        machines = self.pipeline.machines
        of_each = (self.pipeline.list_executions(machine, status, since, PAGE) for machine in machines)
        newest = merge(*of_each, key=lambda listed: -listed["startDate"].timestamp())
        wanted = (listed for listed in newest if until is None or listed["startDate"] <= until)
        return [listed["executionArn"] for listed in islice(wanted, limit)]

    def describe(self, arns: Iterable[str]) -> Iterator[ExecutionRow]:
        """Describe executions, as they are consumed."""
        return map_ordered(self._row, arns, _DESCRIBERS)

    def _row(self, arn: str) -> ExecutionRow:
        described = self.pipeline.client.describe_execution(executionArn=arn)
        execution, is_bulk = ExecutionState.of(described), self.pipeline.is_bulk(arn)
        totals = self._totals(described, execution, is_bulk=is_bulk)
        chunks = totals.chunks if is_bulk else None
        return ExecutionRow(
            **facts(self.pipeline, self.links, execution),
            key=batch.object.key if (batch := execution.batch) else None,
            counts=totals.counts,
            chunks=chunks,
            runs=self._runs(arn) if is_bulk and not chunks else None,
        )

    def _totals(
        self, described: "DescribeExecutionOutputTypeDef", execution: ExecutionState, *, is_bulk: bool
    ) -> Totals:
        """Read the totals from the output of an execution that succeeded, and else from the ledger."""
        if execution.is_running:
            return Totals()
        if execution.status != SUCCEEDED:
            object_id = object_of_execution(execution.name)
            known = OBJECT_ID.fullmatch(object_id)
            return self.totals(object_id, execution.attempt, is_bulk) if known else Totals()
        try:
            totals = decode(described.get("output", "{}"), type=Totals)
        except (MsgspecError, UnicodeError, RecursionError):
            # Anyone can start an execution with anything.
            return Totals()
        counts = totals.counts
        return totals if not counts or counts.received == counts.written + counts.rejected else Totals()

    def _runs(self, arn: str) -> Runs | None:
        """Count the executions of the chunks in the latest Map Run; None if that is refused."""
        try:
            map_runs = self.pipeline.client.list_map_runs(executionArn=arn)["mapRuns"]
        except ClientError:
            return None
        latest = max(map_runs, key=lambda run: run["startDate"], default=None)
        return self.pipeline.runs_of(latest["mapRunArn"]) if latest else None
