"""`custody redrive`: do the work of open dead letters again, and give start-dlq events to their function once more."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column, Table
from rich.text import Text

from custody.audit.dead_letters import Filter, Found, open_of_day, select
from custody.audit.identifiers import id_of
from custody.audit.lookup import find_dead_letter
from custody.audit.reader import AuditReader, DeadLetterKey, Unreadable
from custody.deployment.target import Deployment, Target, find
from custody.errors import ALL_WRITTEN, SOME_REJECTED, SOME_WITHOUT_OUTCOME, USAGE, CommandFailed
from custody.executions.pipeline import Pipeline, execution_name
from custody.recovery.redrive import Redriver, Tally
from custody.recovery.redrive_plan import How, Outcome, Plan, Redrive, Wanted, chosen
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
    target_of,
)
from custody.terminal.text import visible
from custody.views.event_queue import Events, print_events

app = command_app()

_COLOURS = {
    Outcome.SUCCEEDED: "green",
    Outcome.CLOSED: "green",
    Outcome.REJECTED: "red",
    Outcome.RUNNING: "yellow",
    Outcome.IN_FLIGHT: "yellow",
}
_GOOD = frozenset({Outcome.SUCCEEDED, Outcome.CLOSED})
_PAUSE_SECONDS = {True: 0.1, False: 1.0}
"""Between two looks at what runs: on embedded AWS, and on AWS, where calls are counted."""


@command(
    app,
    "custody redrive --open --dry-run",
    "custody redrive --error AccessRefused --since 24h",
    "custody redrive DEAD_LETTER",
    see="custody dead-letters, docs/runbook.md",
)
def redrive(  # noqa: PLR0913 - one parameter an option
    dead_letters: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LETTER",
            help="A dead letter's id, key or S3 URI; or an object or record id, or a key in the raw bucket.",
        ),
    ] = None,
    *,
    all_open: Annotated[bool, typer.Option("--open", help="All open dead letters.")] = False,
    dataset: Annotated[str | None, typer.Option(help="The open dead letters of this dataset.")] = None,
    error: Annotated[str | None, typer.Option(help="The open dead letters with this error, by its class name.")] = None,
    step: Annotated[str | None, typer.Option(help="The open dead letters of this step, by its name.")] = None,
    since: Since = None,
    until: Until = None,
    waiting: Annotated[
        bool, typer.Option("--events", help="The events that start or dead_letter could not handle.")
    ] = False,
    dry_run: DryRun = False,
    per_second: PerSecond = "25",  # type: ignore[assignment]  # read by the parser, as if it were given
    no_wait: NoWait = False,
    timeout: Patience = 600,
    as_json: AsJson = False,
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """Do the work of open dead letters again, at the step that failed where possible, and show what becomes of it.

    Exit code 0: all succeeded. 3: some records were rejected again. 1: something failed, is running still, or was
    refused. 2: wrong usage.
    """
    wanted = Filter(dataset, error, step, since, until)
    by_filter = all_open or wanted != Filter()
    if not (dead_letters or by_filter or waiting):
        raise CommandFailed(
            "Say what to redrive: LETTERs, --open, some of --dataset, --error, --step, --since and --until, or "
            "--events. `custody dead-letters` lists what is open.",
            USAGE,
        )
    if dead_letters and by_filter:
        raise CommandFailed("Name LETTERs, or say --open or a filter; not both.", USAGE)
    target = target_of(aws, profile)
    deployment = find(target, env)
    ways = _Ways(dry_run, per_second, None if no_wait else timeout, as_json)
    codes = {ALL_WRITTEN}
    document: dict[str, Any] = {}
    try:
        if waiting:
            codes.add(_handle_events(target, deployment, ways, document))
        if dead_letters or by_filter:
            audit = AuditReader(target.client("s3"), deployment.audit)
            pipeline = Pipeline.of(target, deployment)
            redriver = Redriver(audit, pipeline, _PAUSE_SECONDS[target.is_local])
            odd: list[Unreadable] = []
            named = [id_of(audit.s3, deployment.raw, text) for text in dead_letters or []]
            plans = _plans(redriver, _named(audit, named) if named else select(audit, wanted, odd))
            codes |= _carry_out(redriver, plans, ways, document)
            codes |= {_warn(each) for each in odd}
    finally:
        if as_json and document:
            sys.stdout.write(json.dumps(document, indent=2) + "\n")
    raise typer.Exit(next(code for code in (SOME_WITHOUT_OUTCOME, SOME_REJECTED, ALL_WRITTEN) if code in codes))


@dataclass(frozen=True)
class _Ways:
    """How to go about it; `timeout` is None if nothing is followed."""

    dry_run: bool
    per_second: float
    timeout: float | None
    as_json: bool


def _handle_events(target: Target, deployment: Deployment, ways: _Ways, document: dict[str, Any]) -> int:
    """Look at the events that wait, or replay them; tell of those that were come to, whatever happens."""
    seen = Events()
    try:
        seen.run(target, deployment, dry_run=ways.dry_run)
    finally:
        document |= {"start-dlq": [event.encode() for event in seen.events], "hidden": seen.hidden}
        if not ways.as_json:
            print_events(seen)
    return ALL_WRITTEN if ways.dry_run or seen.is_settled else SOME_WITHOUT_OUTCOME


def _carry_out(redriver: Redriver, plans: list[Plan], ways: _Ways, document: dict[str, Any]) -> set[int]:
    """Redrive, unless it is a dry run; tell of all that was started, whatever happens. Gives an exit code of each."""
    if ways.dry_run:
        document["redrives"] = [_encode(plan, _execution_of(plan, redriver.pipeline)) for plan in plans]
        if not ways.as_json:
            _show_plans(plans)
        return set()
    tally = Tally(plans)
    try:
        _act(redriver, tally, plans, ways)
    finally:
        document["redrives"] = [_encode_redrive(one) for one in tally.redrives]
        if not ways.as_json:
            _show_redrives(tally.redrives)
    return {_code(one, no_wait=ways.timeout is None) for one in tally.redrives}


def _warn(odd: Unreadable) -> int:
    console.stderr.print(f"custody: {odd}", soft_wrap=True, markup=False)
    return odd.code


def _named(audit: AuditReader, texts: list[str]) -> Iterator[Found]:
    for text in texts:
        dead_letter = find_dead_letter(audit, text)
        body = audit.read(dead_letter)
        if said := _wider(text, dead_letter, body):
            console.stderr.print(f"{visible(text)} is {said}", soft_wrap=True, markup=False)
        of_day = list(audit.dead_letters(dead_letter.day, dead_letter.object_id))
        is_open = dead_letter in open_of_day(audit, dead_letter.object_id, dead_letter.day, of_day)
        yield Found(dead_letter, body, is_open)


def _wider(text: str, dead_letter: DeadLetterKey, body: Any) -> str | None:
    """Say what else is redriven than what was named: an execution does a whole batch, or all chunks that are left."""
    is_record = "/" not in text and "." in text
    if body.get("parent") or dead_letter.is_of_whole:
        named = "a record" if is_record else None if dead_letter.is_of_whole else "of one chunk"
        return f"{named}: all chunks of {dead_letter.object_id} that are left to do are redriven" if named else None
    return f"a record: its whole batch is redriven, {dead_letter.object_id}" if is_record else None


def _plans(redriver: Redriver, found: Iterator[Found]) -> list[Plan]:
    live = console.stderr.status("looking for dead letters") if console.stderr.is_terminal else None
    if live is None:
        return redriver.plan(chosen(map(Wanted.of, found)))
    with live:
        wanted = chosen(map(Wanted.of, found))
        live.update(f"looking at {len(wanted):,} execution{'' if len(wanted) == 1 else 's'}")
        return redriver.plan(wanted)


def _act(redriver: Redriver, tally: Tally, plans: list[Plan], ways: _Ways) -> None:
    """Start, and follow if that is wanted; keep account, and show how far it is."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console.stderr, transient=True, disable=not console.stderr.is_terminal) as progress:
        task = progress.add_task("redriving", total=len(plans))
        for _ in redriver.begin(plans, ways.per_second, tally.note):
            progress.advance(task)
        if ways.timeout is None:
            return
        running = tally.running
        task = progress.add_task("following", total=len(plans), completed=len(plans) - len(running))
        for one in redriver.watch(running, ways.timeout):
            tally.note(one)
            progress.advance(task)


