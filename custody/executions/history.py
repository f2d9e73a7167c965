"""What an execution did, read from its history: the steps that it entered, and each call that a step made.

Nothing is asked of AWS here. Events are as GetExecutionHistory gives them, of all pages, in ascending order:
https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import HistoryEventTypeDef as HistoryEvent

Ended = Literal["succeeded", "failed", "timed_out", "aborted", "running"]
Outcome = Literal["succeeded", "caught", "failed", "timed_out", "aborted", "running"]

_STATE = re.compile(r"(?P<kind>[A-Z]\w+)State(?P<what>Entered|Exited|Aborted)")
_CALL = re.compile(r"(?P<of>Task|LambdaFunction|Activity|MapRun)(?P<what>[A-Z]\w+)")
_BEGINS = frozenset({"Scheduled", "Started", "Redriven"})
_ENDS: Mapping[str, Ended] = {
    "Succeeded": "succeeded",
    "Failed": "failed",
    "ScheduleFailed": "failed",
    "StartFailed": "failed",
    "SubmitFailed": "failed",
    "TimedOut": "timed_out",
    "Aborted": "aborted",
}
_EXECUTION_ENDS: Mapping[str, Ended] = {
    "ExecutionSucceeded": "succeeded",
    "ExecutionFailed": "failed",
    "ExecutionTimedOut": "timed_out",
    "ExecutionAborted": "aborted",
}


@dataclass(frozen=True)
class Try:
    """One call of the function of a step, or one run of its Map, from when it was scheduled.

    `ended_at` is None while it runs, and where an execution ended before its call did. `map_run` is the ARN of a run of
    a Distributed Map.
    """

    started_at: datetime
    ended_at: datetime | None
    error: str | None
    cause: str | None
    outcome: Ended
    map_run: str | None = None


@dataclass(frozen=True)
class Step:
    """A state that was entered once: `caught` is one that failed and let the execution go on elsewhere.

    `left_at` is when it was left, or when the execution ended in it; None while it runs. `redrive` is how often the
    execution had been redriven when it was entered. One that a redrive entered again is a step of its own.
    """

    name: str
    kind: str
    entered_at: datetime
    left_at: datetime | None
    tries: tuple[Try, ...]
    outcome: Outcome
    redrive: int


def steps(events: "Iterable[HistoryEvent]") -> tuple[Step, ...]:
    """Give the steps of an execution, in the order in which they were entered."""
    reading = _Reading()
    for event in events:
        reading.take(event)
    return tuple(found.frozen() for found in reading.found)


@dataclass
class _Open:
    """A step while it is read: `place` is how many were entered before it."""

    place: int
    name: str
    kind: str
    entered_at: datetime
    redrive: int
    left_at: datetime | None = None
    tries: list[Try] = field(default_factory=list)
    outcome: Outcome = "running"

    @property
    def has_ended(self) -> bool:
        return self.outcome != "running"

    def begin(self, moment: datetime, map_run: str | None) -> None:
        """Note that a call was scheduled; that it was also started is nothing new."""
        if not self.tries or self.tries[-1].outcome != "running":
            self.tries.append(Try(moment, None, None, None, "running", map_run))

    def end(self, moment: datetime, outcome: Ended, details: Mapping[str, Any]) -> None:
        """Note that a call ended, perhaps before it could be scheduled."""
        self.begin(moment, None)
        error, cause = details.get("error") or None, details.get("cause") or None
        self.tries[-1] = replace(self.tries[-1], ended_at=moment, outcome=outcome, error=error, cause=cause)

    def leave(self, moment: datetime) -> None:
        """Note that it was left: a call that failed last was caught."""
        is_good = not self.tries or self.tries[-1].outcome == "succeeded"
        self.left_at, self.outcome = moment, "succeeded" if is_good else "caught"

    def stop(self, moment: datetime, outcome: Ended) -> None:
        """Note that the execution ended in it."""
        self.left_at, self.outcome = moment, outcome
        if self.tries and self.tries[-1].outcome == "running":
            self.tries[-1] = replace(self.tries[-1], outcome=outcome)

    def frozen(self) -> Step:
        return Step(self.name, self.kind, self.entered_at, self.left_at, tuple(self.tries), self.outcome, self.redrive)


class _Shelf:
    """Steps in the order in which they were put there; those of a kind, and of a name too, are found without a search.

    A history has up to 25,000 events, and where they name none before them each asks here.
    """

    def __init__(self) -> None:
        self._found: defaultdict[tuple[str | None, str | None], dict[int, _Open]] = defaultdict(dict)

    def put(self, one: _Open) -> None:
        for key in self._keys(one):
            self._found[key][one.place] = one

    def take(self, one: _Open) -> None:
        for key in self._keys(one):
            self._found[key].pop(one.place, None)

    def all(self, kind: str | None = None, name: str | None = None) -> tuple[_Open, ...]:
        return tuple(self._found[kind, name].values())

    def first(self, kind: str, name: str | None) -> _Open | None:
        return next(iter(self._found[kind, name].values()), None)

    def last(self, kind: str, name: str | None) -> _Open | None:
        return next(reversed(self._found[kind, name].values()), None)

    @staticmethod
    def _keys(one: _Open) -> tuple[tuple[str | None, str | None], ...]:
        return (None, None), (one.kind, None), (one.kind, one.name)


class _Reading:
    """The steps so far: each event belongs to the step of the event before it, which it names.

    What runs is on one shelf, and on another what a redrive has yet to go on at: where the execution ended.

    After a redrive an event names none: AWS schedules the Task again, or redrives the Map Run, in the state at which
    the execution ended, and does not tell that this is entered again.
    https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html#redrive-behavior-states
    """

    def __init__(self) -> None:
        self.found: list[_Open] = []
        self._of_event: dict[int, _Open] = {}
        self._redrive = 0
        self._running, self._left = _Shelf(), _Shelf()
        self._stopped: list[_Open] = []

    def take(self, event: "HistoryEvent") -> None:
        moment, details = event["timestamp"].astimezone(UTC), _details(event)
        if state := _STATE.fullmatch(event["type"]):
            one = self._state(event, state["kind"], state["what"], moment, details)
        elif call := _CALL.fullmatch(event["type"]):
            kind = "Map" if call["of"] == "MapRun" else "Task"
            one = self._call(event, kind, call["what"], moment, details)
        elif event["type"].startswith("Execution"):
            one = None
            self._execution(event["type"], moment, details)
        else:
            one = self._before(event)
        if one:
            self._of_event[event["id"]] = one

    def _state(
        self, event: "HistoryEvent", kind: str, what: str, moment: datetime, details: Mapping[str, Any]
    ) -> _Open | None:
        if what == "Entered":
            return self._enter(details["name"], kind, moment)
        before = self._before(event)
        if what == "Aborted":
            one = before or self._unfinished(kind)
            if one and not one.has_ended:
                self._stop(one, moment, "aborted")
            return one
        name = details["name"]
        one = before if before and before.name == name else self._unfinished(kind, name)
        if one is None or one.has_ended:
            one = self._enter(name, kind, moment)
        one.leave(moment)
        self._running.take(one)
        return one

    def _call(
        self, event: "HistoryEvent", kind: str, what: str, moment: datetime, details: Mapping[str, Any]
    ) -> _Open | None:
        one = self._before(event) or self._unfinished(kind)
        if one is None or what not in _BEGINS | _ENDS.keys():
            return one
        if one.has_ended:
            one = self._enter(one.name, one.kind, moment)
        if what in _BEGINS:
            one.begin(moment, details.get("mapRunArn"))
        else:
            one.end(moment, _ENDS[what], details)
        return one

    def _execution(self, kind: str, moment: datetime, details: Mapping[str, Any]) -> None:
        if kind == "ExecutionRedriven":
            self._redrive = details.get("redriveCount", self._redrive + 1)
            for one in sorted(self._stopped, key=lambda each: each.place):
                self._left.put(one)
            self._stopped = []
        if kind in _EXECUTION_ENDS:
            for one in self._running.all():
                self._stop(one, moment, _EXECUTION_ENDS[kind])

    def _stop(self, one: _Open, moment: datetime, outcome: Ended) -> None:
        one.stop(moment, outcome)
        self._running.take(one)
        self._stopped.append(one)

    def _before(self, event: "HistoryEvent") -> _Open | None:
        return self._of_event.get(event.get("previousEventId", 0))

    def _unfinished(self, kind: str, name: str | None = None) -> _Open | None:
        """Give the step that runs or, after a redrive, the one at which the execution ended."""
        return self._running.last(kind, name) or self._left.first(kind, name)

    def _enter(self, name: str, kind: str, moment: datetime) -> _Open:
        for one in self._left.all(kind, name):
            self._left.take(one)
        one = _Open(len(self.found), name, kind, moment, self._redrive)
        self._running.put(one)
        self.found.append(one)
        return one


def _details(event: "HistoryEvent") -> Mapping[str, Any]:
    """Give what an event tells, of which each kind has a key of its own."""
    return next((cast("Mapping[str, Any]", told) for name, told in event.items() if name.endswith("EventDetails")), {})
