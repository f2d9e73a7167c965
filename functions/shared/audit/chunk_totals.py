"""The ledger of a bulk object: what became of each of its chunks, by the headers of their ledger files.

Summarize writes them down in the summary, and DeadLetter reads there which chunks a redrive must process again.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from functions.shared.audit.ledger_file import PUT_BACK, START_DIGITS, ledger_key
from functions.shared.errors import MessageRefused
from functions.shared.model.messages import Batch, Chunk, Counts, Json, Plan, Step

COMMITTED = "committed"
FAILED = "failed"

CHUNKS_ATTEMPT = "chunks_attempt"
"""The part of a message that tells at which attempt the chunks were processed, where Summarize alone is done again."""

_ENTRY = re.compile(rf"(\d{{{START_DIGITS}}})\.(\d+)(\.discarded)?\.jsonl\.gz")
_NAME = re.compile(rf"(\d{{{START_DIGITS}}})\.(\d+)\.jsonl\.gz")


@dataclass(frozen=True, slots=True)
class Commit:
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
            commit = cls(
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
        return commit


@dataclass(frozen=True, slots=True)
class ChunkState:
    """What became of a chunk: its latest commit, if there is one, and whether it failed since."""

    start: int
    commit: Commit | None
    failed: bool

    def encode(self) -> Json:
        """Give the line of the summary."""
        line: Json = {"start": self.start}
        if not self.commit:
            return line | {"outcome": FAILED}
        counts = self.commit.counts.encode()
        if self.failed:
            return line | {"attempt": self.commit.attempt, "outcome": FAILED, "counts": counts}
        return line | {
            "attempt": self.commit.attempt,
            "outcome": COMMITTED,
            "counts": counts,
            "execution": self.commit.execution,
            "contract": self.commit.contract,
            "output": self.commit.output,
        }


@dataclass(frozen=True, slots=True)
class ChunkTotals:
    """The fates of all the chunks of an object, in order; an operator has `discarded` what some of them left open."""

    chunk_states: tuple[ChunkState, ...]
    discarded: frozenset[int] = frozenset()

    @property
    def counts(self) -> Counts:
        """The records of all chunks that were ever committed: what the last attempt of each made of them."""
        return sum((chunk.commit.counts for chunk in self.chunk_states if chunk.commit), Counts())

    @property
    def failed(self) -> list[ChunkState]:
        """The chunks that have to be processed again."""
        return [chunk for chunk in self.chunk_states if chunk.failed]

    @property
    def unsettled(self) -> list[ChunkState]:
        """The chunks that failed and were not discarded since."""
        return [chunk for chunk in self.failed if chunk.start not in self.discarded]

    @property
    def rejecting(self) -> list[ChunkState]:
        """The chunks with rejected records that were not discarded since."""
        with_rejects = [chunk for chunk in self.chunk_states if chunk.commit and chunk.commit.counts.rejected]
        return [chunk for chunk in with_rejects if chunk.start not in self.discarded]

    @property
    def judged(self) -> Counts:
        """The records by which the object is judged: what was discarded is rejected no longer."""
        open_rejects = (chunk.commit.counts.rejected for chunk in self.rejecting if chunk.commit)
        return Counts(self.counts.accepted, sum(open_rejects))

    @property
    def chunks(self) -> Json:
        """Count the chunks."""
        total, failed = len(self.chunk_states), len(self.failed)
        return {"total": total, COMMITTED: total - failed, FAILED: failed}


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
    """Say at which attempt the chunks of a message were processed: an earlier commit is none of theirs."""
    attempt: int = message[CHUNKS_ATTEMPT if CHUNKS_ATTEMPT in message else "attempt"]
    return attempt


def close(
    whole: Plan,
    processed: Plan,
    since: int,
    committed: Mapping[int, Commit],
    discarded: frozenset[int] = frozenset(),
) -> ChunkTotals:
    """Say what became of each chunk of the whole object.

    Those of `processed` were processed at the attempt `since` and must have been committed then, or at a redrive of their
    own; for the others any commit will do, for they were done before. One of a chunk of another size is no commit.
    """
    due = frozenset(processed.chunks)

    def chunk(start: int) -> ChunkState:
        found = committed.get(start)
        if found is None or found.chunk != Chunk(start, whole.chunk_bytes):
            return ChunkState(start, None, failed=True)
        return ChunkState(start, found, failed=start in due and found.attempt < since)

    return ChunkTotals(tuple(chunk(start) for start in whole.chunks), discarded)


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
