"""`custody letters`: what failed and is not yet settled, one letter for people, and giving one up."""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any

import typer
from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from custody import discarding, show
from custody.books import Books, Letter
from custody.discarding import Discard
from custody.failure import USAGE, CommandFailed
from custody.letters import Filter, Found, closed_by, find_letter, raw_of, record_bytes, select
from custody.options import AsJson, Aws, Env, Profile, Since, Until, target_of
from custody.pointing import excerpt, place, visible
from custody.target import Deployment, Target, find
from functions.shared.errors import RecordsRejected
from functions.shared.messages import Violation

_WIDEST_EXCERPT = 160
_INDENT = " " * 6
_HEADINGS = ("letter", "dataset", "attempt", "step", "error", "records rejected", "since (UTC)", "")

app = typer.Typer(
    help="List the letters of what failed and is not settled yet; `show` one, or `discard` it.",
    invoke_without_command=True,
)

LetterId = Annotated[
    str,
    typer.Argument(metavar="ID", help="A letter's id, key or S3 URI; or an object or record id: its latest letter."),
]


@dataclass(frozen=True)
class Desk:
    """Where the letters of a deployment are read."""

    target: Target
    deployment: Deployment
    books: Books

    @classmethod
    def of(cls, target: Target, env: str) -> "Desk":
        """Find the deployment of an environment; raise CommandFailed if there is none."""
        deployment = find(target, env)
        return cls(target, deployment, Books(target.client("s3"), deployment.audit))

    def uri(self, key: str) -> str:
        """Address a file of the audit bucket."""
        return f"s3://{self.deployment.audit}/{key}"


