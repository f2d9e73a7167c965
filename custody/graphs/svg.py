"""A picture as SVG: readable on a light and on a dark page, and the same bytes for the same picture.

Shown by a page as an image, it takes the colours that the page or its reader prefers (`prefers-color-scheme`). Not
every browser or page tells an image of that; so it brings its own background, and can be read in either case.
https://developer.mozilla.org/en-US/docs/Web/CSS/@media/prefers-color-scheme#embedded_elements
"""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise

from rich.cells import cell_len

from custody.graphs.contents import when
from custody.graphs.looks import DARK, LIGHT, SHAPED, coloured
from custody.graphs.machines import State
from custody.graphs.paths import Condition
from custody.graphs.shapes import Box, Drawing, Role, Spot, Wire, Words
from custody.pointing import visible

_WIDE, _HIGH = 9, 20
"""Pixels of a cell. A monospaced character is at most 0.61 times as wide as it is high: 14 pixels fit."""

Point = tuple[float, float]

_MARGIN = 22
_CORNER = 8
_HEAD_LONG, _HEAD_BROAD = 9, 5
_DOWN = 4.7
"""Pixels from the middle of a row to the baseline of its text."""


def svg(drawing: Drawing) -> str:
    """Draw a picture as an SVG document, in UTF-8."""
    width, height = drawing.width * _WIDE + 2 * _MARGIN, drawing.height * _HIGH + 2 * _MARGIN
    named = " ".join(words.text for words in drawing.words if words.role in {Role.TITLE, Role.SUBTITLE})
    pathed = ' class="pathed"' if drawing.has_path else ""
    opened = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}"{pathed}'
    dark = f"@media (prefers-color-scheme:dark){{\n{coloured(DARK)}\n}}"
    return "\n".join(
        [
            f'{opened} width="{width}" height="{height}">',
            f"<title>{_text(named)}</title>",
            f"<style>\n{SHAPED}\n{coloured(LIGHT)}\n{dark}\n</style>",
            f'<rect class="page" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="10"/>',
            *_parts(drawing),
            "</svg>",
            "",
        ]
    )


def _parts(drawing: Drawing) -> Iterator[str]:
    # A box that holds others lies below the lines of these; what is taken lies above what is not.
    for box in drawing.boxes:
        if box.state.scopes:
            yield _box(box)
    for is_taken in (False, True):
        yield from _wires([wire for wire in drawing.wires if wire.is_taken == is_taken])
    for spot in drawing.spots:
        yield from _spot(spot)
    for box in drawing.boxes:
        if not box.state.scopes:
            yield _box(box)
    for words in drawing.words:
        yield _words(words)


def _x(x: int) -> float:
    """Give the middle of a column."""
    return _MARGIN + (x + 0.5) * _WIDE


def _y(y: int) -> float:
    """Give the middle of a row."""
    return _MARGIN + (y + 0.5) * _HIGH


def _box(box: Box) -> str:
    classes = "box holder" if box.state.scopes else "box"
    round_ = 10 if box.state.kind == "Choice" else 6
    rect = (
        f'<rect class="{classes}" x="{_x(box.x):g}" y="{_y(box.y):g}" width="{(box.width - 1) * _WIDE}" '
        f'height="{(box.height - 1) * _HIGH}" rx="{round_}"/>'
    )
    return f'<g class="state {_class(box.condition)}"><title>{_text(_described(box.state))}</title>{rect}</g>'


def _described(state: State) -> str:
    """Tell all of a state: one who opens the picture by itself sees it where the pointer rests."""
    ways = [f"{when(way)}: {visible(way.target)}" for way in state.transitions]
    return "\n".join(filter(None, [visible(state.name), visible(state.comment), *ways]))


