"""What an execution did that worked on an object: its steps with their times, and each try of them with its error."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from botocore.exceptions import ClientError

from custody.executions.history import Step, Try, steps
from custody.executions.links import Links
from custody.executions.pipeline import Execution, Pipeline
from custody.terminal.times import seconds, stamp, stamped
from functions.shared.model.messages import Json

FORGOTTEN = "Step Functions has forgotten it, as it does 90 days after the end of an execution"
"""https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html#service-limits-state-machine-executions"""

_GONE = "ExecutionDoesNotExist"

Counting = Callable[[Try], dict[str, int] | None]


@dataclass(frozen=True)
class Timelines:
    """Tells of executions, with links to them where there is a console."""

    pipeline: Pipeline
    links: Links

    def told(self, execution: Execution) -> Json:
        """Tell of an execution; what Step Functions does not say of its steps is said in a line, in `untold`."""
        told: tuple[Step, ...] | None = None
        untold = None
        try:
            told = steps(self.pipeline.events(execution.arn))
        except ClientError as error:
            untold = why_untold(None if error.response["Error"]["Code"] == _GONE else str(error))
        return facts(execution, self.links) | {
            "machine": self._machine(execution.arn),
            "steps": None if told is None else self._steps(told),
            "untold": untold,
        }

    def named(self, arn: str) -> Json:
        """Tell of an execution of which no more may be known than its ARN."""
        try:
            found = self.pipeline.describe(arn)
        except ClientError as error:
            return self.untold(arn, why_untold(str(error)))
        return self.told(found) if found else self.untold(arn, FORGOTTEN)

    def untold(self, arn: str, why: str) -> Json:
        """Tell of an execution of which no more is known."""
        known = {"name": arn.rpartition(":")[2], "arn": arn, "machine": self._machine(arn)}
        unknown = ("status", "attempt", "redrives", "started_at", "ended_at", "seconds", "error", "cause")
        return known | dict.fromkeys(unknown) | {"console": self.links.execution(arn), "steps": None, "untold": why}

    def _machine(self, arn: str) -> str:
        """Name the state machine: that of a chunk is a part of that of bulk objects."""
        if "/" in arn.split(":")[6]:
            return "chunk"
        return "bulk" if self.pipeline.is_bulk(arn) else "pipeline"

    def _steps(self, told: tuple[Step, ...]) -> list[Json]:
        """Tell of steps; chunks are counted as they stand now, so only the last try of a Map Run has their counts."""
        last = {one.map_run: one for step in told for one in step.tries if one.map_run}

        def items(one: Try) -> dict[str, int] | None:
            return self.pipeline.items_of(one.map_run) if one.map_run and last[one.map_run] is one else None

        return [_step(each, items) for each in told]


def facts(one: Execution, links: Links) -> Json:
    """Tell of an execution what it says of itself, and where a console shows it."""
    return {
        "name": one.name,
        "arn": one.arn,
        "status": one.status,
        "attempt": one.attempt,
        "redrives": one.redrives,
        "started_at": stamp(one.started_at),
        "ended_at": stamped(one.ended_at),
        "seconds": round(one.seconds, 3),
        "error": one.error,
        "cause": one.cause,
        "console": links.execution(one.arn),
    }


def in_order(told: Iterable[Json]) -> list[Json]:
    """Put executions into the order in which they were started; those of which that is not known come first."""
    return sorted(told, key=lambda one: one["started_at"] or "")


def said(cause: str | None) -> str | None:
    """Take what a cause says out of the JSON that Lambda makes of an exception."""
    try:
        told = json.loads(cause or "")
    except (ValueError, RecursionError):
        return cause
    return str(told.get("errorMessage", cause)) if isinstance(told, dict) else cause


def sentence(cause: str | None) -> str:
    """Take the first line of what a cause says."""
    return next(iter((said(cause) or "").strip().splitlines()), "")


def why_untold(refusal: str | None) -> str:
    """Say why Step Functions does not tell of an execution: it refuses, or has forgotten it."""
    return f"Step Functions does not say: {refusal}" if refusal else FORGOTTEN


def _step(step: Step, items: Counting) -> Json:
    return {
        "name": step.name,
        "kind": step.kind,
        "outcome": step.outcome,
        "redrive": step.redrive,
        "entered_at": stamp(step.entered_at),
        "left_at": stamped(step.left_at),
        "seconds": seconds(step.entered_at, step.left_at),
        "tries": [_try(each, items) for each in step.tries],
    }


def _try(one: Try, items: Counting) -> Json:
    return {
        "started_at": stamp(one.started_at),
        "ended_at": stamped(one.ended_at),
        "seconds": seconds(one.started_at, one.ended_at),
        "outcome": one.outcome,
        "error": one.error,
        "cause": one.cause,
        "map_run": {"arn": one.map_run, "items": items(one)} if one.map_run else None,
    }
