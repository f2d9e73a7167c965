"""Executions, as people see them."""

from datetime import datetime

from rich.table import Column, Table
from rich.text import Text

from custody.executions.listing import ExecutionRow
from custody.executions.timeline import first_line
from custody.terminal import console
from custody.terminal.text import plural, visible
from custody.terminal.times import took
from custody.views.trace import format_items, status_colour

_NARROWEST_ERROR = 20
_WIDEST_ERROR = 120
"""How many characters of an error and its cause are shown; `--json` has all."""


def executions(rows: list[ExecutionRow]) -> None:
    """Show executions; in a table, the error takes what the other columns leave."""
    room = console.console.width - console.console.measure(_table(rows, 0)).maximum
    width = min(room, _WIDEST_ERROR) if room >= _NARROWEST_ERROR else _WIDEST_ERROR
    console.print_rows(_table(rows, width), title=3)


def _table(rows: list[ExecutionRow], room: int) -> Table:
    """Build the table, with `room` characters for an error and its cause."""
    why = Column("why", no_wrap=True, min_width=min(room, _NARROWEST_ERROR))
    table = console.table("started (UTC)", "object", "status", "attempt", "took", "records", "chunks", why)
    table.collapse_padding = True
    for row in rows:
        error = Text(visible(": ".join(filter(None, (row.error, first_line(row.cause))))))
        error.truncate(room, overflow="ellipsis")
        table.add(
            f"{datetime.fromisoformat(row.started_at):%Y-%m-%d %H:%M:%S}",
            row.key or row.name,
            (row.status, status_colour(row.status)),
            f"{row.attempt} ({plural(row.redrives, 'redrive')})" if row.redrives else row.attempt,
            took(row.seconds),
            _records(row),
            _chunks(row),
            error,
        )
    return table


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
