"""A record or an object as `custody trace` shows it to people."""

from collections.abc import Iterator
from datetime import datetime
from textwrap import wrap
from typing import Any

from rich.text import Text

from custody.executions.pipeline import RUNNING, SUCCEEDED
from custody.executions.timeline import sentence
from custody.terminal import console
from custody.terminal.text import visible
from custody.terminal.times import took
from functions.shared.model.records import Violation

_WIDEST = 2000
"""Characters of a record that are shown; `--json` has all."""

_COLOURS = {"written": "green", "rejected": "red", "discarded": "yellow", "failed": "red", "committed": "red"}
_OUTCOMES = {"succeeded": "green", "running": "yellow", "caught": "yellow"}
"""Colours of steps; all else is red."""

_INDENT = 4
_NARROWEST = 20
_FOLDED = 4
"""Lines that what is said of a try may take; `--json` has all of it."""

_CLOCK = len("10:00:02.113")
"""Characters of a moment that tell it within its day."""

_STATES = {"timedOut": "timed out"}


def colour_of(status: str | None) -> str:
    """Give the colour of the status of an execution."""
    return "green" if status == SUCCEEDED else "yellow" if status in RUNNING else "red" if status else ""


def record(told: dict[str, Any]) -> None:
    """Show a record."""
    outcome, discard = told["outcome"], told["discarded"]
    chunk, output, links = told["chunk"], told["output"], told["links"]
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
    _print_link(links["raw"])
    _print("lies at", f"byte {told['offset']:,}, {told['length']:,} bytes{part}")
    _print("received", _shown(told["received_text"], "the raw version is gone"))
    if output:
        _print("written to", f"s3://{output['bucket']}/{output['key']}?versionId={output['version_id']}")
        _print_link(links["output"])
        _print("lies at", f"byte {output['offset']:,}, {output['length']:,} bytes")
        _print("written", _shown(told["written_text"], "that version is gone: see `custody verify`"))
    _print("attempts", attempts)
    for ledger in [told["ledger"], *([discard["ledger"]] if discard else [])]:
        _print("ledger", ledger)
    _print_link(links["ledger"])
    _print("its line", _shown(told["ledger_line"], ""))
    _print_dead_letters(told, ", of its chunk" if chunk else ", of its object")
    if told["parent"]:
        _print("part of", told["parent"])
    _print_executions(told)


