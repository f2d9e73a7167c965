"""The one console: tables and progress for people, JSON for programs; plain text when the output is not a terminal."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from textwrap import wrap
from typing import Any, TypeVar

from msgspec import to_builtins
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.spinner import Spinner
from rich.text import Text

from custody.terminal.tables import Rows, render
from custody.terminal.text import visible
from custody.terminal.times import took

WIDTH_OF_A_PIPE = 1000
SHOWN = 20
"""Rows of a list that are shown before it ends with `and N more`."""

_NAME_WIDTH = 13
"""Columns for the name of a fact."""

_NARROWEST = 20
"""The least width of a text beside the name of a fact."""

_LONG = 2
"""After so many seconds, a spinner shows for how long it has been turning."""

Item = TypeVar("Item")
Kind = TypeVar("Kind")


class Screen(Console):
    """A console that prints text as it is, one line each: no markup, no emoji codes, what is invisible escaped.

    Lines are never broken, so that an id or a command can be copied. `whole` shows names in tables whole, too.
    """

    whole = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, markup=False, emoji=False, highlight=False, soft_wrap=True)
        if not self.is_terminal:
            self.width = WIDTH_OF_A_PIPE

    def render_str(self, text: str, **options: Any) -> Text:
        """Render a line of text."""
        return super().render_str(visible(text), **options)

    def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
        """Render anything, such as styled text: what was not escaped before is escaped here."""
        for segment in super().render(renderable, options):
            text = "\n".join(map(visible, segment.text.split("\n")))
            yield segment if segment.control else segment._replace(text=text)


console = Screen()
stderr = Screen(stderr=True)


def table(*headings: str) -> Rows:
    """Make an empty table."""
    return Rows(*headings)


def print_rows(
    rows: Rows, *, title: int = 1, command: tuple[str, int] | None = None, screen: Screen | None = None
) -> None:
    """Print a table; see tables.render. Prints nothing if there are no rows."""
    if rows:
        screen = screen or console
        for line in render(rows, screen, title, command, whole=console.whole):
            screen.print(line) if isinstance(line, Text) else screen.file.write(f"{line}\n")


def print_line(*parts: str | tuple[str, str]) -> None:
    """Print a line of texts, each with its style if it is a pair."""
    styled = ((part, "") if isinstance(part, str) else part for part in parts)
    console.print(Text.assemble(*((visible(text), style) for text, style in styled)))


def warn(*lines: str) -> None:
    """Print lines to stderr, after everything that was printed to stdout."""
    sys.stdout.flush()
    for line in lines:
        stderr.print(line)


def print_heading(text: str) -> None:
    """Print the heading of a page."""
    print_line((text, "bold"))


def print_fact(name: str, text: str, style: str = "", *, whole: bool = False) -> None:
    """Print a fact of a page beside its name; on a terminal it wraps at words, unless it is one `whole`, as an URI."""
    label = f"  {name:<{_NAME_WIDTH}}"
    for number, line in enumerate([text] if whole else _wrap(text, console, len(label))):
        print_line((" " * len(label) if number else label, "dim"), (line, style))


def print_text(text: str, screen: Screen | None = None) -> None:
    """Print text that nobody needs to copy; on a terminal, it wraps at words."""
    screen = screen or console
    for line in _wrap(text, screen):
        screen.print(line)


def _wrap(text: str, screen: Screen, indent: int = 0) -> list[str]:
    if not screen.is_terminal:
        return [text]
    width = max(screen.width - indent, _NARROWEST)
    # An id stays whole, so that it can be copied.
    return wrap(visible(text), width, break_long_words=False, break_on_hyphens=False) or [""]


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
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=stderr, transient=True, redirect_stdout=False, disable=not stderr.is_terminal
    ) as bar:
        yield from bar.track(items, total, completed, description=description)


def write_json(document: Any) -> None:
    """Print one JSON document: a Struct, or what JSON has."""
    sys.stdout.write(_encode(document, indent=2) + "\n")


def stream_json(name: str, items: Iterable[Any], rest: Callable[[], dict[str, Any]]) -> None:
    """Print `{name: [item, ...], **rest()}` while the items come; `rest` is called after the last one."""
    sys.stdout.write(f'{{"{name}": [')
    for number, item in enumerate(items):
        sys.stdout.write(("," if number else "") + "\n" + _encode(item))
    fields = _encode(rest()).removeprefix("{")
    sys.stdout.write("\n]" + ("" if fields == "}" else ", ") + fields + "\n")


def _encode(document: Any, indent: int | None = None) -> str:
    # DEL is the one control character that JSON need not escape.
    return json.dumps(to_builtins(document), indent=indent).replace("\x7f", "\\u007f")


class _Description:
    """The text beside a spinner, computed anew each time that it is drawn: one line, with the time if it takes long."""

    def __init__(self, describe: Callable[[], str]) -> None:
        self._describe = describe
        self._begun = time.monotonic()

    def __rich__(self) -> Text:
        elapsed = time.monotonic() - self._begun
        text = visible(self._describe())
        return Text(text if elapsed < _LONG else f"{text} ({took(elapsed)})", no_wrap=True, overflow="ellipsis")
