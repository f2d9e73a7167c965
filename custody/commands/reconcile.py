"""`custody reconcile`: classify every object that arrived, and start those that were missed."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from custody.assurance.reconcile import Reconciled, Reconciler, State
from custody.errors import ALL_WRITTEN, SOME_WITHOUT_OUTCOME
from custody.ingest.raw_versions import ArrivalFilter, arrivals
from custody.session import Session
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import AsJson, Aws, Env, Profile, Since, Until, age
from custody.views import reconcile as view

app = command_app()

SHOWN = 50
"""Objects shown, unless all are asked for."""


@command(
    app,
    "custody reconcile --since 24h",
    "custody reconcile --prefix mission/ --start",
    see="custody verify, custody redrive, docs/runbook.md",
)
def reconcile(  # noqa: PLR0913 - one parameter an option
    *,
    prefix: Annotated[str, typer.Option(help="Only keys with this prefix.")] = "",
    since: Since = None,
    until: Until = None,
    start: Annotated[bool, typer.Option("--start", help="Start missing objects.")] = False,
    grace: Annotated[
        timedelta, typer.Option(parser=age, metavar="TIME", help="How long an event may be on its way.")
    ] = "5m",  # type: ignore[assignment]  # parsed like a given value
    show_all: Annotated[bool, typer.Option("--all", help=f"Show all unwritten objects, not only {SHOWN}.")] = False,
    as_json: AsJson = False,
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """Classify every object version in the raw bucket as written, rejected, failed, in flight or missing.

    For a bucket that was filled before Custody was deployed, or to process everything again, use `custody backfill`.

    `--since` and `--until` refer to arrival. Exit code 1: objects are missing and were not started. 0: otherwise.
    """
    session = Session.open(env, aws=aws, profile=profile)
    reconciler = Reconciler(session.audit, session.pipeline, datetime.now(UTC) - grace)
    wanted = ArrivalFilter(session.deployment.within(prefix), since, until)
    # A spinner would get in the way of what is printed meanwhile.
    is_printing = console.console.is_terminal and (as_json or show_all)
    run = _Progress(reconciler, starts=start, shows_progress=not is_printing)
    unwritten = run.unwritten(reconciler.run(arrivals(session.s3, session.deployment.raw, wanted)))
    if as_json:
        objects = (reconciled.document for reconciled in unwritten)
        console.stream_json("objects", objects, lambda: {"counts": {str(state): run.counts[state] for state in State}})
    else:
        shown = view.objects(unwritten, None if show_all else SHOWN)
        _print_summary(run, run.counts.total() - run.counts[State.WRITTEN] - shown)
    raise typer.Exit(ALL_WRITTEN if run.counts[State.MISSING] == run.started else SOME_WITHOUT_OUTCOME)


@dataclass
class _Progress:
    """The objects classified so far, by state; of the missing ones, how many were started and how many could be."""

    reconciler: Reconciler
    starts: bool
    shows_progress: bool
    counts: Counter[State] = field(default_factory=lambda: Counter(dict.fromkeys(State, 0)))
    started: int = 0
    startable: int = 0

    def unwritten(self, objects: Iterable[Reconciled]) -> Iterator[Reconciled]:
        """Count all objects, and yield those that are not written; start missing ones if that was asked for."""
        with console.progress(lambda: view.format_counts(self.counts)) if self.shows_progress else nullcontext():
            for reconciled in objects:
                self.counts[reconciled.state] += 1
                if reconciled.state is State.MISSING:
                    yield self._start(reconciled)
                elif reconciled.state is not State.WRITTEN:
                    yield reconciled

    def _start(self, missing: Reconciled) -> Reconciled:
        reconciled = self.reconciler.start(missing) if self.starts else missing
        self.started += reconciled.started is not None
        self.startable += reconciled.started is None and reconciled.is_startable
        return reconciled


def _print_summary(run: _Progress, hidden: int) -> None:
    if hidden:
        console.console.print(f"and {hidden:,} more: add --all")
    started = f", of which {run.started:,} were started" if run.started else ""
    console.console.print(view.format_counts(run.counts) + started)
    if run.startable:
        console.warn("To start missing objects: custody reconcile --start")
    if unstartable := run.counts[State.MISSING] - run.started - run.startable:
        console.warn(f"{unstartable:,} missing cannot be fixed by a start: the table says what to do")
