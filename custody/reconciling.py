"""What became of every object version in the raw bucket: none is passed over, however its event or its execution fared.

Events and status changes come as best AWS can send them; this is the guarantee that stands behind them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from custody.books import Books, Entry, Letter, Unreadable
from custody.executions import SUCCEEDED, Execution, Pipeline
from custody.parallel import answers
from functions.shared.identity import RawObject
from functions.shared.messages import Batch

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PAGE = 1000
"""Object versions in an answer of S3, which gives no more."""

NO_VERSION = "null"
"""The version id of an object that came when its bucket was not versioned."""


class State(StrEnum):
    """What became of an object."""

    WRITTEN = "written"
    REJECTED = "rejected"
    FAILED = "failed"
    IN_FLIGHT = "in flight"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Arrival:
    """An object version that arrived in the raw bucket; `is_deleted` if a delete marker hides its key by now."""

    raw: RawObject
    at: datetime
    is_deleted: bool = False

    @property
    def day(self) -> str:
        """The day on which it arrived: none of its executions started before."""
        return self.at.astimezone(UTC).date().isoformat()


@dataclass(frozen=True, slots=True)
class Known:
    """What tells of an object of which not every record was written.

    `rejected` is from the latest attempt in the ledger, None if none is there, or if it `is_damaged` and cannot be
    read; `executions` end with the latest.
    """

    rejected: int | None
    is_damaged: bool
    is_discarded: bool
    letter: Letter | None
    is_open: bool
    executions: tuple[Execution, ...]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What became of an object, and why that is known; `letter` is its latest, `is_open` None if it has none.

    `is_startable` if to start it is what mends it.
    """

    arrival: Arrival
    state: State
    why: str = ""
    is_startable: bool = False
    letter: str | None = None
    is_open: bool | None = None
    started: str | None = None

    def encode(self) -> dict[str, Any]:
        """Give the JSON shape of `--json`."""
        raw = self.arrival.raw
        return {
            "object": {"id": raw.id} | asdict(raw),
            "last_modified": self.arrival.at.isoformat(),
            "state": self.state,
            "why": self.why,
            "letter": None if self.letter is None else {"id": self.letter, "open": self.is_open},
            "started": self.started,
        }


@dataclass(frozen=True, slots=True)
class Which:
    """Which object versions to look at: `since` and `until` are of their arrival; what is empty or None takes all."""

    prefix: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def takes(self, arrival: Arrival) -> bool:
        """Say whether to look at one; a folder marker is no object."""
        return (
            not (arrival.raw.key.endswith("/") and arrival.raw.size == 0)
            and (self.since is None or arrival.at >= self.since)
            and (self.until is None or arrival.at <= self.until)
        )


def arrivals(s3: "S3Client", bucket: str, which: Which, page: int = PAGE) -> Iterator[Arrival]:
    """List the object versions that arrived in a bucket; a delete marker is none."""
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket=bucket, Prefix=which.prefix, PaginationConfig={"PageSize": page}
    )
    deleted: set[str] = set()
    for found in pages:
        # A key's versions come newest first: the marker that hides them is on their page, or on one before it.
        deleted = {each["Key"] for each in found.get("DeleteMarkers", []) if each["IsLatest"]} | deleted
        listed = [
            Arrival(
                RawObject(bucket, each["Key"], each["VersionId"], each["Size"], each["ETag"].strip('"')),
                each["LastModified"],
                each["Key"] in deleted,
            )
            for each in found.get("Versions", [])
        ]
        yield from filter(which.takes, listed)
        deleted &= {found.get("NextKeyMarker", "")}


def verdict(arrival: Arrival, known: Known, due: datetime) -> Reconciled:
    """Say what became of an object that is not written whole; what arrived after `due` may still have to be started."""
    state, why = _judged(arrival, known, due)
    letter = known.letter.id if known.letter else None
    is_startable = state is State.MISSING and not known.is_damaged
    if is_startable and arrival.is_deleted:
        why = f"{why}; deleted since, but this version is still there"
    return Reconciled(arrival, state, why, is_startable, letter, known.is_open if letter else None)


def _judged(arrival: Arrival, known: Known, due: datetime) -> tuple[State, str]:
    if running := next((execution for execution in known.executions if execution.is_running), None):
        return State.IN_FLIGHT, f"attempt {running.attempt} is running"
    if known.is_damaged:
        return State.MISSING, f"its ledger file cannot be read: see `custody verify {arrival.raw.id}`"
    if known.rejected is not None:
        return State.REJECTED, f"{known.rejected} of its records rejected; {_letter(known)}"
    if known.is_discarded and not known.is_open:
        return State.FAILED, _letter(known)
    return _ended(known.executions[-1], known) if known.executions else _unseen(arrival, known, due)


