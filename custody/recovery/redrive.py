"""Retry open dead letters: gather what is known, start what is planned, and watch it end.

https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from botocore.exceptions import BotoCoreError, ClientError

from custody.audit.dead_letters import resolution
from custody.audit.object_state import SUMMARIZING, ObjectState
from custody.audit.reader import AuditReader
from custody.concurrency import map_ordered, paced
from custody.executions.pipeline import RUNNING, SUCCEEDED, ExecutionState, Pipeline, execution_name
from custody.recovery.redrive_plan import (
    BatchState,
    Candidate,
    Method,
    Outcome,
    Redrive,
    RedriveResult,
    decide,
)
from functions.shared.model.chunking import whole
from functions.shared.model.keys import DeadLetterKey
from functions.shared.model.messages import Plan


class RedriveLog:
    """Every plan, None before there are any, and its state: updated by several threads, so an interrupt loses none."""

    def __init__(self) -> None:
        self.plans: list[Redrive] | None = None
        self._redrives: dict[DeadLetterKey, Redrive] = {}

    def add(self, plans: list[Redrive]) -> None:
        """Add the plans before any of them is carried out."""
        self.plans = plans
        for plan in plans:
            self.note(plan.not_started(Outcome.NOT_STARTED, "the command ended before") if plan.starts else plan)

    def note(self, redrive: Redrive) -> None:
        """Record the current state of a redrive."""
        self._redrives[redrive.candidate.dead_letter] = redrive

    @property
    def redrives(self) -> list[Redrive]:
        """All of them, as they are now."""
        return list(self._redrives.values())


@dataclass(frozen=True)
class Redriver:
    """Plans, starts and watches redrives; `pause` is the number of seconds between two looks at what is running."""

    audit: AuditReader
    pipeline: Pipeline
    pause: float

    def plan(self, candidates: Sequence[Candidate]) -> list[Redrive]:
        """Decide what to do about each candidate."""
        states = list(map_ordered(self._state, candidates))
        last = [state.executions[-1] for state in states if state.executions]
        unchanged = self.pipeline.unchanged([execution for execution in last if execution.stuck is None])
        return [
            decide(replace(state, is_unchanged=bool(state.executions) and state.executions[-1].arn in unchanged))
            for state in states
        ]

    def preview(self, plan: Redrive) -> RedriveResult:
        """Describe what a plan would do."""
        if plan.how is Method.NEW:
            name = execution_name(plan.candidate.raw.id, plan.attempt)
            plan = replace(plan, execution=self.pipeline.arn_of(name, is_bulk=plan.candidate.is_bulk))
        return plan.planned

    def begin(
        self, plans: Sequence[Redrive], per_second: float, note: Callable[[Redrive], None] = lambda _: None
    ) -> Iterator[Redrive]:
        """Start what is to be started, at most `per_second`, then yield what is not.

        `note` is called in other threads, before and after each start. Raises BotoCoreError, and starts no more, when
        AWS cannot be reached.
        """

        def start(plan: Redrive) -> Redrive:
            note(plan.not_started(Outcome.UNKNOWN, "AWS did not answer the request to start it"))
            redrive = self._begin(plan)
            note(redrive)
            return redrive

        yield from map_ordered(start, paced((plan for plan in plans if plan.starts), per_second))
        yield from (plan for plan in plans if not plan.starts)

    def watch(self, started: Iterable[Redrive], timeout: float) -> Iterator[Redrive]:
        """Yield each redrive when it has ended and, after `timeout` seconds, those that have not.

        Running executions are listed; only the others are described one by one. Failed calls are repeated until the
        timeout.
        """
        deadline = time.monotonic() + timeout
        pending = {redrive.execution: redrive for redrive in started}
        while pending and time.monotonic() < deadline:
            looked = time.monotonic()
            for redrive in self._look(list(pending.values())):
                pending[redrive.execution] = redrive
                if redrive.status not in RUNNING:
                    del pending[redrive.execution]
                    yield redrive
            if pending:
                time.sleep(max(0.0, min(looked + self.pause, deadline) - time.monotonic()))
        yield from pending.values()

    def _look(self, pending: list[Redrive]) -> Iterator[Redrive]:
        try:
            running = self.pipeline.running()
        except (ClientError, BotoCoreError) as error:
            yield from (replace(redrive, error=str(error)) for redrive in pending)
            return
        yield from (replace(redrive, error=None) for redrive in pending if redrive.execution in running)
        yield from map_ordered(self._ended, [redrive for redrive in pending if redrive.execution not in running])

    def _state(self, candidate: Candidate) -> BatchState:
        dead_letter, is_bulk = candidate.dead_letter, candidate.is_bulk
        if not candidate.is_open:
            return BatchState(candidate, _resolved(self._object_state(dead_letter), dead_letter))
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
            size, chunks = (
                state.chunk_bytes(self.pipeline, candidate.execution),
                tuple(line.start for line in state.chunks_to_redo()),
            )
            left = Plan(size, chunks) if chunks else whole(candidate.raw, size)
        return BatchState(
            candidate,
            None if dead_letter in state.open_among(others) else _resolved(state, dead_letter),
            max([*attempts, highest] if is_bulk else attempts, default=-1),
            executions,
            left=left,
            is_left_known=bool(executions) and _is_left_known(candidate, state, executions[-1]),
        )

    def _object_state(self, dead_letter: DeadLetterKey) -> ObjectState:
        return ObjectState(self.audit, dead_letter.object_id, since=dead_letter.day)

    def _begin(self, plan: Redrive) -> Redrive:
        try:
            return self._redrive(plan) if plan.how is Method.NATIVE else self._start(plan)
        except ClientError as error:
            return plan.not_started(Outcome.REFUSED, str(error))

    def _redrive(self, plan: Redrive) -> Redrive:
        try:
            self.pipeline.redrive(plan.execution, plan.token)
        except self.pipeline.client.exceptions.ExecutionNotRedrivable:
            now = self.pipeline.describe(plan.execution)
            if now and (now.is_running or now.redrives > plan.redrives):
                outcome = Outcome.RESOLVED if now.status == SUCCEEDED else Outcome.IN_FLIGHT
                return plan.not_started(outcome, f"somebody else redrove it, and it is {now.status}")
            raise
        return replace(plan, redrives=plan.redrives + 1, status="RUNNING")

    def _start(self, plan: Redrive) -> Redrive:
        started = self.pipeline.start(plan.batch)
        plan = replace(plan, attempt=started.batch.attempt)
        if not started.is_new:
            return plan.not_started(Outcome.IN_FLIGHT, f"somebody else started {started.execution}")
        return replace(plan, execution=started.execution, redrives=0, status="RUNNING")

    def _ended(self, redrive: Redrive) -> Redrive:
        """Look at how an execution ended; it counts as running until Step Functions knows of the redrive."""
        try:
            now = self.pipeline.describe(redrive.execution)
            if now is None or now.is_running or now.redrives < redrive.redrives:
                return replace(redrive, error=None)
            if now.status == SUCCEEDED:
                return replace(redrive, status=now.status, error=None)
            # The dead letter of a whole bulk object sorts after those of its chunks.
            dead_letters = self.audit.dead_letters(now.day, redrive.candidate.raw.id)
            dead_letter = max((each for each in dead_letters if each.attempt == now.attempt), default=None)
        except (ClientError, BotoCoreError) as error:
            return replace(redrive, error=str(error))
        return replace(
            redrive, status=now.status, error=now.error, new_dead_letter=dead_letter.id if dead_letter else None
        )


def _is_left_known(candidate: Candidate, state: ObjectState, last: ExecutionState) -> bool:
    """Tell whether the summary lists the chunks that a redrive of the last execution would process.

    It does if that execution has committed the summary, and failed of nothing but its chunks.
    """
    summary = state.summary
    failed_of_chunks = not candidate.dead_letter.is_of_whole or candidate.error in SUMMARIZING
    return candidate.is_bulk and failed_of_chunks and summary is not None and summary.attempt == last.attempt


def _resolved(state: ObjectState, dead_letter: DeadLetterKey) -> tuple[Outcome, str]:
    if later := [other for other in state.open_dead_letters if other.batch == dead_letter.batch]:
        return Outcome.SUPERSEDED, f"a later dead letter of the batch is open: {max(later).id}"
    why = resolution(state, dead_letter) or "it was resolved meanwhile"
    key = state.resolving_key(dead_letter)
    if key and key.discards:
        return Outcome.DISCARDED, f"was {why}"
    return Outcome.RESOLVED, why
