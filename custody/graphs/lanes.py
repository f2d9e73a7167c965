"""The lanes beside a column of boxes, in which the ways run that do not lead straight down."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from custody.graphs.machines import Transition


@dataclass(frozen=True)
class Bundle:
    """Ways to the same state, all on errors or all not: they share a lane."""

    target: str
    ways: tuple[Transition, ...]


def bundled(ways: Iterable[Transition], order: Mapping[str, int]) -> list[Bundle]:
    """Bundle ways that lead to the same state, the shortest first: they come in above the longer ones, or would cross.

    `order` is where each state stands, by its name.
    """
    groups: dict[tuple[str, bool], list[Transition]] = {}
    for way in ways:
        groups.setdefault((way.target, way.is_catch), []).append(way)
    found = [Bundle(target, tuple(group)) for (target, _), group in groups.items()]
    return sorted(found, key=lambda bundle: max(abs(order[bundle.target] - order[way.source]) for way in bundle.ways))


def lanes(extents: Sequence[tuple[int, int]]) -> list[int]:
    """Give each bundle a lane, by its first and its last row: the innermost that is free there, the shortest first.

    Two in one lane have a row between them, or they would look like one.
    """
    found: dict[int, int] = {}
    for number in sorted(range(len(extents)), key=lambda each: extents[each][1] - extents[each][0]):
        first, last = extents[number]
        taken = {
            lane for other, lane in found.items() if extents[other][0] <= last + 1 and first <= extents[other][1] + 1
        }
        found[number] = next(lane for lane in range(len(taken) + 1) if lane not in taken)
    return [found[number] for number in range(len(extents))]
