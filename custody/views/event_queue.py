"""The events in start-dlq and dead-letter-dlq, as `custody redrive --events` lists and replays them."""

from rich.text import Text

from custody.recovery.event_queue import EventLog
from custody.terminal.console import console, table
from custody.terminal.text import visible


def events(log: EventLog) -> None:
    """Show each event, then how many there are, and how many could not be seen."""
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
            f"{log.hidden}{more} {are} hidden because somebody else has received them; look again in a minute",
            soft_wrap=True,
        )
