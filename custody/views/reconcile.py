"""Reconciled objects, as people see them."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC

from custody.assurance.reconcile import ReconciledObject, State
from custody.terminal import console
from custody.terminal.text import plural

_BLOCK = 500
"""The rows of a table when all are shown, so that no more are held in memory."""

_COLOURS = {State.REJECTED: "red", State.FAILED: "red", State.IN_FLIGHT: "yellow", State.MISSING: "bold red"}


def objects(unwritten: Iterable[ReconciledObject], limit: int | None) -> int:
    """Show objects in tables, up to a limit, and return how many were shown."""
    headings = "object", "arrived (UTC)", "state", "why", "id"
    shown, rows = 0, console.table(*headings)
    for each in unwritten:
        if limit is None and len(rows) == _BLOCK:
            console.print_rows(rows, command=("custody trace", 4))
            rows = console.table(*headings)
        if limit is None or shown < limit:
            raw, at = each.object, each.last_modified.astimezone(UTC)
            why = f"{each.why}; started as {each.started}" if each.started else each.why
            rows.add(raw.key, f"{at:%Y-%m-%d %H:%M}", (each.state, _COLOURS[each.state]), [why], raw.id)
            shown += 1
    console.print_rows(rows, command=("custody trace", 4))
    return shown


def format_counts(counts: Counter[State]) -> str:
    """Format the number of objects by state."""
    return f"{plural(counts.total(), 'object')}: " + ", ".join(f"{counts[state]:,} {state}" for state in State)
