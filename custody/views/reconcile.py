"""Reconciled objects, as people see them."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC

from rich.table import Table
from rich.text import Text

from custody.assurance.reconcile import Reconciled, State
from custody.terminal import console
from custody.terminal.text import plural, visible

_BLOCK = 500
"""The rows of a table when all are shown, so that no more are held in memory."""

_COLOURS = {State.REJECTED: "red", State.FAILED: "red", State.IN_FLIGHT: "yellow", State.MISSING: "bold red"}


def objects(unwritten: Iterable[Reconciled], limit: int | None) -> int:
    """Show objects in tables, up to a limit, and return how many were shown."""
    shown = 0
    rows: list[Reconciled] = []
    for reconciled in unwritten:
        if limit is None and len(rows) == _BLOCK:
            console.console.print(_table(rows))
            rows = []
        if limit is None or shown < limit:
            rows.append(reconciled)
            shown += 1
    if rows:
        console.console.print(_table(rows))
    return shown


def format_counts(counts: Counter[State]) -> str:
    """Format the number of objects by state."""
    return f"{plural(counts.total(), 'object')}: " + ", ".join(f"{counts[state]:,} {state}" for state in State)


def _table(rows: list[Reconciled]) -> Table:
    table = console.table("object", "arrived (UTC)", "state", "why", "id")
    for row in rows:
        raw, at = row.arrival.raw, row.arrival.at.astimezone(UTC)
        why = f"{row.why}; started as {row.started}" if row.started else row.why
        state = Text(row.state, style=_COLOURS[row.state])
        table.add_row(Text(visible(raw.key)), f"{at:%Y-%m-%d %H:%M}", state, Text(why), raw.id)
    return table
