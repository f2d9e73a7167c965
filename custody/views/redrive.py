"""Redrives, planned and carried out, as tables."""

from collections import Counter

from custody.recovery.event_queue import EventLog
from custody.recovery.redrive_plan import STARTED, Method, Outcome, Redrive
from custody.terminal.console import print_line, print_rows, table
from custody.terminal.text import plural

_COLOURS = {
    Outcome.SUCCEEDED: "green",
    Outcome.RESOLVED: "green",
    Outcome.REJECTED: "red",
    Outcome.RUNNING: "yellow",
    Outcome.IN_FLIGHT: "yellow",
}


def show(events: EventLog | None, redrives: list[Redrive] | None, *, dry_run: bool) -> None:
    """Show the events, and what was done about each dead letter or, with `dry_run`, would be."""
    if events:
        _events(events)
    if redrives is not None:
        _redrives(redrives, dry_run=dry_run)


def watching(ended: int, started: int, records: int) -> str:
    """Describe how many redrives have ended, and how many records of running bulk objects are committed."""
    committed = f"; {plural(records, 'record')} committed" if records else ""
    return f"{ended:,} of {plural(started, 'redrive')} ended{committed}"


def _events(log: EventLog) -> None:
    is_listing = any(event.done is None for event in log.events)
    if log.events:
        rows = table("event of", "for", "why it waits" if is_listing else "result")
        for event in log.events:
            about = ", ".join(event.objects) or f"message {event.message}"
            rows.add(about, event.function, ([event.result], "bold red" if event.done is False else ""))
        print_rows(rows)
    number, done = len(log.events), sum(event.done is True for event in log.events)
    if not number:
        print_line("no event can be seen" if log.hidden else "no event is waiting")
    elif is_listing:
        print_line(f"{number} waiting")
    else:
        print_line(f"{done} of {number} events handled, {number - done} left in the queue")
    if log.hidden:
        more, are = (" more" if number else ""), ("is" if log.hidden == 1 else "are")
        print_line(
            f"{log.hidden}{more} {are} hidden because somebody else has received them; look again in a few minutes"
        )


def _redrives(redrives: list[Redrive], *, dry_run: bool) -> None:
    """Show each dead letter, the successful ones first."""
    order = list(Outcome)
    rows = table("object", "error before", "how", "attempt", "chunks", "outcome", "why")
    for redrive in sorted(redrives, key=lambda each: (order.index(each.outcome), each.object.key)):
        rows.add(
            redrive.object.key,
            redrive.error_before,
            redrive.how or "",
            redrive.attempt,
            f"{redrive.chunks.again:,} of {redrive.chunks.total:,}" if redrive.chunks else "",
            "" if dry_run and redrive.how else (redrive.outcome, _COLOURS.get(redrive.outcome, "bold red")),
            [redrive.why if dry_run else _why(redrive)],
        )
    if redrives:
        print_rows(rows)
    if dry_run:
        started = sum(redrive.how is not None for redrive in redrives)
        words = Counter(str(redrive.how or redrive.outcome) for redrive in redrives)
    else:
        started = sum(redrive.outcome in STARTED for redrive in redrives)
        words = Counter(str(redrive.outcome) for redrive in redrives)
    counts = ", ".join(f"{number} {word}" for word, number in sorted(words.items()))
    done = "would be redriven" if dry_run else "redriven"
    print_line(f"{started} {done}: {counts}" if counts else "no open dead letter matches")
    if changed := _changed(*redrives) if len(redrives) > 1 else "":
        print_line(f"records: {changed}")


def _why(redrive: Redrive) -> str:
    return "; ".join(filter(None, (_changed(redrive), _explain(redrive))))


def _changed(*redrives: Redrive) -> str:
    """Compare the rejected records of the redrives of which both numbers are known."""
    known = [(each.rejected_before, each.rejected) for each in redrives]
    pairs = [(before, now) for before, now in known if before is not None and now is not None]
    before, now = (sum(numbers) for numbers in zip(*pairs, strict=True)) if pairs else (0, 0)
    return f"{before:,} rejected before, {now:,} now" if before or now else ""


def _explain(redrive: Redrive) -> str:
    match redrive.outcome:
        case Outcome.SUCCEEDED | Outcome.RUNNING:
            return redrive.why if redrive.how is Method.NEW else ""
        case Outcome.REJECTED | Outcome.FAILED:
            new = f"dead letter {redrive.new_dead_letter}" if redrive.new_dead_letter else "no dead letter yet"
            return f"{redrive.error}; {new}"
        case Outcome.UNKNOWN:
            return redrive.error or ""
        case Outcome.NOT_STARTED:
            return "the command ended before"
    return redrive.why