def _ended(last: Execution, known: Known) -> tuple[State, str]:
    if last.status == SUCCEEDED:
        return State.MISSING, "its execution succeeded, but its ledger file is gone"
    error = f" with {last.error}" if last.error else ""
    return State.FAILED, f"{last.status}{error}; {_letter(known)}"


def _unseen(arrival: Arrival, known: Known, due: datetime) -> tuple[State, str]:
    if known.letter:
        return State.FAILED, f"its execution is no longer in the history; {_letter(known)}"
    if arrival.at > due:
        return State.IN_FLIGHT, "its event is on the way"
    return State.MISSING, "nothing tells of it: no execution, no letter, no ledger file"


def _letter(known: Known) -> str:
    if known.letter is None:
        return "no letter"
    if known.is_open:
        return "letter open"
    return "letter closed: discarded" if known.is_discarded else "letter closed"


@dataclass(frozen=True)
class _Booked:
    """What the books have of an object: `latest` is the ledger file of its latest attempt, `header` what that says."""

    entries: list[Entry]
    letters: list[Letter]
    latest: Entry | None
    header: Any
    is_damaged: bool
    is_written: bool

    @property
    def letter(self) -> Letter | None:
        """The latest letter."""
        return max(self.letters, key=lambda each: each.attempt, default=None)

    @property
    def attempt(self) -> int | None:
        """The highest attempt; None if there is nothing at all."""
        attempts = [*(entry.attempt for entry in self.entries), *(letter.attempt for letter in self.letters)]
        return max(attempts, default=None)


@dataclass(frozen=True)
class Reconciler:
    """Looks objects up in the books, and in the history of the pipeline; `due` as in `verdict`."""

    books: Books
    pipeline: Pipeline
    due: datetime

    def run(self, arrived: Iterable[Arrival]) -> Iterator[Reconciled]:
        """Say what became of each object, in their order; only a few of them are held at a time."""
        return answers(self.reconcile, arrived)

    def reconcile(self, arrival: Arrival) -> Reconciled:
        """Say what became of an object."""
        if arrival.raw.version_id == NO_VERSION:
            why = "start refuses it, for it has no version id: it came before versioning; upload it again"
            return Reconciled(arrival, State.MISSING, why)
        booked = self._booked(arrival)
        while True:
            found = self._look_up(arrival, booked)
            if found.state is not State.MISSING and not (found.state is State.FAILED and found.letter is None):
                return found
            # It may have been booked after the books were read, and before its execution was found to have ended. If
            # the books are what they were, so was all else: an execution books before it ends, and S3 tells at once.
            before, booked = booked, self._booked(arrival)
            if booked == before:
                return found

    def start(self, missing: Reconciled) -> Reconciled:
        """Start what the start function should have started; at its next attempt, if it was started before."""
        if not missing.is_startable:
            return missing
        started = self.pipeline.start(Batch(missing.arrival.raw))
        return replace(missing, started=started.execution.rpartition(":")[2])

    def _booked(self, arrival: Arrival) -> _Booked:
        entries = self.books.entries(arrival.raw.id)
        # An object is one batch for now: its latest attempt says what became of all of its records.
        latest = max((entry for entry in entries if not entry.discards), key=lambda entry: entry.attempt, default=None)
        try:
            header, is_damaged = (self.books.header(latest) if latest else None), False
        except Unreadable:
            header, is_damaged = None, True
        is_written = header is not None and header["counts"]["rejected"] == 0
        letters = [] if is_written else self.books.letters_of(arrival.raw.id, since=arrival.day)
        return _Booked(entries, letters, latest, header, is_damaged, is_written)

    def _look_up(self, arrival: Arrival, booked: _Booked) -> Reconciled:
        if booked.is_written:
            return Reconciled(arrival, State.WRITTEN)
        object_id, letter, header = arrival.raw.id, booked.letter, booked.header
        if letter and (booked.latest is None or letter.attempt > booked.latest.attempt):
            arn = self._execution_of(letter)
        elif booked.latest and booked.is_damaged:
            arn = self.pipeline.latest(object_id, booked.latest.attempt)
        else:
            arn = header["execution"] if header else self.pipeline.arn_of(object_id)
        known = Known(
            rejected=header["counts"]["rejected"] if header else None,
            is_damaged=booked.is_damaged,
            is_discarded=any(entry.discards for entry in booked.entries),
            letter=letter,
            is_open=bool(self.books.open_among(booked.letters)),
            executions=self.pipeline.history(object_id, arn, booked.attempt),
        )
        return verdict(arrival, known, self.due)

    def _execution_of(self, letter: Letter) -> str:
        try:
            return str(self.books.read(letter)["execution"]["arn"])
        except Unreadable:
            # It may be another one's letter; but damage to one letter shall not keep the other objects from being told.
            return self.pipeline.arn_of(letter.object_id)
