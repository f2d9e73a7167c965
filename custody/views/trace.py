"""The trace of a record or an object, as people see it."""

from collections.abc import Iterator
from datetime import datetime
from textwrap import wrap

from msgspec.structs import asdict
from rich.text import Text

from custody.assurance.verify_batch import format_counts
from custody.audit.trace import (
    ObjectTrace,
    RecordTrace,
    TracedChunks,
    TracedDeadLetter,
    TracedDiscard,
)
from custody.executions.history import TimelineStep, Try
from custody.executions.pipeline import NOT_STARTED, RUNNING, SUCCEEDED, Runs
from custody.executions.timeline import Timeline, first_line
from custody.terminal import console
from custody.terminal.console import print_fact, print_heading
from custody.terminal.text import plural, visible
from custody.terminal.times import took
from functions.shared.model.ledger import ChunkCounts, Output, RejectedLine

_WIDEST = 2000
"""The most characters of a record that are shown; `--json` has all."""

_COLOURS = {"written": "green", "rejected": "red", "discarded": "yellow", "failed": "red", "committed": "red"}
_STEP_COLOURS = {"succeeded": "green", "running": "yellow", "caught": "yellow"}
"""The colours of step outcomes; all others are red."""

_INDENT = 4
_NARROWEST = 20
_FOLDED = 4
"""The most lines that an error takes; `--json` has all of it."""

_CLOCK = len("10:00:02.113")
"""The length of a time without its day."""


def trace(traced: RecordTrace | ObjectTrace) -> None:
    """Show a trace."""
    if isinstance(traced, RecordTrace):
        _print_record(traced)
    else:
        _print_object(traced)


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


def _print_record(traced: RecordTrace) -> None:
    header, line, output, discard, links = traced.header, traced.line, traced.output, traced.discarded, traced.links
    chunk = header.chunk
    part = f", in the chunk of {chunk.bytes:,} bytes at byte {chunk.start:,}" if chunk else ""
    print_heading(traced.record)
    when = _format_discard(discard) if discard else f"on {header.recorded_at}"
    print_fact("outcome", f"{traced.outcome} at attempt {header.attempt}, {when}", _COLOURS[traced.outcome])
    if isinstance(line, RejectedLine):
        for violation in line.violations:
            print_fact("", f"{line.stage}: {violation}", "red")
    print_fact("object", traced.uri)
    _print_link(links.raw)
    print_fact("lies at", f"byte {line.offset:,}, {line.length:,} bytes{part}")
    print_fact("received", _shorten(traced.received_text, "the raw version is gone"))
    if output:
        _print_output(output, links.output)
        print_fact("lies at", f"byte {output.offset:,}, {output.length:,} bytes")
        print_fact("written", _shorten(traced.written_text, "that version is gone: see `custody verify`"))
    attempts = (f"{each.attempt}{' (discarded)' if each.discarded else ''}" for each in traced.attempts)
    print_fact("attempts", ", ".join(attempts))
    for ledger in [traced.ledger, *([discard.ledger] if discard else [])]:
        print_fact("ledger", ledger)
    _print_link(links.ledger)
    print_fact("its line", _shorten(traced.ledger_line, ""))
    _print_dead_letters(traced.dead_letters, ", of its chunk" if chunk else ", of its object")
    if header.parent:
        print_fact("part of", header.parent)
    _print_executions(traced.executions)


def _print_object(traced: ObjectTrace) -> None:
    print_heading(traced.object.id)
    print_fact("object", f"{traced.uri} ({traced.object.size:,} bytes)")
    _print_link(traced.links.raw)
    _print_state(traced)
    counts = format_counts(traced.counts) if traced.counts else "not all of them have an outcome"
    print_fact("records", f"{counts}, at attempt {traced.attempt}")
    _print_rejected(traced)
    if traced.chunks:
        _print_chunks(traced.chunks)
    for discard in traced.discards:
        what = "all that was left" if discard.start is None else f"the chunk at byte {discard.start:,}"
        of_chunk = f"{what}, " if traced.chunks else ""
        print_fact("discarded", f"{of_chunk}{_format_discard(discard)}", _COLOURS["discarded"])
    if traced.discards_more:
        print_fact("", f"and {plural(traced.discards_more, 'more discard')}", _COLOURS["discarded"])
    if traced.output:
        _print_output(traced.output, traced.links.output)
    if traced.ledger:
        print_fact("ledger", traced.ledger)
        _print_link(traced.links.ledger)
    for other in traced.other_versions:
        print_fact("see also", f"another version of its key: {other}")
    _print_dead_letters(traced.dead_letters, "")
    _print_executions(traced.executions)


