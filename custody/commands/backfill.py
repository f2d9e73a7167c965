"""`custody backfill`: start what is already in the raw bucket, or process all of it again."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from msgspec import to_builtins

from custody.audit.committed_records import CommittedRecords
from custody.errors import USAGE, CommandFailed
from custody.ingest.backfill import Backfiller
from custody.ingest.inventory import Inventory
from custody.ingest.raw_versions import ArrivalFilter, arrivals
from custody.session import Session
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import AsJson, DryRun, NoWait, Patience, PerSecond, Since, Until, moment
from custody.views import backfill as backfill_view

app = command_app()


@command(
    app,
    "custody backfill --dry-run",
    "custody backfill --prefix mission/ --rate 5",
    "custody backfill --again --prefix mission/2026/",
    see="custody reconcile, custody redrive, docs/existing-data.md",
)
def backfill(
    session: Session,
    *,
    prefix: Annotated[str, typer.Option(help="Only keys with this prefix.")] = "",
    since: Since = None,
    until: Until = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also process again what was already processed, as its next attempt.")
    ] = False,
    committed_before: Annotated[
        datetime | None,
        typer.Option(
            parser=moment,
            metavar="TIME",
            help="With --again: only what was committed before then, to continue an interrupted run.",
        ),
    ] = None,
    dry_run: DryRun = False,
    per_second: PerSecond = "25",  # type: ignore[assignment]  # parsed, as if it were given
    no_wait: NoWait = False,
    timeout: Patience = 600,
    as_json: AsJson = False,
) -> None:
    """Start each object version in the raw bucket that was never started, oldest first.

    Use it for a bucket that was filled before Custody was deployed or, with --again, after a change to a contract or a
    transform. For the few objects whose event was lost, use `custody reconcile --start`, which examines each more
    closely.

    Objects that are already being processed are skipped. With --again they are listed, because they may have started
    before the change: run the command again when they have ended.

    `--since` and `--until` refer to arrival. Objects that were started before are skipped, so an interrupted run can be
    continued. Exit code 0: everything that was started succeeded. 3: some records were rejected. 1: something failed,
    is still running, was refused or, with --again, was already running. 2: incorrect usage.
    """
    if committed_before and not again:
        raise CommandFailed("--committed-before requires --again.", USAGE)
    begun = datetime.now(UTC)
    backfiller = Backfiller(
        session.audit,
        session.pipeline,
        Inventory(),
        (committed_before or begun) if again else None,
        # Each look lists all that is running.
        session.pause * 5,
        per_second,
        dry_run,
    )
    wanted = ArrivalFilter(session.deployment.within(prefix), since, until, session.deployment.skip_markers)
    arrived = arrivals(session.s3, session.deployment.raw, wanted)
    backfill_view.progress(backfiller.take_inventory(arrived, wanted.prefix), "object versions")
    try:
        if dry_run:
            planned = enumerate(backfiller.plan(), start=1)
            backfill_view.progress((number for number, _ in planned), "object versions to start")
        else:
            number = sum(backfiller.totals.counts[status] for status in backfiller.startable)
            for _ in console.tracked(backfiller.start(), "starting", number):
                pass
            if not no_wait:
                committed = CommittedRecords(session.audit)
                watched = backfiller.watch(begun, timeout, committed if console.stderr.is_terminal else None)
                backfill_view.progress(watched, "running", lambda: committed.counts.received)
                backfiller.is_watched = True
    except BaseException:
        if not dry_run:
            backfill_view.warn_of_interrupt(backfiller.committed_before)
        raise
    finally:
        if as_json:
            console.stream_json("objects", backfiller.select(backfiller.listed), lambda: to_builtins(backfiller.totals))
        else:
            backfill_view.report(backfiller)
        backfill_view.warn_of_passed_over(backfiller)
    raise typer.Exit(backfiller.code)
