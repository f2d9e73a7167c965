"""Tables for people; plain text when the output is no terminal."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from custody.ingest.outcome import ObjectOutcome
from custody.views.excerpt import visible
from functions.shared.model.messages import Violation

WIDTH_OF_A_PIPE = 1000
SHOWN = 20
"""How many rejected records of a dead letter are shown; the ledger has all."""

SHOWN_OF_EACH = 10
"""How many rejected records of each object are shown where there are several."""

console = Console(highlight=False)
if not console.is_terminal:
    console = Console(highlight=False, width=WIDTH_OF_A_PIPE)
stderr = Console(stderr=True, highlight=False)

Item = TypeVar("Item")

_COLOURS = {"written": "green", "rejected": "red", "no outcome": "bold red", "no records": "green"}


def watched(items: Iterable[Item], say: Callable[[int], str]) -> Iterator[Item]:
    """Give items as they come, and tell a terminal how far it is, also while the first one is waited for.

    `say` is given their number, several times a second, in a thread of its own.
    """
    if not stderr.is_terminal:
        yield from items
        return
    saying = _Saying(say)
    with stderr.status(saying):
        for item in items:
            saying.number += 1
            yield item


class _Saying:
    """What is said beside a spinner, asked for anew each time that it is drawn."""

    def __init__(self, say: Callable[[int], str]) -> None:
        self.number = 0
        self._say = say

    def __rich__(self) -> Text:
        return Text(self._say(self.number))


def fates(found: Iterable[ObjectOutcome]) -> None:
    """Show what became of each record, all that it breaks, and where it is; of large objects the counts, and a few."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("object", "record", "outcome", "why, or where it is"):
        table.add_column(heading, overflow="fold")
    large = []
    for fate in found:
        for row in _rows(fate):
            colour = _COLOURS[row[1]]
            table.add_row(escape(visible(fate.sent.raw.key)), row[0], f"[{colour}]{row[1]}[/]", escape(row[2]))
        if fate.counts and (fate.is_large or fate.sent.chunks is not None):
            large.append(fate)
    console.print(table)
    if large:
        console.print(_counts(large))


def _rows(fate: ObjectOutcome) -> Iterable[tuple[str, str, str]]:
    counts = fate.counts
    if counts and counts.written:
        yield _written(fate, counts.written), "written", _where(fate)
    rejected = [record for record in fate.records if record["outcome"] == "rejected"]
    for record in rejected[:SHOWN_OF_EACH]:
        yield record["record"], "rejected", _why(record)
    if counts and (more := counts.rejected - min(len(rejected), SHOWN_OF_EACH)):
        command = "trace" if fate.sent.chunks is not None else "dead-letters show"
        yield f"{more:,} more", "rejected", f"see: custody {command} {fate.sent.raw.id}"
    if fate.chunks and fate.chunks["failed"]:
        failed = f"{fate.chunks['failed']:,} of {fate.chunks['total']:,} chunks"
        yield (
            failed,
            "no outcome",
            f"see: custody trace {fate.sent.raw.id}; redrive: custody redrive {fate.sent.raw.id}",
        )
    elif not fate.is_accounted_for:
        yield fate.sent.raw.id, "no outcome", _without_outcome(fate)
    elif not counts or not counts.received:
        yield "none", "no records", "the object holds none"


def _without_outcome(fate: ObjectOutcome) -> str:
    """Say how an execution ended, or that it has not; and where to see more."""
    told = " ".join(filter(None, (fate.status, fate.error)))
    said = f"{told}: {fate.cause}" if fate.cause else told
    if fate.dead_letter:
        return f"{said}; dead letter: {fate.dead_letter}"
    return said if fate.has_ended else f"{said}; see: custody trace {fate.sent.raw.id}"


def _written(fate: ObjectOutcome, number: int) -> str:
    if number > 1:
        return f"{number:,} records"
    return next((record["record"] for record in fate.records if record["outcome"] == "written"), "1 record")


def _where(fate: ObjectOutcome) -> str:
    if fate.output:
        return f"s3://{fate.output['bucket']}/{fate.output['key']}"
    return f"an object a chunk: custody trace {fate.sent.raw.id}"


def _counts(found: Iterable[ObjectOutcome]) -> Table:
    """Sum up objects of many records."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("object", "received", "written", "rejected", "chunks committed"):
        table.add_column(heading, justify="left" if heading == "object" else "right", overflow="fold")
    for fate in found:
        numbers = (fate.counts.received, fate.counts.written, fate.counts.rejected) if fate.counts else (0, 0, 0)
        chunks = f"{fate.committed:,} of {fate.sent.chunks:,}" if fate.sent.chunks is not None else ""
        if fate.chunks:
            chunks = f"{fate.chunks['committed']:,} of {fate.chunks['total']:,}"
        table.add_row(escape(visible(fate.sent.raw.key)), *(f"{number:,}" for number in numbers), chunks)
    return table


def _why(record: dict[str, Any]) -> str:
    return "\n".join(str(Violation(**violation)) for violation in record["violations"])