def _wires(wires: Sequence[Wire]) -> Iterator[str]:
    """Draw lines, of each bundle the longest first: the others join it, for dashes that lie on one another blur."""
    drawn: set[int] = set()
    for wire in sorted(wires, key=_length, reverse=True):
        classes = " ".join(["catch"] * wire.is_catch + ["taken"] * wire.is_taken)
        points = [(_x(x), _y(y)) for x, y in wire.points]
        if wire.bundle in drawn:
            points = _joining(points)
        elif wire.has_head:
            yield f'<polygon class="{f"head {classes}".rstrip()}" points="{_head(points)}"/>'
            points[-1] = _before(points[-1], points[-2], _HEAD_LONG)
        drawn.add(wire.bundle)
        named = f"<title>{_text(' → '.join(map(visible, wire.ends)))}</title>" if wire.ends and all(wire.ends) else ""
        yield f'<path class="{f"wire {classes}".rstrip()}" d="{_rounded(points)}">{named}</path>'


def _length(wire: Wire) -> int:
    return sum(abs(x - a) + abs(y - b) for (a, b), (x, y) in pairwise(wire.points))


def _joining(points: list[Point]) -> list[Point]:
    """Cut a line off where it has turned into the lane of its bundle."""
    start, corner, after, *_ = points
    return [start, corner, _before(corner, after, _CORNER)]


def _before(point: Point, other: Point, distance: float) -> Point:
    """Go from a point towards another one."""
    return point[0] + distance * _sign(other[0] - point[0]), point[1] + distance * _sign(other[1] - point[1])


def _head(points: list[Point]) -> str:
    """Give the corners of an arrow head that ends where a line does."""
    tip, (x, y) = _before(points[-1], points[-2], 1), _before(points[-1], points[-2], _HEAD_LONG + 1)
    across = _sign(points[-1][1] - y), _sign(points[-1][0] - x)
    broad = _HEAD_BROAD * across[0], _HEAD_BROAD * across[1]
    corners = (tip, (x + broad[0], y + broad[1]), (x - broad[0], y - broad[1]))
    return " ".join(f"{a:g},{b:g}" for a, b in corners)


def _rounded(points: list[Point]) -> str:
    """Draw along points, with rounded corners."""
    x, y = points[0]
    drawn = [f"M{x:g} {y:g}"]
    for (before_x, before_y), (x, y), (after_x, after_y) in zip(points, points[1:], points[2:], strict=False):
        back = min(_CORNER, (abs(x - before_x) + abs(y - before_y)) / 2)
        on = min(_CORNER, (abs(after_x - x) + abs(after_y - y)) / 2)
        in_x, in_y = x - back * _sign(x - before_x), y - back * _sign(y - before_y)
        out_x, out_y = x + on * _sign(after_x - x), y + on * _sign(after_y - y)
        drawn.append(f"L{in_x:g} {in_y:g}Q{x:g} {y:g} {out_x:g} {out_y:g}")
    x, y = points[-1]
    return f"{''.join(drawn)}L{x:g} {y:g}"


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)


def _spot(spot: Spot) -> Iterator[str]:
    x, y, taken = _x(spot.x), _y(spot.y), " taken" if spot.is_reached else ""
    yield f'<circle class="spot{taken}" cx="{x:g}" cy="{y:g}" r="{4 if spot.is_end else 6}"/>'
    if spot.is_end:
        yield f'<circle class="ring{taken}" cx="{x:g}" cy="{y:g}" r="7"/>'
    yield f'<text class="label" x="{x + 14:g}" y="{y + _DOWN:g}">{"end" if spot.is_end else "start"}</text>'


def _words(words: Words) -> str:
    classes = " ".join([words.role.value, *["catch"] * words.is_catch, *["taken"] * words.is_taken])
    x = _MARGIN + words.x * _WIDE
    anchor = ""
    if words.is_right:
        x += cell_len(words.text) * _WIDE
        anchor = ' text-anchor="end"'
    placed = f'class="{classes}" x="{x}" y="{_y(words.y) + _DOWN:g}"{anchor}'
    shown = f"<text {placed}>{_text(words.text)}</text>"
    return f'<g class="{_class(words.condition)}">{shown}</g>' if words.condition else shown


def _class(condition: Condition | None) -> str:
    return condition.replace(" ", "-") if condition else "plain"


def _text(text: str) -> str:
    return escape(text, quote=False)
