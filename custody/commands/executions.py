"""`custody executions`: what runs and what ran, the newest first."""

import json
import sys
from typing import Annotated

import typer
from rich import box
from rich.table import Column, Table
from rich.text import Text

from custody import show
from custody.books import Books
from custody.executions import STATUSES, Pipeline
from custody.options import AsJson, Aws, Env, Profile, target_of
from custody.pointing import visible
from custody.running import Row, listed
from custody.target import find

_COLOURS = {"SUCCEEDED": "green", "RUNNING": "yellow", "PENDING_REDRIVE": "yellow"}
_STATES = {"timedOut": "timed out"}
_WIDE = 140
"""Columns from which on the table has room: a time, a key, a status, records and chunks."""

_MINUTE = 60
_HOUR = 3600


def status_of(given: str) -> str:
    """Read what --status takes, in any case; raise typer.BadParameter."""
    found = given.upper().replace("-", "_")
    if found not in STATUSES:
        raise typer.BadParameter(f"{given!r} is none of {', '.join(STATUSES)}")
    return found


def executions(  # noqa: PLR0913 - one parameter an option
    *,
    status: Annotated[
        str | None, typer.Option(parser=status_of, metavar="STATUS", help=f"Only these: {', '.join(STATUSES)}.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    as_json: AsJson = False,
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """List executions, the newest first: of each its object, its status, how long it took, and its records."""
    target = target_of(aws, profile)
    deployment = find(target, env)
    books, pipeline = Books(target.client("s3"), deployment.audit), Pipeline.of(target, deployment)
    rows = list(listed(pipeline, books, status, limit))
    if as_json:
        sys.stdout.write(json.dumps({"executions": [row.encode() for row in rows]}, indent=2) + "\n")
        return
    if rows:
        _show(rows)
    else:
        show.console.print("no execution" if status is None else f"no execution is {status}")


def _show(rows: list[Row]) -> None:
    """Print a table, or a paragraph an execution where a table would be folded beyond reading."""
    if show.console.width >= _WIDE:
        show.console.print(_table(rows))
        return
    for row in rows:
        one = row.execution
        parts = (
            f"attempt {_attempt(row)}",
            f"took {_took(row.seconds)}",
            _records(row),
            f"chunks {_chunks(row)}" if row.is_bulk and _chunks(row) else "",
        )
        status = Text(one.status, style=_COLOURS.get(one.status, "red"))
        error = f": {visible(one.error)}" if one.error else ""
        show.console.print(Text.assemble(f"{one.started_at:%Y-%m-%d %H:%M:%S}  ", status, error))
        show.console.print(Text(f"  {visible(row.key or one.name)}"))
        show.console.print(Text(f"  {', '.join(filter(None, parts))}", style="dim"))


def _table(rows: list[Row]) -> Table:
    headings = ("started (UTC)", "object", "status", "attempt", "took", "records", "chunks", "error")
    table = Table(*(Column(heading, overflow="fold") for heading in headings), box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        one = row.execution
        table.add_row(
            f"{one.started_at:%Y-%m-%d %H:%M:%S}",
            Text(visible(row.key or one.name)),
            Text(one.status, style=_COLOURS.get(one.status, "red")),
            _attempt(row),
            _took(row.seconds),
            _records(row),
            _chunks(row),
            Text(visible(one.error or "")),
        )
    return table


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
    """Count the chunks by what is booked of them or, before that is known, by how their runs went."""
    counted = row.chunks or row.runs
    if not counted:
        return ""
    told = ", ".join(
        f"{number:,} {_STATES.get(name, name)}" for name, number in counted.items() if name != "total" and number
    )
    total = f"{counted['total']:,}" if row.chunks else f"{counted['total']:,} run{'' if counted['total'] == 1 else 's'}"
    return f"{total}: {told}" if told else total


def _took(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:.0f} s"
    return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:.0f} min"