def _print_state(traced: ObjectTrace) -> None:
    if traced.status is None:
        print_fact("state", "not known: Step Functions does not report its execution, or no longer has it")
    elif traced.status == NOT_STARTED:
        print_fact("state", "no execution yet: its event is on the way, or lost; see custody reconcile", "yellow")
    else:
        error = f": {traced.error}" if traced.error else ""
        print_fact("state", f"{traced.status}{error}", status_colour(traced.status))


def _print_rejected(traced: ObjectTrace) -> None:
    for record in traced.rejected:
        violations = "; ".join(map(str, record.violations))
        print_fact("", f"{record.record} {record.outcome}: {violations}", _COLOURS[record.outcome])
    if traced.counts and (more := traced.counts.rejected - len(traced.rejected)) > 0:
        print_fact("", f"and {more:,} more; the ledger has all")


def _print_chunks(chunks: TracedChunks) -> None:
    failed = f", {chunks.failed:,} failed" if isinstance(chunks.failed, int) else ""
    print_fact("chunks", f"{chunks.total:,} total, {chunks.committed:,} committed{failed}")
    for chunk in chunks.not_written[: console.SHOWN]:
        rejected = f", rejected records: {chunk.counts.rejected:,}" if chunk.counts else ""
        print_fact("", f"{chunk.outcome} at byte {chunk.start:,}{rejected}", _COLOURS[chunk.outcome])
    if (more := len(chunks.not_written) - console.SHOWN) > 0:
        print_fact("", f"and {more:,} more")


def _format_discard(discard: TracedDiscard) -> str:
    if discard.at is None:
        return f"by an unknown user: {discard.ledger} cannot be read"
    return f"on {discard.at} by {discard.by}: {discard.reason}"


def _print_dead_letters(dead_letters: list[TracedDeadLetter], subject: str) -> None:
    ordered = sorted(dead_letters, key=lambda dead_letter: not dead_letter.open)
    for dead_letter in ordered[: console.SHOWN]:
        state, style = ("open", "yellow") if dead_letter.open else ("resolved", "")
        print_fact("dead letter", f"{dead_letter.id} ({state}{subject})", style)
        if dead_letter.open:
            _print_link(dead_letter.console)
    if (more := len(ordered) - console.SHOWN) > 0:
        still_open = sum(dead_letter.open for dead_letter in ordered)
        print_fact("", f"and {plural(more, 'more dead letter')}; {still_open:,} of all {len(ordered):,} are open")


def _print_executions(timelines: list[Timeline]) -> None:
    for timeline in timelines:
        print_fact("execution", timeline.arn)
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
        line = Text(f"{_format_time(step.entered_at)}  {visible(step.name):<{width}}  ")
        line.append(f"{_words(step.outcome):<9}", _STEP_COLOURS.get(step.outcome, "red"))
        line.append(f"  {_took(step.seconds)}")
        console.console.print(Text(" " * _INDENT) + line, soft_wrap=True)
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


def _print_output(output: Output, link: str | None) -> None:
    print_fact("written to", f"s3://{output.bucket}/{output.key}?versionId={output.version_id}")
    _print_link(link)


def _print_link(link: str | None) -> None:
    if link:
        print_fact("", link, "dim")


def _print_folded(text: str, style: str) -> None:
    """Print a line below a step, folded to the width of the terminal."""
    width = max(_NARROWEST, console.console.width - _INDENT)
    shown = visible(text)
    indent = " " * (len(shown) - len(shown.lstrip(" ")) + 2)
    lines = wrap(shown, width, subsequent_indent=indent, break_on_hyphens=False)
    if len(lines) > _FOLDED:
        lines = [*lines[:_FOLDED], f"{indent}… (--json has all)"]
    for line in lines:
        console.console.print(Text(" " * _INDENT) + Text(line, style), soft_wrap=True)
