"""`custody dead-letters`: list what failed and is unresolved, show one dead letter, and discard it."""

import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Annotated

import typer

from custody.audit.dead_letters import Filter, SelectedDeadLetter, describe, failed_record, read_all, select
from custody.audit.object_state import ObjectState
from custody.audit.reader import AuditReader, Unreadable
from custody.audit.subject import covering, find_dead_letter, open_dead_letters
from custody.errors import SOME_WITHOUT_OUTCOME, USAGE, CommandFailed
from custody.recovery.discard import Discarder, running_execution
from custody.session import Session
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import AllOpen, AsJson, OfDataset, OfError, OfStep, Since, Until
from custody.terminal.text import plural
from custody.views import dead_letter as view
from custody.views import discard as discard_view
from functions.shared.model.keys import DeadLetterKey
from functions.shared.model.ledger import DeadLetter

app = command_app(
    "List dead letters; `show` one or `discard` some. Without a command, list the open ones.", default="list"
)

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
    dataset: OfDataset = None,
    error: OfError = None,
    step: OfStep = None,
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
        console.warn(f"unreadable: {each}")
    number = counts.total()
    summary = _summary(number, counts[True], open_only=open_only) if number else [_nothing_matches(audit, wanted)]
    summary[0] = f"{len(unreadable):,} unreadable; {summary[0]}" if unreadable else summary[0]
    console.warn(*summary)
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
    if span := failed_record(body):
        view.failed_record(audit.s3, body, span)
    shown = body.rejected if all_records else body.rejected[: console.SHOWN]
    for record in shown:
        view.record(audit.s3, body, record)
    if len(shown) < len(body.rejected):
        console.warn("", f"{plural(len(body.rejected) - len(shown), 'more rejected record')}: add --all-records")
    if len(body.rejected) < (number := body.rejected_count or 0):
        console.warn(
            "", f"The dead letter lists {len(body.rejected):,} of {number:,} rejected records; the ledger file has all."
        )
    for other in document.same_attempt:
        console.warn(
            "", f"There is another dead letter of attempt {dead_letter.attempt}: custody dead-letters show {other}"
        )
    if document.chunks:
        console.warn("", *_list_chunks(document.chunks))
    if document.open and not running:
        console.warn(
            "",
            f"Run it again: custody redrive {dead_letter.id}",
            f"Discard it:   custody dead-letters discard {dead_letter.id} --reason TEXT",
        )


@command(
    app,
    'custody dead-letters discard DEAD_LETTER --reason "a test file"',
    'custody dead-letters discard --error UnknownDataset --reason "a typo" --yes',
    see="custody redrive, docs/runbook.md",
    name="discard",
)
def discard(
    session: Session,
    dead_letter_id: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="As of `show`; but a key stands for the open dead letters of all versions."),
    ] = None,
    *,
    reason: Annotated[str, typer.Option(help="The reason. It is kept forever, so do not quote a record.")],
    all_open: AllOpen = False,
    dataset: OfDataset = None,
    error: OfError = None,
    step: OfStep = None,
    since: Since = None,
    until: Until = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, if there are several.")] = False,
    as_json: AsJson = False,
) -> None:
    """Discard open dead letters: the ledger records who decided this, and why. Nothing is deleted.

    Several, such as those that filters select, are listed before you are asked once. For the dead letter of a bulk
    object, those of its chunks are discarded, each beside its own ledger file. Exit code 1: something was not
    discarded. 2: incorrect usage.
    """
    wanted = Filter(dataset, error, step, since, until)
    by_filter = all_open or wanted != Filter()
    if not reason.strip():
        raise CommandFailed("A discard needs a reason: give it with --reason.", USAGE)
    if by_filter == (dead_letter_id is not None):
        raise CommandFailed(
            "Name either a dead letter, or --open or filters (--dataset, --error, --step, --since, --until).", USAGE
        )
    subject = None if dead_letter_id is None else session.resolve(dead_letter_id)
    audit, unreadable = session.audit, list[Unreadable]()
    dead_letters = open_dead_letters(audit, subject) if subject else _select_by_object(audit, wanted, unreadable)
    for file in unreadable:
        console.warn(f"unreadable, and not discarded: {file}")
    number = sum(map(len, dead_letters))
    if not number:
        console.warn(_nothing_matches(audit, wanted))
    if number > 1:
        _list_discards(audit, dead_letters, to_stderr=as_json)
        if not yes:
            _confirm(number)
    by = session.target.client("sts").get_caller_identity()["Arn"] if number else ""
    only = subject.position if subject else None
    discarder = Discarder(audit, session.pipeline, session.deployment.processed, reason.strip(), by, only)
    try:
        with console.progress(lambda: f"discarding: {len(discarder.results):,} of {plural(number, 'dead letter')}"):
            if subject and number == 1:
                discarder.discard(dead_letters[0][0])
            else:
                discarder.discard_objects(dead_letters)
    finally:
        _report(discarder, as_json=as_json)
    if discarder.still_open or unreadable:
        raise typer.Exit(SOME_WITHOUT_OUTCOME)


