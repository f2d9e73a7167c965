"""`custody redrive`: do the work of open letters again, and give undelivered events to their function once more."""

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

from custody import show, undelivered
from custody.books import Books
from custody.executions import Pipeline, execution_name
from custody.failure import ALL_WRITTEN, SOME_REJECTED, SOME_WITHOUT_OUTCOME, USAGE, CommandFailed
from custody.letters import Filter, Found, find_letter, open_of_day, select
from custody.options import AsJson, Aws, Env, Profile, Since, Until, target_of
from custody.pointing import visible
from custody.redriving import How, Outcome, Plan, Redrive, Redriver, Wanted, chosen
from custody.target import Deployment, Target, find
from custody.undelivered import Waiting

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


def rate(given: str) -> float:
    """Read what --rate takes: how many a second, such as `5` or `5/s`; raise typer.BadParameter."""
    try:
        found = float(given.removesuffix("/s"))
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise typer.BadParameter("a number above 0, such as 5 or 5/s")
    return found


def redrive(  # noqa: PLR0913 - one parameter an option
    letters: Annotated[
        list[str] | None,
        typer.Argument(metavar="[LETTER]…", help="A letter's id, key or S3 URI; or an object or record id."),
    ] = None,
    *,
    all_open: Annotated[bool, typer.Option("--open", help="All open letters.")] = False,
    dataset: Annotated[str | None, typer.Option(help="The open letters of this dataset.")] = None,
    error: Annotated[str | None, typer.Option(help="The open letters with this error, by its class name.")] = None,
    step: Annotated[str | None, typer.Option(help="The open letters of this step: Validate, Transform, Write.")] = None,
    since: Since = None,
    until: Until = None,
    waiting: Annotated[
        bool, typer.Option("--undelivered", help="The events that start or dead_letter could not handle.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")] = False,
    per_second: Annotated[
        float, typer.Option("--rate", parser=rate, metavar="N", help="At most so many starts a second, like 5/s.")
    ] = "25",  # type: ignore[assignment]  # read by the parser, as if it were given
    no_follow: Annotated[bool, typer.Option("--no-follow", help="Do not wait for how they end.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait until all have ended.")] = 600,
    as_json: AsJson = False,
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """Do the work of open letters again, at the step that failed where possible, and show what becomes of it.

    Exit code 0: all succeeded. 3: some records were rejected again. 1: something failed, is running still, or was
    refused. 2: wrong usage.
    """
    wanted = Filter(dataset, error, step, since, until)
    by_filter = all_open or wanted != Filter()
    if not (letters or by_filter or waiting):
        raise CommandFailed(
            "Say what to redrive: LETTERs, --open, some of --dataset, --error, --step, --since and --until, or "
            "--undelivered. `custody letters` lists what is open.",
            USAGE,
        )
    if letters and by_filter:
        raise CommandFailed("Name LETTERs, or say --open or a filter; not both.", USAGE)
    target = target_of(aws, profile, changes=not dry_run)
    deployment = find(target, env)
    codes, document = {ALL_WRITTEN}, {}
    if waiting:
        events = list(_look(target, deployment) if dry_run else _replay(target, deployment))
        codes |= {SOME_WITHOUT_OUTCOME for event in events if event.is_done is False}
        document["undelivered"] = [_encode_event(event) for event in events]
        if not as_json:
            _show_events(events)
    if letters or by_filter:
        books = Books(target.client("s3"), deployment.audit)
        pipeline = Pipeline(target.client("stepfunctions"), deployment.pipeline_arn)
        redriver = Redriver(books, pipeline, _PAUSE_SECONDS[target.is_local])
        plans = _plans(redriver, _named(books, letters) if letters else select(books, wanted))
        if dry_run:
            document["redrives"] = [_encode(plan, _execution_of(plan, pipeline)) for plan in plans]
            if not as_json:
                _show_plans(plans)
        else:
            redrives = _act(redriver, plans, per_second, None if no_follow else timeout)
            codes |= {_code(one, no_follow=no_follow) for one in redrives}
            document["redrives"] = [_encode_redrive(one) for one in redrives]
            if not as_json:
                _show_redrives(redrives)
    if as_json:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    raise typer.Exit(next(code for code in (SOME_WITHOUT_OUTCOME, SOME_REJECTED, ALL_WRITTEN) if code in codes))


def _named(books: Books, texts: list[str]) -> Iterator[Found]:
    for text in texts:
        letter = find_letter(books, text)
        of_day = list(books.letters(letter.day, letter.object_id))
        is_open = letter in open_of_day(books, letter.object_id, letter.day, of_day)
        yield Found(letter, books.read(letter), is_open)


def _plans(redriver: Redriver, found: Iterator[Found]) -> list[Plan]:
    live = show.stderr.status("looking for letters") if show.stderr.is_terminal else None
    if live is None:
        return redriver.plan(chosen(map(Wanted.of, found)))
    with live:
        wanted = chosen(map(Wanted.of, found))
        live.update(f"looking at {len(wanted)} executions")
        return redriver.plan(wanted)


def _act(redriver: Redriver, plans: list[Plan], per_second: float, timeout: float | None) -> list[Redrive]:
    """Start, and follow unless `timeout` is None; show how far it is."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=show.stderr, transient=True, disable=not show.stderr.is_terminal) as progress:
        task = progress.add_task("redriving", total=len(plans))
        begun = []
        for one in redriver.begin(plans, per_second):
            begun.append(one)
            progress.advance(task)
        if timeout is None:
            return begun
        done = [one for one in begun if one.status is None]
        task = progress.add_task("following", total=len(begun), completed=len(done))
        for one in redriver.follow([one for one in begun if one.status is not None], timeout):
            done.append(one)
            progress.advance(task)
    return done


def _code(one: Redrive, *, no_follow: bool) -> int:
    if one.outcome in _GOOD or (no_follow and one.outcome is Outcome.RUNNING):
        return ALL_WRITTEN
    return SOME_REJECTED if one.outcome is Outcome.REJECTED else SOME_WITHOUT_OUTCOME


def _show_plans(plans: list[Plan]) -> None:
    if plans:
        table = _table("object", "error", "how", "attempt", "why", "letter")
        for plan in plans:
            error, why = Text(visible(plan.wanted.error)), Text(visible(plan.why))
            table.add_row(_key(plan), error, plan.how, str(plan.attempt), why, plan.wanted.letter.id)
        show.console.print(table)
    _count(Counter(plan.how.value for plan in plans), "would be redriven", sum(plan.starts for plan in plans))


def _show_redrives(redrives: list[Redrive]) -> None:
    if redrives:
        table = _table("object", "error before", "how", "attempt", "became", "why")
        for one in sorted(redrives, key=lambda each: (list(Outcome).index(each.outcome), each.plan.wanted.raw.key)):
            became = Text(one.outcome, style=_COLOURS.get(one.outcome, "bold red"))
            how = one.plan.how if one.plan.starts else ""
            before, why = Text(visible(one.plan.wanted.error)), Text(visible(_why(one)))
            table.add_row(_key(one.plan), before, how, str(one.plan.attempt), became, why)
        show.console.print(table)
    started = sum(one.status is not None for one in redrives)
    _count(Counter(one.outcome.value for one in redrives), "redriven", started)


def _why(one: Redrive) -> str:
    if one.outcome in {Outcome.SUCCEEDED, Outcome.RUNNING}:
        return one.plan.why if one.plan.how is How.NEW else ""
    if one.status is None:
        return one.plan.why
    ended = one.error or one.status
    return f"{ended}; letter {one.letter}" if one.letter else f"{ended}; no letter yet"


def _encode(plan: Plan, execution: str) -> dict[str, Any]:
    raw = plan.wanted.raw
    return {
        "letter": plan.wanted.letter.id,
        "object": {"id": raw.id} | asdict(raw),
        "how": plan.how,
        "why": plan.why,
        "attempt": plan.attempt,
        "execution": execution,
    }


def _encode_redrive(one: Redrive) -> dict[str, Any]:
    became = {"outcome": one.outcome, "status": one.status, "error": one.error, "new_letter": one.letter}
    return _encode(one.plan, one.execution) | became


def _execution_of(plan: Plan, pipeline: Pipeline) -> str:
    """Say which execution would do the work."""
    if plan.how is How.NEW:
        return pipeline.arn_of(execution_name(plan.wanted.raw.id, plan.attempt))
    return plan.execution


def _key(plan: Plan) -> Text:
    return Text(visible(plan.wanted.raw.key))


@dataclass(frozen=True)
class _Event:
    """A message of a queue, the function that it is for, and what became of it; `is_done` is None if it was left."""

    function: str
    waiting: Waiting
    became: str
    is_done: bool | None = None


def _look(target: Target, deployment: Deployment) -> Iterator[_Event]:
    sqs = target.client("sqs")
    for function, url in _queues(deployment):
        for waiting in undelivered.look(sqs, url):
            yield _Event(function, waiting, waiting.error)


def _replay(target: Target, deployment: Deployment) -> Iterator[_Event]:
    sqs, lambda_ = target.client("sqs"), target.client("lambda")
    for function, url in _queues(deployment):
        for replayed in undelivered.replay(sqs, lambda_, url, function):
            yield _Event(function, replayed.waiting, replayed.became, replayed.is_done)


def _queues(deployment: Deployment) -> tuple[tuple[str, str], ...]:
    return (
        (deployment.start_function, deployment.undelivered_url),
        (deployment.dead_letter_function, deployment.unwritten_url),
    )


def _encode_event(event: _Event) -> dict[str, Any]:
    return {
        "message": event.waiting.message_id,
        "function": event.function,
        "objects": event.waiting.about,
        "became": event.became,
        "done": event.is_done,
    }


def _show_events(events: list[_Event]) -> None:
    if events:
        became = "why it waits" if events[0].is_done is None else "what became of it"
        table = _table("event of", "for", became)
        for event in events:
            about = ", ".join(map(visible, event.waiting.about)) or f"message {event.waiting.message_id}"
            style = "bold red" if event.is_done is False else ""
            table.add_row(Text(about), event.function, Text(visible(event.became), style=style))
        show.console.print(table)
    done = sum(event.is_done is True for event in events)
    if not events:
        show.console.print("no event waits")
    elif events[0].is_done is None:
        show.console.print(f"{len(events)} waiting")
    else:
        show.console.print(f"{done} of {len(events)} events handled, {len(events) - done} left in the queue")


def _table(*headings: str) -> Table:
    """Begin a table in which nothing is cut off: its ids are there to be copied."""
    return Table(*(Column(heading, overflow="fold") for heading in headings), box=box.SIMPLE_HEAD, pad_edge=False)


def _count(counts: Counter[str], done: str, number: int) -> None:
    """Say how many of what, in a line."""
    told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    show.console.print(f"{number} {done}: {told}" if told else "no open letter matches")
