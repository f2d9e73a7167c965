"""Dead letters as people see them: a table of many, and a page of one."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from custody.audit.dead_letters import Found, Sum, record_bytes
from custody.terminal import console
from custody.terminal.text import visible
from custody.views.excerpt import excerpt, place
from functions.shared.errors import RecordsRejected
from functions.shared.model.keys import DeadLetterKey
from functions.shared.model.ledger import DeadLetter, ListedRecord
from functions.shared.model.records import Violation

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_WIDEST_EXCERPT = 160
_INDENT = " " * 6
_HEADINGS = ("dead_letter", "dataset", "attempt", "step", "error", "records rejected", "since (UTC)", "")


@dataclass(frozen=True)
class Page:
    """What is shown of one dead letter: `uri` is where it lies, `state` says whether it is open, or what closed it.

    `summed` is what it sums up, if it is that of a bulk object.
    """

    dead_letter: DeadLetterKey
    body: DeadLetter
    uri: str
    state: str
    is_open: bool
    has_console: bool
    summed: Sum | None = None


def table(found: Iterable[Found]) -> int:
    """Show a table, or two lines a dead letter where the terminal is too narrow for one; return how many dead letters."""
    rows = Table(*_HEADINGS, box=box.SIMPLE_HEAD, pad_edge=False)
    for each in found:
        rows.add_row(*_row(each))
    wide = console.console.options.update(width=console.WIDTH_OF_A_PIPE)
    if rows.row_count and console.console.measure(rows, options=wide).maximum <= console.console.width:
        console.console.print(rows)
        return rows.row_count
    for row in zip(*([*column.cells] for column in rows.columns), strict=True):
        dead_letter, *facts, state = row
        named = [Text.assemble((f"{name} ", "dim"), fact) for name, fact in zip(_HEADINGS[1:], facts, strict=False)]
        console.console.print(dead_letter, soft_wrap=True)
        console.console.print(Text("  ").append_text(Text(", ").join([state, *named])), soft_wrap=True)
    return rows.row_count


def page(shown: Page) -> None:
    """Show the facts of a dead letter."""
    dead_letter, body = shown.dead_letter, shown.body
    raw = body.raw
    execution = body.execution
    facts = {
        "what": f"{body.error} at {body.step}, attempt {body.attempt}, on {body.recorded_at}",
        "cause": body.cause,
        "advice": body.advice,
        "state": shown.state,
        "object": f"{raw.uri} ({raw.size:,} bytes)",
        "records": _summed(shown.summed) if shown.summed else _records(body),
        "contract": body.contract or (None if shown.summed else "not known: the batch was not read"),
        "code": ", ".join(f"{stage} {version}" for stage, version in body.code.items()) or "not known",
        "execution": execution.arn,
        "console": execution.console if shown.has_console else None,
        "part of": body.parent,
        "redrive of": body.redrive_of,
        "resumes at": body.resumes_at,
        "dead_letter": shown.uri,
    }
    console.console.print(Text(dead_letter.id, style="bold"), soft_wrap=True)
    styles = {"what": "red", "state": "bold yellow" if shown.is_open else "green"}
    for name, fact in facts.items():
        if fact:
            line = Text.assemble((f"  {name:<11}", "dim"), (visible(str(fact)), styles.get(name, "")))
            console.console.print(line, soft_wrap=True)


def record(s3: "S3Client", body: DeadLetter, rejected: ListedRecord) -> None:
    """Show what a record breaks, each violation with the place in the bytes that it is about."""
    where = f"  at {visible(rejected.stage)}; {rejected.length:,} bytes at byte {rejected.offset:,} of the object"
    console.console.print(Text.assemble("\n", (visible(rejected.record), "bold"), (where, "dim")), soft_wrap=True)
    content = record_bytes(s3, body.raw, rejected)
    if content is None:
        console.console.print("    the raw version is gone, so its bytes cannot be shown", style="yellow")
    elif sha256(content).hexdigest() != rejected.sha256:
        console.console.print(
            "    the bytes there now are not those that were rejected: their hash differs", style="red"
        )
    for violation in rejected.violations:
        console.console.print(Text(f"    {visible(str(violation))}", style="red"), soft_wrap=True)
        if content is not None:
            _print_place(content, violation)


def count_of_rejected(body: DeadLetter) -> int | None:
    """Count the rejected records, if it is these that the dead letter is about; None if it is about the whole batch.

    None also if it sums up the chunks of an object: their own dead-letters list them.
    """
    is_known = body.error == RecordsRejected.__name__ and body.received is not None
    return body.rejected_count if is_known else None


def _records(body: DeadLetter) -> str:
    """Say how many records a batch had, and which part of its object it was."""
    rejected = body.rejected_count or 0
    counts = "not read" if body.received is None else f"{body.received:,} received, {rejected:,} rejected"
    chunk = body.chunk
    return f"{counts} (the chunk of {chunk.bytes:,} bytes that begins at byte {chunk.start:,})" if chunk else counts


def _summed(summed: Sum) -> str:
    """Say how many records all the chunks of an object had."""
    counts, chunks = summed.counts, summed.chunks
    if counts is None or chunks is None:
        return "not counted: the summary of the object cannot be read"
    failed = f", of which {chunks.failed:,} failed" if chunks.failed else ""
    return (
        f"{counts.received:,} received, {counts.written:,} written, {counts.rejected:,} rejected "
        f"({chunks.total:,} chunks{failed})"
    )


def _row(found: Found) -> list[Text]:
    body = found.body
    rejected = count_of_rejected(body)
    whole = "whole object" if found.dead_letter.is_of_whole else "whole batch"
    return [
        Text(found.dead_letter.id, style="bold"),
        Text(visible(body.dataset)),
        Text(str(body.attempt)),
        Text(visible(body.step)),
        Text(visible(body.error), style="red"),
        Text(whole if rejected is None else f"{rejected:,} of {body.received:,}"),
        Text(_minute(body.recorded_at)),
        _state(is_open=found.is_open),
    ]


def _state(*, is_open: bool) -> Text:
    return Text("open", style="bold yellow") if is_open else Text("closed", style="green")


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")


def _print_place(content: bytes, violation: Violation) -> None:
    """Print the line of a record that a violation is about: the place stands out, or has a marker beneath it."""
    width = min(_WIDEST_EXCERPT, console.console.width - len(_INDENT) - 2)
    found = excerpt(*place(content, violation), width)
    marked = found.marked or " "
    line = Text.assemble(_INDENT, (found.before, "dim"), (marked, "bold red underline"), (found.after, "dim"))
    console.console.print(line, soft_wrap=True)
    if not console.console.is_terminal:
        console.console.print(_INDENT + " " * cell_len(found.before) + "^" * cell_len(marked), soft_wrap=True)
