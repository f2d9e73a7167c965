"""The outcome of uploads, as a table: a row per record, and a row per object for large ones."""

from collections.abc import Iterable
from typing import Any

from rich.markup import escape
from rich.table import Table

from custody.ingest.outcome import ObjectOutcome
from custody.terminal.console import console, table
from custody.terminal.text import visible
from functions.shared.model.messages import Violation

SHOWN_OF_EACH = 10
"""Rejected records shown per object."""

_COLOURS = {"written": "green", "rejected": "red", "no outcome": "bold red", "no records": "green"}


def outcomes(found: Iterable[ObjectOutcome]) -> None:
    """Show what became of each record, all that it breaks, and where it is; of large objects the counts, and a few."""
    rows = table("object", "record", "outcome", "why, or where it is")
    large = []
    for outcome in found:
        for row in _rows(outcome):
            colour = _COLOURS[row[1]]
            rows.add_row(escape(visible(outcome.sent.raw.key)), row[0], f"[{colour}]{row[1]}[/]", escape(row[2]))
        if outcome.counts and (outcome.is_large or outcome.sent.chunks is not None):
            large.append(outcome)
    console.print(rows)
    if large:
        console.print(_counts(large))


def _rows(outcome: ObjectOutcome) -> Iterable[tuple[str, str, str]]:
    counts = outcome.counts
    if counts and counts.written:
        yield _written(outcome, counts.written), "written", _where(outcome)
    rejected = [record for record in outcome.records if record["outcome"] == "rejected"]
    for record in rejected[:SHOWN_OF_EACH]:
        yield record["record"], "rejected", _why(record)
    if counts and (more := counts.rejected - min(len(rejected), SHOWN_OF_EACH)):
        command = "trace" if outcome.sent.chunks is not None else "dead-letters show"
        yield f"{more:,} more", "rejected", f"see: custody {command} {outcome.sent.raw.id}"
    if outcome.chunks and outcome.chunks["failed"]:
        failed = f"{outcome.chunks['failed']:,} of {outcome.chunks['total']:,} chunks"
        yield (
            failed,
            "no outcome",
            f"see: custody trace {outcome.sent.raw.id}; redrive: custody redrive {outcome.sent.raw.id}",
        )
    elif not outcome.is_accounted_for:
        yield outcome.sent.raw.id, "no outcome", _without_outcome(outcome)
    elif not counts or not counts.received:
        yield "none", "no records", "the object holds none"


def _without_outcome(outcome: ObjectOutcome) -> str:
    """Say how an execution ended, or that it has not; and where to see more."""
    told = " ".join(filter(None, (outcome.status, outcome.error)))
    said = f"{told}: {outcome.cause}" if outcome.cause else told
    if outcome.dead_letter:
        return f"{said}; dead letter: {outcome.dead_letter}"
    return said if outcome.has_ended else f"{said}; see: custody trace {outcome.sent.raw.id}"


def _written(outcome: ObjectOutcome, number: int) -> str:
    if number > 1:
        return f"{number:,} records"
    return next((record["record"] for record in outcome.records if record["outcome"] == "written"), "1 record")


def _where(outcome: ObjectOutcome) -> str:
    if outcome.output:
        return f"s3://{outcome.output['bucket']}/{outcome.output['key']}"
    return f"an object a chunk: custody trace {outcome.sent.raw.id}"


def _counts(found: Iterable[ObjectOutcome]) -> Table:
    """Sum up objects of many records."""
    rows = table("object", "received", "written", "rejected", "chunks committed")
    for column in rows.columns[1:]:
        column.justify = "right"
    for outcome in found:
        numbers = (
            (outcome.counts.received, outcome.counts.written, outcome.counts.rejected) if outcome.counts else (0, 0, 0)
        )
        chunks = f"{outcome.committed:,} of {outcome.sent.chunks:,}" if outcome.sent.chunks is not None else ""
        if outcome.chunks:
            chunks = f"{outcome.chunks['committed']:,} of {outcome.chunks['total']:,}"
        rows.add_row(escape(visible(outcome.sent.raw.key)), *(f"{number:,}" for number in numbers), chunks)
    return rows


def _why(record: dict[str, Any]) -> str:
    return "\n".join(str(Violation(**violation)) for violation in record["violations"])
