"""Parse the history of an execution into the steps that it entered, and the tries of each step.

Events are those of GetExecutionHistory, of all pages and in ascending order; nothing is fetched here.
https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from msgspec import Struct, convert
from msgspec.structs import replace

from custody.executions.pipeline import Runs
from custody.terminal.times import seconds, stamp

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import HistoryEventTypeDef as HistoryEvent

TryOutcome = Literal["succeeded", "failed", "timed_out", "aborted", "running"]
StepOutcome = Literal["succeeded", "caught", "failed", "timed_out", "aborted", "running"]

_STATE = re.compile(r"(?P<kind>[A-Z]\w+)State(?P<change>Entered|Exited|Aborted)")
_CALL = re.compile(r"(?P<service>Task|LambdaFunction|Activity|MapRun)(?P<change>[A-Z]\w+)")
_BEGINS = frozenset({"Scheduled", "Started", "Redriven"})
_ENDS: Mapping[str, TryOutcome] = {
    "Succeeded": "succeeded",
    "Failed": "failed",
    "ScheduleFailed": "failed",
    "StartFailed": "failed",
    "SubmitFailed": "failed",
    "TimedOut": "timed_out",
    "Aborted": "aborted",
}


class MapRun(Struct, frozen=True):
    """A run of the Map of a bulk object, by ARN.

    `items` counts the executions of its chunks as they stand now; null if the same Map Run was redriven after this try,
    or if Step Functions does not say.
    """

    arn: str
    items: Runs | None = None


class Try(Struct, frozen=True):
    """One call of a step's function, or one run of its Map.

    `ended_at` and `seconds` are null while it runs, and where the execution ended before the call did.
    """

    started_at: str
    ended_at: str | None
    seconds: float | None
    outcome: TryOutcome
    error: str | None = None
    cause: str | None = None
    map_run: MapRun | None = None


class TimelineStep(Struct, frozen=True):
    """A state that an execution entered; one that a redrive entered again is a step of its own.

    `left_at` and `seconds` are null while it runs. `redrive` counts the redrives before it was entered. The outcome
    `caught` means that it failed, and that the execution continued elsewhere.
    """

    name: str
    kind: str
    outcome: StepOutcome
    redrive: int
    entered_at: str
    left_at: str | None
    seconds: float | None
    tries: list[Try]


def steps(events: "Iterable[HistoryEvent]") -> list[TimelineStep]:
    """Parse the events of an execution into its steps, in the order in which they were entered."""
    parser = _Parser()
    for event in events:
        parser.add(event)
    return [convert(step, TimelineStep, from_attributes=True) for step in parser.steps]


@dataclass(eq=False)
class _Step:
    """A step while it is parsed."""

    name: str
    kind: str
    entered_at: str
    redrive: int
    left_at: str | None = None
    seconds: float | None = None
    tries: list[Try] = field(default_factory=list)
    outcome: StepOutcome = "running"

    @property
    def has_ended(self) -> bool:
        return self.outcome != "running"

    def begin(self, moment: datetime, map_run: str | None) -> None:
        """Add a try when it is scheduled; that it was also started adds nothing."""
        if not self.tries or self.tries[-1].outcome != "running":
            run = MapRun(map_run) if map_run else None
            self.tries.append(Try(stamp(moment), None, None, "running", map_run=run))

    def end(self, moment: datetime, outcome: TryOutcome, details: Mapping[str, Any]) -> None:
        """End the last try, which may not even have been scheduled."""
        self.begin(moment, None)
        last = self.tries[-1]
        self.tries[-1] = replace(
            last,
            ended_at=stamp(moment),
            seconds=seconds(datetime.fromisoformat(last.started_at), moment),
            outcome=outcome,
            error=details.get("error") or None,
            cause=details.get("cause") or None,
        )

    def leave(self, moment: datetime, outcome: TryOutcome | None = None) -> None:
        """Exit the state: if its last try failed, that was caught; or end with the outcome of the execution."""
        self.left_at, self.seconds = stamp(moment), seconds(datetime.fromisoformat(self.entered_at), moment)
        succeeded = not self.tries or self.tries[-1].outcome == "succeeded"
        self.outcome = outcome or ("succeeded" if succeeded else "caught")
        if outcome and self.tries and self.tries[-1].outcome == "running":
            self.tries[-1] = replace(self.tries[-1], outcome=outcome)


class _Parser:
    """Assigns each event to a step: usually that of the event which it names as the one before it.

    After a redrive an event names none: AWS schedules the Task again, or redrives the Map Run, in the state in which
    the execution ended, and reports no new entry. So the steps that run are kept, and those at which a redrive has yet
    to continue: few at a time, however many there are in all.
    https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html#redrive-behavior-states
    """

    def __init__(self) -> None:
        self.steps: list[_Step] = []
        self._step_of_event: dict[int, _Step] = {}
        self._redrives = 0
        self._running: list[_Step] = []
        self._stopped: list[_Step] = []
        self._to_resume: list[_Step] = []

    def add(self, event: "HistoryEvent") -> None:
        moment, details = event["timestamp"].astimezone(UTC), _details(event)
        if state := _STATE.fullmatch(event["type"]):
            step = self._add_state(event, state["kind"], state["change"], moment, details)
        elif call := _CALL.fullmatch(event["type"]):
            kind = "Map" if call["service"] == "MapRun" else "Task"
            step = self._add_call(event, kind, call["change"], moment, details)
        elif event["type"].startswith("Execution"):
            step = None
            self._add_execution(event["type"].removeprefix("Execution"), moment, details)
        else:
            step = self._previous(event)
        if step:
            self._step_of_event[event["id"]] = step

    def _add_state(
        self, event: "HistoryEvent", kind: str, change: str, moment: datetime, details: Mapping[str, Any]
    ) -> _Step | None:
        if change == "Entered":
            return self._enter(details["name"], kind, moment)
        previous = self._previous(event)
        if change == "Aborted":
            step = previous or self._unfinished(kind)
            if step and not step.has_ended:
                self._stop(step, moment, "aborted")
            return step
        name = details["name"]
        step = previous if previous and previous.name == name else self._unfinished(kind, name)
        if step is None or step.has_ended:
            step = self._enter(name, kind, moment)
        step.leave(moment)
        self._running.remove(step)
        return step

    def _add_call(
        self, event: "HistoryEvent", kind: str, change: str, moment: datetime, details: Mapping[str, Any]
    ) -> _Step | None:
        step = self._previous(event) or self._unfinished(kind)
        if step is None or change not in _BEGINS | _ENDS.keys():
            return step
        if step.has_ended:
            step = self._enter(step.name, step.kind, moment)
        if change in _BEGINS:
            step.begin(moment, details.get("mapRunArn"))
        else:
            step.end(moment, _ENDS[change], details)
        return step

    def _add_execution(self, change: str, moment: datetime, details: Mapping[str, Any]) -> None:
        if change == "Redriven":
            self._redrives = details.get("redriveCount", self._redrives + 1)
            self._to_resume += self._stopped
            self._stopped = []
        elif change in _ENDS:
            for step in list(self._running):
                self._stop(step, moment, _ENDS[change])

    def _stop(self, step: _Step, moment: datetime, outcome: TryOutcome) -> None:
        step.leave(moment, outcome)
        self._running.remove(step)
        self._stopped.append(step)

    def _previous(self, event: "HistoryEvent") -> _Step | None:
        return self._step_of_event.get(event.get("previousEventId", 0))

    def _unfinished(self, kind: str, name: str | None = None) -> _Step | None:
        """Find the step that runs or, after a redrive, the one in which the execution ended."""
        candidates = [*reversed(self._running), *self._to_resume]
        return next((step for step in candidates if step.kind == kind and name in {None, step.name}), None)

    def _enter(self, name: str, kind: str, moment: datetime) -> _Step:
        self._to_resume = [step for step in self._to_resume if (step.kind, step.name) != (kind, name)]
        entered = _Step(name, kind, stamp(moment), self._redrives)
        self._running.append(entered)
        self.steps.append(entered)
        return entered


def _details(event: "HistoryEvent") -> Mapping[str, Any]:
    """Return the details of an event, which each type has under a key of its own."""
    return next(
        (cast("Mapping[str, Any]", value) for name, value in event.items() if name.endswith("EventDetails")), {}
    )
