"""A picture as text: in the box drawing characters of Unicode, or in ASCII where there are no others."""

from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise

from rich.cells import cell_len, split_graphemes
from rich.text import Text

from custody.graphs.boxdrawing import Arm, Cross, ascii_sign, sign
from custody.graphs.paths import Condition
from custody.graphs.shapes import Box, Drawing, Role, Spot, Wire, Words

_COLOURS = {
    Condition.PASSED: "green",
    Condition.FAILED: "red",
    Condition.RUNNING: "yellow",
    Condition.NOT_REACHED: "dim",
}
_STYLES = {Role.TITLE: "bold", Role.KIND: "dim", Role.LEGEND: "dim", Role.SUBTITLE: ""}
_HEADS = {Arm.DOWN: "▼", Arm.LEFT: "◄", Arm.RIGHT: "►"}
_HOLLOW = {Arm.DOWN: "▽", Arm.LEFT: "◁", Arm.RIGHT: "▷"}
"""Of what was not taken, where the way of an execution is drawn."""

_START, _END = "●", "◉"
_IN_ASCII = {"✓": "+", "✗": "x", "●": "*", "◉": "@", "○": "o", "…": ".", "▼": "v", "◄": "<", "►": ">"}
_IN_ASCII |= {"▽": "v", "◁": "<", "▷": ">"}

Point = tuple[int, int]


_NO_LINES = Cross()


@dataclass(frozen=True)
class _Cell:
    """What is seen in a cell: text, or lines of a bundle, None for those of a box."""

    style: str = ""
    text: str | None = None
    cross: Cross = _NO_LINES
    bundle: int | None = None
    is_dashed: bool = False

    def shown(self, *, is_ascii: bool) -> str:
        if self.text is None:
            is_box = self.bundle is None
            if is_ascii:
                return ascii_sign(self.cross, is_dashed=self.is_dashed)
            return sign(self.cross, is_dashed=self.is_dashed, is_round=not is_box)
        if not is_ascii or self.text.isascii():
            return self.text
        return _IN_ASCII.get(self.text, "?" * cell_len(self.text))


