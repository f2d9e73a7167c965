"""`custody trace`: one record or object through the books, from its bytes in the raw bucket to what consumers read."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.text import Text

from custody import show, tracing
from custody.books import Books
from custody.executions import SUCCEEDED, Pipeline
from custody.naming import named
from custody.options import AsJson, Aws, Env, Profile, target_of
from custody.pointing import visible
from custody.target import find
from functions.shared.messages import Violation

_WIDEST = 2000
"""Characters of a record that are shown; `--json` has all."""

_COLOURS = {"written": "green", "rejected": "red", "discarded": "yellow", "failed": "red", "booked": "red"}


def trace(
    wanted: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="A record id, an object id, or a key in the raw bucket; or any S3 URI, letter or execution ARN that "
            "Custody prints.",
        ),
    ],
    *,
    as_json: AsJson = False,
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """Say what became of one record, and show its bytes before and after; or of one object, with its letters.

    Exit code 1: nothing tells of it.
    """
    target = target_of(aws, profile)
    deployment = find(target, env)
    books, pipeline = Books(target.client("s3"), deployment.audit), Pipeline.of(target, deployment)
    asked = named(books.s3, pipeline, deployment.raw, deployment.processed, wanted)
    is_record = asked.position is not None
    told = (
        tracing.of_record(books, pipeline, asked.object_id, asked.position)
        if asked.position is not None
        else tracing.of_object(books, pipeline, asked)
    )
    if as_json:
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
        return
    if is_record:
        _show_record(told)
    else:
        _show_object(told)


def _show_record(told: dict[str, Any]) -> None:
    outcome, discard = told["outcome"], told["discarded"]
    chunk, output = told["chunk"], told["output"]
    part = f", in the chunk of {chunk['bytes']:,} bytes at byte {chunk['start']:,}" if chunk else ""
    attempts = ", ".join(
        str(each["attempt"]) + (" (discarded)" if each["discarded"] else "") for each in told["attempts"]
    )
    _print(told["record"], None)
    since = _by(discard) if discard else f"on {told['recorded_at']}"
    _print("outcome", f"{outcome} at attempt {told['attempt']}, {since}", _COLOURS[outcome])
    for violation in told.get("violations", []):
        _print("", f"{told['stage']}: {Violation(**violation)}", "red")
    _print("object", told["uri"])
    _print("lies at", f"byte {told['offset']:,}, {told['length']:,} bytes{part}")
    _print("received", _shown(told["received_text"], "the raw version is gone"))
    if output:
        _print("written to", f"s3://{output['bucket']}/{output['key']}?versionId={output['version_id']}")
        _print("lies at", f"byte {output['offset']:,}, {output['length']:,} bytes")
        _print("written", _shown(told["written_text"], "that version is gone: see `custody verify`"))
    _print("attempts", attempts)
    booked = [each["ledger"] for each in told["attempts"] if not each["discarded"]]
    for ledger in [*booked[-1:], *([discard["ledger"]] if discard else [])]:
        _print("ledger", ledger)
    _print("execution", told["execution"])
    if told["parent"]:
        _print("part of", told["parent"])
    _print_letters(told, ", of its chunk" if chunk else ", of its object")


def _show_object(told: dict[str, Any]) -> None:
    counts, output = told["counts"], told["output"]
    _print(told["object"]["id"], None)
    _print("object", f"{told['uri']} ({told['object']['size']:,} bytes)")
    _print_state(told)
    numbers = (
        ", ".join(f"{number:,} {name}" for name, number in counts.items()) if counts else "its books are not closed"
    )
    _print("records", f"{numbers}, at attempt {told['attempt']}")
    _print_rejected(told)
    if told["chunks"]:
        _print_chunks(told["chunks"])
    for discard in told["discards"]:
        what = "all that was left" if discard["start"] is None else f"the chunk at byte {discard['start']:,}"
        of_what = f"{what}, " if told["chunks"] else ""
        _print("discarded", f"{of_what}{_by(discard)}", _COLOURS["discarded"])
    if told["discards_more"]:
        _print("", f"and {told['discards_more']:,} more discards", _COLOURS["discarded"])
    if output:
        _print("written to", f"s3://{output['bucket']}/{output['key']}?versionId={output['version_id']}")
    if told["ledger"]:
        _print("ledger", told["ledger"])
    if told["execution"]:
        _print("execution", told["execution"])
    for other in told["other_versions"]:
        _print("see also", f"another version of its key: {other}")
    _print_letters(told, "")


def _print_state(told: dict[str, Any]) -> None:
    status, error = told["status"], told["error"]
    if status is None:
        _print("state", "not known: Step Functions does not tell of its execution, or has forgotten it")
    elif told["execution"] is None:
        _print("state", "no execution yet: its event is under way, or lost; see custody reconcile", "yellow")
    else:
        said = f"{status}: {error}" if error else status
        _print("state", said, "green" if status == SUCCEEDED else "yellow" if status == "RUNNING" else "red")


def _print_rejected(told: dict[str, Any]) -> None:
    """Print the first rejected records, with all that they break."""
    rejected = told["rejected"]
    for record in rejected:
        broken = "; ".join(str(Violation(**violation)) for violation in record["violations"])
        _print("", f"{record['record']} {record['outcome']}: {broken}", _COLOURS[record["outcome"]])
    if told["counts"] and (more := told["counts"]["rejected"] - len(rejected)) > 0:
        _print("", f"and {more:,} more; the ledger has all")


def _print_chunks(chunks: dict[str, Any]) -> None:
    _print("chunks", ", ".join(f"{chunks[name]:,} {name}" for name in ("total", "booked", "failed") if name in chunks))
    left = chunks["not_written"]
    for chunk in left[: show.SHOWN]:
        rejected = f", rejected records: {chunk['counts']['rejected']:,}" if chunk["counts"] else ""
        _print("", f"{chunk['outcome']} at byte {chunk['start']:,}{rejected}", _COLOURS[chunk["outcome"]])
    if len(left) > show.SHOWN:
        _print("", f"and {len(left) - show.SHOWN:,} more")


def _by(discard: dict[str, Any]) -> str:
    """Say who discarded, when and why."""
    if discard["at"] is None:
        return f"by whom is not known: {discard['ledger']} cannot be read"
    return f"on {discard['at']} by {discard['by']}: {discard['reason']}"


def _print_letters(told: dict[str, Any], of_what: str) -> None:
    letters = sorted(told["letters"], key=lambda letter: not letter["open"])
    for letter in letters[: show.SHOWN]:
        is_open = letter["open"]
        _print("letter", f"{letter['id']} ({'open' if is_open else 'closed'}{of_what})", "yellow" if is_open else "")
    if (more := len(letters) - show.SHOWN) > 0:
        is_open = sum(letter["open"] for letter in letters)
        _print("", f"and {more:,} more letter{'' if more == 1 else 's'}; {is_open:,} of all {len(letters):,} are open")


def _shown(text: str | None, otherwise: str) -> str:
    if text is None:
        return otherwise
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}… ({len(text):,} characters; --json has all)"


def _print(name: str, fact: str | None, style: str = "") -> None:
    """Print a fact under its name; without one, a heading."""
    if fact is None:
        show.console.print(Text(visible(name), style="bold"), soft_wrap=True)
    else:
        show.console.print(Text.assemble((f"  {name:<11}", "dim"), (visible(fact), style)), soft_wrap=True)
