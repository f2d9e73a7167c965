"""Classify every object version in the raw bucket, whatever happened to its event or its executions.

AWS delivers events and status changes on a best-effort basis; this is the guarantee behind them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from custody.audit.object_state import DeadLetterState, ObjectState
from custody.audit.reader import AuditReader
from custody.concurrency import map_ordered
from custody.executions.pipeline import SUCCEEDED, ExecutionState, Pipeline
from custody.ingest.raw_versions import NO_VERSION, UNVERSIONED, Arrival
from functions.shared.model.ids import RawObject
from functions.shared.model.ledger import LedgerHeader, SummaryHeader
from functions.shared.model.messages import Batch, Plan


class State(StrEnum):
    """The state of an object."""

    WRITTEN = "written"
    REJECTED = "rejected"
    FAILED = "failed"
    IN_FLIGHT = "in flight"
    MISSING = "missing"


class ReconciledObject(Struct, frozen=True):
    """The state of an object, and why it is not written whole; `dead_letter` is its latest.

    `startable` if --start would fix it; `started` names the execution that it has started.
    """

    object: RawObject
    last_modified: datetime
    state: State
    why: str = ""
    dead_letter: DeadLetterState | None = None
    startable: bool = False
    started: str | None = None


class ReconcileDocument(Struct, frozen=True):
    """Every object version in the raw bucket that is not written whole, and the number of all by state."""

    objects: list[ReconciledObject]
    counts: dict[State, int]


@dataclass(frozen=True)
class Reconciler:
    """Looks objects up in the audit bucket and in Step Functions.

    An object without a trace that arrived after `due` may still be waiting for its event. If `starts`, missing objects
    are started, as the start function should have done; at the next attempt, if they were started before.
    """

    audit: AuditReader
    pipeline: Pipeline
    due: datetime
    starts: bool = False

    def run(self, arrivals: Iterable[Arrival]) -> Iterator[ReconciledObject]:
        """Classify objects in order, a few ahead; start each only when it is yielded: no start goes unreported."""
        for reconciled, batch in map_ordered(self.reconcile, arrivals):
            started = self.pipeline.start(batch).execution.rpartition(":")[2] if batch and self.starts else None
            yield replace(reconciled, started=started)

    def reconcile(self, arrival: Arrival) -> tuple[ReconciledObject, Batch | None]:
        """Classify an object; if a start would fix it, also return what to start."""
        if arrival.raw.version_id == NO_VERSION:
            return ReconciledObject(arrival.raw, arrival.at, State.MISSING, UNVERSIONED), None
        state = self._state(arrival)
        while True:
            reconciled = self._classify(arrival, state)
            lacks_dead_letter = reconciled.state is State.FAILED and reconciled.dead_letter is None
            if reconciled.state is not State.MISSING and not lacks_dead_letter:
                return reconciled, None
            # It may have been committed between the look at the audit bucket and the end of its execution. If nothing
            # was added since, nothing was missed: an execution commits before it ends, and S3 is strongly consistent.
            before, state = state, self._state(arrival)
            if state.keys == before.keys:
                break
        if not reconciled.startable:
            return reconciled, None
        return reconciled, _remainder(arrival.raw, state) or self.pipeline.batch_of(arrival.raw)

    def _state(self, arrival: Arrival) -> ObjectState:
        is_large = self.pipeline.plan_of(arrival.raw) is not None
        return ObjectState(self.audit, arrival.raw.id, since=arrival.day, is_large=is_large)

    def _classify(self, arrival: Arrival, state: ObjectState) -> ReconciledObject:
        if state.is_written:
            return ReconciledObject(arrival.raw, arrival.at, State.WRITTEN)
        executions = state.executions(self.pipeline)
        result, why = self._result(arrival, state, executions)
        key = state.latest_dead_letter
        dead_letter = DeadLetterState(key.id, bool(state.open_dead_letters)) if key else None
        is_startable = result is State.MISSING and not state.is_damaged
        if is_startable and arrival.is_deleted:
            why = f"{why}; deleted since, but this version is still there"
        return ReconciledObject(arrival.raw, arrival.at, result, why, dead_letter, is_startable)

    def _result(
        self, arrival: Arrival, state: ObjectState, executions: tuple[ExecutionState, ...]
    ) -> tuple[State, str]:
        if running := next((execution for execution in executions if execution.is_running), None):
            return State.IN_FLIGHT, f"attempt {running.attempt} is running"
        if state.is_damaged:
            return State.MISSING, f"its ledger file cannot be read: see `custody verify {arrival.raw.id}`"
        if state.outcome:
            return _by_outcome(state, state.outcome)
        if _is_discarded(state) and not state.open_dead_letters:
            return State.FAILED, _resolution(state)
        return _by_end(executions[-1], state) if executions else self._without_execution(arrival, state)

    def _without_execution(self, arrival: Arrival, state: ObjectState) -> tuple[State, str]:
        if state.dead_letters:
            return State.FAILED, f"its execution is no longer in the history; {_resolution(state)}"
        if arrival.at > self.due:
            return State.IN_FLIGHT, "its event is on the way"
        return State.MISSING, "no execution, no dead letter and no ledger file"


def _by_outcome(state: ObjectState, outcome: LedgerHeader) -> tuple[State, str]:
    """Classify an object that is committed, but not written whole."""
    if isinstance(outcome, SummaryHeader):
        total, missing = outcome.chunks.total, len(state.missing_chunks)
        if missing:
            return State.MISSING, f"the ledger files of {missing:,} of its {total:,} chunks are gone"
        if failed := outcome.chunks.failed:
            return State.FAILED, f"{failed:,} of its {total:,} chunks failed; {_resolution(state)}"
    return State.REJECTED, f"{outcome.counts.rejected:,} of its records rejected; {_resolution(state)}"


def _by_end(last: ExecutionState, state: ObjectState) -> tuple[State, str]:
    """Classify an object without an outcome by the end of its last execution."""
    if last.status == SUCCEEDED:
        return State.MISSING, "its execution succeeded, but its ledger file is gone"
    error = f" with {last.error}" if last.error else ""
    return State.FAILED, f"{last.status}{error}; {_resolution(state)}"


def _remainder(raw: RawObject, state: ObjectState) -> Batch | None:
    """Return the chunks of a bulk object whose ledger files are gone; None if the whole object is to be started."""
    if not state.missing_chunks or not isinstance(state.outcome, SummaryHeader):
        return None
    plan = Plan(state.outcome.chunk_bytes, state.missing_chunks)
    return Batch(raw, attempt=(state.attempt or 0) + 1, redrive_of=state.outcome.execution, plan=plan)


def _is_discarded(state: ObjectState) -> bool:
    return any(key.discards for key in state.ledger_keys)


def _resolution(state: ObjectState) -> str:
    if not state.dead_letters:
        return "no dead letter"
    if state.open_dead_letters:
        return "dead letter open"
    return "dead letter resolved: discarded" if _is_discarded(state) else "dead letter resolved"
