"""The books of a bulk object: what became of each of its chunks, by the headers of their ledger files.

Account writes them down in the summary, and DeadLetter reads there which chunks a redrive must process again.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from functions.shared.audit.ledger_file import PUT_BACK, START_DIGITS, ledger_key
from functions.shared.errors import MessageRefused
from functions.shared.model.messages import Batch, Chunk, Counts, Json, Plan, Step

BOOKED = "booked"
FAILED = "failed"

CHUNKS_ATTEMPT = "chunks_attempt"
"""The part of a message that tells at which attempt the chunks were processed, where Account alone is done again."""

_ENTRY = re.compile(rf"(\d{{{START_DIGITS}}})\.(\d+)(\.discarded)?\.jsonl\.gz")
_NAME = re.compile(rf"(\d{{{START_DIGITS}}})\.(\d+)\.jsonl\.gz")


@dataclass(frozen=True, slots=True)
class Booking:
    """What the header of a ledger file says of its chunk."""

    chunk: Chunk
    attempt: int
    counts: Counts
    execution: str
    contract: str
    output: Json | None

    @classmethod
    def decode(cls, key: str, header: Json) -> Self:
        """Read a header; `key` is that of the ledger file.

        Raises MessageRefused for one that is of no chunk, or whose counts do not add up.
        """
        try:
            counts = Counts(header["counts"]["written"], header["counts"]["rejected"])
            adds_up = counts.received == header["counts"]["received"]
            booking = cls(
                Chunk(**header["chunk"]),
                header["attempt"],
                counts,
                header["execution"],
                header["contract"],
                header["output"],
            )
        except (KeyError, TypeError) as error:
            raise MessageRefused(f"the ledger file {key} has a header without {error}; {PUT_BACK}") from error
        if not adds_up:
            raise MessageRefused(f"the ledger file {key} has counts that do not add up: {header['counts']}; {PUT_BACK}")
        return booking


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a chunk: its latest booking, if there is one, and whether it failed since."""

    start: int
    booking: Booking | None
    failed: bool

    def encode(self) -> Json:
        """Give the line of the summary."""
        line: Json = {"start": self.start}
        if not self.booking:
            return line | {"outcome": FAILED}
        counts = self.booking.counts.encode()
        if self.failed:
            return line | {"attempt": self.booking.attempt, "outcome": FAILED, "counts": counts}
        return line | {
            "attempt": self.booking.attempt,
            "outcome": BOOKED,
            "counts": counts,
            "execution": self.booking.execution,
            "contract": self.booking.contract,
            "output": self.booking.output,
        }


@dataclass(frozen=True, slots=True)
class Closing:
    """The fates of all the chunks of an object, in order; an operator has `discarded` what some of them left open."""

    fates: tuple[Fate, ...]
    discarded: frozenset[int] = frozenset()

    @property
    def counts(self) -> Counts:
        """The records of all chunks that were ever booked: what the last attempt of each made of them."""
        return sum((fate.booking.counts for fate in self.fates if fate.booking), Counts())

    @property
    def failed(self) -> list[Fate]:
        """The chunks that have to be processed again."""
        return [fate for fate in self.fates if fate.failed]

    @property
    def unsettled(self) -> list[Fate]:
        """The chunks that failed and were not discarded since."""
        return [fate for fate in self.failed if fate.start not in self.discarded]

    @property
    def rejecting(self) -> list[Fate]:
        """The chunks with rejected records that were not discarded since."""
        with_rejects = [fate for fate in self.fates if fate.booking and fate.booking.counts.rejected]
        return [fate for fate in with_rejects if fate.start not in self.discarded]

    @property
    def judged(self) -> Counts:
        """The records by which the object is judged: what was discarded is rejected no longer."""
        open_rejects = (fate.booking.counts.rejected for fate in self.rejecting if fate.booking)
        return Counts(self.counts.good, sum(open_rejects))

    @property
    def chunks(self) -> Json:
        """Count the chunks."""
        total, failed = len(self.fates), len(self.failed)
        return {"total": total, BOOKED: total - failed, FAILED: failed}


def chunks_prefix(batch: Batch) -> str:
    """Say what the keys of the ledger files of all the chunks of an object begin with, and of its summaries."""
    return f"ledger/{batch.object.id}/"


def latest(keys: Iterable[str]) -> dict[int, str]:
    """Find the latest ledger file of each chunk; pass over the keys of anything else, as of summaries and discards."""
    found: dict[int, tuple[int, str]] = {}
    for key in keys:
        if named := _NAME.fullmatch(key.rpartition("/")[2]):
            start, attempt = int(named[1]), int(named[2])
            found[start] = max(found.get(start, (-1, "")), (attempt, key))
    return {start: key for start, (_, key) in sorted(found.items())}


def summary_of(step: Step, keys: Iterable[str]) -> str | None:
    """Find the latest summary among ledger files, from the attempt of the chunks to the one that is under way."""
    attempts = range(step.batch.attempt, processed_at(step.message) - 1, -1)
    candidates = (ledger_key(replace(step.batch, attempt=attempt)) for attempt in attempts)
    known = frozenset(keys)
    return next((key for key in candidates if key in known), None)


def processed_at(message: Json) -> int:
    """Say at which attempt the chunks of a message were processed: an earlier booking is none of theirs."""
    attempt: int = message[CHUNKS_ATTEMPT if CHUNKS_ATTEMPT in message else "attempt"]
    return attempt


def close(
    whole: Plan,
    processed: Plan,
    since: int,
    booked: Mapping[int, Booking],
    discarded: frozenset[int] = frozenset(),
) -> Closing:
    """Say what became of each chunk of the whole object.

    Those of `processed` were processed at the attempt `since` and must have been booked then, or at a redrive of their
    own; for the others any booking will do, for they were done before. One of a chunk of another size is no booking.
    """
    due = frozenset(processed.chunks)

    def fate(start: int) -> Fate:
        found = booked.get(start)
        if found is None or found.chunk != Chunk(start, whole.chunk_bytes):
            return Fate(start, None, failed=True)
        return Fate(start, found, failed=start in due and found.attempt < since)

    return Closing(tuple(fate(start) for start in whole.chunks), discarded)


def given_up(keys: Iterable[str]) -> frozenset[int]:
    """Find the chunks that an operator has discarded since they were last processed, by the keys of ledger files."""
    last: dict[int, tuple[int, bool]] = {}
    for key in keys:
        if named := _ENTRY.fullmatch(key.rpartition("/")[2]):
            start, entry = int(named[1]), (int(named[2]), named[3] is not None)
            last[start] = max(last.get(start, entry), entry)
    return frozenset(start for start, (_, is_discard) in last.items() if is_discard)


def narrowed(batch: Batch, lines: Iterable[Json], discarded: frozenset[int] = frozenset()) -> Batch:
    """Leave of a batch's plan only the chunks that failed or have rejected records, by the lines of a summary.

    Those that were discarded are done with, whatever it says. Without such a line the plan stays as it is.
    """
    if batch.plan is None:
        return batch
    again = [line["start"] for line in lines if line["outcome"] == FAILED or line.get("counts", {}).get("rejected")]
    if not again:
        return batch
    chunks = tuple(start for start in again if start not in discarded)
    return replace(batch, plan=replace(batch.plan, chunks=chunks))