def _code(one: Redrive, *, no_wait: bool) -> int:
    if one.outcome in _GOOD or (no_wait and one.outcome is Outcome.RUNNING):
        return ALL_WRITTEN
    return SOME_REJECTED if one.outcome is Outcome.REJECTED else SOME_WITHOUT_OUTCOME


def _show_plans(plans: list[Plan]) -> None:
    if plans:
        table = _table("object", "error", "how", "attempt", "chunks", "why", "dead_letter")
        for plan in plans:
            error, why = Text(visible(plan.wanted.error)), Text(visible(plan.why))
            chunks = f"{plan.chunks[0]:,} of {plan.chunks[1]:,}" if plan.chunks and plan.starts else ""
            table.add_row(_key(plan), error, plan.how, str(plan.attempt), chunks, why, plan.wanted.dead_letter.id)
        console.console.print(table)
    _count(Counter(plan.how.value for plan in plans), "would be redriven", sum(plan.starts for plan in plans))


def _show_redrives(redrives: list[Redrive]) -> None:
    if redrives:
        table = _table("object", "error before", "how", "attempt", "became", "why")
        for one in sorted(redrives, key=lambda each: (list(Outcome).index(each.outcome), each.plan.wanted.raw.key)):
            became = Text(one.outcome, style=_COLOURS.get(one.outcome, "bold red"))
            how = one.plan.how if one.plan.starts else ""
            before, why = Text(visible(one.plan.wanted.error)), Text(visible(_why(one)))
            table.add_row(_key(one.plan), before, how, str(one.plan.attempt), became, why)
        console.console.print(table)
    started = sum(one.status is not None for one in redrives)
    _count(Counter(one.outcome.value for one in redrives), "redriven", started)


