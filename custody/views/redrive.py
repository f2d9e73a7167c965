"""Redrives, planned and carried out, as tables."""

from collections import Counter

from rich.text import Text

from custody.recovery.event_queue import EventLog
from custody.recovery.redrive import RedriveLog
from custody.recovery.redrive_plan import Method, Outcome, Redrive
from custody.terminal.console import console, table
from custody.terminal.text import visible

_COLOURS = {
    Outcome.SUCCEEDED: "green",
    Outcome.RESOLVED: "green",
    Outcome.REJECTED: "red",
    Outcome.RUNNING: "yellow",
    Outcome.IN_FLIGHT: "yellow",
}


def show(events: EventLog | None, log: RedriveLog, *, dry_run: bool) -> None:
    """Show the events, and what was done about each dead letter or, with `dry_run`, would be."""
    if events:
        _events(events)
    if log.plans is not None and dry_run:
        _plans(log.plans)
    elif log.plans is not None:
        _redrives(log.redrives)


def _events(log: EventLog) -> None:
    is_listing = any(event.done is None for event in log.events)
    if log.events:
        rows = table("event of", "for", "why it waits" if is_listing else "result")
        for event in log.events:
            about = ", ".join(map(visible, event.objects)) or f"message {event.message}"
            style = "bold red" if event.done is False else ""
            rows.add_row(Text(about), event.function, Text(visible(event.result), style=style))
        console.print(rows)
    number, done = len(log.events), sum(event.done is True for event in log.events)
    if not number:
        console.print("no event can be seen" if log.hidden else "no event is waiting")
    elif is_listing:
        console.print(f"{number} waiting")
    else:
        console.print(f"{done} of {number} events handled, {number - done} left in the queue")
    if log.hidden:
        more, are = (" more" if number else ""), ("is" if log.hidden == 1 else "are")
        console.print(
            f"{log.hidden}{more} {are} hidden because somebody else has received them; look again in a few minutes",
            soft_wrap=True,
        )


def _plans(planned: list[Redrive]) -> None:
    if planned:
        rows = table("object", "error", "how", "attempt", "chunks", "why", "dead letter")
        for plan in planned:
            chunks = f"{plan.chunks.again:,} of {plan.chunks.total:,}" if plan.chunks else ""
            candidate = plan.candidate
            cells = (_text(candidate.raw.key), _text(candidate.error), plan.how, str(plan.attempt), chunks)
            rows.add_row(*cells, _text(plan.why), candidate.dead_letter.id)
        console.print(rows)
    _summarize([plan.how for plan in planned], "would be redriven", sum(plan.starts for plan in planned))


def _redrives(carried_out: list[Redrive]) -> None:
    """Show what was done about each dead letter, the successful ones first."""
    if carried_out:
        order = list(Outcome)
        rows = table("object", "error before", "how", "attempt", "outcome", "why")
        for redrive in sorted(carried_out, key=lambda each: (order.index(each.outcome), each.candidate.raw.key)):
            outcome = Text(redrive.outcome, style=_COLOURS.get(redrive.outcome, "bold red"))
            cells = (
                _text(redrive.candidate.raw.key),
                _text(redrive.candidate.error),
                redrive.how if redrive.starts else "",
            )
            rows.add_row(*cells, str(redrive.attempt), outcome, _text(_why(redrive)))
        console.print(rows)
    started = sum(redrive.status is not None for redrive in carried_out)
    _summarize([redrive.outcome for redrive in carried_out], "redriven", started)


def _why(redrive: Redrive) -> str:
    if redrive.outcome is Outcome.UNKNOWN and redrive.error:
        return f"it was started, but AWS does not report its status: {redrive.error}"
    if redrive.outcome in {Outcome.SUCCEEDED, Outcome.RUNNING}:
        return redrive.why if redrive.how is Method.NEW else ""
    if redrive.status is None:
        return redrive.why
    end = redrive.error or redrive.status
    return f"{end}; dead letter {redrive.new_dead_letter}" if redrive.new_dead_letter else f"{end}; no dead letter yet"


def _summarize(words: list[Method | Outcome] | list[Outcome], done: str, number: int) -> None:
    counts = ", ".join(f"{count} {word}" for word, count in sorted(Counter(words).items()))
    console.print(f"{number} {done}: {counts}" if counts else "no open dead letter matches")


def _text(text: str) -> Text:
    return Text(visible(text))
