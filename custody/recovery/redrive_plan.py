"""How the work of open dead letters is done again: decided from what is known of each batch, and nothing else."""

import hashlib
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from custody.audit.dead_letters import Found, chunk_of, raw_of
from custody.audit.reader import DeadLetterKey
from custody.executions.pipeline import RUNNING, SUCCEEDED, Execution
from functions.shared.errors import RecordsRejected
from functions.shared.model.ids import RawObject
from functions.shared.model.messages import Batch, Chunk
from functions.shared.model.messages import Plan as Cut


class How(StrEnum):
    """How the work of a dead letter is done again, or why it is not."""

    NATIVE = "native"
    NEW = "new"
    IN_FLIGHT = "in flight"
    CLOSED = "closed"
    SUPERSEDED = "superseded"
    DISCARDED = "discarded"
    REFUSED = "refused"
    NOT_STARTED = "not started"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """What became of a redrive: `rejected` if every record has an outcome, but not every one is written.

    `unknown` if AWS did not answer.
    """

    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    FAILED = "failed"
    RUNNING = "running"
    IN_FLIGHT = "in flight"
    CLOSED = "closed"
    SUPERSEDED = "superseded"
    DISCARDED = "discarded"
    REFUSED = "refused"
    NOT_STARTED = "not started"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A dead letter whose work is to be done again, and what that takes: no more, for there may be thousands.

    `is_bulk` if it is of an object that is cut into chunks, or of one of these: then `execution` is that of them all.
    """

    dead_letter: DeadLetterKey
    is_open: bool
    raw: RawObject
    chunk: Chunk | None
    execution: str
    error: str
    is_bulk: bool = False

    @classmethod
    def of(cls, found: Found) -> "Wanted":
        """Take what it takes from a dead letter."""
        body, dead_letter = found.body, found.dead_letter
        parent = body.get("parent")
        execution, is_bulk = parent or body["execution"]["arn"], dead_letter.is_of_whole or parent is not None
        chunk = None if is_bulk else chunk_of(body)
        return cls(dead_letter, found.is_open, raw_of(body), chunk, execution, str(body["error"]), is_bulk)

    @property
    def work(self) -> Hashable:
        """What is done again: a batch, or all that is left of a bulk object, however many dead letters tell of it."""
        return (self.dead_letter.object_id, "bulk") if self.is_bulk else self.dead_letter.batch


@dataclass(frozen=True, slots=True)
class Closed:
    """What closed a dead letter, and what that means for its redrive: its work is done, given up, or another dead letter's."""

    how: How
    why: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a batch now: `committed` is its highest attempt in the ledger, `executions` end with the latest.

    `closed` says what closed the dead letter; None while it is open. `cut` is what is left to do of a bulk object, and
    `is_summed` says that its own execution would do just that again.
    """

    wanted: Wanted
    closed: Closed | None = None
    committed: int = -1
    executions: tuple[Execution, ...] = ()
    is_unchanged: bool = False
    cut: Cut | None = None
    is_summed: bool = False

    @property
    def highest(self) -> int:
        """The highest attempt that anything tells of."""
        return max(
            [self.wanted.dead_letter.attempt, self.committed, *(execution.attempt for execution in self.executions)]
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about a dead letter: `execution` is the one to redrive, or whose work is to be done again.

    `redrives` is how often that was redriven already; `attempt` is the one that begins. `cut` are the chunks of a bulk
    object that are processed again; None if its execution alone knows them.
    """

    wanted: Wanted
    how: How
    why: str
    attempt: int
    execution: str
    redrives: int = 0
    cut: Cut | None = None

    @property
    def token(self) -> str:
        """What makes a repeated call one redrive; at most 64 characters."""
        return hashlib.sha256(f"{self.execution} {self.redrives}".encode()).hexdigest()

    @property
    def batch(self) -> Batch:
        """The input of a new execution."""
        return Batch(self.wanted.raw, self.wanted.chunk, self.attempt, redrive_of=self.execution, plan=self.cut)

    @property
    def chunks(self) -> tuple[int, int] | None:
        """How many chunks of how many are processed again; None for one batch, or if that is not known."""
        if self.cut is None:
            return None
        return len(self.cut.chunks), -(-self.wanted.raw.size // self.cut.chunk_bytes)

    @property
    def starts(self) -> bool:
        """Whether there is something to start."""
        return self.how in {How.NATIVE, How.NEW}


@dataclass(frozen=True, slots=True)
class Redrive:
    """What became of a plan: `status` is that of its `execution`; None if nothing was started, or that is not known.

    `redrives` is how often the execution is redriven when it does this work; `dead letter` the id of a new one. `error` is
    what the execution failed of or, while it is thought to run, why AWS does not say whether it does.
    """

    plan: Plan
    execution: str
    redrives: int = 0
    status: str | None = None
    error: str | None = None
    dead_letter: str | None = None

    @property
    def outcome(self) -> Outcome:
        """How it went, in a word."""
        if self.status is None:
            return Outcome(self.plan.how)
        if self.status == SUCCEEDED:
            return Outcome.SUCCEEDED
        if self.status in RUNNING:
            return Outcome.UNKNOWN if self.error else Outcome.RUNNING
        return Outcome.REJECTED if self.error == RecordsRejected.__name__ else Outcome.FAILED


def chosen(wanted: Iterable[Wanted]) -> list[Wanted]:
    """Leave one dead letter of each batch or bulk object, and of each execution.

    An open one before a closed one, then the latest, and of a bulk object the one that tells of all.
    """
    by_work = _best(wanted, lambda one: one.work)
    return _best(by_work, lambda one: one.execution)


def _best(wanted: Iterable[Wanted], key: Callable[[Wanted], Hashable]) -> list[Wanted]:
    best: dict[Hashable, Wanted] = {}
    for one in wanted:
        other = best.get(key(one), one)
        best[key(one)] = max(
            other, one, key=lambda each: (each.is_open, each.dead_letter.attempt, each.dead_letter.is_of_whole)
        )
    return list(best.values())


def decide(facts: Facts) -> Plan:
    """Decide how the work of a dead letter is done again: by its own execution where that is possible, else by a new one."""
    wanted, highest = facts.wanted, facts.highest
    last = facts.executions[-1] if facts.executions else None
    arn = last.arn if last else wanted.execution
    if running := next((execution for execution in facts.executions if execution.is_running), None):
        return Plan(wanted, How.IN_FLIGHT, "it is under way already", running.attempt, running.arn)
    if facts.closed:
        return Plan(wanted, facts.closed.how, facts.closed.why, highest, arn)
    if last is None:
        return Plan(wanted, How.NEW, "its execution is no longer in the history", highest + 1, arn, cut=facts.cut)
    if why := _obstacle(last, facts):
        return Plan(wanted, How.NEW, why, highest + 1, arn, cut=facts.cut)
    cut = facts.cut if facts.is_summed else None
    return Plan(wanted, How.NATIVE, "its execution can be redriven", last.attempt + 1, arn, last.redrives, cut)


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


def not_started(plan: Plan, how: How, why: str) -> Redrive:
    """Say that nothing was started, and why."""
    return Redrive(replace(plan, how=how, why=why), plan.execution)
