"""Tables for people; plain text when the output is no terminal."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from custody.following import Fate
from custody.pointing import visible
from functions.shared.messages import Violation

WIDTH_OF_A_PIPE = 1000
SHOWN = 20
"""How many rejected records of an object are shown; the ledger has all."""

console = Console(highlight=False)
if not console.is_terminal:
    console = Console(highlight=False, width=WIDTH_OF_A_PIPE)
stderr = Console(stderr=True, highlight=False)

_SOON = 1.0
"""Seconds after which a terminal is told how far something is."""

Item = TypeVar("Item")

_COLOURS = {"written": "green", "rejected": "red", "no outcome": "bold red", "no records": "green"}


def watched(items: Iterable[Item], say: Callable[[int], str]) -> Iterator[Item]:
    """Give items as they come and, if that takes long, tell a terminal how far it is; `say` is given their number."""
    begun = time.monotonic()
    spinner = stderr.status("")
    try:
        for number, item in enumerate(items, 1):
            if stderr.is_terminal and time.monotonic() - begun > _SOON:
                spinner.update(say(number))
                spinner.start()
            yield item
    finally:
        spinner.stop()


def fates(found: Iterable[Fate]) -> None:
    """Show what became of each record, all that it breaks, and where it is."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("object", "record", "outcome", "why, or where it is"):
        table.add_column(heading, overflow="fold")
    for fate in found:
        for row in _rows(fate):
            colour = _COLOURS[row[1]]
            table.add_row(escape(visible(fate.sent.raw.key)), row[0], f"[{colour}]{row[1]}[/]", escape(row[2]))
    console.print(table)


def _rows(fate: Fate) -> Iterable[tuple[str, str, str]]:
    where = f"s3://{fate.output['bucket']}/{fate.output['key']}" if fate.output else ""
    written = [record for record in fate.records if record["outcome"] == "written"]
    rejected = [record for record in fate.records if record["outcome"] == "rejected"]
    if written:
        several = f"{len(written)} records" if len(written) > 1 else written[0]["record"]
        yield several, "written", where
    for record in rejected[:SHOWN]:
        yield record["record"], "rejected", _why(record)
    if len(rejected) > SHOWN:
        yield f"{len(rejected) - SHOWN} more", "rejected", f"see {fate.letter}"
    if not fate.records:
        if fate.status == "SUCCEEDED":
            yield "none", "no records", "the object holds none"
        else:
            letter = f"; letter: {fate.letter}" if fate.letter else ""
            yield fate.sent.raw.id, "no outcome", f"{fate.status} {fate.error or ''}: {fate.cause or ''}{letter}"


def _why(record: dict[str, Any]) -> str:
    return "\n".join(str(Violation(**violation)) for violation in record["violations"])
