"""The one console: tables and progress for people, JSON for programs; plain text when the output is not a terminal."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from msgspec import to_builtins
from rich import box
from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.spinner import Spinner
from rich.table import Column, Table
from rich.text import Text

from custody.terminal.text import visible

WIDTH_OF_A_PIPE = 1000
SHOWN = 20
"""Rows of a list that are shown before it ends with `and N more`."""

_NAME_WIDTH = 13
"""Columns for the name of a fact."""

console = Console(highlight=False)
if not console.is_terminal:
    console = Console(highlight=False, width=WIDTH_OF_A_PIPE)
stderr = Console(stderr=True, highlight=False)

Item = TypeVar("Item")
Kind = TypeVar("Kind")


class Rows(Table):
    """A table with rows of text."""

    def add(self, *cells: "str | int | tuple[str, str] | Text") -> None:
        """Add a row; a cell is shown as it is, with its style if it is a pair."""
        row: list[Text] = []
        for cell in cells:
            text, style = cell if isinstance(cell, tuple) else (cell, "")
            if not isinstance(text, Text):
                text = Text(f"{text:,}" if isinstance(text, int) else visible(text), style)
            row.append(text)
        self.add_row(*row)


def table(*headings: str | Column) -> Rows:
    """Make an empty table whose cells fold where the terminal is too narrow."""
    columns = (heading if isinstance(heading, Column) else Column(heading, overflow="fold") for heading in headings)
    return Rows(*columns, box=box.SIMPLE_HEAD, pad_edge=False)


def print_rows(rows: Table, title: int = 1) -> None:
    """Print a table or, where the terminal is too narrow, a paragraph per row: its first cells, then facts by heading.

    All cells are Text. Prints nothing if there are no rows.
    """
    if not rows.row_count:
        return
    wide = console.options.update(width=WIDTH_OF_A_PIPE)
    if console.measure(rows, options=wide).maximum <= console.width:
        console.print(rows)
        return
    for row in zip(*(column.cells for column in rows.columns), strict=True):
        named = list(zip((f"{column.header}" for column in rows.columns), row, strict=True))[title:]
        facts = [Text.assemble((f"{name} " if name else "", "dim"), cell) for name, cell in named if cell]
        console.print(Text("  ").join(row[:title]), soft_wrap=True)
        console.print(Padding.indent(Text(", ").join(facts), 2))


def warn(message: str) -> None:
    """Print a line to stderr, as it is."""
    stderr.print(message, soft_wrap=True, markup=False)


def print_heading(text: str) -> None:
    """Print the heading of a page, as it is."""
    console.print(Text(visible(text), style="bold"), soft_wrap=True)


def print_fact(name: str, text: str, style: str = "") -> None:
    """Print a fact of a page beside its name, as it is."""
    console.print(Text.assemble((f"  {name:<{_NAME_WIDTH}}", "dim"), (visible(text), style)), soft_wrap=True)


def progress(describe: Callable[[], str]) -> AbstractContextManager[object]:
    """Show a spinner on a terminal while the block runs; `describe` is called in a thread each time it is drawn."""
    if not stderr.is_terminal:
        return nullcontext()
    # What is written to stdout meanwhile must stay there, so nothing is redirected.
    spinner = Spinner("dots", _Description(describe))
    return Live(spinner, console=stderr, refresh_per_second=12, transient=True, redirect_stdout=False)


def watched(items: Iterable[Item], describe: Callable[[int], str]) -> Iterator[Item]:
    """Yield items as they come, with a spinner that describes how many there were."""
    number = 0
    with progress(lambda: describe(number)):
        for item in items:
            number += 1
            yield item


def counted(items: Iterable[Item], counts: Counter[Kind], kind: Callable[[Item], Kind]) -> Iterator[Item]:
    """Yield items as they come, and count them by kind."""
    for item in items:
        counts[kind(item)] += 1
        yield item


def tracked(items: Iterable[Item], description: str, total: int, completed: int = 0) -> Iterator[Item]:
    """Yield items as they come, with a progress bar on a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=stderr, transient=True, redirect_stdout=False, disable=not stderr.is_terminal
    ) as bar:
        yield from bar.track(items, total, completed, description=description)


def write_json(document: Any) -> None:
    """Print one JSON document: a Struct, or what JSON has."""
    sys.stdout.write(json.dumps(to_builtins(document), indent=2) + "\n")


def stream_json(name: str, items: Iterable[Any], rest: Callable[[], dict[str, Any]]) -> None:
    """Print `{name: [item, ...], **rest()}` while the items come; `rest` is called after the last one."""
    sys.stdout.write(f'{{"{name}": [')
    for number, item in enumerate(items):
        sys.stdout.write(("," if number else "") + "\n" + json.dumps(to_builtins(item)))
    fields = json.dumps(rest()).removeprefix("{")
    sys.stdout.write("\n]" + ("" if fields == "}" else ", ") + fields + "\n")


class _Description:
    """The text beside a spinner, computed anew each time that it is drawn."""

    def __init__(self, describe: Callable[[], str]) -> None:
        self._describe = describe

    def __rich__(self) -> Text:
        return Text(self._describe())
