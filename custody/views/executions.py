"""Executions, as people see them: a table, or a paragraph each where a table would not fit."""

from datetime import datetime

from rich.table import Column, Table
from rich.text import Text

from custody.executions.listing import ExecutionRow
from custody.executions.timeline import first_line
from custody.terminal import console
from custody.terminal.text import plural, visible
from custody.terminal.times import took
from custody.views.trace import format_items, status_colour

_WIDE = 140
"""The narrowest terminal, in columns, that has room for the table."""

_NARROWEST_ERROR = 20
_WIDEST_ERROR = 120
"""How many characters of an error and its cause the table shows; `--json` has all."""


def executions(rows: list[ExecutionRow]) -> None:
    """Show executions."""
    width = console.console.width
    if width < _WIDE:
        for row in rows:
            _print_paragraph(row, width)
        return
    # The error takes what the other columns leave.
    room = width - console.console.measure(_table(rows, 0)).maximum
    console.console.print(_table(rows, min(max(room, _NARROWEST_ERROR), _WIDEST_ERROR)))


def _print_paragraph(row: ExecutionRow, width: int) -> None:
    status = Text(row.status, style=status_colour(row.status))
    error = f": {visible(row.error)}" if row.error else ""
    chunks = _chunks(row)
    facts = (
        f"attempt {_attempt(row)}",
        f"took {took(row.seconds)}",
        _records(row),
        f"chunks {chunks}" if chunks else "",
    )
    console.console.print(Text.assemble(f"{_started(row)}  ", status, error))
    console.console.print(Text(f"  {visible(row.key or row.name)}"))
    console.console.print(Text(f"  {', '.join(filter(None, facts))}", style="dim"))
    if cause := first_line(row.cause):
        console.console.print(Text("  ") + _truncated(visible(cause), width - 2))


def _table(rows: list[ExecutionRow], room: int) -> Table:
    """Build the table, with `room` characters for an error and its cause."""
    why = Column("why", no_wrap=True, min_width=min(room, _NARROWEST_ERROR))
    table = console.table("started (UTC)", "object", "status", "attempt", "took", "records", "chunks", why)
    table.collapse_padding = True
    for row in rows:
        table.add_row(
            _started(row),
            Text(visible(row.key or row.name)),
            Text(row.status, style=status_colour(row.status)),
            _attempt(row),
            took(row.seconds),
            _records(row),
            _chunks(row),
            _truncated(visible(": ".join(filter(None, (row.error, first_line(row.cause))))), room),
        )
    return table


def _truncated(text: str, room: int) -> Text:
    truncated = Text(text)
    truncated.truncate(room, overflow="ellipsis")
    return truncated


def _started(row: ExecutionRow) -> str:
    return f"{datetime.fromisoformat(row.started_at):%Y-%m-%d %H:%M:%S}"


def _attempt(row: ExecutionRow) -> str:
    return f"{row.attempt} ({plural(row.redrives, 'redrive')})" if row.redrives else str(row.attempt)


def _records(row: ExecutionRow) -> str:
    if not row.counts:
        return ""
    rejected = f", {row.counts.rejected:,} rejected" if row.counts.rejected else ""
    return f"{row.counts.received:,} in, {row.counts.written:,} out{rejected}"


def _chunks(row: ExecutionRow) -> str:
    """Count the committed chunks or, before the object is summarized, the runs of its chunks."""
    if row.chunks:
        return format_items(row.chunks)
    return format_items(row.runs, "run") if row.runs else ""
