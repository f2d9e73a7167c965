"""`custody dead-letters`: what failed and is not yet settled, one dead letter for people, and giving one up."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated

import typer
from msgspec import to_builtins

from custody.audit.dead_letters import Filter, Found, closed_by, select, summed_up
from custody.audit.identifiers import id_of
from custody.audit.lookup import beside, find_dead_letter, find_open, position_of
from custody.audit.reader import AuditReader, Unreadable
from custody.deployment.target import Deployment, Target, find
from custody.errors import SOME_WITHOUT_OUTCOME, USAGE, CommandFailed
from custody.recovery import discard as recovery_discard
from custody.recovery.discard import Discarder
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import AsJson, Aws, Env, Profile, Since, Until, target_of
from custody.terminal.text import visible
from custody.views import dead_letter as dead_letter_view
from custody.views import discard as views_discard
from custody.views.dead_letter import Page
from functions.shared.model.keys import DeadLetterKey

app = command_app(
    "List dead letters; `show` or `discard` one. Without a command, lists those that are open.", default="list"
)

DeadLetterId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="A dead letter's id, key or S3 URI; or an object or record id, or a key in the raw bucket: its latest dead letter.",
    ),
]


@dataclass(frozen=True)
class Desk:
    """Where the dead letters of a deployment are read."""

    target: Target
    deployment: Deployment
    audit: AuditReader

    @classmethod
    def of(cls, target: Target, env: str) -> "Desk":
        """Find the deployment of an environment; raise CommandFailed if there is none."""
        deployment = find(target, env)
        return cls(target, deployment, AuditReader(target.client("s3"), deployment.audit))

    @contextmanager
    def telling(self, *, as_json: bool) -> Iterator[None]:
        """Let Unreadable through, with `as_json` after a document that tells so."""
        try:
            yield
        except Unreadable as odd:
            if as_json:
                sys.stdout.write(json.dumps({"unreadable": [self.encode(odd)]}, indent=2) + "\n")
            raise

    def encode(self, odd: Unreadable) -> dict[str, str]:
        """Give the JSON shape of a file that is not what Custody wrote."""
        return {"key": odd.key, "uri": self.uri(odd.key), "why": str(odd)}

    def named(self, text: str) -> str:
        """Give what names a dead letter: for a key in the raw bucket the id of its newest version."""
        return id_of(self.audit.s3, self.deployment.raw, text)

    def uri(self, key: str) -> str:
        """Address a file of the audit bucket."""
        return f"s3://{self.deployment.audit}/{key}"


@command(
    app,
    "custody dead-letters --since 24h",
    "custody dead-letters list --all --error RecordsRejected",
    see="custody redrive, docs/runbook.md",
    name="list",
)
def list_dead_letters(  # noqa: PLR0913 - one parameter an option
    *,
    open_only: Annotated[
        bool, typer.Option("--open/--all", help="Only what is open, or closed dead letters too.")
    ] = True,
    dataset: Annotated[str | None, typer.Option(help="Only of this dataset.")] = None,
    error: Annotated[str | None, typer.Option(help="Only with this error, by its class name.")] = None,
    step: Annotated[str | None, typer.Option(help="Only of this step, such as validate.")] = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """List dead letters, the newest day first; `--since` and `--until` are of when the failure was recorded."""
    desk = Desk.of(target_of(aws, profile), env)
    wanted = Filter(dataset, error, step, since, until, open_only)
    odd: list[Unreadable] = []
    counted = _Counted(select(desk.audit, wanted, odd))
    if as_json:
        _print_json(desk, counted, odd)
    else:
        dead_letter_view.table(console.watched(counted, lambda number: f"{number:,} dead letters found"))
    for each in odd:
        _say(f"unreadable: {visible(str(each))}")
    said = _summary(counted, open_only=open_only) if counted.dead_letters else _nothing_matches(desk.audit, wanted)
    if odd:
        said = f"{len(odd):,} unreadable; {said}"
    _say(said)
    if odd:
        raise typer.Exit(SOME_WITHOUT_OUTCOME)


@command(
    app,
    "custody dead-letters show DEAD_LETTER",
    "custody dead-letters show DEAD_LETTER --all-records --json",
    see="custody trace, custody redrive",
    name="show",
)
def show_dead_letter(  # noqa: PLR0913 - one parameter an option
    dead_letter_id: DeadLetterId,
    *,
    all_records: Annotated[
        bool, typer.Option("--all-records", help=f"Every rejected record, not only {console.SHOWN}.")
    ] = False,
    as_json: AsJson = False,
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """Show one dead letter, and point at what is wrong in the bytes of each rejected record."""
    target = target_of(aws, profile)
    desk = Desk.of(target, env)
    with desk.telling(as_json=as_json):
        dead_letter = find_dead_letter(desk.audit, desk.named(dead_letter_id))
        body = desk.audit.read(dead_letter)
    closing = closed_by(desk.audit, dead_letter)
    others = beside(desk.audit, dead_letter)
    summed = summed_up(desk.audit, dead_letter, body)
    if as_json:
        facts = {"id": dead_letter.id, "uri": desk.uri(dead_letter.key), "open": closing is None, "closed_by": closing}
        facts["beside"] = [other.id for other in others]
        facts["chunks"] = [each.id for each in summed.open] if summed else []
        sys.stdout.write(json.dumps(facts | {"dead_letter": to_builtins(body)}, indent=2) + "\n")
        return
    running = (
        None if closing else recovery_discard.under_way(target.client("stepfunctions"), desk.audit, dead_letter, body)
    )
    state = f"closed: {closing}" if closing else "open; a redrive is under way" if running else "open"
    dead_letter_view.page(
        Page(dead_letter, body, desk.uri(dead_letter.key), state, closing is None, not target.is_local, summed)
    )
    rejected = body.rejected
    shown = rejected if all_records else rejected[: console.SHOWN]
    for record in shown:
        dead_letter_view.record(desk.audit.s3, body, record)
    if len(shown) < len(rejected):
        _say(f"\n{len(rejected) - len(shown):,} more rejected records: add --all-records")
    if len(rejected) < (number := body.rejected_count or 0):
        _say(
            f"\nThe dead letter lists {len(rejected):,} of {number:,} rejected records; the ledger file has all of them."
        )
    for other in others:
        _say(f"\nThere is another dead letter of attempt {dead_letter.attempt}: custody dead-letters show {other.id}")
    if summed and summed.open:
        _say(_of_chunks(summed.open))
    if closing is None and not running:
        _say(
            f"\nRun it again: custody redrive {dead_letter.id}\n"
            f"Give it up:   custody dead-letters discard {dead_letter.id} --reason TEXT"
        )


@command(
    app,
    'custody dead-letters discard DEAD_LETTER --reason "a test file"',
    see="custody redrive, docs/runbook.md",
    name="discard",
)
def discard(  # noqa: PLR0913 - one parameter an option
    dead_letter_id: DeadLetterId,
    *,
    reason: Annotated[str, typer.Option(help="Why; it is kept for good, so quote no record.")],
    as_json: AsJson = False,
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """Give up the records of an open dead letter: the ledger keeps who decided so, and why. Nothing is deleted.

    The dead letter of a bulk object stands for those of its chunks: each of them is discarded beside its own ledger file.
    """
    if not reason.strip():
        raise CommandFailed("A discard needs a reason: say why in --reason.", USAGE)
    target = target_of(aws, profile)
    desk = Desk.of(target, env)
    with desk.telling(as_json=as_json):
        wanted = desk.named(dead_letter_id)
        dead_letter = find_open(desk.audit, wanted)
        recovery_discard.require_open(desk.audit, dead_letter)
        body = desk.audit.read(dead_letter)
    recovery_discard.require_at_rest(target.client("stepfunctions"), desk.audit, dead_letter, body)
    by = target.client("sts").get_caller_identity()["Arn"]
    resolution = desk.audit.resolution(dead_letter.object_id)
    discarder = Discarder(desk.audit, desk.deployment.processed, resolution, reason.strip(), by, position_of(wanted))
    if dead_letter.is_of_whole:
        views_discard.give_up_whole(discarder, dead_letter, as_json=as_json)
        return
    with desk.telling(as_json=as_json):
        views_discard.give_up_one(discarder, dead_letter, as_json=as_json)


def _say(said: str) -> None:
    """Tell people something, behind what was printed so far: where both go to one pipe, that is still held back."""
    sys.stdout.flush()
    console.stderr.print(said, soft_wrap=True, markup=False)


def _of_chunks(dead_letters: Sequence[DeadLetterKey]) -> str:
    """Name the first of the dead letters that another one sums up, each by the command that shows it."""
    listed = [f"  custody dead-letters show {each.id}" for each in dead_letters[: console.SHOWN]]
    more = (
        [f"  and {len(dead_letters) - console.SHOWN:,} more: custody dead-letters"]
        if len(dead_letters) > console.SHOWN
        else []
    )
    number = "1 open dead letter" if len(dead_letters) == 1 else f"{len(dead_letters):,} open dead letters"
    return "\n".join([f"\nIts chunks have {number}:", *listed, *more])


class _Counted:
    """Dead letters as they come, and how many of them came, and were open."""

    def __init__(self, found: Iterable[Found]) -> None:
        self._found = found
        self.dead_letters = self.open = 0

    def __iter__(self) -> Iterator[Found]:
        for each in self._found:
            self.dead_letters += 1
            self.open += each.is_open
            yield each


def _print_json(desk: Desk, found: Iterable[Found], odd: list[Unreadable]) -> None:
    """Print the dead letters as one JSON document, while they come, and what was unreadable by the end."""
    sys.stdout.write('{"dead_letters": [')
    for number, each in enumerate(found):
        rejected = dead_letter_view.count_of_rejected(each.body)
        facts = {"id": each.dead_letter.id, "open": each.is_open} | to_builtins(each.body) | {"rejected": rejected}
        sys.stdout.write(("," if number else "") + "\n" + json.dumps(facts))
    sys.stdout.write('\n], "unreadable": ' + json.dumps([desk.encode(each) for each in odd]) + "}\n")


def _summary(counted: _Counted, *, open_only: bool) -> str:
    """Say how many dead letters there are and, of those that are open, what to do about them."""
    number = counted.dead_letters
    dead_letters = f"{number:,} {'open ' if open_only else ''}dead letter{'' if number == 1 else 's'}"
    counts = dead_letters if open_only else f"{dead_letters}, {counted.open:,} open"
    advice = [f"{counts}. See what one says: custody dead-letters show ID."]
    if counted.open:
        one = "it" if open_only else "an open one"
        advice += [
            f"Run {one} again: custody redrive ID.",
            f"Give {one} up: custody dead-letters discard ID --reason TEXT",
        ]
    return " ".join(advice)


def _nothing_matches(audit: AuditReader, wanted: Filter) -> str:
    """Say that nothing was found and, for what may be misspelt, what there is."""
    said = f"no {'open ' if wanted.open_only else ''}dead letter matches"
    asked = [name for name in ("dataset", "error", "step") if getattr(wanted, name)]
    if not asked:
        return said
    others = [found.body for found in select(audit, replace(wanted, dataset=None, error=None, step=None), [])]
    there = [
        f"{name}s {', '.join(sorted({visible(getattr(body, name)) for body in others}))}" for name in asked if others
    ]
    return f"{said}; there are {' and '.join(there)}" if there else said
