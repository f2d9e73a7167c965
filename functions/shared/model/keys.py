"""Where things lie in the processed and the audit bucket: the keys that are written, and how they are parsed.

A key in the audit bucket names a batch and an attempt, so that writing a file twice is writing it once.
"""

import re
from collections.abc import Iterable
from types import MappingProxyType
from typing import Self

from msgspec import Struct

from functions.shared.model.messages import Batch, Execution

LEDGER = "ledger/"
DEAD_LETTERS = "dead-letters/"
DAY = "dt="

START_DIGITS = 15
"""Enough for any byte offset in the largest object that S3 stores, so that keys sort as their starts do."""

OBJECT = "object"
"""Takes the place of the start in the keys of files about all chunks of an object."""

WHOLE: int = 10**START_DIGITS
"""The start of a file about all chunks of an object: it sorts after every other start, as OBJECT does as text."""

REJECTED = "Rejected"
"""The name of the dead letter that goes with a delivery: of the records that Write did not deliver."""

ENDS = MappingProxyType({"FAILED": "Failed", "TIMED_OUT": "TimedOut", "ABORTED": "Aborted"})
"""The name of the dead letter of an execution that ended where no Catch saw it, by its status."""

_BATCH = rf"([\w-]+)/(\d{{{START_DIGITS}}}|{OBJECT})\.(0|[1-9]\d*)"
_LEDGER_KEY = re.compile(rf"{LEDGER}{_BATCH}(\.discarded)?\.jsonl\.gz", re.ASCII)
_DEAD_LETTER_KEY = re.compile(rf"{DEAD_LETTERS}{DAY}([\d-]{{10}})/{_BATCH}\.(\w+)\.json", re.ASCII)


class LedgerKey(Struct, frozen=True, order=True):
    """The key of a ledger file: one that a step committed, or one with which an operator discarded records.

    `start` is WHOLE for the summary of a bulk object.
    """

    object_id: str
    start: int
    attempt: int
    discards: bool = False

    @classmethod
    def of(cls, batch: Batch) -> Self:
        """Return the key of the ledger file of a batch and attempt."""
        return cls(batch.object.id, start_of(batch), batch.attempt)

    @classmethod
    def parse(cls, key: str) -> Self | None:
        """Parse the key of a ledger file; return None for any other key."""
        if (match := _LEDGER_KEY.fullmatch(key)) is None:
            return None
        object_id, start, attempt, suffix = match.groups()
        return cls(object_id, _parse_start(start), int(attempt), suffix is not None)

    @property
    def key(self) -> str:
        """The key in the audit bucket."""
        suffix = ".discarded" if self.discards else ""
        return f"{LEDGER}{self.object_id}/{start_name(self.start)}.{self.attempt}{suffix}.jsonl.gz"

    @property
    def is_summary(self) -> bool:
        """Whether the file is the summary of a bulk object."""
        return self.start == WHOLE and not self.discards


class DeadLetterKey(Struct, frozen=True, order=True):
    """The key of a dead letter: `name` is the step that failed, REJECTED, or how the execution ended (ENDS).

    `start` is WHOLE for a dead letter about all chunks of an object. `day` is the day on which the execution started:
    the one date that neither a retry nor a redrive changes.
    """

    object_id: str
    start: int
    attempt: int
    day: str
    name: str

    @classmethod
    def of(cls, batch: Batch, name: str, execution: Execution) -> Self:
        """Return the key of a dead letter of a batch and attempt."""
        return cls(batch.object.id, start_of(batch), batch.attempt, execution.started_at[:10], name)

    @classmethod
    def parse(cls, key: str) -> Self | None:
        """Parse the key of a dead letter; return None for any other key."""
        if (match := _DEAD_LETTER_KEY.fullmatch(key)) is None:
            return None
        day, object_id, start, attempt, name = match.groups()
        return cls(object_id, _parse_start(start), int(attempt), day, name)

    @property
    def id(self) -> str:
        """The id for people and commands: the key without what the keys of all dead letters share."""
        return f"{DAY}{self.day}/{self.object_id}/{start_name(self.start)}.{self.attempt}.{self.name}"

    @property
    def key(self) -> str:
        """The key in the audit bucket."""
        return f"{DEAD_LETTERS}{self.id}.json"

    @property
    def batch(self) -> tuple[str, int]:
        """The batch: the object id, and the byte at which the batch begins."""
        return self.object_id, self.start

    @property
    def is_of_whole(self) -> bool:
        """Whether the dead letter is about all chunks of an object."""
        return self.start == WHOLE


def latest(keys: Iterable[LedgerKey]) -> dict[int, LedgerKey]:
    """Return the ledger file that a step committed for the latest attempt of each batch, by start."""
    return {key.start: key for key in sorted(keys) if not key.discards}


def discarded(keys: Iterable[LedgerKey]) -> frozenset[int]:
    """Return the starts of the batches that an operator has discarded since they were last processed."""
    last = {key.start: key for key in sorted(keys)}
    return frozenset(start for start, key in last.items() if key.discards)


def start_of(batch: Batch) -> int:
    """Return the start by which a batch is named: a byte of its object, or WHOLE for a bulk execution."""
    return WHOLE if batch.plan else batch.start


def start_name(start: int) -> str:
    """Return a start as it stands in keys."""
    return OBJECT if start == WHOLE else f"{start:0{START_DIGITS}d}"


def _parse_start(name: str) -> int:
    return WHOLE if name == OBJECT else int(name)


def processed_key(batch: Batch, dataset: str, last_modified: str) -> str:
    """Return the key of the processed object of a batch: by dataset, and by the day of the raw version."""
    chunk = "" if batch.chunk is None else f".{start_name(batch.start)}"
    return f"{dataset}/{DAY}{last_modified[:10]}/{batch.object.id}{chunk}.jsonl"


def staged_key(batch: Batch, step: str) -> str:
    """Return the key of the staged batch that a step leaves in the staging bucket."""
    return f"batches/{batch.object.id}/{start_name(start_of(batch))}.{batch.attempt}.{step}.jsonl.gz"


def object_prefix(batch: Batch) -> str:
    """Return the prefix of all ledger files of an object: those of its chunks, and its summaries."""
    return f"{LEDGER}{batch.object.id}/"


def ledger_prefix(batch: Batch) -> str:
    """Return the prefix of the ledger files of all attempts of a batch."""
    return f"{object_prefix(batch)}{start_name(start_of(batch))}."


def dead_letters_prefix(batch: Batch, execution: Execution) -> str:
    """Return the prefix of the dead letters of all attempts of a batch that failed in one execution."""
    day = f"{DEAD_LETTERS}{DAY}{execution.started_at[:10]}/"
    return f"{day}{batch.object.id}/{start_name(start_of(batch))}."