def _why(one: Redrive) -> str:
    if one.outcome is Outcome.UNKNOWN and one.error:
        return f"it was started, but AWS does not say what became of it: {one.error}"
    if one.outcome in {Outcome.SUCCEEDED, Outcome.RUNNING}:
        return one.plan.why if one.plan.how is How.NEW else ""
    if one.status is None:
        return one.plan.why
    ended = one.error or one.status
    return f"{ended}; dead letter {one.dead_letter}" if one.dead_letter else f"{ended}; no dead letter yet"


def _encode(plan: Plan, execution: str) -> dict[str, Any]:
    raw = plan.wanted.raw
    return {
        "dead_letter": plan.wanted.dead_letter.id,
        "object": {"id": raw.id} | asdict(raw),
        "how": plan.how,
        "why": plan.why,
        "attempt": plan.attempt,
        "chunks": {"again": plan.chunks[0], "total": plan.chunks[1]} if plan.chunks and plan.starts else None,
        "execution": execution,
    }


def _encode_redrive(one: Redrive) -> dict[str, Any]:
    became = {"outcome": one.outcome, "status": one.status, "error": one.error, "new_letter": one.dead_letter}
    return _encode(one.plan, one.execution) | became


def _execution_of(plan: Plan, pipeline: Pipeline) -> str:
    """Say which execution would do the work."""
    if plan.how is How.NEW:
        return pipeline.arn_of(execution_name(plan.wanted.raw.id, plan.attempt), is_bulk=plan.wanted.is_bulk)
    return plan.execution


def _key(plan: Plan) -> Text:
    return Text(visible(plan.wanted.raw.key))


def _table(*headings: str) -> Table:
    """Begin a table in which nothing is cut off: its ids are there to be copied."""
    return Table(*(Column(heading, overflow="fold") for heading in headings), box=box.SIMPLE_HEAD, pad_edge=False)


def _count(counts: Counter[str], done: str, number: int) -> None:
    """Say how many of what, in a line."""
    told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    console.console.print(f"{number} {done}: {told}" if told else "no open dead letter matches")