@app.callback()
def letters(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    *,
    open_only: Annotated[bool, typer.Option("--open/--all", help="Only what is open, or closed letters too.")] = True,
    dataset: Annotated[str | None, typer.Option(help="Only of this dataset.")] = None,
    error: Annotated[str | None, typer.Option(help="Only with this error, by its class name.")] = None,
    step: Annotated[str | None, typer.Option(help="Only of this step: validate, transform or write.")] = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """List letters, the newest day first; `--since` and `--until` are of when the failure was recorded."""
    if context.invoked_subcommand:
        _refuse_options_before(context, context.invoked_subcommand)
        return
    desk = Desk.of(target_of(aws, profile, changes=False), env)
    found = select(desk.books, Filter(dataset, error, step, since, until, open_only))
    number = _print_json(found) if as_json else _print_table(show.watched(found, _found_so_far))
    what = "open letter" if open_only else "letter"
    if not number:
        show.stderr.print(f"no {what}s match")
        return
    show.stderr.print(
        f"{number:,} {what}{'' if number == 1 else 's'}. See what one says: custody letters show ID. "
        "Run it again: custody redrive ID. "
        "Give it up: custody letters discard ID --reason TEXT",
        soft_wrap=True,
    )


@app.command(name="show")
def show_letter(  # noqa: PLR0913 - one parameter an option
    letter_id: LetterId,
    *,
    all_records: Annotated[
        bool, typer.Option("--all-records", help=f"Every rejected record, not only {show.SHOWN}.")
    ] = False,
    as_json: AsJson = False,
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """Show one letter, and point at what is wrong in the bytes of each rejected record."""
    desk = Desk.of(target_of(aws, profile, changes=False), env)
    letter = find_letter(desk.books, letter_id)
    body, closing = desk.books.read(letter), closed_by(desk.books, letter)
    if as_json:
        facts = {"id": letter.id, "uri": desk.uri(letter.key), "open": closing is None, "closed_by": closing}
        sys.stdout.write(json.dumps(facts | {"letter": body}, indent=2) + "\n")
        return
    _print_letter(desk, letter, body, closing)
    rejected = body["rejected"]
    shown = rejected if all_records else rejected[: show.SHOWN]
    for record in shown:
        _print_record(desk, body, record)
    if len(shown) < len(rejected):
        show.stderr.print(f"\n{len(rejected) - len(shown)} more rejected records: add --all-records")
    if closing is None:
        show.stderr.print(
            f"\nRun it again: custody redrive {letter.id}\n"
            f"Give it up:   custody letters discard {letter.id} --reason TEXT",
            soft_wrap=True,
        )


@app.command()
def discard(  # noqa: PLR0913 - one parameter an option
    letter_id: LetterId,
    *,
    reason: Annotated[str, typer.Option(help="Why; it is kept for good, so quote no record.")],
    as_json: AsJson = False,
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """Give up the records of an open letter: the ledger keeps who decided so, and why. Nothing is deleted."""
    if not reason.strip():
        raise CommandFailed("A discard needs a reason: say why in --reason.", USAGE)
    target = target_of(aws, profile, changes=True)
    desk = Desk.of(target, env)
    letter = find_letter(desk.books, letter_id)
    discarding.require_open(desk.books, letter)
    body = desk.books.read(letter)
    discarding.require_at_rest(target.client("stepfunctions"), letter, body)
    written = discarding.written_at(desk.books, letter)
    by = target.client("sts").get_caller_identity()["Arn"]
    decision = Discard(letter, body, written, reason.strip(), by, datetime.now(UTC))
    discarding.book(desk.books, decision)
    if as_json:
        facts = {"letter": letter.id, "ledger": desk.uri(decision.entry.key), "counts": decision.counts}
        records = [record["record"] for record in body["rejected"]]
        sys.stdout.write(json.dumps(facts | {"records": records, "reason": decision.reason, "by": by}, indent=2) + "\n")
    else:
        _print_discard(desk, decision)


def _refuse_options_before(context: typer.Context, command: str) -> None:
    """Raise CommandFailed for an option that would be lost: each command has its own."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source and source.name == "COMMANDLINE":
            raise CommandFailed(f"Put the options after the command: `custody letters {command} …`.", USAGE)


def _print_json(found: Iterable[Found]) -> int:
    """Print the letters as one JSON document, while they come; return how many."""
    number = 0
    sys.stdout.write('{"letters": [')
    for each in found:
        facts = {"id": each.letter.id, "open": each.is_open} | each.body | {"rejected": _rejected(each.body)}
        sys.stdout.write(("," if number else "") + "\n" + json.dumps(facts))
        number += 1
    sys.stdout.write("\n]}\n" if number else "]}\n")
    return number


def _print_table(found: Iterable[Found]) -> int:
    """Print a table, or two lines a letter where the terminal is too narrow for one; return how many letters."""
    table = Table(*_HEADINGS, box=box.SIMPLE_HEAD, pad_edge=False)
    for each in found:
        table.add_row(*_row(each))
    wide = show.console.options.update(width=show.WIDTH_OF_A_PIPE)
    if table.row_count and show.console.measure(table, options=wide).maximum <= show.console.width:
        show.console.print(table)
        return table.row_count
    for row in zip(*([*column.cells] for column in table.columns), strict=True):
        letter, *facts, state = row
        named = [Text.assemble((f"{name} ", "dim"), fact) for name, fact in zip(_HEADINGS[1:], facts, strict=False)]
        show.console.print(letter, soft_wrap=True)
        show.console.print(Text("  ").append_text(Text(", ").join([state, *named])), soft_wrap=True)
    return table.row_count


def _row(found: Found) -> list[Text]:
    body = found.body
    rejected = _rejected(body)
    return [
        Text(found.letter.id, style="bold"),
        Text(body["dataset"]),
        Text(str(body["attempt"])),
        Text(body["step"]),
        Text(visible(body["error"]), style="red"),
        Text("whole batch" if rejected is None else f"{rejected} of {body['received']}"),
        Text(_minute(body["recorded_at"])),
        _state(is_open=found.is_open),
    ]


def _state(*, is_open: bool) -> Text:
    return Text("open", style="bold yellow") if is_open else Text("closed", style="green")


def _found_so_far(number: int) -> str:
    return f"{number:,} letters found"


def _rejected(body: dict[str, Any]) -> int | None:
    """Count the rejected records, if it is these that the letter is about; None if it is about the whole batch."""
    return len(body["rejected"]) if body["error"] == RecordsRejected.__name__ else None


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")


def _print_letter(desk: Desk, letter: Letter, body: dict[str, Any], closing: str | None) -> None:
    raw = raw_of(body)
    execution = body["execution"]
    rejected = len(body["rejected"])
    counts = "not read" if body["received"] is None else f"{body['received']} received, {rejected} rejected"
    facts = {
        "what": f"{body['error']} at {body['step']}, attempt {body['attempt']}, on {body['recorded_at']}",
        "cause": body["cause"],
        "advice": body["advice"],
        "state": "open" if closing is None else f"closed: {closing}",
        "object": f"{raw.uri} ({raw.size:,} bytes)",
        "records": counts if body["chunk"] is None else f"{counts} (the batch that begins at byte {body['chunk']:,})",
        "contract": body["contract"] or "not known: the batch was not read",
        "code": ", ".join(f"{stage} {version}" for stage, version in body["code"].items()) or "not known",
        "execution": execution["arn"],
        "console": None if desk.target.is_local else execution["console"],
        "redrive of": body.get("redrive_of"),
        "resumes at": body.get("resumes_at"),
        "letter": desk.uri(letter.key),
    }
    show.console.print(Text(letter.id, style="bold"), soft_wrap=True)
    styles = {"what": "red", "state": "bold yellow" if closing is None else "green"}
    for name, fact in facts.items():
        if fact:
            line = Text.assemble((f"  {name:<11}", "dim"), (visible(fact), styles.get(name, "")))
            show.console.print(line, soft_wrap=True)


def _print_record(desk: Desk, body: dict[str, Any], record: dict[str, Any]) -> None:
    """Print what a record breaks, each violation with the place in the bytes that it is about."""
    where = f"  at {record['stage']}; {record['length']:,} bytes at byte {record['offset']:,} of the object"
    show.console.print(Text.assemble("\n", (record["record"], "bold"), (where, "dim")), soft_wrap=True)
    content = record_bytes(desk.books.s3, raw_of(body), record)
    if content is None:
        show.console.print("    the raw version is gone, so its bytes cannot be shown", style="yellow")
    elif sha256(content).hexdigest() != record["sha256"]:
        show.console.print("    the bytes there now are not those that were rejected: their hash differs", style="red")
    for given in record["violations"]:
        violation = Violation(**given)
        show.console.print(Text(f"    {visible(str(violation))}", style="red"), soft_wrap=True)
        if content is not None:
            _print_place(content, violation)


def _print_place(content: bytes, violation: Violation) -> None:
    """Print the line of a record that a violation is about: the place stands out, or has a marker beneath it."""
    width = min(_WIDEST_EXCERPT, show.console.width - len(_INDENT) - 2)
    found = excerpt(*place(content, violation), width)
    marked = found.marked or " "
    line = Text.assemble(_INDENT, (found.before, "dim"), (marked, "bold red underline"), (found.after, "dim"))
    show.console.print(line, soft_wrap=True)
    if not show.console.is_terminal:
        show.console.print(_INDENT + " " * cell_len(found.before) + "^" * cell_len(marked), soft_wrap=True)


def _print_discard(desk: Desk, decision: Discard) -> None:
    show.console.print(Text(f"discarded: {decision}, of {raw_of(decision.body).uri}"), soft_wrap=True)
    rejected = decision.body["rejected"]
    for record in rejected[: show.SHOWN]:
        why = "; ".join(str(Violation(**violation)) for violation in record["violations"])
        show.console.print(Text(f"  {record['record']}  {visible(why)}"), soft_wrap=True)
    if len(rejected) > show.SHOWN:
        show.console.print(f"  and {len(rejected) - show.SHOWN} more")
    show.console.print(Text(f"  reason    {visible(decision.reason)}"), soft_wrap=True)
    show.console.print(Text(f"  by        {decision.by}"), soft_wrap=True)
    show.console.print(Text(f"  booked    {desk.uri(decision.entry.key)}; nothing was deleted"), soft_wrap=True)
