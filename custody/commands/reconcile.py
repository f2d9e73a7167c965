"""`custody reconcile`: what became of every object that arrived, and a start for those that were forgotten."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich import box
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Column, Table
from rich.text import Text

from custody.assurance.reconcile import Reconciled, Reconciler, State
from custody.audit.reader import AuditReader
from custody.deployment.target import find
from custody.errors import ALL_WRITTEN, SOME_WITHOUT_OUTCOME
from custody.executions.pipeline import Pipeline
from custody.ingest.raw_versions import ArrivalFilter, arrivals
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import AsJson, Aws, Env, Profile, Since, Until, age, target_of
from custody.terminal.text import visible

app = command_app()

SHOWN = 50
"""Objects in the table, unless all are asked for."""

_BLOCK = 500
"""Rows of a table that are laid out together when all are shown, so that no more are held."""

_COLOURS = {State.REJECTED: "red", State.FAILED: "red", State.IN_FLIGHT: "yellow", State.MISSING: "bold red"}


@command(
    app,
    "custody reconcile --since 24h",
    "custody reconcile --prefix mission/ --start",
    see="custody verify, custody redrive, docs/runbook.md",
)
def reconcile(  # noqa: PLR0913 - one parameter an option
    *,
    prefix: Annotated[str, typer.Option(help="Only objects whose key begins so.")] = "",
    since: Since = None,
    until: Until = None,
    start: Annotated[bool, typer.Option("--start", help="Start what is missing.")] = False,
    grace: Annotated[
        timedelta, typer.Option(parser=age, metavar="TIME", help="How long an event may be on its way.")
    ] = "5m",  # type: ignore[assignment]  # read by the parser, as if it were given
    show_all: Annotated[bool, typer.Option("--all", help=f"Show all that is not written, not only {SHOWN}.")] = False,
    as_json: AsJson = False,
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """Look at every object version in the raw bucket, and say what became of it: written, or what else.

    For a bucket that was filled before Custody came, or to process all once more, take `custody backfill`.

    `--since` and `--until` are of its arrival. Exit code 1: something is missing, and was not started. 0: all else.
    """
    target = target_of(aws, profile)
    deployment = find(target, env)
    s3 = target.client("s3")
    pipeline = Pipeline.of(target, deployment)
    reconciler = Reconciler(AuditReader(s3, deployment.audit), pipeline, datetime.now(UTC) - grace)
    counts: Counter[State] = Counter()
    found = reconciler.run(arrivals(s3, deployment.raw, ArrivalFilter(deployment.within(prefix), since, until)))
    is_in_the_way = console.console.is_terminal and (as_json or show_all)
    live = console.stderr.is_terminal and not is_in_the_way
    unwritten = _unwritten(reconciler, found, counts, start=start, live=live)
    if as_json:
        missing = _print_json(unwritten, counts)
    else:
        missing = _print_tables(unwritten, counts, None if show_all else SHOWN)
    raise typer.Exit(ALL_WRITTEN if missing.left == 0 else SOME_WITHOUT_OUTCOME)


def _unwritten(
    reconciler: Reconciler, found: Iterable[Reconciled], counts: Counter[State], *, start: bool, live: bool
) -> Iterator[Reconciled]:
    """Give what is not written, started if it is missing and shall be; count everything and, if `live`, show that."""
    # What is printed meanwhile shall go where it belongs, so the spinner must not take hold of stdout.
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with Progress(
        *columns, console=console.stderr, transient=True, redirect_stdout=False, disable=not live
    ) as progress:
        task = progress.add_task("looking at objects")
        for one in found:
            counts[one.state] += 1
            progress.update(task, description=_summary(counts))
            if one.state is not State.WRITTEN:
                yield reconciler.start(one) if start and one.state is State.MISSING else one


@dataclass
class _Missing:
    """How many objects are missing, how many of these were started, and how many could be."""

    number: int = 0
    started: int = 0
    startable: int = 0

    @property
    def left(self) -> int:
        """How many are missing still."""
        return self.number - self.started

    def add(self, one: Reconciled) -> None:
        """Count an object, if it is missing."""
        if one.state is State.MISSING:
            self.number += 1
            self.started += one.started is not None
            self.startable += one.started is None and one.is_startable


def _print_json(unwritten: Iterable[Reconciled], counts: Counter[State]) -> _Missing:
    """Print one JSON document while the objects come; count what is missing."""
    missing = _Missing()
    sys.stdout.write('{"objects": [')
    for number, one in enumerate(unwritten):
        missing.add(one)
        sys.stdout.write(("," if number else "") + "\n" + json.dumps(one.encode()))
    sys.stdout.write('\n], "counts": ' + json.dumps({state.value: counts[state] for state in State}) + "}\n")
    return missing


def _print_tables(unwritten: Iterator[Reconciled], counts: Counter[State], limit: int | None) -> _Missing:
    """Print the objects in tables, then the counts; count what is missing."""
    missing = _Missing()
    rows: list[Reconciled] = []
    for one in unwritten:
        missing.add(one)
        if limit is None and len(rows) == _BLOCK:
            console.console.print(_table(rows))
            rows = []
        if limit is None or len(rows) < limit:
            rows.append(one)
    if rows:
        console.console.print(_table(rows))
    hidden = counts.total() - counts[State.WRITTEN] - len(rows)
    if limit is not None and hidden:
        console.console.print(f"and {hidden:,} more: add --all")
    console.console.print(
        _summary(counts) + (f", of which {missing.started:,} were started" if missing.started else "")
    )
    if missing.startable:
        console.stderr.print("Start what is missing: custody reconcile --start")
    if unmended := missing.left - missing.startable:
        console.stderr.print(
            f"{unmended:,} missing cannot be fixed by a start: the table says what to do", soft_wrap=True
        )
    return missing


def _table(rows: list[Reconciled]) -> Table:
    headings = (Column(heading, overflow="fold") for heading in ("object", "arrived (UTC)", "state", "why", "id"))
    table = Table(*headings, box=box.SIMPLE_HEAD, pad_edge=False)
    for one in rows:
        raw, at = one.arrival.raw, one.arrival.at.astimezone(UTC)
        why = f"{one.why}; started as {one.started}" if one.started else one.why
        state = Text(one.state, style=_COLOURS[one.state])
        table.add_row(Text(visible(raw.key)), f"{at:%Y-%m-%d %H:%M}", state, Text(why), raw.id)
    return table


def _summary(counts: Counter[State]) -> str:
    told = ", ".join(f"{counts[state]:,} {state}" for state in State)
    total = counts.total()
    return f"{total:,} object{'' if total == 1 else 's'}: {told}"
