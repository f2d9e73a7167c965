"""The events that wait in the queues of a deployment, as `custody redrive --events` shows and replays them."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.table import Column, Table
from rich.text import Text

from custody.deployment.target import Deployment, Target
from custody.recovery import event_queue
from custody.recovery.event_queue import Waiting
from custody.terminal import console
from custody.terminal.text import visible


@dataclass(frozen=True)
class Event:
    """A message of a queue, the function that it is for, and what became of it; `is_done` is None if it was left."""

    function: str
    waiting: Waiting
    became: str
    is_done: bool | None = None

    def encode(self) -> dict[str, Any]:
        """Give the JSON shape of `--json`."""
        return {
            "message": self.waiting.message_id,
            "function": self.function,
            "objects": self.waiting.about,
            "became": self.became,
            "done": self.is_done,
        }


@dataclass
class Events:
    """What was seen in the queues so far; `hidden` is how many messages somebody else has just received."""

    events: list[Event] = field(default_factory=list)
    hidden: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left that was to be handled."""
        return not self.hidden and all(event.is_done is not False for event in self.events)

    def run(self, target: Target, deployment: Deployment, *, dry_run: bool) -> None:
        """Look at each event or, if this is no `dry_run`, give it to its function; add each when that is done."""
        sqs = target.client("sqs")
        for function, url in _queues(deployment):
            depth, before = event_queue.depth(sqs, url), len(self.events)
            found = _look(sqs, function, url) if dry_run else _replay(target, sqs, function, url)
            # Closed at once, whatever comes: else what was received stays hidden until the interpreter tidies up.
            with closing(found):
                self.events.extend(found)
            self.hidden += depth.hidden_beside(len(self.events) - before)


def _look(sqs: Any, function: str, url: str) -> Generator[Event, None, None]:
    with closing(event_queue.look(sqs, url)) as found:
        for waiting in found:
            yield Event(function, waiting, waiting.error)


def _replay(target: Target, sqs: Any, function: str, url: str) -> Generator[Event, None, None]:
    with closing(event_queue.replay(sqs, target.client("lambda"), url, function)) as found:
        for replayed in found:
            yield Event(function, replayed.waiting, replayed.became, replayed.is_done)


def _queues(deployment: Deployment) -> tuple[tuple[str, str], ...]:
    return (
        (deployment.start_function, deployment.start_dlq_url),
        (deployment.dead_letter_function, deployment.dead_letter_dlq_url),
    )


def print_events(seen: Events) -> None:
    """Show each event, then how many there are, and how many could not be seen."""
    events = seen.events
    if events:
        became = "why it waits" if events[0].is_done is None else "what became of it"
        headings = (Column(heading, overflow="fold") for heading in ("event of", "for", became))
        table = Table(*headings, box=box.SIMPLE_HEAD, pad_edge=False)
        for event in events:
            about = ", ".join(map(visible, event.waiting.about)) or f"message {event.waiting.message_id}"
            style = "bold red" if event.is_done is False else ""
            table.add_row(Text(about), event.function, Text(visible(event.became), style=style))
        console.console.print(table)
    done = sum(event.is_done is True for event in events)
    if not events:
        console.console.print("no event waits" if not seen.hidden else "no event can be seen")
    elif events[0].is_done is None:
        console.console.print(f"{len(events)} waiting")
    else:
        console.console.print(f"{done} of {len(events)} events handled, {len(events) - done} left in the queue")
    if seen.hidden:
        are, more = ("is" if seen.hidden == 1 else "are"), (" more" if events else "")
        console.console.print(
            f"{seen.hidden}{more} {are} hidden, by somebody who received them; look again in a minute", soft_wrap=True
        )
