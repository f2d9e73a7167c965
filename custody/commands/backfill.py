"""`custody backfill`: start what lies in the raw bucket already, or process all of it once more."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any

import typer
from rich import box
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from custody.audit.reader import AuditReader
from custody.deployment.target import find
from custody.errors import ALL_WRITTEN, SOME_REJECTED, SOME_WITHOUT_OUTCOME, USAGE, CommandFailed
from custody.executions.pipeline import Pipeline
from custody.ingest.backfill import BEGUN, Backfiller, Became
from custody.ingest.inventory import Inventory, InventoryItem
from custody.ingest.raw_versions import Arrival, ArrivalFilter, arrivals
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import (
    AsJson,
    Aws,
    DryRun,
    Env,
    NoWait,
    Patience,
    PerSecond,
    Profile,
    Since,
    Until,
    moment,
    target_of,
)
from custody.terminal.text import visible
from custody.terminal.times import stamp, took

app = command_app()

SHOWN = 20
"""Objects in a table."""

_PAUSE_SECONDS = {True: 0.1, False: 5.0}
"""Between two looks at what runs: on embedded AWS, and on AWS, where each lists all that runs."""

_COLOURS = {Became.REFUSED: "bold red", Became.FAILED: "bold red", Became.REJECTED: "red", Became.STARTED: "yellow"}

_OUTSTANDING = (Became.REFUSED, Became.FAILED)
"""What has no outcome, and will not have one by itself."""

_RUNS_ALREADY = "it began before this, perhaps with the code of before: run it again when it has ended"


@command(
    app,
    "custody backfill --dry-run",
    "custody backfill --prefix mission/ --rate 5",
    "custody backfill --again --prefix mission/2026/",
    see="custody reconcile, custody redrive, docs/existing-data.md",
)
def backfill(  # noqa: PLR0913 - one parameter an option
    *,
    prefix: Annotated[str, typer.Option(help="Only objects whose key begins so.")] = "",
    since: Since = None,
    until: Until = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also process once more what was processed, as its next attempt.")
    ] = False,
    committed_before: Annotated[
        datetime | None,
        typer.Option(
            parser=moment,
            metavar="TIME",
            help="With --again: only what was committed before then. It lets an interrupted run go on.",
        ),
    ] = None,
    dry_run: DryRun = False,
    per_second: PerSecond = "25",  # type: ignore[assignment]  # read by the parser, as if it were given
    no_wait: NoWait = False,
    timeout: Patience = 600,
    as_json: AsJson = False,
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """Start each object version that lies in the raw bucket and was never started, the oldest first.

    Take this for a bucket that was filled before Custody came, or, with --again, when a contract or a transform has
    changed. For the few whose event was lost, take `custody reconcile --start`, which looks at each more closely.

    What runs already is passed over. With --again it is listed, for it may have begun before the change: run that again
    when it has ended.

    `--since` and `--until` are of the arrival. What was started before is passed over, so an interrupted run goes on
    when it is run again. Exit code 0: all that was started succeeded. 3: some records were rejected. 1: something
    failed, runs still, was refused or, with --again, ran already. 2: wrong usage.
    """
    if committed_before and not again:
        raise CommandFailed("--committed-before goes with --again.", USAGE)
    target = target_of(aws, profile)
    deployment = find(target, env)
    s3, begun = target.client("s3"), datetime.now(UTC)
    backfiller = Backfiller(
        AuditReader(s3, deployment.audit),
        Pipeline.of(target, deployment),
        Inventory(),
        (committed_before or begun) if again else None,
        _PAUSE_SECONDS[target.is_local],
    )
    which = ArrivalFilter(deployment.within(prefix), since, until)
    _take_inventory(backfiller, arrivals(s3, deployment.raw, which), which.prefix)
    report = _Report(backfiller, per_second, dry_run=dry_run)
    try:
        if dry_run:
            _plan(backfiller)
        else:
            _start(backfiller, per_second)
            if not no_wait:
                _watch(backfiller, begun, timeout)
                report = replace(report, is_watched=True)
    except BaseException:
        if not dry_run:
            _tell_interrupted(backfiller)
        raise
    finally:
        if as_json:
            _print_json(report)
        else:
            _print_tables(report)
        _tell_passed_over(report)
    raise typer.Exit(report.code)


@dataclass(frozen=True)
class _Report:
    """What there is to tell of a backfill, as far as it came: `is_followed` if it was seen what runs still."""

    backfiller: Backfiller
    per_second: float
    dry_run: bool
    is_watched: bool = False

    @property
    def begun(self) -> tuple[Became, ...]:
        """What is told of those that would be started, or were."""
        return self.backfiller.wanted if self.dry_run else BEGUN

    @property
    def passed_over(self) -> tuple[Became, ...]:
        """What is told of those that have to be looked at again, for they ran already."""
        return () if self.backfiller.committed_before is None else (Became.IN_FLIGHT,)

    @property
    def told(self) -> tuple[Became, ...]:
        """ArrivalFilter object versions are listed: those and what was refused."""
        return (*self.begun, *self.passed_over, Became.REFUSED)

    @property
    def started(self) -> tuple[int, int]:
        """Count the object versions that would be started, or were, and their bytes."""
        counts = self.backfiller.inventory.counts()
        found = [counts[each] for each in self.begun]
        return sum(number for number, _ in found), sum(size for _, size in found)

    @property
    def code(self) -> int:
        """Say with which code the command ends."""
        counts = self.backfiller.inventory.counts()
        if self.dry_run:
            return ALL_WRITTEN
        if any(each in counts for each in (Became.REFUSED, Became.FAILED, Became.NEW, *self.passed_over)):
            return SOME_WITHOUT_OUTCOME
        if Became.STARTED in counts and self.is_watched:
            return SOME_WITHOUT_OUTCOME
        return SOME_REJECTED if Became.REJECTED in counts else ALL_WRITTEN

    def rows(self) -> Iterator[InventoryItem]:
        """Give what is listed, the oldest first."""
        return self.those(self.told)

    def those(self, became: Iterable[Became]) -> Iterator[InventoryItem]:
        """Give those of which something became, the oldest first."""
        for one in self.backfiller.inventory.those(became):
            yield replace(one, why=_RUNS_ALREADY) if one.became == Became.IN_FLIGHT else one


def _take_inventory(backfiller: Backfiller, arrived: Iterable[Arrival], prefix: str) -> None:
    with _progress(SpinnerColumn(), TextColumn("{task.description}")) as progress:
        task = progress.add_task("looking at object versions")
        for number in backfiller.add(arrived, prefix):
            progress.update(task, description=f"looking at object versions: {number:,}")


def _plan(backfiller: Backfiller) -> None:
    with _progress(SpinnerColumn(), TextColumn("{task.description}")) as progress:
        task = progress.add_task("looking at what was started before")
        for number, _ in enumerate(backfiller.plan(), start=1):
            progress.update(task, description=f"looking at what was started before: {number:,}")


def _start(backfiller: Backfiller, per_second: float) -> None:
    counts = backfiller.inventory.counts()
    total = sum(counts[each][0] for each in backfiller.wanted)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _progress(*columns) as progress:
        task = progress.add_task("starting", total=total)
        for _ in backfiller.start(per_second):
            progress.advance(task)


def _watch(backfiller: Backfiller, since: datetime, seconds: float) -> None:
    with _progress(SpinnerColumn(), TextColumn("{task.description}")) as progress:
        task = progress.add_task("following what was started")
        for running in backfiller.watch(since, seconds):
            progress.update(task, description=f"following what was started: {running:,} running")


@contextmanager
def _progress(*columns: ProgressColumn) -> Iterator[Progress]:
    live = console.stderr.is_terminal
    with Progress(
        *columns, console=console.stderr, transient=True, redirect_stdout=False, disable=not live
    ) as progress:
        yield progress


def _tell_interrupted(backfiller: Backfiller) -> None:
    before = backfiller.committed_before
    more = f" with --again --committed-before {stamp(before)}" if before else ""
    console.stderr.print(
        f"What was started goes on by itself. For the rest, run the same again{more}: it passes over what was started.",
        soft_wrap=True,
        markup=False,
    )


def _tell_passed_over(report: _Report) -> None:
    """Say when, and from where on, to run it again for what ran already; it commits after any --committed-before."""
    oldest = next(report.those(report.passed_over), None)
    if oldest is None:
        return
    number = report.backfiller.inventory.counts()[Became.IN_FLIGHT][0]
    said = "1 object version was" if number == 1 else f"{number:,} object versions were"
    console.stderr.print(
        f"{said} running already, perhaps with the code of before, and passed over. When nothing runs any more (see "
        f"`custody executions --status running`), run it again for what came since the oldest of them, with the same "
        f"--prefix, and without --committed-before, for they commit after it: custody backfill --again --since "
        f"{stamp(oldest.arrival.at)}",
        soft_wrap=True,
        markup=False,
    )


def _print_json(report: _Report) -> None:
    """Print one JSON document, object by object."""
    sys.stdout.write('{"objects": [')
    for number, one in enumerate(report.rows()):
        sys.stdout.write(("," if number else "") + "\n" + json.dumps(_encode(one)))
    counts = report.backfiller.inventory.counts()
    number, size = report.started
    rest = {
        "counts": {each.value: counts[each][0] for each in Became},
        "bytes": size,
        "seconds": round(number / report.per_second, 1) if report.dry_run else None,
        "dry_run": report.dry_run,
    }
    sys.stdout.write("\n], " + json.dumps(rest).removeprefix("{") + "\n")


def _encode(one: InventoryItem) -> dict[str, Any]:
    raw = one.arrival.raw
    return {
        "object": {"id": raw.id} | asdict(raw),
        "last_modified": one.arrival.at.isoformat(),
        "deleted": one.arrival.is_deleted,
        "became": one.became,
        "why": one.why,
        "execution": one.execution or None,
    }


def _print_tables(report: _Report) -> None:
    """Print some of what is listed, then the counts."""
    counts = report.backfiller.inventory.counts()
    listed = report.told if report.dry_run else (*_OUTSTANDING, Became.REJECTED, *report.passed_over, *_left(report))
    number = sum(counts[each][0] for each in listed)
    if number:
        console.console.print(_table(report, islice(report.those(listed), SHOWN)))
    if number > SHOWN:
        console.console.print(f"and {number - SHOWN:,} more: add --json")
    console.console.print(_summary(report), soft_wrap=True)
    if report.dry_run:
        started, size = report.started
        console.console.print(
            f"{started:,} would be started, with {decimal(size)}; how many records that is, is known when they are "
            f"read. At {report.per_second:g} a second it takes {took(started / report.per_second)}.",
            soft_wrap=True,
        )


def _left(report: _Report) -> tuple[Became, ...]:
    return (Became.STARTED,) if report.is_watched else ()


def _table(report: _Report, rows: Iterable[InventoryItem]) -> Table:
    headings = (Column(heading, overflow="fold") for heading in ("object", "arrived (UTC)", "bytes", "became", "id"))
    table = Table(*headings, box=box.SIMPLE_HEAD, pad_edge=False)
    for one in rows:
        raw, at = one.arrival.raw, one.arrival.at.astimezone(UTC)
        said = ": ".join(filter(None, (_named(report, Became(one.became)), one.why)))
        hidden = "; deleted since, but this version is still there" if one.arrival.is_deleted else ""
        became = Text(f"{said}{hidden}", style=_COLOURS.get(Became(one.became), ""))
        table.add_row(Text(visible(raw.key)), f"{at:%Y-%m-%d %H:%M}", f"{raw.size:,}", became, raw.id)
    return table


def _summary(report: _Report) -> str:
    counts = report.backfiller.inventory.counts()
    total = sum(number for number, _ in counts.values())
    told = ", ".join(f"{counts[each][0]:,} {_named(report, each)}" for each in Became if counts[each][0])
    return f"{total:,} object version{'' if total == 1 else 's'}" + (f": {told}" if told else "")


def _named(report: _Report, became: Became) -> str:
    """Name a state: what was started and followed to the end runs still, if it is in no other."""
    return "running" if became is Became.STARTED and report.is_watched else became.value
