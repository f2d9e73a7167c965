"""The timeline of an execution: its steps, each try and its error; and links into the AWS console."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

from botocore.exceptions import ClientError
from msgspec import Struct
from msgspec.structs import replace

from custody.deployment.target import Target
from custody.executions.history import TimelineStep, Try, steps
from custody.executions.pipeline import ExecutionState, Pipeline
from custody.terminal.times import stamp, stamped
from functions.shared.audit.dead_letter import console_domain, console_link

EXPIRED = "Step Functions no longer has it: an execution is kept for 90 days after its end"
"""https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html#service-limits-state-machine-executions"""

_MISSING = "ExecutionDoesNotExist"


class ExecutionFacts(Struct, frozen=True, kw_only=True):
    """What is known of an execution; what is null is not.

    `seconds` is how long it took, or has run so far, including the time between redrives.
    """

    name: str
    arn: str
    machine: Literal["pipeline", "bulk", "chunk"]
    status: str | None = None
    attempt: int | None = None
    redrives: int | None = None
    started_at: str | None = None
    ended_at: str | None = None
    seconds: float | None = None
    error: str | None = None
    cause: str | None = None
    console: str | None = None


class Timeline(ExecutionFacts, frozen=True, kw_only=True):
    """An execution that worked on an object, with its steps.

    `unavailable` says why Step Functions does not report the execution, or its steps.
    """

    steps: list[TimelineStep] | None = None
    unavailable: str | None = None


@dataclass(frozen=True)
class Links:
    """Links into the console of the partition and region of `machine`, an ARN; embedded AWS has none."""

    machine: str | None

    @classmethod
    def of(cls, target: Target, pipeline: Pipeline) -> "Links":
        """Return the links into a deployment."""
        return cls(None if target.is_local else pipeline.arn)

    def execution(self, arn: str) -> str | None:
        """Link to an execution."""
        return console_link(arn) if self.machine else None

    def object(self, bucket: str, key: str, version_id: str | None = None) -> str | None:
        """Link to a version of an object, or to its current one."""
        if self.machine is None or (domain := console_domain(self.machine)) is None:
            return None
        query = {"region": self.machine.split(":")[3], "prefix": key} | (
            {"versionId": version_id} if version_id else {}
        )
        return f"https://{domain}/s3/object/{bucket}?{urlencode(query)}"


@dataclass(frozen=True)
class Timelines:
    """Reads timelines, with links to the console where there is one."""

    pipeline: Pipeline
    links: Links

    def of(self, execution: ExecutionState) -> Timeline:
        """Read the timeline of an execution."""
        timeline = Timeline(**facts(self.pipeline, self.links, execution))
        try:
            return replace(timeline, steps=self._with_items(steps(self.pipeline.events(execution.arn))))
        except ClientError as error:
            is_missing = error.response["Error"]["Code"] == _MISSING
            return replace(timeline, unavailable=why_unavailable(None if is_missing else str(error)))

    def by_arn(self, arn: str) -> Timeline:
        """Read the timeline of an execution of which only the ARN is known."""
        try:
            execution = self.pipeline.describe(arn)
        except ClientError as error:
            return self.unavailable(arn, why_unavailable(str(error)))
        return self.of(execution) if execution else self.unavailable(arn, EXPIRED)

    def unavailable(self, arn: str, why: str) -> Timeline:
        """Return what is known of an execution that Step Functions does not report."""
        return Timeline(**_names(self.pipeline, self.links, arn), unavailable=why)

    def _with_items(self, entered: list[TimelineStep]) -> list[TimelineStep]:
        """Count the chunks of each Map Run, as they stand now: so only its last try has them."""
        last = {each.map_run.arn: each for step in entered for each in step.tries if each.map_run}

        def counted(each: Try) -> Try:
            if not each.map_run or last[each.map_run.arn] is not each:
                return each
            return replace(each, map_run=replace(each.map_run, items=self.pipeline.runs_of(each.map_run.arn)))

        return [replace(step, tries=list(map(counted, step.tries))) for step in entered]


def facts(pipeline: Pipeline, links: Links, execution: ExecutionState) -> dict[str, Any]:
    """Return the fields of ExecutionFacts."""
    return _names(pipeline, links, execution.arn) | {
        "status": execution.status,
        "attempt": execution.attempt,
        "redrives": execution.redrives,
        "started_at": stamp(execution.started_at),
        "ended_at": stamped(execution.ended_at),
        "seconds": round(execution.seconds, 3),
        "error": execution.error,
        "cause": execution.cause,
    }


def _names(pipeline: Pipeline, links: Links, arn: str) -> dict[str, Any]:
    machine = "chunk" if "/" in arn.split(":")[6] else "bulk" if pipeline.is_bulk(arn) else "pipeline"
    return {"name": arn.rpartition(":")[2], "arn": arn, "machine": machine, "console": links.execution(arn)}


def by_start(timelines: Iterable[Timeline]) -> list[Timeline]:
    """Sort timelines by their start; those without one come first."""
    return sorted(timelines, key=lambda timeline: timeline.started_at or "")


def error_message(cause: str | None) -> str | None:
    """Return the message in a cause, out of the JSON that Lambda makes of an exception."""
    try:
        parsed = json.loads(cause or "")
    except (ValueError, RecursionError):
        return cause
    return str(parsed.get("errorMessage", cause)) if isinstance(parsed, dict) else cause


def first_line(cause: str | None) -> str:
    """Return the first line of the message in a cause."""
    return next(iter((error_message(cause) or "").strip().splitlines()), "")


def why_unavailable(refusal: str | None) -> str:
    """Explain why Step Functions does not report an execution: it refuses, or no longer has it."""
    return f"Step Functions does not report it: {refusal}" if refusal else EXPIRED
