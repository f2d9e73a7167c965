"""`custody executions`: what runs and what ran, the newest first."""

import json
import sys
from typing import Annotated

import typer
from rich import box
from rich.table import Column, Table
from rich.text import Text

from custody import show
from custody.executions import STATUSES, Pipeline
from custody.options import AsJson, Aws, Env, Profile, target_of
from custody.pointing import visible
from custody.running import Row, listed
from custody.target import find

_COLOURS = {"SUCCEEDED": "green", "RUNNING": "yellow", "PENDING_REDRIVE": "yellow"}
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
    pipeline = Pipeline.of(target, find(target, env))
    rows = list(listed(pipeline, status, limit))
    if as_json:
        sys.stdout.write(json.dumps({"executions": [row.encode() for row in rows]}, indent=2) + "\n")
        return
    if rows:
        show.console.print(_table(rows))
    else:
        show.console.print("no execution" if status is None else f"no execution is {status}")


def _table(rows: list[Row]) -> Table:
    headings = ("started (UTC)", "object", "status", "attempt", "took", "records", "chunks", "error")
    table = Table(*(Column(heading, overflow="fold") for heading in headings), box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        one = row.execution
        table.add_row(
            f"{one.started_at:%Y-%m-%d %H:%M:%S}",
            Text(visible(row.key or one.name)),
            Text(one.status, style=_COLOURS.get(one.status, "red")),
            f"{one.attempt} ({one.redrives} redrives)" if one.redrives else str(one.attempt),
            _took(row.seconds),
            _records(row),
            _chunks(row),
            Text(visible(one.error or "")),
        )
    return table


def _records(row: Row) -> str:
    counts = row.counts
    if not counts:
        return ""
    rejected = f", {counts['rejected']:,} rejected" if counts["rejected"] else ""
    return f"{counts['received']:,} in, {counts['written']:,} out{rejected}"


def _chunks(row: Row) -> str:
    if not row.chunks:
        return ""
    told = ", ".join(f"{number:,} {name}" for name, number in row.chunks.items() if name != "total" and number)
    return f"{row.chunks['total']:,}: {told}" if told else f"{row.chunks['total']:,}"


def _took(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:.0f} s"
    return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:.0f} min"
