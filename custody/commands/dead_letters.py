"""`custody dead-letters`: list what failed and is unresolved, show one dead letter, and discard it."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer

from custody.audit.dead_letters import Filter, describe, select
from custody.audit.object_state import ObjectState
from custody.audit.reader import AuditReader, Unreadable
from custody.audit.subject import find_dead_letter
from custody.errors import SOME_WITHOUT_OUTCOME, USAGE, CommandFailed
from custody.recovery.discard import Discarder, require_idle, require_open, running_execution
from custody.session import Session
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import AsJson, Since, Until
from custody.terminal.text import plural, visible
from custody.views import dead_letter as view
from custody.views import discard as discard_view

app = command_app("List dead letters; `show` or `discard` one. Without a command, list the open ones.", default="list")

DeadLetterId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The id, key or S3 URI of a dead letter; or an object id, a record id or a key in the raw bucket, for its "
        "latest dead letter.",
    ),
]


@command(
    app,
    "custody dead-letters --since 24h",
    "custody dead-letters list --all --error RecordsRejected",
    see="custody redrive, docs/runbook.md",
    name="list",
)
def list_dead_letters(
    session: Session,
    *,
    open_only: Annotated[
        bool, typer.Option("--open/--all", help="Only open dead letters, or resolved ones too.")
    ] = True,
    dataset: Annotated[str | None, typer.Option(help="Only of this dataset.")] = None,
    error: Annotated[str | None, typer.Option(help="Only with this error, such as AccessRefused.")] = None,
    step: Annotated[str | None, typer.Option(help="Only of this step, such as validate.")] = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, newest day first. `--since` and `--until` refer to when the failure was recorded."""
    audit = session.audit
    wanted = Filter(dataset, error, step, since, until, open_only)
    unreadable: list[Unreadable] = []
    counts = Counter[bool]()
    counted = console.counted(select(audit, wanted, unreadable), counts, lambda selected: selected.is_open)
    if as_json:
        rows = (selected.row for selected in counted)
        console.stream_json(
            "dead_letters", rows, lambda: {"unreadable": [{"key": each.key, "why": str(each)} for each in unreadable]}
        )
    else:
        view.table(console.watched(counted, lambda number: f"{plural(number, 'dead letter')} found"))
    for each in unreadable:
        _say(f"unreadable: {visible(str(each))}")
    number = counts.total()
    summary = _summary(number, counts[True], open_only=open_only) if number else _nothing_matches(audit, wanted)
    _say(f"{len(unreadable):,} unreadable; {summary}" if unreadable else summary)
    if unreadable:
        raise typer.Exit(SOME_WITHOUT_OUTCOME)


