"""Do the work of open letters again: decide for each batch how, act on it, and follow what becomes of it.

https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from botocore.exceptions import ClientError

from custody.books import Books, Letter
from custody.executions import RUNNING, SUCCEEDED, Execution, Pipeline
from custody.letters import Found, closed_by, raw_of
from custody.parallel import WORKERS, answers
from functions.shared.errors import RecordsRejected
from functions.shared.identity import RawObject
from functions.shared.messages import Batch

Each = TypeVar("Each")


class How(StrEnum):
    """How the work of a letter is done again, or why it is not."""

    NATIVE = "native"
    NEW = "new"
    IN_FLIGHT = "in flight"
    CLOSED = "closed"
    REFUSED = "refused"


class Outcome(StrEnum):
    """What became of a redrive: `rejected` if every record has an outcome, but not every one is written."""

    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    FAILED = "failed"
    RUNNING = "running"
    IN_FLIGHT = "in flight"
    CLOSED = "closed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A letter whose work is to be done again, and what that takes: no more, for there may be thousands."""

    letter: Letter
    is_open: bool
    raw: RawObject
    chunk: int | None
    execution: str
    error: str

    @classmethod
    def of(cls, found: Found) -> "Wanted":
        """Take what it takes from a letter."""
        body = found.body
        return cls(
            found.letter, found.is_open, raw_of(body), body["chunk"], body["execution"]["arn"], str(body["error"])
        )


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a batch now: `booked` is its highest attempt in the ledger, `executions` end with the latest.

    `closed` says what closed the letter; None while it is open.
    """

    wanted: Wanted
    closed: str | None = None
    booked: int = -1
    executions: tuple[Execution, ...] = ()
    is_unchanged: bool = False

    @property
    def highest(self) -> int:
        """The highest attempt that anything tells of."""
        return max([self.wanted.letter.attempt, self.booked, *(execution.attempt for execution in self.executions)])


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about a letter: `execution` is the one to redrive, or whose work is to be done again.

    `redrives` is how often that was redriven already; `attempt` is the one that begins.
    """

    wanted: Wanted
    how: How
    why: str
    attempt: int
    execution: str
    redrives: int = 0

    @property
    def token(self) -> str:
        """What makes a repeated call one redrive; at most 64 characters."""
        return hashlib.sha256(f"{self.execution} {self.redrives}".encode()).hexdigest()

    @property
    def batch(self) -> Batch:
        """The input of a new execution."""
        return Batch(self.wanted.raw, self.wanted.chunk, self.attempt, redrive_of=self.execution)

    @property
    def starts(self) -> bool:
        """Whether there is something to start."""
        return self.how in {How.NATIVE, How.NEW}


@dataclass(frozen=True, slots=True)
class Redrive:
    """What became of a plan: `status` is that of its `execution`; None if nothing was started.

    `redrives` is how often the execution is redriven when it does this work; `letter` the id of a new one.
    """

    plan: Plan
    execution: str
    redrives: int = 0
    status: str | None = None
    error: str | None = None
    letter: str | None = None

    @property
    def outcome(self) -> Outcome:
        """How it went, in a word."""
        if self.status is None:
            return Outcome(self.plan.how)
        if self.status == SUCCEEDED:
            return Outcome.SUCCEEDED
        if self.status in RUNNING:
            return Outcome.RUNNING
        return Outcome.REJECTED if self.error == RecordsRejected.__name__ else Outcome.FAILED


def chosen(wanted: Iterable[Wanted]) -> list[Wanted]:
    """Leave one letter of each batch, and of each execution: an open one before a closed one, then the latest."""
    by_batch = _best(wanted, lambda one: one.letter.batch)
    return _best(by_batch, lambda one: one.execution)


def _best(wanted: Iterable[Wanted], key: Callable[[Wanted], Hashable]) -> list[Wanted]:
    best: dict[Hashable, Wanted] = {}
    for one in wanted:
        other = best.get(key(one), one)
        best[key(one)] = max(other, one, key=lambda each: (each.is_open, each.letter.attempt))
    return list(best.values())


def decide(facts: Facts) -> Plan:
    """Decide how the work of a letter is done again: by its own execution where that is possible, else by a new one."""
    wanted, highest = facts.wanted, facts.highest
    last = facts.executions[-1] if facts.executions else None
    arn = last.arn if last else wanted.execution
    if running := next((execution for execution in facts.executions if execution.is_running), None):
        return Plan(wanted, How.IN_FLIGHT, "it is under way already", running.attempt, running.arn)
    if facts.closed:
        return Plan(wanted, How.CLOSED, facts.closed, highest, arn)
    if last is None:
        return Plan(wanted, How.NEW, "its execution is no longer in the history", highest + 1, arn)
    if why := _obstacle(last, facts):
        return Plan(wanted, How.NEW, why, highest + 1, arn)
    return Plan(wanted, How.NATIVE, "its execution can be redriven", last.attempt + 1, arn, last.redrives)


