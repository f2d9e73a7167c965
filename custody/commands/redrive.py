"""`custody redrive`: retry open dead letters, and replay the events that a function could not handle."""

from collections.abc import Iterator
from typing import Annotated

import typer
from msgspec import convert
from msgspec.structs import replace

from custody.audit.committed_records import CommittedRecords
from custody.audit.dead_letters import Filter, SelectedDeadLetter, open_of_day, select
from custody.audit.reader import AuditReader, Unreadable
from custody.audit.subject import Subject, find_dead_letter
from custody.errors import ALL_WRITTEN, SOME_REJECTED, SOME_WITHOUT_OUTCOME, USAGE, CommandFailed
from custody.recovery.event_queue import EventLog, handle_events
from custody.recovery.redrive import Redriver
from custody.recovery.redrive_plan import STARTED, Outcome, Redrive, RedriveDocument, RedriveResult, choose_candidates
from custody.session import Session
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import (
    AllOpen,
    AsJson,
    DryRun,
    NoWait,
    OfDataset,
    OfError,
    OfStep,
    Patience,
    PerSecond,
    Since,
    Until,
)
from custody.terminal.text import plural
from custody.views import redrive as redrive_view

app = command_app()


@command(
    app,
    "custody redrive --open --dry-run",
    "custody redrive --error AccessRefused --since 24h",
    "custody redrive DEAD_LETTER",
    see="custody dead-letters, docs/runbook.md",
)
def redrive(
    session: Session,
    dead_letters: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DEAD_LETTER",
            help="The id, key or S3 URI of a dead letter; or an object or record id, or a key in the raw bucket.",
        ),
    ] = None,
    *,
    all_open: AllOpen = False,
    dataset: OfDataset = None,
    error: OfError = None,
    step: OfStep = None,
    since: Since = None,
    until: Until = None,
    replay: Annotated[
        bool, typer.Option("--events", help="Replay the events in start-dlq and dead-letter-dlq.")
    ] = False,
    dry_run: DryRun = False,
    per_second: PerSecond = "25",  # type: ignore[assignment]  # parsed, as if it were given
    no_wait: NoWait = False,
    timeout: Patience = 600,
    as_json: AsJson = False,
) -> None:
    """Retry open dead letters, from the step that failed where possible, and show the outcome.

    Exit code 0: all succeeded. 3: some records were rejected again. 1: something failed, is still running, or was
    refused. 2: incorrect usage.
    """
    wanted = Filter(dataset, error, step, since, until)
    by_filter = all_open or wanted != Filter()
    if not (dead_letters or by_filter or replay):
        raise CommandFailed(
            "Nothing to redrive was named. Give DEAD_LETTERs, --open, filters (--dataset, --error, --step, --since, "
            "--until) or --events. `custody dead-letters` lists open dead letters.",
            USAGE,
        )
    if dead_letters and by_filter:
        raise CommandFailed("Give either DEAD_LETTERs, or --open or filters.", USAGE)
    redriver = Redriver(session.audit, session.pipeline, session.pause)
    events = EventLog() if replay else None
    redrives: list[Redrive] | None = None
    unreadable: list[Unreadable] = []
    try:
        if events:
            handle_events(session, events, dry_run=dry_run)
        if dead_letters or by_filter:
            named = list(map(session.resolve, dead_letters or []))
            selected = _named(session.audit, named) if named else select(session.audit, wanted, unreadable)
            redrives = _plan(redriver, selected)
            if not dry_run:
                _carry_out(redriver, redrives, per_second, None if no_wait else timeout)
    finally:
        # What was started is reported, whatever happens.
        if as_json:
            _write_json(events, redrives)
        else:
            redrive_view.show(events, redrives, dry_run=dry_run)
    for file in unreadable:
        console.warn(f"custody: {file}")
    codes = {file.code for file in unreadable}
    if not dry_run:
        codes |= {_code(redrive, no_wait=no_wait) for redrive in redrives or []}
        codes |= {SOME_WITHOUT_OUTCOME} if events and not events.is_settled else set()
    raise typer.Exit(next((code for code in (SOME_WITHOUT_OUTCOME, SOME_REJECTED) if code in codes), ALL_WRITTEN))


def _plan(redriver: Redriver, selected: Iterator[SelectedDeadLetter]) -> list[Redrive]:
    candidates: list[Redrive] = []
    with console.progress(
        lambda: f"looking at {plural(len(candidates), 'execution')}" if candidates else "looking for dead letters"
    ):
        candidates = choose_candidates(map(Redrive.of, selected))
        redriver.plan(candidates)
    return candidates


def _carry_out(redriver: Redriver, redrives: list[Redrive], per_second: float, timeout: float | None) -> None:
    number = sum(redrive.how is not None for redrive in redrives)
    begun = list(console.tracked(redriver.begin(redrives, per_second), "redriving", number))
    if timeout is not None:
        started = [redrive for redrive in begun if redrive.outcome in STARTED]
        committed = CommittedRecords(redriver.audit)
        watched = redriver.watch(started, timeout, committed if console.stderr.is_terminal else None)
        for _ in console.watched(
            watched, lambda ended: redrive_view.watching(ended, len(started), committed.counts.received)
        ):
            pass


def _write_json(events: EventLog | None, redrives: list[Redrive] | None) -> None:
    document = RedriveDocument(events.events, events.hidden) if events else RedriveDocument()
    if redrives is not None:
        document = replace(document, redrives=convert(redrives, list[RedriveResult], from_attributes=True))
    if document != RedriveDocument():
        console.write_json(document)


def _code(redrive: Redrive, *, no_wait: bool) -> int:
    if redrive.outcome in {Outcome.SUCCEEDED, Outcome.RESOLVED}:
        return ALL_WRITTEN
    if redrive.outcome is Outcome.RUNNING and no_wait:
        return ALL_WRITTEN
    return SOME_REJECTED if redrive.outcome is Outcome.REJECTED else SOME_WITHOUT_OUTCOME


def _named(audit: AuditReader, subjects: list[Subject]) -> Iterator[SelectedDeadLetter]:
    for subject in subjects:
        dead_letter = find_dead_letter(audit, subject)
        body = audit.read(dead_letter)
        is_record, is_of_bulk = subject.position is not None, dead_letter.is_of_whole or bool(body.parent)
        # An execution processes a whole batch, or all chunks that are left to do.
        if is_of_bulk and (is_record or not dead_letter.is_of_whole):
            console.warn(f"{subject}: all chunks of {dead_letter.object_id} that are left to do are redriven")
        elif is_record:
            console.warn(f"{subject} is a record: its whole batch is redriven, {dead_letter.object_id}")
        of_day = list(audit.dead_letters(dead_letter.day, dead_letter.object_id))
        is_open = dead_letter in open_of_day(audit, of_day)
        yield SelectedDeadLetter(dead_letter, body, is_open)
