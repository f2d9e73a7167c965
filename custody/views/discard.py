"""Give dead letters up, and tell of each discard that is committed: also of those that an interrupt or a failure leaves behind.

Of each no more is kept than what is told of it: there may be thousands of dead letters, with a million records.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from rich.text import Text

from custody.audit.dead_letters import resolution
from custody.audit.object_state import ObjectState
from custody.concurrency import map_ordered
from custody.recovery import discard as recovery_discard
from custody.recovery.discard import Discard, Discarder
from custody.terminal import console
from custody.terminal.text import visible
from functions.shared.model.ids import record_id
from functions.shared.model.keys import DeadLetterKey
from functions.shared.model.ledger import DiscardCounts
from functions.shared.model.records import Rejected

_LISTED = 1000
"""Records that the JSON of a discard lists; its ledger file has all."""


@dataclass(frozen=True)
class GivenUp:
    """A discard that is committed: `what` says what it gives up, `ledger` where that stands, `first` its first records."""

    dead_letter: DeadLetterKey
    object_uri: str
    ledger: str
    what: str
    counts: DiscardCounts | None
    first: tuple[Rejected, ...]
    number: int
    reason: str
    by: str

    @classmethod
    def of(cls, decision: Discard, bucket: str, listed: int) -> "GivenUp":
        """Keep so many records of a discard, and no more of its lines; the ledger is in the bucket."""
        return cls(
            decision.dead_letter,
            decision.body.raw.uri,
            f"s3://{bucket}/{decision.entry.key}",
            str(decision),
            decision.counts,
            decision.rejected[:listed],
            len(decision.rejected),
            decision.reason,
            decision.by,
        )

    def encode(self) -> dict[str, Any]:
        """Give the JSON shape; its ledger file names the records that are not listed."""
        return {
            "dead_letter": self.dead_letter.id,
            "ledger": self.ledger,
            "counts": self.counts and self.counts.encode(),
            "records": [record_id(self.dead_letter.object_id, record.position) for record in self.first],
            "records_more": self.number - len(self.first),
            "reason": self.reason,
            "by": self.by,
        }

    def show(self) -> None:
        """Show what was given up, and where that was committed."""
        console.console.print(Text(f"discarded: {self.what}, of {visible(self.object_uri)}"), soft_wrap=True)
        for each in self.first[: console.SHOWN]:
            why = "; ".join(map(str, each.violations))
            name = record_id(self.dead_letter.object_id, each.position)
            console.console.print(Text(f"  {name}  {visible(why)}"), soft_wrap=True)
        if self.number > console.SHOWN:
            console.console.print(f"  and {self.number - console.SHOWN:,} more")
        console.console.print(Text(f"  reason    {visible(self.reason)}"), soft_wrap=True)
        console.console.print(Text(f"  by        {self.by}"), soft_wrap=True)
        console.console.print(Text(f"  committed    {self.ledger}; nothing was deleted"), soft_wrap=True)


@dataclass
class Tally:
    """What is given up: noted where it is committed, by the thread that does, so that an interrupt loses none of it."""

    discarder: Discarder
    listed: int
    note: Callable[[GivenUp], None]
    dead_letters: int = 0
    records: int = 0
    _lock: Lock = field(default_factory=Lock)

    def discard(self, dead_letter: DeadLetterKey) -> None:
        """Give up a dead letter; raise what `Discarder.discard` does."""
        decision = self.discarder.discard(dead_letter)
        given_up = GivenUp.of(decision, self.discarder.audit.bucket, self.listed)
        with self._lock:
            self.dead_letters += 1
            self.records += given_up.counts.discarded if given_up.counts else 0
            self.note(given_up)


def give_up_one(discarder: Discarder, dead_letter: DeadLetterKey, *, as_json: bool) -> None:
    """Give up the dead letter of a batch, and tell what that gave up."""

    def tell(given_up: GivenUp) -> None:
        if as_json:
            sys.stdout.write(json.dumps(given_up.encode(), indent=2) + "\n")
        else:
            given_up.show()

    tally = Tally(discarder, _LISTED, tell)
    with _progress(None if as_json else "discarding"):
        _discard(tally, [dead_letter])


def give_up_whole(discarder: Discarder, dead_letter: DeadLetterKey, *, as_json: bool) -> None:
    """Give up what is open of a bulk object: its chunks, and then what no chunk tells of; tell of all that was committed.

    What stands in the way of one is raised, and leaves the rest open.
    """
    chunks = recovery_discard.open_chunks(discarder.audit, dead_letter)
    kept: list[GivenUp] = []

    def keep(given_up: GivenUp) -> None:
        if len(kept) < console.SHOWN or given_up.dead_letter.is_of_whole:
            kept.append(given_up)

    def write(given_up: GivenUp) -> None:
        sys.stdout.write(("," if tally.dead_letters > 1 else "") + "\n" + json.dumps(given_up.encode()))

    tally = Tally(discarder, _LISTED, write) if as_json else Tally(discarder, console.SHOWN, keep)
    if as_json:
        sys.stdout.write(f'{{"dead_letter": {json.dumps(dead_letter.id)}, "discards": [')
    is_done = False
    try:
        is_on_screen = as_json and console.console.is_terminal
        with _progress(None if is_on_screen else f"discarding {len(chunks):,} dead letters") as progress:
            _discard(
                tally, chunks, lambda: progress(f"{tally.dead_letters:,} of {len(chunks):,} dead letters discarded")
            )
            state = ObjectState(discarder.audit, dead_letter.object_id, since=dead_letter.day)
            if resolution(state, dead_letter) is None:
                _discard(tally, [dead_letter])
        is_done = True
    finally:
        still_open = max(0, len(chunks) - tally.dead_letters)
        if as_json:
            sys.stdout.write(f'\n], "still_open": {still_open}}}\n')
        else:
            _sum_up(tally, kept)
        if not is_done:
            left = (
                f"still open: {_counted(still_open)} of its chunks"
                if still_open
                else f"perhaps still open: {dead_letter.id}"
            )
            sys.stdout.flush()
            console.stderr.print(f"{left}; run the same again to discard the rest", soft_wrap=True, markup=False)


def _discard(tally: Tally, dead_letters: list[DeadLetterKey], tell: Callable[[], None] = lambda: None) -> None:
    """Give dead letters up, several at a time; whatever is raised is raised when none is at work any more."""
    with closing(map_ordered(tally.discard, dead_letters)) as done:
        for _ in done:
            tell()


def _sum_up(tally: Tally, kept: list[GivenUp]) -> None:
    for given_up in sorted(kept, key=lambda each: each.dead_letter):
        given_up.show()
    more = ", of which the first are shown" if tally.dead_letters > console.SHOWN else ""
    records = f"{tally.records:,} record{'' if tally.records == 1 else 's'}"
    console.console.print(f"{_counted(tally.dead_letters)} discarded{more}; {records}")


def _counted(number: int) -> str:
    return f"{number:,} dead letter{'' if number == 1 else 's'}"


@contextmanager
def _progress(said: str | None) -> Iterator[Callable[[str], None]]:
    """Show a terminal that something is under way, and give what says more of it; nothing if `said` is None."""
    if said is None or not console.stderr.is_terminal:
        yield lambda _: None
        return
    with console.stderr.status(said) as live:
        yield live.update
