"""Retry open dead letters: gather what is known, start what is planned, and watch it end.

https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from custody.audit.committed_records import CommittedRecords
from custody.audit.dead_letters import resolution
from custody.audit.object_state import SUMMARIZING, ObjectState
from custody.audit.reader import AuditReader, Unreadable
from custody.concurrency import map_ordered, paced
from custody.executions.pipeline import SUCCEEDED, ExecutionState, Pipeline, execution_name
from custody.recovery.redrive_plan import BatchState, Method, Outcome, Redrive, decide
from functions.shared.errors import RecordsRejected
from functions.shared.model.chunking import whole
from functions.shared.model.keys import DeadLetterKey
from functions.shared.model.messages import Plan

_PENDING = (Outcome.RUNNING, Outcome.UNKNOWN)


@dataclass(frozen=True)
class Redriver:
    """Plans, starts and watches redrives; `pause` is the number of seconds between two looks at what is running."""

    audit: AuditReader
    pipeline: Pipeline
    pause: float

    def plan(self, candidates: Sequence[Redrive]) -> None:
        """Decide what to do about each candidate."""
        states = list(map_ordered(self._state, candidates))
        last = [state.executions[-1] for state in states if state.executions]
        unchanged = self.pipeline.unchanged([execution for execution in last if execution.stuck is None])
        for redrive, state in zip(candidates, states, strict=True):
            arn = state.executions[-1].arn if state.executions else None
            decide(redrive, state, is_unchanged=arn in unchanged)
            if redrive.how is Method.NEW:
                name = execution_name(redrive.object.id, redrive.attempt)
                redrive.execution = self.pipeline.arn_of(name, is_bulk=redrive.is_bulk)

    def begin(self, planned: Iterable[Redrive], per_second: float) -> Iterator[Redrive]:
        """Start what is to be started, at most `per_second`, and yield each.

        Raises BotoCoreError, and starts no more, when AWS cannot be reached.
        """
        yield from map_ordered(self._begin, paced((redrive for redrive in planned if redrive.how), per_second))

    def watch(
        self, started: Iterable[Redrive], timeout: float, committed: CommittedRecords | None = None
    ) -> Iterator[Redrive]:
        """Yield each redrive when it has ended and, after `timeout` seconds, those that have not.

        Running executions are listed; only the others are described one by one. Failed calls are repeated until the
        timeout. `committed` counts the records of bulk objects meanwhile.
        """
        deadline = time.monotonic() + timeout
        pending = list(started)
        while pending and time.monotonic() < deadline:
            looked = time.monotonic()
            self._look(pending)
            yield from (redrive for redrive in pending if redrive.outcome not in _PENDING)
            pending = [redrive for redrive in pending if redrive.outcome in _PENDING]
            if committed:
                committed.look((redrive.object.id, redrive.attempt) for redrive in pending if redrive.is_bulk)
            if pending:
                time.sleep(max(0.0, min(looked + self.pause, deadline) - time.monotonic()))
        yield from pending

    def _look(self, pending: list[Redrive]) -> None:
        try:
            running = self.pipeline.running()
        except (ClientError, BotoCoreError) as error:
            for redrive in pending:
                redrive.outcome, redrive.error = Outcome.UNKNOWN, str(error)
            return
        for redrive in pending:
            redrive.outcome, redrive.error = Outcome.RUNNING, None
        for _ in map_ordered(self._end, [redrive for redrive in pending if redrive.execution not in running]):
            pass

    def _state(self, candidate: Redrive) -> BatchState:
        dead_letter, is_bulk = candidate.key, candidate.is_bulk
        if not candidate.is_open:
            return BatchState(_resolved(self._object_state(dead_letter), dead_letter))
        highest = dead_letter.attempt
        if is_bulk:
            highest = max(highest, ObjectState(self.audit, dead_letter.object_id).attempt or 0)
        executions = self.pipeline.history(dead_letter.object_id, candidate.execution, dead_letter.attempt, highest)
        # After the executions: what they have committed by now counts.
        state = self._object_state(dead_letter)
        attempts = [key.attempt for key in state.ledger_keys if is_bulk or key.start == dead_letter.start]
        others = state.dead_letters if dead_letter.is_of_whole else [dead_letter]
        left = None
        if is_bulk:
            size = state.chunk_bytes(self.pipeline, candidate.execution)
            chunks = tuple(line.start for line in state.chunks_to_redo())
            left = Plan(size, chunks) if chunks else whole(candidate.object, size)
        return BatchState(
            None if dead_letter in state.open_among(others) else _resolved(state, dead_letter),
            max([*attempts, highest] if is_bulk else attempts, default=-1),
            executions,
            left=left,
            is_left_known=bool(executions) and _is_left_known(candidate, state, executions[-1]),
        )

    def _object_state(self, dead_letter: DeadLetterKey) -> ObjectState:
        return ObjectState(self.audit, dead_letter.object_id, since=dead_letter.day)

    def _begin(self, redrive: Redrive) -> Redrive:
        redrive.outcome, redrive.error = Outcome.UNKNOWN, "AWS did not answer the request to start it"
        try:
            if redrive.how is Method.NATIVE:
                self._redrive(redrive)
            else:
                self._start(redrive)
        except ClientError as error:
            redrive.skip(Outcome.REFUSED, str(error))
        redrive.error = None
        return redrive

    def _redrive(self, redrive: Redrive) -> None:
        try:
            self.pipeline.redrive(redrive.execution, redrive.token)
        except self.pipeline.client.exceptions.ExecutionNotRedrivable:
            now = self.pipeline.describe(redrive.execution)
            if not now or not (now.is_running or now.redrives > redrive.redrives):
                raise
            outcome = Outcome.RESOLVED if now.status == SUCCEEDED else Outcome.IN_FLIGHT
            redrive.skip(outcome, f"somebody else redrove it, and it is {now.status}")
        else:
            redrive.redrives, redrive.outcome = redrive.redrives + 1, Outcome.RUNNING

    def _start(self, redrive: Redrive) -> None:
        started = self.pipeline.start(redrive.batch)
        redrive.execution, redrive.attempt, redrive.outcome = started.execution, started.batch.attempt, Outcome.RUNNING
        if not started.is_new:
            redrive.skip(Outcome.IN_FLIGHT, f"somebody else started {started.execution}")

    def _end(self, redrive: Redrive) -> None:
        """Look at how an execution ended; it counts as running until Step Functions knows of the redrive."""
        try:
            now = self.pipeline.describe(redrive.execution)
            if now is None or now.is_running or now.redrives < redrive.redrives:
                return
            if now.status == SUCCEEDED:
                redrive.outcome, redrive.rejected = Outcome.SUCCEEDED, 0
                return
            # The dead letter of a whole bulk object sorts after those of its chunks.
            dead_letters = self.audit.dead_letters(now.day, redrive.object.id)
            dead_letter = max((each for each in dead_letters if each.attempt == now.attempt), default=None)
            with suppress(Unreadable):
                redrive.rejected = self.audit.read(dead_letter).rejected_count if dead_letter else None
        except (ClientError, BotoCoreError) as error:
            redrive.outcome, redrive.error = Outcome.UNKNOWN, str(error)
            return
        redrive.error, redrive.new_dead_letter = now.error or now.status, dead_letter.id if dead_letter else None
        redrive.outcome = Outcome.REJECTED if now.error == RecordsRejected.__name__ else Outcome.FAILED


def _is_left_known(candidate: Redrive, state: ObjectState, last: ExecutionState) -> bool:
    """Tell whether the summary lists the chunks that a redrive of the last execution would process.

    It does if that execution has committed the summary, and failed of nothing but its chunks.
    """
    summary = state.summary
    failed_of_chunks = not candidate.key.is_of_whole or candidate.error_before in SUMMARIZING
    return candidate.is_bulk and failed_of_chunks and summary is not None and summary.attempt == last.attempt


def _resolved(state: ObjectState, dead_letter: DeadLetterKey) -> tuple[Outcome, str]:
    if later := [other for other in state.open_dead_letters if other.batch == dead_letter.batch]:
        return Outcome.SUPERSEDED, f"a later dead letter of the batch is open: {max(later).id}"
    why = resolution(state, dead_letter) or "it was resolved meanwhile"
    key = state.resolving_key(dead_letter)
    if key and key.discards:
        return Outcome.DISCARDED, f"was {why}"
    return Outcome.RESOLVED, why