@command(
    app,
    "custody dead-letters show DEAD_LETTER",
    "custody dead-letters show DEAD_LETTER --all-records --json",
    see="custody trace, custody redrive",
    name="show",
)
def show_dead_letter(
    session: Session,
    dead_letter_id: DeadLetterId,
    *,
    all_records: Annotated[
        bool, typer.Option("--all-records", help=f"Every rejected record, not only {console.SHOWN}.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter, and point at what is wrong in the bytes of each rejected record."""
    audit = session.audit
    dead_letter = find_dead_letter(audit, session.resolve(dead_letter_id))
    body = audit.read(dead_letter)
    state = ObjectState(audit, dead_letter.object_id)
    document = describe(state, dead_letter, body)
    if as_json:
        console.write_json(document)
        return
    running = document.open and bool(running_execution(session.pipeline, audit, dead_letter, body))
    view.page(document, running=running, has_console=not session.target.is_local)
    shown = body.rejected if all_records else body.rejected[: console.SHOWN]
    for record in shown:
        view.record(audit.s3, body, record)
    if len(shown) < len(body.rejected):
        _say(f"\n{plural(len(body.rejected) - len(shown), 'more rejected record')}: add --all-records")
    if len(body.rejected) < (number := body.rejected_count or 0):
        _say(f"\nThe dead letter lists {len(body.rejected):,} of {number:,} rejected records; the ledger file has all.")
    for other in document.same_attempt:
        _say(f"\nThere is another dead letter of attempt {dead_letter.attempt}: custody dead-letters show {other}")
    if document.chunks:
        _say(_list_chunks(document.chunks))
    if document.open and not running:
        _say(
            f"\nRun it again: custody redrive {dead_letter.id}\n"
            f"Discard it:   custody dead-letters discard {dead_letter.id} --reason TEXT"
        )


@command(
    app,
    'custody dead-letters discard DEAD_LETTER --reason "a test file"',
    see="custody redrive, docs/runbook.md",
    name="discard",
)
def discard(
    session: Session,
    dead_letter_id: DeadLetterId,
    *,
    reason: Annotated[str, typer.Option(help="The reason. It is kept forever, so do not quote a record.")],
    as_json: AsJson = False,
) -> None:
    """Discard the records of an open dead letter: the ledger records who decided this, and why. Nothing is deleted.

    For the dead letter of a bulk object, those of its chunks are discarded, each beside its own ledger file.
    """
    if not reason.strip():
        raise CommandFailed("A discard needs a reason: give it with --reason.", USAGE)
    audit = session.audit
    subject = session.resolve(dead_letter_id)
    dead_letter = find_dead_letter(audit, subject, open_only=True)
    require_open(audit, dead_letter)
    require_idle(session.pipeline, audit, dead_letter, audit.read(dead_letter))
    by = session.target.client("sts").get_caller_identity()["Arn"]
    state = ObjectState(audit, dead_letter.object_id)
    discarder = Discarder(state, session.deployment.processed, reason.strip(), by, subject.position)
    try:
        with console.progress(lambda: f"discarding: {plural(len(discarder.results), 'dead letter')} so far"):
            discarder.discard(dead_letter)
    finally:
        document = discarder.document
        if as_json:
            console.write_json(document)
        else:
            discard_view.discards(document)
        if document.discards and document.still_open:
            still_open = plural(document.still_open, "dead letter")
            _say(f"still open: {still_open}; run the same command again to discard the rest")


def _say(message: str) -> None:
    """Print a message to stderr, after everything that was printed to stdout."""
    sys.stdout.flush()
    console.warn(message)


def _list_chunks(dead_letters: Sequence[str]) -> str:
    """List the first open dead letters of the chunks, each by the command that shows it."""
    commands = [f"  custody dead-letters show {each}" for each in dead_letters[: console.SHOWN]]
    more = len(dead_letters) - console.SHOWN
    rest = [f"  and {more:,} more: custody dead-letters"] if more > 0 else []
    return "\n".join([f"\nIts chunks have {plural(len(dead_letters), 'open dead letter')}:", *commands, *rest])


def _summary(number: int, still_open: int, *, open_only: bool) -> str:
    """Count the dead letters, and say what to do about the open ones."""
    counts = (
        plural(number, "open dead letter") if open_only else f"{plural(number, 'dead letter')}, {still_open:,} open"
    )
    summary = f"{counts}. See one: custody dead-letters show ID."
    if not still_open:
        return summary
    which = "it" if open_only else "an open one"
    discard = f"Discard {which}: custody dead-letters discard ID --reason TEXT"
    return f"{summary} Run {which} again: custody redrive ID. {discard}"


def _nothing_matches(audit: AuditReader, wanted: Filter) -> str:
    """Say that no dead letter matches and, for filters that may be misspelt, which values there are."""
    message = f"no {'open ' if wanted.open_only else ''}dead letter matches"
    given = [name for name in ("dataset", "error", "step") if getattr(wanted, name)]
    if not given:
        return message
    others = [selected.body for selected in select(audit, replace(wanted, dataset=None, error=None, step=None), [])]
    values = [f"{name}s {', '.join(sorted({visible(getattr(body, name)) for body in others}))}" for name in given]
    return f"{message}; there are {' and '.join(values)}" if others else message
