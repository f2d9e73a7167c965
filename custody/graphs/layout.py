"""Where the states of a machine stand, and where the ways between them run. It is the same each time.

The states of a scope stand below one another. A way to the state right below is a straight line; others leave their box
at the side, run in a lane beside the column, and come in at the side of their target: down on the right, up on the
left. Ways to the same state share a lane; no other two share any part, they only cross.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from custody.graphs.columns import Column, column
from custody.graphs.contents import Content, content, cut, wanted, when
from custody.graphs.lanes import Bundle, bundled, lanes
from custody.graphs.machines import Scope, State, Transition
from custody.graphs.paths import Condition, Path
from custody.graphs.shapes import Box, Drawing, Role, Spot, Wire, Words

SMALLEST_ROOM = 12
"""Cells for text in a box, at least."""

_FRAME = 2
"""Cells of a box beside its text, on either side."""

_LANE = 2
"""Cells from a lane to the next."""

_HEAD = 3
"""Cells from a box to the first lane: room for an arrow."""

_BESIDE = 2
"""Cells between the branches of a Parallel."""

Point = tuple[int, int]


def scope_drawing(scope: Scope, path: Path | None, room: int) -> Drawing:
    """Draw a scope with so much room for text in each box; one that holds others may become wider."""
    columned = column(scope)
    order = {state.name: index for index, state in enumerate(columned.states)}
    sides = _Sides(columned, bundled(columned.left, order), bundled(columned.right, order), order)
    placed = _placed(sides, path, room)
    boxes = tuple(each.box for each in placed)
    middle = max(box.x + box.width // 2 for box in boxes)
    wires = [*_straight(sides, placed, path, middle), *_at_the_side(sides, placed, path)]
    spots = tuple(_spots(placed, path, middle))
    words = [words.moved(*each.text) for each in placed for words in each.content.words]
    words += _labels(sides, placed, path, middle)
    columns = [x for wire in wires for x, _ in wire.points] + [x for box in boxes for x in (box.x, box.right)]
    bottom = max([*(box.bottom for box in boxes), *(spot.y for spot in spots)])
    drawn = Drawing(0, 0, boxes, tuple(words), tuple(wires), spots)
    drawn = drawn.with_parts((each.inner_x, each.inner_y, each.inner) for each in placed if each.inner)
    first = min(columns)
    return Drawing(max(columns) - first + 1, bottom + 1).with_parts([(-first, 0, drawn)])


@dataclass(frozen=True)
class _Sides:
    """The ways of a column beside it, in bundles; `order` is where each state stands, by its name."""

    column: Column
    left: list[Bundle]
    right: list[Bundle]
    order: dict[str, int]

    def outs(self, state: State) -> tuple[list[Transition], list[Transition]]:
        """Give the ways out of a state on the left and on the right; the lowest target first, so that few cross."""

        def of_side(ways: Sequence[Transition]) -> list[Transition]:
            found = [way for way in ways if way.source == state.name]
            return sorted(found, key=lambda way: -self.order[way.target])

        return of_side(self.column.left), of_side(self.column.right)

    def ins(self, state: State) -> tuple[int, int]:
        """Count the bundles that come in at a state on the left and on the right."""
        left, right = (sum(bundle.target == state.name for bundle in side) for side in (self.left, self.right))
        return left, right


@dataclass(frozen=True)
class _Placed:
    """A state in its place; `inner` is what it holds, and where."""

    state: State
    content: Content
    box: Box
    inner: Drawing | None

    @property
    def text(self) -> Point:
        """Where its words begin."""
        return self.box.x + _FRAME, self.box.y + 1

    @property
    def inner_x(self) -> int:
        """Where what it holds begins."""
        return self.box.x + (self.box.width - self.inner.width) // 2 if self.inner else 0

    @property
    def inner_y(self) -> int:
        """The first row of what it holds: below its own words, and a free one."""
        return self.box.y + self.content.rows + 2


def _placed(sides: _Sides, path: Path | None, room: int) -> list[_Placed]:
    """Place the boxes below one another, from the third row on: an arrow from the start stands above."""
    states = sides.column.states
    inner = {
        state.name: _beside([scope_drawing(each, path, room) for each in state.scopes])
        for state in states
        if state.scopes
    }
    widest = max((each.width for each in inner.values()), default=0)
    # Beside the branches of a Parallel, boxes would become too wide to be read.
    room = max(room, min(widest, 2 * room))
    text = max(SMALLEST_ROOM, *(wanted(state, path, room, *sides.outs(state)) for state in states))
    text = max(text, widest) if widest <= room else text
    middle = (max(text, widest) + 2 * _FRAME) // 2
    found: list[_Placed] = []
    y = 2
    for state in states:
        held = inner.get(state.name)
        width = max(text, held.width if held else 0)
        left, right = sides.outs(state)
        filled = content(state, path, width, comes_in=sides.ins(state), left=left, right=right)
        mark = path.marks.get(state.name) if path else None
        width += 2 * _FRAME
        height = filled.rows + 2 + (held.height + 1 if held else 0)
        box = Box(middle - width // 2, y, width, height, state, mark.condition if mark else None)
        found.append(_Placed(state, filled, box, held))
        y += height + (2 if state.is_end else 1)
    return found


def _beside(parts: Sequence[Drawing]) -> Drawing:
    """Put the branches of a Parallel beside one another."""
    placed: list[tuple[int, int, Drawing]] = []
    x = 0
    for part in parts:
        placed.append((x, 0, part))
        x += part.width + _BESIDE
    return Drawing(x - _BESIDE, max(part.height for part in parts)).with_parts(placed)


def _straight(sides: _Sides, placed: Sequence[_Placed], path: Path | None, x: int) -> Iterator[Wire]:
    """Draw the ways that lead straight down: from the start, to the state right below, and to an end."""
    bundle = len(sides.left) + len(sides.right)
    first = placed[0]
    yield Wire(((x, 0), (x, first.box.y)), bundle, ("", first.state.name), is_taken=_is_reached(first))
    for number, each in enumerate(placed, 1):
        name, y = each.state.name, each.box.bottom
        if each.state.is_end:
            has_ended = _has_ended(each, path)
            yield Wire(((x, y), (x, y + 1)), bundle + number, (name, ""), is_taken=has_ended, has_head=False)
        elif way := sides.column.straight.get(name):
            joined = ((x, y), (x, y + 2))
            yield Wire(joined, bundle + number, (name, way.target), is_taken=_is_taken(way, path))


def _at_the_side(sides: _Sides, placed: Sequence[_Placed], path: Path | None) -> Iterator[Wire]:
    """Draw the ways in the lanes, each from its box to that of its target."""
    of_name = {each.state.name: each for each in placed}
    widest = max((each.box for each in placed), key=lambda box: box.width)
    for is_right, side, before in ((False, sides.left, 0), (True, sides.right, len(sides.left))):
        rows = _rows(side, of_name)
        lane_of = lanes([(min(found), max(found)) for found in rows])
        for number, bundle in enumerate(side):
            beyond = _HEAD + _LANE * lane_of[number]
            lane = widest.right + beyond if is_right else widest.x - beyond
            *outs, comes_in = rows[number]
            for way, y in zip(bundle.ways, outs, strict=True):
                source, target = of_name[way.source].box, of_name[way.target].box
                start, end = (source.right, target.right) if is_right else (source.x, target.x)
                points = ((start, y), (lane, y), (lane, comes_in), (end, comes_in))
                taken = _is_taken(way, path)
                yield Wire(points, before + number, (way.source, way.target), way.is_catch, taken)


def _rows(side: Sequence[Bundle], placed: dict[str, _Placed]) -> list[list[int]]:
    """Say at which rows the ways of each bundle leave their boxes and, as the last, at which they come in."""
    came: dict[str, int] = {}
    found = []
    for bundle in side:
        at = came.get(bundle.target, 0)
        came[bundle.target] = at + 1
        outs = [placed[way.source].text[1] + placed[way.source].content.outs[way] for way in bundle.ways]
        found.append([*outs, placed[bundle.target].text[1] + at])
    return found


def _labels(sides: _Sides, placed: Sequence[_Placed], path: Path | None, middle: int) -> Iterator[Words]:
    """Say beside a straight way when it is taken, if that is not always."""
    for each in placed:
        way = sides.column.straight.get(each.state.name)
        if way and way.when:
            x = middle + 2
            text = cut(when(way), each.box.right - x)
            if cell_len(text) > 1:
                yield Words(x, each.box.bottom + 1, text, Role.WHEN, is_taken=_is_taken(way, path))


def _spots(placed: Sequence[_Placed], path: Path | None, x: int) -> Iterator[Spot]:
    yield Spot(x, 0, is_end=False, is_reached=_is_reached(placed[0]))
    for each in placed:
        if each.state.is_end:
            yield Spot(x, each.box.bottom + 1, is_end=True, is_reached=_has_ended(each, path))


def _is_reached(placed: _Placed) -> bool:
    return placed.box.condition not in {None, Condition.NOT_REACHED}


def _has_ended(placed: _Placed, path: Path | None) -> bool:
    return path is not None and placed.state.name in path.ended


def _is_taken(way: Transition, path: Path | None) -> bool:
    return path is not None and way in path.taken