@dataclass
class _Canvas:
    """The cells that are not empty, by their place."""

    has_path: bool
    cells: dict[Point, _Cell] = field(default_factory=dict)

    def box(self, box: Box) -> None:
        style = _COLOURS[box.condition] if box.condition else ""
        corners = ((box.x, box.y), (box.right, box.y), (box.right, box.bottom), (box.x, box.bottom), (box.x, box.y))
        for point, arms in _arms(_along(corners)):
            self.lines(point, arms, _Cell(style), is_heavy=False)

    def wire(self, wire: Wire) -> None:
        cells = _along(wire.points)
        like = _Cell(self.style_of(is_catch=wire.is_catch, is_taken=wire.is_taken), None, _NO_LINES, wire.bundle)
        like = replace(like, is_dashed=wire.is_catch)
        joined = _arms(cells)
        if wire.ends is None:
            for point, _ in joined:
                self.lines(point, Arm.HORIZONTAL, like, is_heavy=wire.is_taken)
            return
        (first, leaving), *between, _ = joined
        border = self.cells.get(first)
        if border and border.text is None:
            cross = border.cross.joined(leaving, is_heavy=wire.is_taken)
            self.cells[first] = replace(border, cross=cross, style=like.style if wire.is_taken else border.style)
        for point, arms in between:
            self.lines(point, arms, like, is_heavy=wire.is_taken)
        if wire.has_head:
            towards = _towards(cells[-2], cells[-1])
            head = self.cells.get(cells[-2])
            if head is None or head.text is None or wire.is_taken:
                heads = _HOLLOW if self.has_path and not wire.is_taken else _HEADS
                self.cells[cells[-2]] = _Cell(like.style, heads[towards])

    def lines(self, point: Point, arms: Arm, like: _Cell, *, is_heavy: bool) -> None:
        """Draw lines in a cell: where two bundles cross, that is seen which goes up and down."""
        found = self.cells.get(point)
        if found is None or (found.bundle != like.bundle and arms & Arm.VERTICAL):
            self.cells[point] = replace(like, cross=_NO_LINES.joined(arms, is_heavy=is_heavy))
        elif found.bundle == like.bundle:
            style = like.style if is_heavy or not found.cross.heavy else found.style
            self.cells[point] = replace(found, cross=found.cross.joined(arms, is_heavy=is_heavy), style=style)

    def words(self, words: Words) -> None:
        x, style = words.x, self.style_of_words(words)
        for start, end, width in split_graphemes(words.text)[0]:
            self.cells[x, words.y] = _Cell(style, words.text[start:end])
            for beside in range(1, width):
                self.cells[x + beside, words.y] = _Cell(style, "")
            x += width

    def spot(self, spot: Spot) -> None:
        style = ("green" if spot.is_reached else "dim") if self.has_path else ""
        self.cells[spot.x, spot.y] = _Cell(style, _END if spot.is_end else _START)
        self.words(Words(spot.x + 2, spot.y, "end" if spot.is_end else "start", Role.LEGEND))

    def style_of(self, *, is_catch: bool, is_taken: bool) -> str:
        colour = "red" if is_catch else "green" if self.has_path else ""
        if is_taken:
            return f"bold {colour}"
        return "dim" if self.has_path else colour

    def style_of_words(self, words: Words) -> str:
        if words.role is Role.WHEN:
            return self.style_of(is_catch=words.is_catch, is_taken=words.is_taken)
        if words.role in _STYLES:
            return _STYLES[words.role]
        colour = _COLOURS[words.condition] if words.condition else ""
        if words.role is Role.COMMENT:
            return "dim" if words.condition is Condition.NOT_REACHED else ""
        return f"bold {colour}" if words.role is Role.NAME and words.condition is not Condition.NOT_REACHED else colour

    def text(self, *, is_ascii: bool) -> Text:
        rows: dict[int, dict[int, _Cell]] = {}
        for (x, y), cell in self.cells.items():
            rows.setdefault(y, {})[x] = cell
        lines = []
        for y in range(max(rows, default=-1) + 1):
            row = rows.get(y, {})
            cells = [row.get(x, _Cell(text=" ")) for x in range(max(row, default=-1) + 1)]
            # As few pieces as there are styles beside one another: each is a sequence of its own on a terminal.
            runs = groupby(cells, key=lambda cell: cell.style)
            pieces = (("".join(cell.shown(is_ascii=is_ascii) for cell in run), style) for style, run in runs)
            lines.append(Text.assemble(*pieces))
        return Text("\n").join(lines)


def text(drawing: Drawing, *, is_ascii: bool = False) -> Text:
    """Draw a picture as lines of text, with colours for a terminal that has them."""
    canvas = _Canvas(drawing.has_path)
    for box in drawing.boxes:
        canvas.box(box)
    for wire in sorted(drawing.wires, key=lambda wire: wire.is_taken):
        canvas.wire(wire)
    for spot in drawing.spots:
        canvas.spot(spot)
    for words in drawing.words:
        canvas.words(words)
    return canvas.text(is_ascii=is_ascii)


def _along(points: tuple[Point, ...]) -> list[Point]:
    """Give each cell on a line with corners."""
    cells = [points[0]]
    for _, (x, y) in pairwise(points):
        while cells[-1] != (x, y):
            at_x, at_y = cells[-1]
            cells.append((at_x + (x > at_x) - (x < at_x), at_y + (y > at_y) - (y < at_y)))
    return cells


def _arms(cells: list[Point]) -> list[tuple[Point, Arm]]:
    """Say of each cell on a line where it leads to: to the cell before it, and to the one behind it."""
    found = []
    for index, cell in enumerate(cells):
        arms = Arm.NONE
        if index:
            arms |= _towards(cell, cells[index - 1])
        if index + 1 < len(cells):
            arms |= _towards(cell, cells[index + 1])
        found.append((cell, arms))
    return found


def _towards(cell: Point, other: Point) -> Arm:
    if cell[0] == other[0]:
        return Arm.DOWN if other[1] > cell[1] else Arm.UP
    return Arm.RIGHT if other[0] > cell[0] else Arm.LEFT
