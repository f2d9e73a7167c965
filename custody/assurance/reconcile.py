"""What became of every object version in the raw bucket: none is passed over, however its event or its execution fared.

Events and status changes come as best AWS can send them; this is the guarantee that stands behind them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import to_builtins

from custody.audit.object_summary import Committed
from custody.audit.reader import AuditReader
from custody.concurrency import map_ordered
from custody.executions.pipeline import SUCCEEDED, Execution, Pipeline
from custody.ingest.raw_versions import NO_VERSION, UNVERSIONED, Arrival
from functions.shared.model.keys import DeadLetterKey
from functions.shared.model.ledger import StoredObject, SummaryHeader
from functions.shared.model.messages import Batch, Plan


class State(StrEnum):
    """What became of an object."""

    WRITTEN = "written"
    REJECTED = "rejected"
    FAILED = "failed"
    IN_FLIGHT = "in flight"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Known:
    """What tells of an object of which not every record was written.

    `rejected` is from the latest attempt in the ledger, None if none is there, or if it `is_damaged` and cannot be
    read; `executions` end with the latest. Of a bulk object the ledger's word is its summary, where `failed` of `total`
    chunks are missing, and `gone` are those that it tells of and whose ledger file is not there.
    """

    rejected: int | None
    is_damaged: bool
    is_discarded: bool
    dead_letter: DeadLetterKey | None
    is_open: bool
    executions: tuple[Execution, ...]
    failed: int = 0
    total: int = 0
    gone: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What became of an object, and why that is known; `dead letter` is its latest, `is_open` None if it has none.

    `is_startable` if to start it is what fixes it; then `left` is what to start, if that is not the whole object.
    """

    arrival: Arrival
    state: State
    why: str = ""
    is_startable: bool = False
    dead_letter: str | None = None
    is_open: bool | None = None
    started: str | None = None
    left: Batch | None = None

    def encode(self) -> dict[str, Any]:
        """Give the JSON shape of `--json`."""
        raw = self.arrival.raw
        return {
            "object": to_builtins(StoredObject.of(raw)),
            "last_modified": self.arrival.at.isoformat(),
            "state": self.state,
            "why": self.why,
            "dead_letter": None if self.dead_letter is None else {"id": self.dead_letter, "open": self.is_open},
            "started": self.started,
        }


def verdict(arrival: Arrival, known: Known, due: datetime) -> Reconciled:
    """Say what became of an object that is not written whole; what arrived after `due` may still have to be started."""
    state, why = _judged(arrival, known, due)
    dead_letter = known.dead_letter.id if known.dead_letter else None
    is_startable = state is State.MISSING and not known.is_damaged
    if is_startable and arrival.is_deleted:
        why = f"{why}; deleted since, but this version is still there"
    return Reconciled(arrival, state, why, is_startable, dead_letter, known.is_open if dead_letter else None)


def _judged(arrival: Arrival, known: Known, due: datetime) -> tuple[State, str]:
    if running := next((execution for execution in known.executions if execution.is_running), None):
        return State.IN_FLIGHT, f"attempt {running.attempt} is running"
    if known.is_damaged:
        return State.MISSING, f"its ledger file cannot be read: see `custody verify {arrival.raw.id}`"
    if told := _committed(known):
        return told
    if known.is_discarded and not known.is_open:
        return State.FAILED, _dead_letter(known)
    return _ended(known.executions[-1], known) if known.executions else _unseen(arrival, known, due)


def _committed(known: Known) -> tuple[State, str] | None:
    """Say what the ledger tells; None if it tells nothing."""
    if known.gone:
        return State.MISSING, f"the ledger files of {_chunks(len(known.gone), known.total)} are gone"
    if known.failed:
        return State.FAILED, f"{_chunks(known.failed, known.total)} failed; {_dead_letter(known)}"
    if known.rejected is not None:
        return State.REJECTED, f"{known.rejected:,} of its records rejected; {_dead_letter(known)}"
    return None


def _chunks(number: int, total: int) -> str:
    return f"{number:,} of its {total:,} chunks"


def _ended(last: Execution, known: Known) -> tuple[State, str]:
    if last.status == SUCCEEDED:
        return State.MISSING, "its execution succeeded, but its ledger file is gone"
    error = f" with {last.error}" if last.error else ""
    return State.FAILED, f"{last.status}{error}; {_dead_letter(known)}"


