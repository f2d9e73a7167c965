"""The trace of a record or an object, as people see it."""

from collections.abc import Iterator
from datetime import datetime
from textwrap import wrap
from urllib.parse import quote

from msgspec.structs import asdict

from custody.assurance.verify_batch import format_counts
from custody.audit.object_state import DeadLetterState
from custody.audit.trace import ObjectTrace, RecordTrace
from custody.executions.history import TimelineStep, Try
from custody.executions.pipeline import RUNNING, SUCCEEDED, Runs
from custody.executions.timeline import Links, Timeline, first_line
from custody.terminal import console
from custody.terminal.console import print_fact, print_heading, print_line
from custody.terminal.tables import shorten_words
from custody.terminal.text import plural, visible
from custody.terminal.times import took
from functions.shared.model.ids import RawObject
from functions.shared.model.ledger import ChunkCounts, CommittedChunk, Output

_WIDEST = 2000
"""The most characters of a record that are shown; `--json` has all."""

_COLOURS = {"written": "green", "rejected": "red", "discarded": "yellow"}
_STEP_COLOURS = {"succeeded": "green", "running": "yellow", "caught": "yellow"}
"""The colours of step outcomes; all others are red."""

_INDENT = 4
_NARROWEST = 20
_FOLDED = 4
"""The most lines that an error takes; `--json` has all of it."""

_CLOCK = len("10:00:02.113")
"""The length of a time without its day."""


def trace(traced: RecordTrace | ObjectTrace, links: Links) -> None:
    """Show a trace, with links to the console where there is one."""
    if isinstance(traced, RecordTrace):
        _print_record(traced, links)
    else:
        _print_object(traced, links)


def status_colour(status: str | None) -> str:
    """Return the colour of the status of an execution."""
    return "green" if status == SUCCEEDED else "yellow" if status in RUNNING else "red" if status else ""


def format_items(items: ChunkCounts | Runs, noun: str = "") -> str:
    """Format counts of items by outcome, such as `7: 6 committed, 1 failed` or `7 runs: 5 succeeded, 2 failed`."""
    counts = asdict(items)
    total = counts.pop("total")
    names = {"timedOut": "timed out"}
    parts = ", ".join(f"{number:,} {names.get(name, name)}" for name, number in counts.items() if number)
    return (plural(total, noun) if noun else f"{total:,}") + (f": {parts}" if parts else "")


def _print_record(traced: RecordTrace, links: Links) -> None:
    header, record, output = traced.header, traced.record, traced.output
    chunk = header.chunk
    part = f", in the chunk of {chunk.bytes:,} bytes at byte {chunk.start:,}" if chunk else ""
    print_heading(record.record)
    when = traced.discarded or f"on {header.recorded_at}"
    print_fact("outcome", f"{record.outcome} at attempt {header.attempt}, {when}", _COLOURS[record.outcome])
    for violation in record.described():
        print_fact("", f"{record.stage}: {violation}", "red")
    _print_version("object", header.object, links)
    print_fact("lies at", f"byte {record.offset:,}, {record.length:,} bytes{part}")
    print_fact("received", _shorten(traced.received_text, "the raw version is gone or archived"), whole=True)
    if output and record.output:
        _print_version("written to", output, links)
        print_fact("lies at", f"byte {record.output.offset:,}, {record.output.length:,} bytes")
        written = _shorten(traced.written_text, "that version is gone: see `custody verify`")
        print_fact("written", written, whole=True)
    for ledger in traced.ledger_files:
        _print_uri("ledger", ledger, links)
    _print_dead_letters(traced.dead_letters, ", of its chunk" if chunk else ", of its object")
    if header.parent:
        print_fact("part of", header.parent, whole=True)
    _print_executions(traced.executions)


def _print_object(traced: ObjectTrace, links: Links) -> None:
    print_heading(traced.object.id)
    _print_version("object", traced.object, links, f" ({traced.object.size:,} bytes)")
    _print_state(traced.executions)
    counts = format_counts(traced.counts) if traced.counts else "not all of them have an outcome"
    print_fact("records", f"{counts}, at attempt {traced.attempt}")
    for record in traced.rejected:
        print_fact("", f"{record.record} {record.outcome}: {'; '.join(record.described())}", _COLOURS[record.outcome])
    if traced.counts:
        _print_more(traced.counts.rejected - len(traced.rejected), "; the ledger has all")
    if traced.chunks:
        print_fact("chunks", format_items(traced.chunks))
    for chunk in traced.chunks_to_redo[: console.SHOWN]:
        why = f"rejected records: {chunk.counts.rejected:,}" if isinstance(chunk, CommittedChunk) else "failed"
        print_fact("", f"at byte {chunk.start:,}: {why}", "red")
    _print_more(len(traced.chunks_to_redo) - console.SHOWN)
    for discard in traced.discards:
        print_fact("discarded", discard, _COLOURS["discarded"])
    _print_more(traced.discards_more, " discards")
    if traced.output:
        _print_version("written to", traced.output, links)
    if traced.ledger:
        _print_uri("ledger", traced.ledger, links)
    if traced.ledger and traced.chunks:
        folder = traced.ledger.rpartition("/")[0]
        print_fact("", f"of each chunk, with the processed object that it was written to: {folder}/")
    for other in traced.other_versions:
        print_fact("see also", f"another version of its key: {other}")
    _print_dead_letters(traced.dead_letters, "")
    _print_executions(traced.executions)


