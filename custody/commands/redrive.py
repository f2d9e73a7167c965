"""`custody redrive`: retry open dead letters, and replay the events that a function could not handle."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from msgspec import UNSET

from custody.audit.dead_letters import Filter, Found, open_of_day, select
from custody.audit.identifiers import id_of
from custody.audit.lookup import find_dead_letter
from custody.audit.reader import AuditReader, Unreadable
from custody.errors import ALL_WRITTEN, SOME_REJECTED, SOME_WITHOUT_OUTCOME, USAGE, CommandFailed
from custody.recovery.event_queue import EventLog, handle_events
from custody.recovery.redrive import RedriveLog, Redriver
from custody.recovery.redrive_plan import Candidate, Outcome, Redrive, RedriveDocument, RedrivePlan, choose_candidates
from custody.session import Session
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import AsJson, Aws, DryRun, Env, NoWait, Patience, PerSecond, Profile, Since, Until
from custody.terminal.text import plural, visible
from custody.views import event_queue as event_view
from custody.views import redrive as redrive_view
from functions.shared.model.keys import DeadLetterKey

app = command_app()

_PAUSE_SECONDS = {True: 0.1, False: 1.0}
"""Between two looks at what is running: on embedded AWS, and on AWS, where calls are limited."""


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
            metavar="DEAD_LETTER",
            help="The id, key or S3 URI of a dead letter; or an object or record id, or a key in the raw bucket.",
        ),
    ] = None,
    *,
    all_open: Annotated[bool, typer.Option("--open", help="All open dead letters.")] = False,
    dataset: Annotated[str | None, typer.Option(help="Open dead letters of this dataset.")] = None,
    error: Annotated[str | None, typer.Option(help="Open dead letters with this error, by its class name.")] = None,
    step: Annotated[str | None, typer.Option(help="Open dead letters of this step, by its name.")] = None,
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
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """Retry open dead letters, from the step that failed where possible, and show the outcome.

    Exit code 0: all succeeded. 3: some records were rejected again. 1: something failed, is still running, or was
    refused. 2: wrong usage.
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
    session = Session.open(env, aws=aws, profile=profile)
    run = _Run(session, dry_run=dry_run, per_second=per_second, timeout=None if no_wait else timeout)
    unreadable: list[Unreadable] = []
    try:
        if replay:
            run.handle_events()
        if dead_letters or by_filter:
            ids = [id_of(session.s3, session.deployment.raw, text) for text in dead_letters or []]
            run.redrive(_named(session.audit, ids) if ids else select(session.audit, wanted, unreadable))
    finally:
        # What was started is reported, whatever happens.
        run.report(as_json=as_json)
    for file in unreadable:
        console.warn(f"custody: {file}")
    codes = run.codes | {file.code for file in unreadable}
    raise typer.Exit(next((code for code in (SOME_WITHOUT_OUTCOME, SOME_REJECTED) if code in codes), ALL_WRITTEN))


@dataclass
class _Run:
    """What the command has done so far; it does not wait if `timeout` is None."""

    session: Session
    dry_run: bool
    per_second: float
    timeout: float | None
    events: EventLog | None = None
    plans: list[RedrivePlan] | None = None
    log: RedriveLog | None = None

    @property
    def redriver(self) -> Redriver:
        session = self.session
        return Redriver(session.audit, session.pipeline, _PAUSE_SECONDS[session.target.is_local])

    def handle_events(self) -> None:
        self.events = EventLog()
        handle_events(self.session, self.events, dry_run=self.dry_run)

    def redrive(self, found: Iterator[Found]) -> None:
        candidates: list[Candidate] = []
        described = "looking for dead letters"
        with console.progress(
            lambda: f"looking at {plural(len(candidates), 'execution')}" if candidates else described
        ):
            candidates = choose_candidates(map(Candidate.of, found))
            self.plans = self.redriver.plan(candidates)
        if self.dry_run:
            return
        self.log = RedriveLog(self.plans)
        number = len(self.plans)
        for _ in console.tracked(self.redriver.begin(self.plans, self.per_second, self.log.note), "redriving", number):
            pass
        if self.timeout is not None:
            started = self.log.started
            watching = self.redriver.watch(started, self.timeout)
            for redrive in console.tracked(watching, "waiting", number, number - len(started)):
                self.log.note(redrive)

    def report(self, *, as_json: bool) -> None:
        if as_json:
            self._write_json()
            return
        if self.events:
            event_view.events(self.events)
        if self.log:
            redrive_view.redrives(self.log.redrives)
        elif self.plans is not None:
            redrive_view.plans(self.plans)

    def _write_json(self) -> None:
        results: Any = UNSET
        if self.log:
            results = [redrive.result for redrive in self.log.redrives]
        elif self.plans is not None:
            results = [self.redriver.preview(plan) for plan in self.plans]
        if self.events:
            console.write_json(RedriveDocument(self.events.events, self.events.hidden, results))
        elif results is not UNSET:
            console.write_json(RedriveDocument(redrives=results))

    @property
    def codes(self) -> set[int]:
        """The exit code of each part."""
        if self.dry_run:
            return set()
        codes = {self._code(redrive) for redrive in self.log.redrives} if self.log else set()
        return codes if self.events is None or self.events.is_settled else codes | {SOME_WITHOUT_OUTCOME}

    def _code(self, redrive: Redrive) -> int:
        if redrive.outcome in {Outcome.SUCCEEDED, Outcome.RESOLVED}:
            return ALL_WRITTEN
        if redrive.outcome is Outcome.RUNNING and self.timeout is None:
            return ALL_WRITTEN
        return SOME_REJECTED if redrive.outcome is Outcome.REJECTED else SOME_WITHOUT_OUTCOME


def _named(audit: AuditReader, texts: list[str]) -> Iterator[Found]:
    for text in texts:
        dead_letter = find_dead_letter(audit, text)
        body = audit.read(dead_letter)
        if wider := _wider_scope(text, dead_letter, is_of_chunk=bool(body.parent)):
            console.warn(f"{visible(text)} is {wider}")
        of_day = list(audit.dead_letters(dead_letter.day, dead_letter.object_id))
        is_open = dead_letter in open_of_day(audit, of_day)
        yield Found(dead_letter, body, is_open)


def _wider_scope(text: str, dead_letter: DeadLetterKey, *, is_of_chunk: bool) -> str | None:
    """Say if more is redriven than was named: an execution does a whole batch, or all chunks that are left to do."""
    is_record = "/" not in text and "." in text
    if not (is_of_chunk or dead_letter.is_of_whole):
        return f"a record: its whole batch is redriven, {dead_letter.object_id}" if is_record else None
    if not is_record and dead_letter.is_of_whole:
        return None
    scope = "a record" if is_record else "of one chunk"
    return f"{scope}: all chunks of {dead_letter.object_id} that are left to do are redriven"
