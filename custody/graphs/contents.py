"""What stands inside of the box of a state, row by row, and at which rows ways come in and go out."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len, chop_cells, set_cell_size

from custody.graphs.machines import ELSE, State, Transition
from custody.graphs.paths import Condition, Mark, Path
from custody.graphs.shapes import Role, Words
from custody.pointing import visible

SIGNS = {Condition.PASSED: "✓", Condition.FAILED: "✗", Condition.RUNNING: "●", Condition.NOT_REACHED: "○"}

_COMMENT_ROWS = 2
_GAP = 2
_SENTENCE = re.compile(r"(?<=\.)\s")
_CLAUSE = re.compile(r"(?<=[,;:])\s+")


@dataclass(frozen=True)
class Content:
    """The words of a box, counted from its first inner cell, and the rows at which ways leave it."""

    words: tuple[Words, ...]
    rows: int
    outs: dict[Transition, int]


@dataclass
class _Rows:
    """Rows while they are filled: `used` counts the cells of each that are taken from the left."""

    room: int
    mark: Mark | None
    words: list[Words] = field(default_factory=list)
    used: list[int] = field(default_factory=list)

    @property
    def condition(self) -> Condition | None:
        return self.mark.condition if self.mark else None

    def add(self, text: str, role: Role, indent: int = 0) -> None:
        """Put words at the end of the last row if they fit there, else on rows of their own."""
        start = self.used[-1] + _GAP if self.used else self.room
        if start + cell_len(text) <= self.room:
            self.words.append(Words(start, len(self.used) - 1, text, role, self.condition))
            self.used[-1] = start + cell_len(text)
            return
        for line in chop_cells(text, self.room - indent) if role is Role.NAME else wrapped(text, self.room - indent):
            self.line(line, role, indent)

    def line(self, text: str, role: Role, indent: int = 0) -> None:
        """Put words on a row of their own."""
        self.words.append(Words(indent, len(self.used), text, role, self.condition))
        self.used.append(indent + cell_len(text))


def content(  # noqa: PLR0913 - what stands in a box and at its sides
    state: State,
    path: Path | None,
    room: int,
    *,
    comes_in: tuple[int, int],
    left: Sequence[Transition],
    right: Sequence[Transition],
) -> Content:
    """Fill the rows of a box that has room for so many cells in each.

    `comes_in` is how many bundles of ways come in on the left and on the right: they take the first rows, and ways that
    go out those behind them.
    """
    rows = _filled(state, path, room)
    used = dict(enumerate(rows.used))
    words, outs = rows.words, {}
    for row, way in enumerate(left, max(len(rows.used), comes_in[0])):
        text = cut(when(way), room)
        words.append(_of_way(way, path, 0, row, text))
        used[row] = cell_len(text)
        outs[way] = row
    row = comes_in[1]
    for way in right:
        text = cut(when(way), room)
        while used.get(row, -_GAP) + _GAP + cell_len(text) > room:
            row += 1
        words.append(_of_way(way, path, room - cell_len(text), row, text))
        used[row] = room
        outs[way] = row
        row += 1
    return Content(tuple(words), max(*comes_in, *(row + 1 for row in used)), outs)


def wanted(state: State, path: Path | None, room: int, right: Sequence[Transition], left: Sequence[Transition]) -> int:
    """Say how many cells a box wants in a row to be drawn in few rows, at most so many as there is room for."""
    rows = _filled(state, path, room)
    beside = max((cell_len(when(way)) + _GAP for way in right), default=0)
    return min(room, max([rows.used[0] + beside, *rows.used, *(cell_len(when(way)) for way in left)]))


def when(way: Transition) -> str:
    """Say when a transition is taken."""
    told = visible(way.when) or "next"
    if way.is_catch:
        return f"on {told}"
    return told if told in {"next", ELSE} else f"if {told}"


def cut(text: str, room: int) -> str:
    """Leave out the end of a text that is too long."""
    return text if cell_len(text) <= room else f"{set_cell_size(text, room - 1).rstrip()}…"


def wrapped(text: str, room: int) -> list[str]:
    """Break a text into lines, between words if it can."""
    lines = [""]
    for word in text.split():
        for part in chop_cells(word, room):
            joined = f"{lines[-1]} {part}".lstrip()
            if cell_len(joined) <= room:
                lines[-1] = joined
            else:
                lines.append(part)
    return lines if lines[-1] else []


def _filled(state: State, path: Path | None, room: int) -> _Rows:
    mark = path.marks.get(state.name) if path else None
    rows = _Rows(room, mark)
    # Names stand below one another also where one has no sign.
    indent = 2 if path else 0
    rows.add(visible(state.name), Role.NAME, indent)
    if mark:
        rows.words.insert(0, Words(0, 0, SIGNS[mark.condition], Role.SIGN, mark.condition))
    if state.kind != "Task":
        rows.add(f"{state.kind}, distributed" if state.is_distributed else visible(state.kind), Role.KIND, indent)
    if mark and mark.told:
        rows.add(visible(mark.told), Role.TOLD, indent)
    for line in _explained(visible(state.comment), room - indent):
        rows.line(line, Role.COMMENT, indent)
    return rows


def _explained(comment: str, room: int) -> list[str]:
    """Give as much of the first sentence of a comment as two rows take: whole clauses, or else the first one cut."""
    found: list[str] = []
    comment = _SENTENCE.split(comment)[0]
    for text in _beginnings(comment):
        lines = wrapped(text, room)
        if len(lines) > _COMMENT_ROWS:
            break
        found = lines
    lines = wrapped(comment, room)
    if found or len(lines) <= _COMMENT_ROWS:
        return found
    return [lines[0], cut(f"{lines[1]}…", room)]


def _beginnings(comment: str) -> Iterator[str]:
    clauses = _CLAUSE.split(comment)
    for number in range(1, len(clauses) + 1):
        yield " ".join(clauses[:number]).rstrip(",;:.")


def _of_way(way: Transition, path: Path | None, x: int, row: int, text: str) -> Words:
    is_taken = path is not None and way in path.taken
    return Words(x, row, text, Role.WHEN, None, way.is_catch, is_taken, is_right=x > 0)