def _unseen(arrival: Arrival, known: Known, due: datetime) -> tuple[State, str]:
    if known.dead_letter:
        return State.FAILED, f"its execution is no longer in the history; {_dead_letter(known)}"
    if arrival.at > due:
        return State.IN_FLIGHT, "its event is on the way"
    return State.MISSING, "nothing tells of it: no execution, no dead letter, no ledger file"


def _dead_letter(known: Known) -> str:
    if known.dead_letter is None:
        return "no dead letter"
    if known.is_open:
        return "dead letter open"
    return "dead letter closed: discarded" if known.is_discarded else "dead letter closed"


@dataclass(frozen=True)
class Reconciler:
    """Looks objects up in the ledger, and in the history of the pipeline; `due` as in `verdict`."""

    audit: AuditReader
    pipeline: Pipeline
    due: datetime

    def run(self, arrived: Iterable[Arrival]) -> Iterator[Reconciled]:
        """Say what became of each object, in their order; only a few of them are held at a time."""
        return map_ordered(self.reconcile, arrived)

    def reconcile(self, arrival: Arrival) -> Reconciled:
        """Say what became of an object."""
        if arrival.raw.version_id == NO_VERSION:
            return Reconciled(arrival, State.MISSING, UNVERSIONED)
        committed = self._committed(arrival)
        while True:
            found = self._look_up(arrival, committed)
            if found.state is not State.MISSING and not (found.state is State.FAILED and found.dead_letter is None):
                return found
            # It may have been committed after the ledger were read, and before its execution was found to have ended. If
            # the ledger are what they were, so was all else: an execution commits before it ends, and S3 tells at once.
            before, committed = committed, self._committed(arrival)
            if committed == before:
                return found

    def start(self, missing: Reconciled) -> Reconciled:
        """Start what the start function should have started; at its next attempt, if it was started before."""
        if not missing.is_startable:
            return missing
        started = self.pipeline.start(missing.left or self.pipeline.batch_of(missing.arrival.raw))
        return replace(missing, started=started.execution.rpartition(":")[2])

    def _committed(self, arrival: Arrival) -> Committed:
        return Committed.read(
            self.audit, arrival.raw.id, arrival.day, is_bulk=self.pipeline.plan_of(arrival.raw) is not None
        )

    def _look_up(self, arrival: Arrival, committed: Committed) -> Reconciled:
        if committed.is_written:
            return Reconciled(arrival, State.WRITTEN)
        object_id, dead_letter, header = arrival.raw.id, committed.dead_letter, committed.header
        known = Known(
            rejected=header.counts.rejected if header else None,
            is_damaged=committed.is_damaged,
            is_discarded=any(entry.discards for entry in committed.entries),
            dead_letter=dead_letter,
            is_open=committed.is_open,
            executions=self.pipeline.history(
                object_id,
                execution_of(self.audit, self.pipeline, object_id, committed),
                committed.told,
                committed.attempt,
            ),
            failed=committed.failed,
            total=committed.total,
            gone=committed.gone,
        )
        found = verdict(arrival, known, self.due)
        if not (known.gone and found.is_startable and isinstance(header, SummaryHeader)):
            return found
        attempt = max([committed.attempt or 0, *(execution.attempt for execution in known.executions)]) + 1
        gone = Plan(header.chunk_bytes, known.gone)
        return replace(found, left=Batch(arrival.raw, attempt=attempt, redrive_of=header.execution, plan=gone))


def execution_of(audit: AuditReader, pipeline: Pipeline, object_id: str, committed: Committed) -> str:
    """Say which execution told last of an object, by its ARN."""
    dead_letter, latest = committed.dead_letter, committed.latest
    own = pipeline.arn_of(object_id, is_bulk=committed.is_bulk)
    if dead_letter and (latest is None or dead_letter.attempt > latest.attempt):
        return audit.execution_of(dead_letter) or own
    if latest and committed.is_damaged:
        return pipeline.latest(object_id, latest.attempt, is_bulk=committed.is_bulk)
    return str(committed.header.execution) if committed.header else own