def whole(told: dict[str, Any]) -> None:
    """Show an object."""
    counts, output, links = told["counts"], told["output"], told["links"]
    _print(told["object"]["id"], None)
    _print("object", f"{told['uri']} ({told['object']['size']:,} bytes)")
    _print_link(links["raw"])
    _print_state(told)
    numbers = (
        ", ".join(f"{number:,} {name}" for name, number in counts.items()) if counts else "its commits are not closed"
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
        _print_link(links["output"])
    if told["ledger"]:
        _print("ledger", told["ledger"])
        _print_link(links["ledger"])
    for other in told["other_versions"]:
        _print("see also", f"another version of its key: {other}")
    _print_dead_letters(told, "")
    _print_executions(told)


def _print_state(told: dict[str, Any]) -> None:
    status, error = told["status"], told["error"]
    if status is None:
        _print("state", "not known: Step Functions does not tell of its execution, or has forgotten it")
    elif told["execution"] is None:
        _print("state", "no execution yet: its event is under way, or lost; see custody reconcile", "yellow")
    else:
        _print("state", f"{status}: {error}" if error else status, colour_of(status))


def _print_rejected(told: dict[str, Any]) -> None:
    """Print the first rejected records, with all that they break."""
    rejected = told["rejected"]
    for each in rejected:
        broken = "; ".join(str(Violation(**violation)) for violation in each["violations"])
        _print("", f"{each['record']} {each['outcome']}: {broken}", _COLOURS[each["outcome"]])
    if told["counts"] and (more := told["counts"]["rejected"] - len(rejected)) > 0:
        _print("", f"and {more:,} more; the ledger has all")


def _print_chunks(chunks: dict[str, Any]) -> None:
    _print(
        "chunks", ", ".join(f"{chunks[name]:,} {name}" for name in ("total", "committed", "failed") if name in chunks)
    )
    left = chunks["not_written"]
    for chunk in left[: console.SHOWN]:
        rejected = f", rejected records: {chunk['counts']['rejected']:,}" if chunk["counts"] else ""
        _print("", f"{chunk['outcome']} at byte {chunk['start']:,}{rejected}", _COLOURS[chunk["outcome"]])
    if len(left) > console.SHOWN:
        _print("", f"and {len(left) - console.SHOWN:,} more")


def _by(discard: dict[str, Any]) -> str:
    """Say who discarded, when and why."""
    if discard["at"] is None:
        return f"by whom is not known: {discard['ledger']} cannot be read"
    return f"on {discard['at']} by {discard['by']}: {discard['reason']}"


def _print_dead_letters(told: dict[str, Any], of_what: str) -> None:
    dead_letters = sorted(told["dead_letters"], key=lambda dead_letter: not dead_letter["open"])
    for dead_letter in dead_letters[: console.SHOWN]:
        is_open = dead_letter["open"]
        _print(
            "dead_letter",
            f"{dead_letter['id']} ({'open' if is_open else 'closed'}{of_what})",
            "yellow" if is_open else "",
        )
        if is_open:
            _print_link(dead_letter["console"])
    if (more := len(dead_letters) - console.SHOWN) > 0:
        is_open = sum(dead_letter["open"] for dead_letter in dead_letters)
        _print(
            "",
            f"and {more:,} more dead letter{'' if more == 1 else 's'}; {is_open:,} of all {len(dead_letters):,} are open",
        )


def _print_executions(told: dict[str, Any]) -> None:
    """Print each execution, oldest first, with its steps."""
    for one in told["executions"]:
        _print("execution", one["arn"])
        if one["status"]:
            redrives = f" ({one['redrives']} redrive{'' if one['redrives'] == 1 else 's'})" if one["redrives"] else ""
            when = f"{_moment(one['started_at'])} UTC, {_took(one['seconds'])}"
            said = f"{one['status']} at attempt {one['attempt']}{redrives}, {when}"
            _print("", said, colour_of(one["status"]))
        _print_link(one["console"])
        if one["untold"]:
            _print("", one["untold"], "yellow")
        _print_steps(one["steps"] or [])


def _print_steps(steps: list[dict[str, Any]]) -> None:
    widest = max((len(step["name"]) for step in steps), default=0)
    redrive = 0
    for step in steps:
        if step["redrive"] != redrive:
            redrive = step["redrive"]
            _line(f"redrive {redrive}", "dim")
        said = Text(f"{_moment(step['entered_at'])}  {visible(step['name']):<{widest}}  ")
        said.append(f"{_words(step['outcome']):<9}", _OUTCOMES.get(step["outcome"], "red"))
        said.append(f"  {_took(step['seconds'])}")
        console.console.print(Text(" " * _INDENT) + said, soft_wrap=True)
        for told, style in told_of(step["tries"]):
            _line(f"  {told}", style)


def told_of(tries: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Tell of the tries of a step: each, if there were several; of the only one, what went wrong, and its chunks."""
    for number, one in enumerate(tries, 1):
        map_run, error = one["map_run"], one["error"]
        items = map_run and map_run["items"]
        said = [
            ": ".join(filter(None, (error, sentence(one["cause"])))),
            counted(items, "run") if items else "",
        ]
        if len(tries) > 1:
            said.insert(0, f"try {number} at {_moment(one['started_at'])[-_CLOCK:]}{_went(one)}")
        if any(said):
            yield "; ".join(filter(None, said)), "red" if error else ""


def _went(one: dict[str, Any]) -> str:
    """Say how long a try took, if the execution waited for its end, and how it went, if no error says that."""
    duration = "" if one["seconds"] is None else f", {took(one['seconds'])}"
    return duration if one["error"] else f"{duration}: {_words(one['outcome'])}"


def _words(outcome: str) -> str:
    return outcome.replace("_", " ")


def counted(items: dict[str, int], of: str = "") -> str:
    """Count items by how they went, such as `7: 6 committed, 1 failed`, or with a noun `7 runs: 5 succeeded, 2 failed`."""
    noun = f" {of}{'' if items['total'] == 1 else 's'}" if of else ""
    parts = [f"{number:,} {_STATES.get(name, name)}" for name, number in items.items() if name != "total" and number]
    return f"{items['total']:,}{noun}" + (f": {', '.join(parts)}" if parts else "")


def _moment(stamped: str) -> str:
    """Tell a moment, in UTC, to the thousandth of a second."""
    return f"{datetime.fromisoformat(stamped):%Y-%m-%d %H:%M:%S.%f}"[:-3]


def _took(duration: float | None) -> str:
    return "not ended" if duration is None else took(duration)


def _shown(text: str | None, otherwise: str) -> str:
    if text is None:
        return otherwise
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}… ({len(text):,} characters; --json has all)"


def _print_link(link: str | None) -> None:
    if link:
        _print("", link, "dim")


def _line(said: str, style: str) -> None:
    """Print what belongs to a step below it, folded to the width of the terminal: a cause may end with a file."""
    room = max(_NARROWEST, console.console.width - _INDENT)
    told = visible(said)
    indent = " " * (len(told) - len(told.lstrip(" ")) + 2)
    folded = wrap(told, room, subsequent_indent=indent, break_on_hyphens=False)
    shown = folded if len(folded) <= _FOLDED else [*folded[:_FOLDED], f"{indent}… (--json has all)"]
    for line in shown:
        console.console.print(Text(" " * _INDENT) + Text(line, style), soft_wrap=True)


def _print(name: str, fact: str | None, style: str = "") -> None:
    """Print a fact under its name; without one, a heading."""
    if fact is None:
        console.console.print(Text(visible(name), style="bold"), soft_wrap=True)
    else:
        console.console.print(Text.assemble((f"  {name:<11}", "dim"), (visible(fact), style)), soft_wrap=True)
