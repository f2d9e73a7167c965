"""Tables that fit: aligned and shortened on a terminal, whole and separated by tabs for programs."""

from collections.abc import Iterator
from io import StringIO
from shlex import quote

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

from custody.terminal.text import visible

ELLIPSIS = "…"

Cell = str | int | list[str] | tuple[str | list[str], str]
"""A name, a number, lines of text, or one of them with a style."""

_GAP = 2
_NARROWEST_NAME = 14
_NARROWEST_TEXT = 20
_SHORT = 20
"""A name up to this width is never shortened, such as a time."""

_INDENT = 2
_SEPARATOR = " · "
_PLAIN = Console(file=StringIO())
"""Wraps text."""


class Rows:
    """The rows of a table. A name stays on a line, and is shortened where it does not fit; text wraps at words."""

    def __init__(self, *headings: str) -> None:
        self.headings = headings
        self.rows: list[tuple[Cell, ...]] = []

    def add(self, *cells: Cell) -> None:
        """Add a row."""
        self.rows.append(cells)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)


def render(
    rows: Rows, screen: Console, title: int = 1, command: tuple[str, int] | None = None, *, whole: bool = False
) -> Iterator[Text | str]:
    """Yield the lines of a table.

    What does not fit on a terminal is shortened; if that does not suffice, each row is a paragraph: `title` cells, then
    the others by heading. Below follows, for each name that was shortened, the command with the whole name of a column.
    """
    if not screen.is_terminal:
        yield "\t".join(map(visible, rows.headings))
        yield from ("\t".join("; ".join(_lines(cell, "")) for cell in row) for row in rows.rows)
        return
    used = [number for number in range(len(rows.headings)) if any(any(_lines(row[number])) for row in rows.rows)]
    headings = [rows.headings[number] for number in used]
    cells = [[row[number] for number in used] for row in rows.rows]
    width = 10**6 if whole else screen.width
    if widths := _fit(headings, cells, width):
        yield from _table(headings, cells, widths)
    else:
        for row in cells:
            yield from _paragraph(headings, row, title, width)
        widths = [width] * len(used)
    if command and command[1] in used:
        shown = widths[used.index(command[1])]
        names = [_lines(row[command[1]])[0] for row in rows.rows]
        if commands := [Text(f"{command[0]} {quote(name)}") for name in names if cell_len(name) > shown]:
            yield from (Text(), *commands, Text())


def shorten(text: str, width: int) -> str:
    """Shorten a text in the middle to a width in columns of a terminal."""
    if cell_len(text) <= width:
        return text
    head, tail = (width - 1) // 2, width // 2
    return chop_cells(text, head)[0] + ELLIPSIS + chop_cells(text[::-1], tail)[0][::-1]


def _lines(cell: Cell, separator: str = ",") -> list[str]:
    content = cell[0] if isinstance(cell, tuple) else cell
    if isinstance(content, int):
        return [f"{content:{separator}}"]
    return [visible(line) for line in (content if isinstance(content, list) else [content])]


def _is_text(cell: Cell) -> bool:
    return isinstance(cell[0] if isinstance(cell, tuple) else cell, list)


def _style(cell: Cell) -> str:
    return cell[1] if isinstance(cell, tuple) else ""


def _fit(headings: list[str], rows: list[list[Cell]], room: int) -> list[int] | None:
    """Return the widths of columns in which a table fits into a room; None if there are none."""
    widths, floors = [], []
    for heading, *cells in zip(headings, *rows, strict=True):
        content = max((cell_len(line) for cell in cells for line in _lines(cell)), default=0)
        is_text = any(map(_is_text, cells))
        word = max(map(len, heading.split()), default=0)
        narrowest = _NARROWEST_TEXT if is_text else content if content <= _SHORT else _NARROWEST_NAME
        widths.append(max(content, len(heading)))
        floors.append(max(min(content, narrowest), word))
    excess = sum(widths) + _GAP * (len(headings) - 1) - room
    for _ in range(excess):
        widest = max(((width, at) for at, width in enumerate(widths) if width > floors[at]), default=None)
        if widest is None:
            return None
        widths[widest[1]] -= 1
    return widths


def _table(headings: list[str], rows: list[list[Cell]], widths: list[int]) -> Iterator[Text]:
    are_numbers = [all(isinstance(cell, int) for cell in column) for column in zip(*rows, strict=True)]
    head: list[Cell] = [([heading], "bold") for heading in headings]
    for row in [head, *rows]:
        wrapped = [_wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
        for number in range(max(map(len, wrapped))):
            line = Text()
            for lines, cell, width, is_number in zip(wrapped, row, widths, are_numbers, strict=True):
                text = lines[number] if number < len(lines) else ""
                padding = " " * (width - cell_len(text))
                line.append(padding + text if is_number else text, _style(cell))
                line.append(" " * _GAP if is_number else padding + " " * _GAP)
            line.rstrip()
            yield line


def _paragraph(headings: list[str], row: list[Cell], title: int, width: int) -> Iterator[Text]:
    names = [_lines(cell)[0] for cell in row[:title]]
    room = width - _GAP * (len(names) - 1) - sum(map(cell_len, names)) + max(map(cell_len, names))
    shown = [shorten(name, max(room, _NARROWEST_NAME)) if name == max(names, key=cell_len) else name for name in names]
    styled = [Text(name, _style(cell)) for name, cell in zip(shown, row, strict=False)]
    yield Text(" " * _GAP).join(styled)
    line = Text()
    for heading, cell in list(zip(headings, row, strict=True))[title:]:
        if content := "; ".join(_lines(cell)):
            fact = Text(shorten_words(f"{heading} {content}".strip(), width - _INDENT), _style(cell))
            if line and _INDENT + line.cell_len + len(_SEPARATOR) + fact.cell_len <= width:
                line = line + _SEPARATOR + fact
                continue
            yield from _indented(line, width)
            line = fact
    yield from _indented(line, width)


def _indented(text: Text, width: int) -> Iterator[Text]:
    for line in _wrap_text(text, width - _INDENT) if text else ():
        yield Text(" " * _INDENT) + line


def _wrap(cell: Cell, width: int) -> list[str]:
    lines = _lines(cell)
    if not _is_text(cell):
        return [shorten(line, width) for line in lines]
    return [line.plain for text in lines for line in _wrap_text(Text(shorten_words(text, width)), width)]


def shorten_words(text: str, width: int) -> str:
    """Shorten each word that is wider than a line, such as an URI."""
    return " ".join(shorten(word, width) for word in text.split(" "))


def _wrap_text(text: Text, width: int) -> Iterator[Text]:
    for line in text.wrap(_PLAIN, width) if text else [Text()]:
        line.rstrip()
        yield line
