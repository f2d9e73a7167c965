"""Executions, as people see them."""

from datetime import datetime

from custody.executions.listing import ExecutionRow
from custody.executions.timeline import first_line
from custody.terminal import console
from custody.terminal.text import plural
from custody.terminal.times import took
from custody.views.trace import format_items, status_colour

_WIDEST_ERROR = 120
"""How many characters of an error and its cause are shown; `--json` has all."""


def executions(rows: list[ExecutionRow]) -> None:
    """Show executions."""
    table = console.table("started (UTC)", "object", "status", "attempt", "took", "records", "chunks", "why")
    for row in rows:
        error = ": ".join(filter(None, (row.error, first_line(row.cause))))
        table.add(
            f"{datetime.fromisoformat(row.started_at):%Y-%m-%d %H:%M:%S}",
            row.key or row.name,
            (row.status, status_colour(row.status)),
            f"{row.attempt} ({plural(row.redrives, 'redrive')})" if row.redrives else row.attempt,
            took(row.seconds),
            [_records(row)],
            [_chunks(row)],
            [error if len(error) <= _WIDEST_ERROR else f"{error[: _WIDEST_ERROR - 1]}…"],
        )
    console.print_rows(table, title=3, command=("custody trace", 1))


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
