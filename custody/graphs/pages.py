"""A whole picture: the machine with its title above, and below what its signs and lines mean."""

from dataclasses import replace

from rich.cells import cell_len

from custody.graphs.contents import SIGNS, wrapped
from custody.graphs.layout import SMALLEST_ROOM, scope_drawing
from custody.graphs.machines import Machine
from custody.graphs.paths import Path
from custody.graphs.shapes import Drawing, Role, Wire, Words
from custody.pointing import visible

WIDTH = 80
"""Cells of a picture, unless its machine needs more."""

_LARGEST_ROOM = 58
"""Cells for text in a box, at most: longer lines are hard to read."""

_SAMPLE = 6
"""Cells of a line that shows what its like means, and of a gap behind it."""

_BETWEEN = 3
"""Cells between two parts of the legend."""


def page(machine: Machine, path: Path | None = None, said: str = "", width: int = WIDTH) -> Drawing:
    """Draw a machine, with the way of an execution through it if there is one, in so many cells if it can.

    `said` stands below the title; without it, what the machine says of itself.
    """
    made = _fitted(machine, path, width)
    text = wrapped(visible(said or machine.comment), max(made.width, width))
    head = [Words(0, 0, visible(machine.name), Role.TITLE)]
    head += [Words(0, row, line, Role.SUBTITLE) for row, line in enumerate(text, 1)]
    parts = _legend(has_path=path is not None)
    shown = [*(cell_len(words.text) for words in head), *(part.width for row in parts for part in row)]
    wide = max(made.width, *shown)
    legend = _flowing(parts, wide)
    below = len(head) + 1 + made.height + 1
    whole = Drawing(wide, below + legend.height, words=tuple(head), has_path=path is not None)
    return whole.with_parts([((wide - made.width) // 2, len(head) + 1, made), (0, below, legend)])


def _fitted(machine: Machine, path: Path | None, width: int) -> Drawing:
    """Draw a machine with the most room in its boxes with which it is not too wide; else with the least."""
    rooms = range(_LARGEST_ROOM, SMALLEST_ROOM, -6)
    drawn = (scope_drawing(machine.scope, path, room) for room in rooms)
    return next((made for made in drawn if made.width <= width), None) or scope_drawing(
        machine.scope, path, SMALLEST_ROOM
    )


def _legend(*, has_path: bool) -> list[list[Drawing]]:
    """Say what the lines mean and, where there is a path, the signs: in rows."""
    sample = ((0, 0), (_SAMPLE - 2, 0))
    plain, caught = Wire(sample, 0, has_head=False), Wire(sample, 0, is_catch=True, has_head=False)
    lines = [_explained(plain, "not taken" if has_path else "next"), _explained(caught, "on an error")]
    if not has_path:
        return [lines]
    signs = [_explained(Words(0, 0, sign, Role.SIGN, condition), condition) for condition, sign in SIGNS.items()]
    return [signs, [_explained(replace(plain, is_taken=True), "taken"), *lines]]


def _flowing(rows: list[list[Drawing]], room: int) -> Drawing:
    """Put the parts of each row beside one another, and go on below where there is no room."""
    made = Drawing(room, 0)
    for row in rows:
        x = room
        for part in row:
            if x + part.width > room:
                x, made = 0, replace(made, height=made.height + 1)
            made = made.with_parts([(x, made.height - 1, part)])
            x += part.width + _BETWEEN
    return made


def _explained(shown: Words | Wire, text: str) -> Drawing:
    """Put what a sign or a line means behind it."""
    if isinstance(shown, Words):
        return Drawing(2 + len(text), 1, words=(shown, Words(2, 0, text, Role.LEGEND)))
    return Drawing(_SAMPLE + len(text), 1, words=(Words(_SAMPLE, 0, text, Role.LEGEND),), wires=(shown,))
