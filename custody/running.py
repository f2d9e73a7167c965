"""The executions of a deployment as Step Functions lists them: the newest first, over both machines."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from custody.executions import Execution, Pipeline
from custody.parallel import answers
from functions.shared.messages import Json

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.literals import ExecutionStatusType
    from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef, ExecutionListItemTypeDef

_PAGE = 100
_DESCRIBERS = 4
"""Step Functions answers but some 15 such questions a second."""

_OF_A_CHUNK = ("total", "succeeded", "failed", "running", "pending")


@dataclass(frozen=True)
class Row:
    """An execution in a list: `counts` is from its output, `chunks` from the Map Run of a bulk one; None if unknown."""

    execution: Execution
    key: str | None
    is_bulk: bool
    ended_at: datetime | None
    counts: dict[str, int] | None
    chunks: dict[str, int] | None

    @property
    def seconds(self) -> float:
        """How long it took, or takes since: from its first start, with the time between redrives."""
        return ((self.ended_at or datetime.now(UTC)) - self.execution.started_at).total_seconds()

    def encode(self) -> Json:
        """Give the JSON shape of `--json`."""
        one = self.execution
        return {
            "name": one.name,
            "arn": one.arn,
            "key": self.key,
            "machine": "bulk" if self.is_bulk else "pipeline",
            "status": one.status,
            "attempt": one.attempt,
            "redrives": one.redrives,
            "started_at": one.started_at.isoformat(),
            "ended_at": self.ended_at.isoformat() if self.ended_at else None,
            "seconds": round(self.seconds, 3),
            "counts": self.counts,
            "chunks": self.chunks,
            "error": one.error,
        }


def listed(pipeline: Pipeline, status: str | None, limit: int) -> Iterator[Row]:
    """Give the executions that were started last, the newest first; of a status, if one is given."""
    of_each = (_pages(pipeline, machine, status) for machine in pipeline.machines)
    newest = merge(*of_each, key=lambda found: -found["startDate"].timestamp())
    arns = [found["executionArn"] for found in islice(newest, limit)]
    return answers(lambda arn: _row(pipeline, arn), arns, _DESCRIBERS)


def _pages(pipeline: Pipeline, machine: str, status: str | None) -> "Iterator[ExecutionListItemTypeDef]":
    only = {"statusFilter": cast("ExecutionStatusType", status)} if status else {}
    pages = pipeline.client.get_paginator("list_executions").paginate(
        stateMachineArn=machine,
        PaginationConfig={"PageSize": _PAGE},
        **only,  # type: ignore[arg-type]  # the stub wants each key by name
    )
    return (found for page in pages for found in page["executions"])


def _row(pipeline: Pipeline, arn: str) -> Row:
    described = pipeline.client.describe_execution(executionArn=arn)
    is_bulk = pipeline.is_bulk(arn)
    ended_at = described.get("stopDate")
    return Row(
        Execution.of(described),
        _part(described.get("input"), "object", "key"),
        is_bulk,
        ended_at.astimezone(UTC) if ended_at else None,
        _part(described.get("output"), "counts"),
        _chunks(pipeline, described) if is_bulk else None,
    )


def _chunks(pipeline: Pipeline, described: "DescribeExecutionOutputTypeDef") -> dict[str, int] | None:
    """Count the chunks of a bulk execution as its Map Runs do; None if they do not say."""
    client = pipeline.client
    try:
        runs = client.list_map_runs(executionArn=described["executionArn"])["mapRuns"]
        if not runs:
            return None
        last = max(runs, key=lambda run: run["startDate"])
        counts: Any = client.describe_map_run(mapRunArn=last["mapRunArn"])["itemCounts"]
    except ClientError:
        return None
    return {name: counts[name] for name in _OF_A_CHUNK}


def _part(document: str | None, *path: str) -> Any:
    """Read a part of what an execution began or ended with; None if that is nothing of ours."""
    try:
        found = json.loads(document or "null")
        for name in path:
            found = found[name]
    except (ValueError, KeyError, TypeError):
        return None
    return found
