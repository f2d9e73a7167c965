"""`custody trace`: one record or object through the books, from its bytes in the raw bucket to what consumers read."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.text import Text

from custody import show, tracing
from custody.books import Books
from custody.options import AsJson, Aws, Env, Profile, target_of
from custody.pointing import visible
from custody.target import find
from functions.shared.messages import Violation

_WIDEST = 2000
"""Characters of a record that are shown; `--json` has all."""

_COLOURS = {"written": "green", "rejected": "red", "discarded": "yellow"}


def trace(
    wanted: Annotated[str, typer.Argument(metavar="ID", help="A record id, an object id, or a key in the raw bucket.")],
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
    books = Books(target.client("s3"), deployment.audit)
    named = tracing.named(books.s3, deployment.raw, wanted)
    is_record = named.position is not None
    told = (
        tracing.of_record(books, named.object_id, named.position)
        if named.position is not None
        else tracing.of_object(books, named)
    )
    if as_json:
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
        return
    if is_record:
        _show_record(told)
    else:
        _show_object(told)


def _show_record(told: dict[str, Any]) -> None:
    outcome = "discarded" if told["discarded"] and told["outcome"] == "rejected" else told["outcome"]
    chunk, output = told["chunk"], told["output"]
    part = f", in the chunk of {chunk['bytes']:,} bytes at byte {chunk['start']:,}" if chunk else ""
    attempts = ", ".join(
        str(each["attempt"]) + (" (discarded)" if each["discarded"] else "") for each in told["attempts"]
    )
    _print(told["record"], None)
    _print("outcome", f"{outcome} at attempt {told['attempt']}, on {told['recorded_at']}", _COLOURS[outcome])
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
    _print("ledger", next(each["ledger"] for each in reversed(told["attempts"]) if not each["discarded"]))
    _print("execution", told["execution"])
    if told["parent"]:
        _print("part of", told["parent"])
    _print_letters(told)


def _show_object(told: dict[str, Any]) -> None:
    counts, chunks, output = told["counts"], told["chunks"], told["output"]
    _print(told["object"]["id"], None)
    _print("object", f"{told['uri']} ({told['object']['size']:,} bytes)")
    numbers = (
        ", ".join(f"{number:,} {name}" for name, number in counts.items()) if counts else "its books are not closed"
    )
    _print("records", f"{numbers}, at attempt {told['attempt']}")
    if chunks:
        _print(
            "chunks", ", ".join(f"{chunks[name]:,} {name}" for name in ("total", "booked", "failed") if name in chunks)
        )
        left = chunks["not_written"]
        for chunk in left[: show.SHOWN]:
            rejected = f", rejected records: {chunk['counts']['rejected']:,}" if chunk["counts"] else ""
            _print("", f"{chunk['outcome']} at byte {chunk['start']:,}{rejected}", "red")
        if len(left) > show.SHOWN:
            _print("", f"and {len(left) - show.SHOWN:,} more")
    if output:
        _print("written to", f"s3://{output['bucket']}/{output['key']}?versionId={output['version_id']}")
    if told["ledger"]:
        _print("ledger", told["ledger"])
    _print("execution", told["execution"])
    for other in told["other_versions"]:
        _print("see also", f"another version of its key: {other}")
    _print_letters(told)


def _print_letters(told: dict[str, Any]) -> None:
    letters = sorted(told["letters"], key=lambda letter: not letter["open"])
    for letter in letters[: show.SHOWN]:
        _print(
            "letter", f"{letter['id']} ({'open' if letter['open'] else 'closed'})", "yellow" if letter["open"] else ""
        )
    if len(letters) > show.SHOWN:
        is_open = sum(letter["open"] for letter in letters)
        _print("", f"and {len(letters) - show.SHOWN:,} more letters; {is_open:,} of all are open")


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