def _print_state(executions: list[Timeline]) -> None:
    if not executions:
        print_fact("state", "no execution yet: its event is on the way, or lost; see custody reconcile", "yellow")
    elif (last := executions[-1]).status is None:
        print_fact("state", "not known: Step Functions does not report its execution, or no longer has it")
    else:
        print_fact("state", ": ".join(filter(None, (last.status, last.error))), status_colour(last.status))


def _print_dead_letters(dead_letters: list[DeadLetterState], subject: str) -> None:
    for dead_letter in sorted(dead_letters, key=lambda dead_letter: not dead_letter.open)[: console.SHOWN]:
        state, style = ("open", "yellow") if dead_letter.open else ("resolved", "")
        print_fact("dead letter", f"{dead_letter.id} ({state}{subject})", style, whole=True)
    _print_more(len(dead_letters) - console.SHOWN, f" of {len(dead_letters):,} dead letters")


def _print_executions(timelines: list[Timeline]) -> None:
    for timeline in timelines:
        print_fact("execution", timeline.arn, whole=True)
        if timeline.status and timeline.started_at:
            redrives = f" ({plural(timeline.redrives, 'redrive')})" if timeline.redrives else ""
            when = f"{_format_time(timeline.started_at)} UTC, {_took(timeline.seconds)}"
            facts = f"{timeline.status} at attempt {timeline.attempt}{redrives}, {when}"
            print_fact("", facts, status_colour(timeline.status))
        _print_link(timeline.console)
        if timeline.unavailable:
            print_fact("", timeline.unavailable, "yellow")
        _print_steps(timeline.steps or [])


def _print_steps(steps: list[TimelineStep]) -> None:
    width = max((len(step.name) for step in steps), default=0)
    redrive = 0
    for step in steps:
        if step.redrive != redrive:
            redrive = step.redrive
            _print_folded(f"redrive {redrive}", "dim")
        name = f"{' ' * _INDENT}{_format_time(step.entered_at)}  {step.name:<{width}}  "
        outcome = f"{_words(step.outcome):<9}", _STEP_COLOURS.get(step.outcome, "red")
        print_line(name, outcome, f"  {_took(step.seconds)}")
        for text, style in describe_tries(step.tries):
            _print_folded(f"  {text}", style)


def describe_tries(tries: list[Try]) -> Iterator[tuple[str, str]]:
    """Describe each of several tries of a step, or the error and the chunks of a single one, with a style."""
    for number, each in enumerate(tries, 1):
        items = each.map_run.items if each.map_run else None
        parts = [
            ": ".join(filter(None, (each.error, first_line(each.cause)))),
            format_items(items, "run") if items else "",
        ]
        if len(tries) > 1:
            duration = "" if each.seconds is None else f", {took(each.seconds)}"
            outcome = "" if each.error else f": {_words(each.outcome)}"
            parts.insert(0, f"try {number} at {_format_time(each.started_at)[-_CLOCK:]}{duration}{outcome}")
        if any(parts):
            yield "; ".join(filter(None, parts)), "red" if each.error else ""


def _words(outcome: str) -> str:
    return outcome.replace("_", " ")


def _format_time(stamp: str) -> str:
    """Format a time in UTC, to the millisecond."""
    return f"{datetime.fromisoformat(stamp):%Y-%m-%d %H:%M:%S.%f}"[:-3]


def _took(duration: float | None) -> str:
    return "not ended" if duration is None else took(duration)


def _shorten(text: str | None, otherwise: str) -> str:
    if text is None:
        return otherwise
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}… ({len(text):,} characters; --json has all)"


def _print_version(name: str, version: RawObject | Output, links: Links, size: str = "") -> None:
    print_fact(name, f"s3://{version.bucket}/{version.key}?versionId={quote(version.version_id)}{size}", whole=True)
    _print_link(links.object(version.bucket, version.key, version.version_id))


def _print_uri(name: str, uri: str, links: Links) -> None:
    print_fact(name, uri, whole=True)
    _print_link(links.object(*uri.removeprefix("s3://").split("/", 1)))


def _print_link(link: str | None) -> None:
    if link:
        print_fact("", link, "dim", whole=True)


def _print_more(number: int, of: str = "") -> None:
    if number > 0:
        print_fact("", f"and {number:,} more{of}")


def _print_folded(text: str, style: str) -> None:
    """Print a line below a step, folded to the width of the terminal."""
    width = max(_NARROWEST, console.console.width - _INDENT)
    shown = visible(text)
    indent = " " * (len(shown) - len(shown.lstrip(" ")) + 2)
    shown = shorten_words(shown, width - len(indent))
    lines = wrap(shown, width, subsequent_indent=indent, break_on_hyphens=False)
    if len(lines) > _FOLDED:
        lines = [*lines[:_FOLDED], f"{indent}… (--json has all)"]
    for line in lines:
        print_line(" " * _INDENT, (line, style))
