"""The way that an execution took through its machine: how each state went, and which transitions were taken."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from custody.graphs.machines import Machine, Scope, State, Transition
from custody.histories import Step
from custody.times import took

_AT_ONCE = frozenset({"Choice", "Pass", "Succeed", "Fail"})
"""Kinds of states of which nobody asks how long they took."""


class Condition(StrEnum):
    """How a state went: the latest time, if it was entered more than once."""

    PASSED = "passed"
    FAILED = "failed"
    RUNNING = "running"
    NOT_REACHED = "not reached"


@dataclass(frozen=True)
class Mark:
    """What is told of a state: how it went, and in a few words how often, how long, and with which error."""

    condition: Condition
    told: str = ""


@dataclass(frozen=True)
class Path:
    """The way of an execution; a state without a mark is one of which its history does not tell.

    `ended` are the states behind which the execution, a branch or an item ended.
    """

    marks: Mapping[str, Mark]
    taken: frozenset[Transition]
    ended: frozenset[str]


def path_of(machine: Machine, steps: Sequence[Step], runs: Mapping[str, str], *, has_times: bool = True) -> Path:
    """Find the way of an execution by its steps, in the order in which they were entered.

    `runs` tells of the items of a distributed Map, by the name of its state. Without times the same way is the same
    picture, whenever it was taken.
    """
    of_state: dict[str, list[Step]] = {}
    for step in steps:
        of_state.setdefault(step.name, []).append(step)
    marks = {
        state.name: Mark(_condition(found[-1]), _told(found, runs.get(state.name), has_times=has_times))
        if (found := of_state.get(state.name))
        else Mark(Condition.NOT_REACHED)
        for state in _told_of(machine.scope)
    }
    ended = {state.name for state in machine.scope.walk() if state.is_end and _left(of_state.get(state.name, []))}
    taken = {found for scope in machine.scope.scopes() for found in _taken(scope, steps)}
    return Path(marks, frozenset(taken), frozenset(ended))


def _told_of(scope: Scope) -> Iterator[State]:
    """Give the states of which the history of an execution tells: what a distributed Map holds has its own."""
    for state in scope.states:
        yield state
        if not state.is_distributed:
            for inner in state.scopes:
                yield from _told_of(inner)


def _condition(step: Step) -> Condition:
    if step.outcome == "running":
        return Condition.RUNNING
    return Condition.PASSED if step.outcome == "succeeded" else Condition.FAILED


def _left(steps: Iterable[Step]) -> bool:
    return any(step.outcome == "succeeded" for step in steps)


def _taken(scope: Scope, steps: Sequence[Step]) -> Iterator[Transition]:
    """Give the transitions that were taken: of the branches of a Parallel, or the items of a Map, steps are mixed.

    So each step is asked which of those before it, the latest first, leads to it, and was left in that way.
    """
    states = {state.name: state for state in scope.states}
    latest: dict[str, Step] = {}
    for step in steps:
        if step.name not in states:
            continue
        leading = [
            found
            for before in reversed(latest.values())
            for found in states[before.name].transitions
            if found.target == step.name and _is_way_out(before, found)
        ]
        yield from leading[:1]
        # The one that was entered last stands last.
        latest.pop(step.name, None)
        latest[step.name] = step


def _is_way_out(step: Step, transition: Transition) -> bool:
    return step.outcome == ("caught" if transition.is_catch else "succeeded")


def _told(steps: Sequence[Step], runs: str | None, *, has_times: bool) -> str:
    last = steps[-1]
    error = last.tries[-1].error if last.tries else None
    went = "" if last.outcome == "succeeded" else last.outcome.replace("_", " ")
    tries = sum(len(step.tries) for step in steps)
    seconds = sum((step.left_at - step.entered_at).total_seconds() for step in steps if step.left_at)
    parts = [
        f"{went}: {error}" if went and error and last.outcome != "running" else went,
        runs or "",
        f"{len(steps):,} times" if len(steps) > 1 else "",
        f"{tries:,} tries" if tries > len(steps) else "",
        took(seconds) if has_times and last.kind not in _AT_ONCE and any(step.left_at for step in steps) else "",
    ]
    return ", ".join(filter(None, parts))
