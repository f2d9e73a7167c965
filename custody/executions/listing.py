"""The executions of a deployment as Step Functions lists them: the newest first, over both machines."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from msgspec import to_builtins

from custody.audit.identifiers import object_of
from custody.audit.reader import AuditReader
from custody.concurrency import map_ordered
from custody.errors import CommandFailed
from custody.executions.links import Links
from custody.executions.pipeline import SUCCEEDED, Execution, Pipeline
from custody.executions.timeline import facts
from functions.shared.model.keys import WHOLE, LedgerKey
from functions.shared.model.ledger import SummaryHeader
from functions.shared.model.messages import Json

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

_PAGE = 100
_DESCRIBERS = 4
"""Step Functions answers but some 15 such questions a second."""

_COUNTS = ("received", "written", "rejected")
_CHUNKS = ("total", "committed", "failed")


@dataclass(frozen=True)
class Row:
    """An execution in a list: `counts` and, of a bulk one, `chunks` are what its attempt has committed; None if nothing.

    `runs` counts how the runs of the chunks of a bulk one ended, as long as its commits are not closed: a chunk of which
    every record is rejected is committed, and its run FAILED.
    """

    execution: Execution
    key: str | None
    is_bulk: bool
    counts: dict[str, int] | None
    chunks: dict[str, int] | None
    runs: dict[str, int] | None

    def encode(self, links: Links) -> Json:
        """Give the JSON shape of `--json`."""
        return facts(self.execution, links) | {
            "key": self.key,
            "machine": "bulk" if self.is_bulk else "pipeline",
            "counts": self.counts,
            "chunks": self.chunks,
            "runs": self.runs,
        }


@dataclass(frozen=True)
class Which:
    """Which executions to list: `since` and `until` are of their start; what is None takes all."""

    status: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Listing:
    """The executions that were started last, the newest first: `rows` are described as they are taken.

    `number` is how many rows come; `is_cut` says that there are more than were asked for.
    """

    rows: Iterator[Row]
    number: int
    is_cut: bool


def listed(pipeline: Pipeline, audit: AuditReader, which: Which, limit: int) -> Listing:
    """List so many of the executions that are wanted.

    No more is listed than that takes: Step Functions gives the most recent executions first.
    """
    of_each = (pipeline.listed(machine, which.status, which.since, _PAGE) for machine in pipeline.machines)
    newest = (
        found
        for found in merge(*of_each, key=lambda found: -found["startDate"].timestamp())
        if which.until is None or found["startDate"] <= which.until
    )
    arns = [found["executionArn"] for found in islice(newest, limit + 1)]
    wanted = arns[:limit]
    rows = map_ordered(lambda arn: _row(pipeline, audit, arn), wanted, _DESCRIBERS)
    return Listing(rows, len(wanted), len(arns) > limit)


def _row(pipeline: Pipeline, audit: AuditReader, arn: str) -> Row:
    described = pipeline.client.describe_execution(executionArn=arn)
    execution, is_bulk = Execution.of(described), pipeline.is_bulk(arn)
    if execution.status == SUCCEEDED:
        ended = _read(described.get("output"))
        counts, chunks = _numbers(ended, "counts", _COUNTS), _numbers(ended, "chunks", _CHUNKS)
    else:
        counts, chunks = (None, None) if execution.is_running else _committed(audit, execution, is_bulk=is_bulk)
    return Row(
        execution,
        _key(_read(described.get("input"))),
        is_bulk,
        counts,
        chunks if is_bulk else None,
        _runs(pipeline, described) if is_bulk and not chunks else None,
    )


def _committed(
    audit: AuditReader, execution: Execution, *, is_bulk: bool
) -> tuple[dict[str, int] | None, dict[str, int] | None]:
    """Read the counts of the records and chunks that the attempt of an execution that failed has committed."""
    named, _, again = execution.name.rpartition("-r")
    object_id = object_of(named if named and again.isdecimal() else execution.name)
    if object_id is None:
        return None, None
    try:
        header = audit.header(LedgerKey(object_id, WHOLE if is_bulk else 0, execution.attempt))
    except (CommandFailed, ClientError):
        # It is not there, or is damaged: `custody verify` tells that.
        return None, None
    return header.counts.encode(), to_builtins(header.chunks) if isinstance(header, SummaryHeader) else None


def _runs(pipeline: Pipeline, described: "DescribeExecutionOutputTypeDef") -> dict[str, int] | None:
    """Count the runs of the chunks of a bulk execution as its Map Runs do; None if they do not say."""
    try:
        runs = pipeline.client.list_map_runs(executionArn=described["executionArn"])["mapRuns"]
        last = max(runs, key=lambda run: run["startDate"], default=None)
        return pipeline.items_of(last["mapRunArn"]) if last else None
    except ClientError:
        return None


def _read(document: str | None) -> Json:
    """Read what an execution began or ended with: anyone can start one with anything, so it may be nothing of ours."""
    try:
        found = json.loads(document or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _key(begun: Json) -> str | None:
    raw = begun.get("object")
    key = raw.get("key") if isinstance(raw, dict) else None
    return key if isinstance(key, str) else None


def _numbers(ended: Json, name: str, parts: tuple[str, ...]) -> dict[str, int] | None:
    """Give the counts under a name; None unless there is one of each part."""
    told = ended.get(name)
    if not isinstance(told, dict):
        return None
    # A boolean is an int to Python, and no number in JSON.
    found = {part: told[part] for part in parts if type(told.get(part)) is int and told[part] >= 0}
    return found if len(found) == len(parts) else None