def _obstacle(last: Execution, facts: Facts) -> str | None:
    """Say why an execution cannot be redriven, or should not be."""
    if last.status == SUCCEEDED:
        return "its execution succeeded, with rejected records"
    if last.stuck is not None:
        return last.stuck
    if not facts.is_unchanged:
        return "the state machine was changed since"
    if last.attempt < facts.highest:
        return f"another execution has done attempt {facts.highest}"
    return None


def paced(each: Iterable[Each], per_second: float) -> Iterator[Each]:
    """Give one after the other, no faster than that."""
    due = time.monotonic()
    for one in each:
        now = time.monotonic()
        time.sleep(max(0.0, due - now))
        due = max(due, now) + 1 / per_second
        yield one


@dataclass(frozen=True)
class Redriver:
    """Plans, starts and follows redrives; `pause` is in seconds, between two looks at what runs."""

    books: Books
    pipeline: Pipeline
    pause: float

    def plan(self, wanted: Sequence[Wanted]) -> list[Plan]:
        """Decide what to do about each letter."""
        facts = list(answers(self._facts, wanted))
        stopped = [one.executions[-1] for one in facts if one.executions]
        unchanged = self.pipeline.unchanged([last for last in stopped if last.stuck is None])
        return [
            decide(replace(one, is_unchanged=bool(one.executions) and one.executions[-1].arn in unchanged))
            for one in facts
        ]

    def begin(self, plans: Sequence[Plan], per_second: float) -> Iterator[Redrive]:
        """Start what is to be started, so many a second; give each plan with what came of it, in their order."""
        under_way: deque[Future[Redrive]] = deque()
        with ThreadPoolExecutor(WORKERS) as pool:
            for plan in paced([plan for plan in plans if plan.starts], per_second):
                under_way.append(pool.submit(self._begin, plan))
                while under_way and under_way[0].done():
                    yield under_way.popleft().result()
            yield from (each.result() for each in under_way)
        yield from (Redrive(plan, plan.execution) for plan in plans if not plan.starts)

    def follow(self, begun: Iterable[Redrive], seconds: float) -> Iterator[Redrive]:
        """Give each that was started when it has ended, and those that have not when the time is up.

        What runs is listed; only what does not run any more is asked for one by one.
        """
        deadline = time.monotonic() + seconds
        pending = {one.execution: one for one in begun}
        while pending and time.monotonic() < deadline:
            looked = time.monotonic()
            running = self.pipeline.running()
            for one in answers(self._ended, [one for arn, one in pending.items() if arn not in running]):
                if one:
                    del pending[one.execution]
                    yield one
            if pending:
                time.sleep(max(0.0, min(looked + self.pause, deadline) - time.monotonic()))
        yield from pending.values()

    def _facts(self, wanted: Wanted) -> Facts:
        letter = wanted.letter
        if not wanted.is_open:
            return Facts(wanted, self._closed(letter))
        executions = self.pipeline.history(letter.object_id, wanted.execution, letter.attempt)
        entries = self.books.entries(letter.object_id)
        # After the executions: what these have booked by now counts.
        booked = max((entry.attempt for entry in entries if entry.start == letter.start), default=-1)
        is_open = letter in self.books.open_among([letter])
        return Facts(wanted, None if is_open else self._closed(letter), booked, executions)

    def _closed(self, letter: Letter) -> str:
        return closed_by(self.books, letter) or "it was closed meanwhile"

    def _begin(self, plan: Plan) -> Redrive:
        try:
            return self._redrive(plan) if plan.how is How.NATIVE else self._start(plan)
        except ClientError as error:
            return _not_started(plan, How.REFUSED, str(error))

    def _redrive(self, plan: Plan) -> Redrive:
        try:
            self.pipeline.redrive(plan.execution, plan.token)
        except self.pipeline.client.exceptions.ExecutionNotRedrivable:
            now = self.pipeline.describe(plan.execution)
            if now and (now.is_running or now.redrives > plan.redrives):
                how = How.CLOSED if now.status == SUCCEEDED else How.IN_FLIGHT
                return _not_started(plan, how, f"somebody else redrove it, and it is {now.status}")
            raise
        return Redrive(plan, plan.execution, plan.redrives + 1, "RUNNING")

    def _start(self, plan: Plan) -> Redrive:
        started = self.pipeline.start(plan.batch)
        now = replace(plan, attempt=started.batch.attempt)
        if not started.is_new:
            return _not_started(now, How.IN_FLIGHT, f"somebody else started {started.execution}")
        return Redrive(now, started.execution, status="RUNNING")

    def _ended(self, one: Redrive) -> Redrive | None:
        """See how an execution ended; None if it has not, or is not known yet to run again."""
        now = self.pipeline.describe(one.execution)
        if now is None or now.is_running or now.redrives < one.redrives:
            return None
        if now.status == SUCCEEDED:
            return replace(one, status=now.status)
        letters = self.books.letters(now.day, one.plan.wanted.raw.id)
        told = max((letter for letter in letters if letter.attempt == now.attempt), default=None)
        return replace(one, status=now.status, error=now.error, letter=told.id if told else None)


def _not_started(plan: Plan, how: How, why: str) -> Redrive:
    return Redrive(replace(plan, how=how, why=why), plan.execution)