def _report(discarder: Discarder, *, as_json: bool) -> None:
    document = discarder.document
    if as_json:
        console.write_json(document)
    else:
        discard_view.discards(document)
    if document.discards and document.still_open:
        still_open = plural(document.still_open, "dead letter")
        console.warn(f"still open: {still_open}; run the same command again to discard the rest")


def _confirm(number: int) -> None:
    """Ask whether to go on; raise CommandFailed if not."""
    if not sys.stdin.isatty():
        raise CommandFailed(
            "Nothing was discarded: there is no terminal to confirm on. Add --yes if you are sure.", USAGE
        )
    if not typer.confirm(f"Discard {plural(number, 'dead letter')}?", err=True):
        raise CommandFailed("Nothing was discarded.", USAGE)


def _select_by_object(audit: AuditReader, wanted: Filter, unreadable: list[Unreadable]) -> list[list[DeadLetterKey]]:
    by_object = defaultdict[str, list[DeadLetterKey]](list)
    selection = select(audit, wanted, unreadable)
    for selected in console.watched(selection, lambda number: f"{plural(number, 'dead letter')} found"):
        by_object[selected.dead_letter.object_id].append(selected.dead_letter)
    return list(map(covering, by_object.values()))


def _list_discards(audit: AuditReader, dead_letters: list[list[DeadLetterKey]], *, to_stderr: bool) -> None:
    """Show the first of the dead letters to discard, and how many there are."""
    keys = list(chain.from_iterable(dead_letters))
    if not to_stderr:
        bodies = zip(keys, read_all(audit, keys[: console.SHOWN]), strict=False)
        view.table(SelectedDeadLetter(key, body, True) for key, body in bodies if isinstance(body, DeadLetter))  # noqa: FBT003 - a field
        if (more := len(keys) - console.SHOWN) > 0:
            console.print_line(f"and {more:,} more")
    console.warn(
        f"to be discarded: {plural(len(keys), 'dead letter')} of {plural(len(dead_letters), 'object version')}"
    )


def _list_chunks(dead_letters: Sequence[str]) -> list[str]:
    """List the first open dead letters of the chunks, each by the command that shows it."""
    commands = [f"  custody dead-letters show {each}" for each in dead_letters[: console.SHOWN]]
    more = len(dead_letters) - console.SHOWN
    rest = [f"  and {more:,} more: custody dead-letters"] if more > 0 else []
    return [f"Its chunks have {plural(len(dead_letters), 'open dead letter')}:", *commands, *rest]


def _summary(number: int, still_open: int, *, open_only: bool) -> list[str]:
    """Count the dead letters, and say what to do about the open ones, a line each."""
    counts = (
        plural(number, "open dead letter") if open_only else f"{plural(number, 'dead letter')}, {still_open:,} open"
    )
    lines = [counts, "See one:      custody dead-letters show ID"]
    if still_open:
        lines += [
            "Run it again: custody redrive ID",
            "Discard it:   custody dead-letters discard ID --reason TEXT",
        ]
    return lines


def _nothing_matches(audit: AuditReader, wanted: Filter) -> str:
    """Say that no dead letter matches and, for filters that may be misspelt, which values there are."""
    message = f"no {'open ' if wanted.open_only else ''}dead letter matches"
    given = [name for name in ("dataset", "error", "step") if getattr(wanted, name)]
    if not given:
        return message
    others = [selected.body for selected in select(audit, replace(wanted, dataset=None, error=None, step=None), [])]
    values = [f"{name}s {', '.join(sorted({getattr(body, name) for body in others}))}" for name in given]
    return f"{message}; there are {' and '.join(values)}" if others else message
