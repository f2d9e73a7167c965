"""The order of the states of a scope from the top to the bottom, and on which side the others of its ways run.

What a state leads to in the end stands right below it, if it can; ways down to others run on the right, and ways back
up on the left.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from custody.graphs.machines import Scope, State, Transition

_FAIL = "Fail"


@dataclass(frozen=True)
class Column:
    """The states of a scope in their order: `straight` is the way to the state right below, by its source."""

    states: tuple[State, ...]
    straight: dict[str, Transition]
    right: tuple[Transition, ...]
    left: tuple[Transition, ...]


def column(scope: Scope) -> Column:
    """Order the states of a scope: those of its good way first, then what an error leads to, then what nothing does."""
    states = {state.name: state for state in scope.states}
    caught = [way.target for state in scope.states for way in state.transitions if way.is_catch]
    order: dict[str, int] = {}
    for start in [scope.start, *caught, *states]:
        for name in _chain(start, states, order):
            order[name] = len(order)
    ordered = tuple(states[name] for name in order)
    straight: dict[str, Transition] = {}
    right: list[Transition] = []
    left: list[Transition] = []
    for state in ordered:
        for way in state.transitions:
            down = order[way.target] - order[state.name]
            if down == 1 and not way.is_catch:
                straight[state.name] = way
            elif down > 0:
                right.append(way)
            else:
                left.append(way)
    return Column(ordered, straight, tuple(right), tuple(left))


def _chain(start: str, states: dict[str, State], placed: dict[str, int]) -> list[str]:
    """Order what a state leads to without an error, and is not placed yet, so that each stands above what follows it.

    Of what forms a circle, that stands above which is reached first.
    """
    if start in placed:
        return []
    seen = {start}
    ended: list[str] = []
    # With a stack of its own, for a machine may be longer than Python calls deep.
    open_ones: list[tuple[str, Iterator[str]]] = [(start, _following(states[start], states))]
    while open_ones:
        name, following = open_ones[-1]
        found = next((each for each in following if each not in seen and each not in placed), None)
        if found is None:
            ended.append(name)
            open_ones.pop()
        else:
            seen.add(found)
            open_ones.append((found, _following(states[found], states)))
    return ended[::-1]


def _following(state: State, states: dict[str, State]) -> Iterator[str]:
    """Give what a state leads to, and last what is to stand nearest: no failure, and rather the default of a Choice."""
    ways = [way for way in state.transitions if not way.is_catch]
    return (way.target for way in sorted(ways, key=lambda way: states[way.target].kind != _FAIL))
