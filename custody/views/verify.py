"""The verdicts of a verification, as people see them."""

from collections import Counter
from collections.abc import Iterable

from custody.assurance.findings import ObjectVerdict, Result
from custody.terminal import console
from custody.terminal.text import plural

SHOWN = 50
"""Up to this many objects all are shown; of more, only those that do not hold."""

_COLOURS = {Result.HOLDS: "green", Result.EXPIRED: "yellow", Result.BROKEN: "bold red"}
_NAMES = {Result.HOLDS: "hold", Result.EXPIRED: "expired", Result.BROKEN: "broken"}


def verdicts(checked: Iterable[ObjectVerdict]) -> None:
    """Show verdicts in a table."""
    shown: list[ObjectVerdict] = []
    for number, verdict in enumerate(checked, 1):
        if number == SHOWN + 1:
            shown = [each for each in shown if each.result is not Result.HOLDS]
        if number <= SHOWN or verdict.result is not Result.HOLDS:
            shown.append(verdict)
    table = console.table("object", "result", "records", "where")
    for verdict in shown:
        table.add(verdict.object, (verdict.result, _COLOURS[verdict.result]), verdict.records, list(verdict.where))
    console.print_rows(table, command=("custody verify", 0))


def format_counts(counts: Counter[Result]) -> str:
    """Format the number of objects by result."""
    return f"{plural(counts.total(), 'object')}: " + ", ".join(f"{counts[each]:,} {_NAMES[each]}" for each in _NAMES)
