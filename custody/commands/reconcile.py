"""`custody reconcile`: classify every object that arrived, and start those that were missed."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import typer

from custody.assurance.reconcile import ReconciledObject, Reconciler, State
from custody.errors import ALL_WRITTEN, SOME_WITHOUT_OUTCOME
from custody.ingest.raw_versions import ArrivalFilter, arrivals
from custody.session import Session
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import AsJson, Since, Until, age
from custody.views import reconcile as view

app = command_app()

SHOWN = 50
"""Objects shown, unless all are asked for."""

_Start = Literal["started", "startable", "not startable", "not missing"]


@command(
    app,
    "custody reconcile --since 24h",
    "custody reconcile --prefix mission/ --start",
    see="custody verify, custody redrive, docs/runbook.md",
)
def reconcile(
    session: Session,
    *,
    prefix: Annotated[str, typer.Option(help="Only keys with this prefix.")] = "",
    since: Since = None,
    until: Until = None,
    start: Annotated[bool, typer.Option("--start", help="Start missing objects.")] = False,
    grace: Annotated[
        timedelta,
        typer.Option(
            parser=age, metavar="TIME", help="Count missing objects that arrived within this time as in flight."
        ),
    ] = "5m",  # type: ignore[assignment]  # parsed like a given value
    show_all: Annotated[bool, typer.Option("--all", help=f"Show all unwritten objects, not only {SHOWN}.")] = False,
    as_json: AsJson = False,
) -> None:
    """Classify every object version in the raw bucket as written, rejected, failed, in flight or missing.

    For a bucket that was filled before Custody was deployed, or to process everything again, use `custody backfill`.

    `--since` and `--until` refer to arrival. Exit code 1: objects are missing and were not started. 0: otherwise.
    """
    reconciler = Reconciler(session.audit, session.pipeline, datetime.now(UTC) - grace, start)
    wanted = ArrivalFilter(session.deployment.within(prefix), since, until, session.deployment.skip_markers)
    # A thread of its own reads the counts for the spinner, so each exists from the beginning.
    counts, starts = Counter[State](dict.fromkeys(State, 0)), Counter[_Start]()
    classified = console.counted(
        reconciler.run(arrivals(session.s3, session.deployment.raw, wanted)), counts, lambda each: each.state
    )
    unwritten = (each for each in classified if each.state is not State.WRITTEN)
    objects = console.counted(unwritten, starts, _start_of)
    # A spinner would get in the way of what is printed meanwhile.
    if not (console.console.is_terminal and (as_json or show_all)):
        objects = console.watched(objects, lambda _: view.format_counts(counts))
    if as_json:
        console.stream_json("objects", objects, lambda: {"counts": {str(state): counts[state] for state in State}})
    else:
        shown = view.objects(objects, None if show_all else SHOWN)
        _print_summary(counts, starts, counts.total() - counts[State.WRITTEN] - shown)
    raise typer.Exit(ALL_WRITTEN if counts[State.MISSING] == starts["started"] else SOME_WITHOUT_OUTCOME)


def _start_of(reconciled: ReconciledObject) -> _Start:
    """Tell whether an object was started or, if it is missing, whether it could be."""
    if reconciled.started:
        return "started"
    if reconciled.state is not State.MISSING:
        return "not missing"
    return "startable" if reconciled.startable else "not startable"


def _print_summary(counts: Counter[State], starts: Counter[_Start], hidden: int) -> None:
    if hidden:
        console.print_line(f"and {hidden:,} more: add --all")
    started = f", of which {starts['started']:,} were started" if starts["started"] else ""
    console.print_text(view.format_counts(counts) + started)
    if starts["startable"]:
        console.warn("To start missing objects: custody reconcile --start")
    if unstartable := starts["not startable"]:
        console.warn(f"{unstartable:,} missing cannot be fixed by a start: the table says what to do")
