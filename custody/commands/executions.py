"""`custody executions`: what runs and what ran, the newest first."""

import json
import sys
from typing import Annotated

import typer
from rich import box
from rich.table import Column, Table
from rich.text import Text

from custody.audit.reader import AuditReader
from custody.deployment.target import find
from custody.executions.links import Links
from custody.executions.listing import Row, Which, listed
from custody.executions.pipeline import STATUSES, Pipeline
from custody.executions.timeline import sentence
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import AsJson, Aws, Env, Profile, Since, Until, target_of
from custody.terminal.text import visible
from custody.terminal.times import took
from custody.views.trace import colour_of, counted

app = command_app()

_WIDE = 140
"""Columns from which on the table has room: a time, a key, a status, records, chunks and why."""

_ROOM = 20
_WHY = 120
"""Characters of an error and its cause that a table shows, at the least and at the most; `--json` has all."""


def status_of(given: str) -> str:
    """Read what --status takes, in any case; raise typer.BadParameter."""
    found = given.upper().replace("-", "_")
    if found not in STATUSES:
        raise typer.BadParameter(f"{given!r} is none of {', '.join(STATUSES)}")
    return found


@command(
    app,
    "custody executions",
    "custody executions --status failed --limit 5",
    see="custody trace, custody dead-letters",
)
def executions(  # noqa: PLR0913 - one parameter an option
    *,
    status: Annotated[
        str | None, typer.Option(parser=status_of, metavar="STATUS", help=f"Only these: {', '.join(STATUSES)}.")
    ] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    as_json: AsJson = False,
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """List executions, the newest first: of each its object, its status, how long it took, its records, and its error.

    `--since` and `--until` are of when it was started.
    """
    target = target_of(aws, profile)
    deployment = find(target, env)
    audit, pipeline = AuditReader(target.client("s3"), deployment.audit), Pipeline.of(target, deployment)
    listing = listed(pipeline, audit, Which(status, since, until), limit)
    rows = list(console.watched(listing.rows, lambda number: f"{number:,} of {listing.number:,} executions read"))
    if as_json:
        links = Links.of(target, pipeline)
        told = {"executions": [row.encode(links) for row in rows], "more": listing.is_cut}
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
        return
    if not rows:
        when = " of that time" if since or until else ""
        console.console.print(f"no execution{when}" + (f" is {status}" if status else ""))
        return
    _show(rows)
    if listing.is_cut:
        console.stderr.print(f"the newest {len(rows):,}; there are more: add --limit N or --until TIME")


def _show(rows: list[Row]) -> None:
    """Print a table, or a paragraph an execution where a table would be folded beyond reading."""
    width = console.console.width
    if width >= _WIDE:
        # What the facts leave of the line is for why it failed.
        room = width - console.console.measure(_table(rows, 0)).maximum
        console.console.print(_table(rows, min(max(room, _ROOM), _WHY)))
        return
    for row in rows:
        one = row.execution
        parts = (
            f"attempt {_attempt(row)}",
            f"took {took(one.seconds)}",
            _records(row),
            f"chunks {_chunks(row)}" if row.is_bulk and _chunks(row) else "",
        )
        status = Text(one.status, style=colour_of(one.status))
        error = f": {visible(one.error)}" if one.error else ""
        console.console.print(Text.assemble(f"{one.started_at:%Y-%m-%d %H:%M:%S}  ", status, error))
        console.console.print(Text(f"  {visible(row.key or one.name)}"))
        console.console.print(Text(f"  {', '.join(filter(None, parts))}", style="dim"))
        if cause := sentence(one.cause):
            console.console.print(Text("  ") + _cut(visible(cause), width - 2))


def _table(rows: list[Row], room: int) -> Table:
    """Make a table; `room` is how many characters there are for an error and its cause."""
    headings = ("started (UTC)", "object", "status", "attempt", "took", "records", "chunks")
    columns = [Column(heading, overflow="fold") for heading in headings]
    columns.append(Column("why", no_wrap=True, min_width=min(room, _ROOM)))
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for row in rows:
        one = row.execution
        why = ": ".join(filter(None, (one.error, sentence(one.cause))))
        table.add_row(
            f"{one.started_at:%Y-%m-%d %H:%M:%S}",
            Text(visible(row.key or one.name)),
            Text(one.status, style=colour_of(one.status)),
            _attempt(row),
            took(one.seconds),
            _records(row),
            _chunks(row),
            _cut(visible(why), room),
        )
    return table


def _cut(said: str, room: int) -> Text:
    text = Text(said)
    text.truncate(room, overflow="ellipsis")
    return text


def _attempt(row: Row) -> str:
    one = row.execution
    redrives = f"{one.redrives} redrive{'' if one.redrives == 1 else 's'}"
    return f"{one.attempt} ({redrives})" if one.redrives else str(one.attempt)


def _records(row: Row) -> str:
    counts = row.counts
    if not counts:
        return ""
    rejected = f", {counts['rejected']:,} rejected" if counts["rejected"] else ""
    return f"{counts['received']:,} in, {counts['written']:,} out{rejected}"


def _chunks(row: Row) -> str:
    """Count the chunks by what is committed of them or, before that is known, by how their runs went."""
    if row.chunks:
        return counted(row.chunks)
    return counted(row.runs, "run") if row.runs else ""
