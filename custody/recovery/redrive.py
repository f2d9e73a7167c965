"""Do the work of open dead letters again: find out what is known, act on it, and follow it to its end.

https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from botocore.exceptions import BotoCoreError, ClientError

from custody.audit.dead_letters import closed_by
from custody.audit.reader import AuditReader, DeadLetterKey, Unreadable
from custody.audit.resolution import SUMS_UP, Resolution
from custody.concurrency import map_ordered, paced
from custody.executions.pipeline import RUNNING, SUCCEEDED, Execution, Pipeline
from custody.recovery.redrive_plan import Closed, Facts, How, Plan, Redrive, Wanted, decide, not_started
from functions.shared.model.messages import Plan as Cut


def _is_summed(wanted: Wanted, resolution: Resolution, last: Execution) -> bool:
    """Say whether the summary tells which chunks the last execution of a bulk object would process again.

    It does where that has closed the ledger, and ended with nothing else than what the chunks came to.
    """
    summary = resolution.summary
    ended_so = not wanted.dead_letter.is_of_whole or wanted.error in SUMS_UP
    return wanted.is_bulk and ended_so and summary is not None and summary.attempt == last.attempt


class Tally:
    """What became of each plan so far, also of those that are under way while their command is interrupted."""

    def __init__(self, plans: Iterable[Plan]) -> None:
        self._redrives = {
            plan.wanted.dead_letter: not_started(plan, How.NOT_STARTED, "the command ended before")
            if plan.starts
            else Redrive(plan, plan.execution)
            for plan in plans
        }

    def note(self, one: Redrive) -> None:
        """Take down how far one is."""
        self._redrives[one.plan.wanted.dead_letter] = one

    @property
    def redrives(self) -> list[Redrive]:
        """All, as they are now."""
        return list(self._redrives.values())

    @property
    def running(self) -> list[Redrive]:
        """Those that were started."""
        return [one for one in self.redrives if one.status is not None]


@dataclass(frozen=True)
class Redriver:
    """Plans, starts and follows redrives; `pause` is in seconds, between two looks at what runs."""

    audit: AuditReader
    pipeline: Pipeline
    pause: float

    def plan(self, wanted: Sequence[Wanted]) -> list[Plan]:
        """Decide what to do about each dead letter."""
        facts = list(map_ordered(self._facts, wanted))
        stopped = [one.executions[-1] for one in facts if one.executions]
        unchanged = self.pipeline.unchanged([last for last in stopped if last.stuck is None])
        return [
            decide(replace(one, is_unchanged=bool(one.executions) and one.executions[-1].arn in unchanged))
            for one in facts
        ]

    def begin(
        self, plans: Sequence[Plan], per_second: float, note: Callable[[Redrive], None] = lambda _: None
    ) -> Iterator[Redrive]:
        """Start what is to be started, so many a second; give each plan with what came of it, in their order.

        `note` is told of each at once, in a thread of its own: before it is started, and after. Raises BotoCoreError,
        and starts no more, when AWS cannot be reached.
        """

        def start(plan: Plan) -> Redrive:
            note(not_started(plan, How.UNKNOWN, "it was asked for, and there was no answer"))
            one = self._begin(plan)
            note(one)
            return one

        yield from map_ordered(start, paced([plan for plan in plans if plan.starts], per_second))
        yield from (Redrive(plan, plan.execution) for plan in plans if not plan.starts)

    def watch(self, begun: Iterable[Redrive], seconds: float) -> Iterator[Redrive]:
        """Give each that was started when it has ended, and those that have not when the time is up.

        What runs is listed; only what does not run any more is asked for one by one. What AWS does not answer is asked
        again, until the time is up.
        """
        deadline = time.monotonic() + seconds
        pending = {one.execution: one for one in begun}
        while pending and time.monotonic() < deadline:
            looked = time.monotonic()
            for one in self._look(pending):
                pending[one.execution] = one
                if one.status not in RUNNING:
                    del pending[one.execution]
                    yield one
            if pending:
                time.sleep(max(0.0, min(looked + self.pause, deadline) - time.monotonic()))
        yield from pending.values()

    def _look(self, pending: dict[str, Redrive]) -> Iterator[Redrive]:
        """Give each as it is now."""
        before = list(pending.values())
        try:
            running = self.pipeline.running()
        except (ClientError, BotoCoreError) as failure:
            yield from (replace(one, error=str(failure)) for one in before)
            return
        yield from (replace(one, error=None) for one in before if one.execution in running)
        yield from map_ordered(self._ended, [one for one in before if one.execution not in running])

    def _facts(self, wanted: Wanted) -> Facts:
        dead_letter = wanted.dead_letter
        if not wanted.is_open:
            return Facts(wanted, self._closed(dead_letter))
        highest = self.audit.attempt_of(dead_letter.object_id) if wanted.is_bulk else dead_letter.attempt
        executions = self.pipeline.history(dead_letter.object_id, wanted.execution, dead_letter.attempt, highest)
        # After the executions: what these have committed by now counts.
        resolution = self.audit.resolution(dead_letter.object_id)
        entries = [entry for entry in resolution.entries if wanted.is_bulk or entry.start == dead_letter.start]
        committed = max([entry.attempt for entry in entries] + ([highest] if wanted.is_bulk else []), default=-1)
        others = (
            self.audit.dead_letters_of(dead_letter.object_id, since=dead_letter.day)
            if dead_letter.is_of_whole
            else [dead_letter]
        )
        is_open = dead_letter in resolution.open_among(others)
        left = self._left(wanted, resolution) if wanted.is_bulk else None
        is_summed = bool(executions) and _is_summed(wanted, resolution, executions[-1])
        return Facts(
            wanted, None if is_open else self._closed(dead_letter), committed, executions, cut=left, is_summed=is_summed
        )

    def _left(self, wanted: Wanted, resolution: Resolution) -> Cut:
        """Say which chunks of an object are left to do: those that its summary does not settle, else all of them."""
        try:
            chunk_bytes = self.audit.header(resolution.summary)["chunk_bytes"] if resolution.summary else 0
        except Unreadable:
            chunk_bytes = 0
        left = tuple(resolution.to_do()) if chunk_bytes else ()
        if left:
            return Cut(chunk_bytes, left)
        chunk_bytes = chunk_bytes or self._chunk_bytes(wanted)
        return Cut(chunk_bytes, tuple(range(0, wanted.raw.size, chunk_bytes)))

    def _chunk_bytes(self, wanted: Wanted) -> int:
        """Say how large the chunks of an object are that has no summary: as its execution was told, or as all are."""
        return self.pipeline.chunk_bytes_of(wanted.execution) or self.pipeline.chunk_bytes

    def _closed(self, dead_letter: DeadLetterKey) -> Closed:
        resolution = self.audit.resolution(dead_letter.object_id)
        others = resolution.open_among(self.audit.dead_letters_of(dead_letter.object_id, since=dead_letter.day))
        if later := [other for other in others if other.batch == dead_letter.batch]:
            return Closed(How.SUPERSEDED, f"a later dead letter of the batch is open: {max(later).id}")
        why = closed_by(self.audit, dead_letter) or "it was closed meanwhile"
        entry = resolution.closing(dead_letter)
        if entry and entry.discards:
            return Closed(How.DISCARDED, f"was {why}" if why.startswith("discarded") else why)
        return Closed(How.CLOSED, why)

    def _begin(self, plan: Plan) -> Redrive:
        try:
            return self._redrive(plan) if plan.how is How.NATIVE else self._start(plan)
        except ClientError as error:
            return not_started(plan, How.REFUSED, str(error))

    def _redrive(self, plan: Plan) -> Redrive:
        try:
            self.pipeline.redrive(plan.execution, plan.token)
        except self.pipeline.client.exceptions.ExecutionNotRedrivable:
            now = self.pipeline.describe(plan.execution)
            if now and (now.is_running or now.redrives > plan.redrives):
                how = How.CLOSED if now.status == SUCCEEDED else How.IN_FLIGHT
                return not_started(plan, how, f"somebody else redrove it, and it is {now.status}")
            raise
        return Redrive(plan, plan.execution, plan.redrives + 1, "RUNNING")

    def _start(self, plan: Plan) -> Redrive:
        started = self.pipeline.start(plan.batch)
        now = replace(plan, attempt=started.batch.attempt)
        if not started.is_new:
            return not_started(now, How.IN_FLIGHT, f"somebody else started {started.execution}")
        return Redrive(now, started.execution, status="RUNNING")

    def _ended(self, one: Redrive) -> Redrive:
        """See how an execution ended; it runs still if it has not, or is not known yet to run again."""
        try:
            now = self.pipeline.describe(one.execution)
            if now is None or now.is_running or now.redrives < one.redrives:
                return replace(one, error=None)
            if now.status == SUCCEEDED:
                return replace(one, status=now.status, error=None)
            dead_letters = self.audit.dead_letters(now.day, one.plan.wanted.raw.id)
            # Of a bulk object, the one that tells of all its chunks is behind theirs.
            told = max(
                (dead_letter for dead_letter in dead_letters if dead_letter.attempt == now.attempt), default=None
            )
        except (ClientError, BotoCoreError) as failure:
            return replace(one, error=str(failure))
        return replace(one, status=now.status, error=now.error, dead_letter=told.id if told else None)
