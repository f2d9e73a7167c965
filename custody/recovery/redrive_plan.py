"""Decide how to retry open dead letters, from what is known of each batch. No input or output happens here."""

import hashlib
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from msgspec import UNSET, Struct, UnsetType, structs

from custody.audit.dead_letters import SelectedDeadLetter
from custody.executions.pipeline import RUNNING, SUCCEEDED, ExecutionState
from custody.recovery.event_queue import EventResult
from functions.shared.errors import RecordsRejected
from functions.shared.model.ids import RawObject
from functions.shared.model.keys import DeadLetterKey
from functions.shared.model.messages import Batch, Chunk, Plan


class Method(StrEnum):
    """How a batch is retried: by redriving its own execution, or by a new one."""

    NATIVE = "native"
    NEW = "new"


class Outcome(StrEnum):
    """The outcome of a redrive; everything after RUNNING says why nothing was started.

    `rejected` if every record has an outcome, but not every one is written. `unknown` if AWS did not answer.
    """

    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    FAILED = "failed"
    RUNNING = "running"
    IN_FLIGHT = "in flight"
    RESOLVED = "resolved"
    SUPERSEDED = "superseded"
    DISCARDED = "discarded"
    REFUSED = "refused"
    NOT_STARTED = "not started"
    UNKNOWN = "unknown"


class RetriedChunks(Struct, frozen=True):
    """The chunks of a bulk object that are processed again, and their total."""

    again: int
    total: int


class RedriveResult(Struct, frozen=True):
    """A dead letter and its redrive.

    `how` is `native`, `new` or, if nothing is started, the outcome; `execution` is the ARN of the execution that does
    the work. `chunks` is null for one batch, or if only the execution knows. With --dry-run there is no `outcome`,
    `status` (null if nothing was started), `error` or `new_dead_letter`, the id of the dead letter of this attempt.
    """

    dead_letter: str
    object: RawObject
    how: str
    why: str
    attempt: int
    chunks: RetriedChunks | None
    execution: str
    outcome: Outcome | UnsetType = UNSET
    status: str | UnsetType | None = UNSET
    error: str | UnsetType | None = UNSET
    new_dead_letter: str | UnsetType | None = UNSET


class RedriveDocument(Struct, frozen=True):
    """What `custody redrive` did, or with --dry-run would do.

    With --events: `events` in start-dlq and dead-letter-dlq, and how many are `hidden` because somebody else has just
    received them. With dead letters or a filter: `redrives`.
    """

    events: list[EventResult] | UnsetType = UNSET
    hidden: int | UnsetType = UNSET
    redrives: list[RedriveResult] | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Candidate:
    """A dead letter to retry, and no more of it than that takes: there may be thousands.

    `is_bulk` if it is about a bulk object or one of its chunks; then `execution` is that of the object.
    """

    dead_letter: DeadLetterKey
    is_open: bool
    raw: RawObject
    chunk: Chunk | None
    execution: str
    error: str
    is_bulk: bool = False

    @classmethod
    def of(cls, selected: SelectedDeadLetter) -> "Candidate":
        """Extract a candidate from a dead letter."""
        body, key = selected.body, selected.dead_letter
        is_bulk = key.is_of_whole or body.parent is not None
        chunk = None if is_bulk else body.chunk
        return cls(key, selected.is_open, body.object, chunk, body.object_execution, body.error, is_bulk)

    @property
    def work(self) -> Hashable:
        """What a redrive does again: a batch, or all that is left of a bulk object."""
        return (self.dead_letter.object_id, "bulk") if self.is_bulk else self.dead_letter.batch


@dataclass(frozen=True, slots=True)
class BatchState:
    """What is known of a candidate's batch: `committed` is its highest attempt, `executions` end with the latest.

    `resolved` says how the dead letter was resolved, and why; None while it is open. `left` are the chunks of a bulk
    object that are left to do, and `is_left_known` means that its own execution would process just those.
    """

    candidate: Candidate
    resolved: tuple[Outcome, str] | None = None
    committed: int = -1
    executions: tuple[ExecutionState, ...] = ()
    is_unchanged: bool = False
    left: Plan | None = None
    is_left_known: bool = False

    @property
    def highest(self) -> int:
        """The highest attempt known."""
        attempts = (execution.attempt for execution in self.executions)
        return max([self.candidate.dead_letter.attempt, self.committed, *attempts])


@dataclass(frozen=True, slots=True)
class Redrive:
    """What is done about a candidate: as it is planned, and then as it goes.

    `execution` does the work; while a new one is planned it is the one whose work that repeats. `redrives` is how often
    it was redriven; `attempt` is the one that begins. `left` are the chunks of a bulk object to process again; None if
    only its execution knows. `status` is that of the execution, None if nothing was started or it is unknown. `error`
    is that of the execution or, while it seems to run, why AWS does not answer. `new_dead_letter` is the id of one.
    """

    candidate: Candidate
    how: Method | Outcome
    why: str
    attempt: int
    execution: str
    redrives: int = 0
    left: Plan | None = None
    status: str | None = None
    error: str | None = None
    new_dead_letter: str | None = None

    @property
    def token(self) -> str:
        """A client token by which a repeated call is one redrive; at most 64 characters."""
        return hashlib.sha256(f"{self.execution} {self.redrives}".encode()).hexdigest()

    @property
    def batch(self) -> Batch:
        """The input of a new execution."""
        candidate = self.candidate
        return Batch(candidate.raw, candidate.chunk, self.attempt, redrive_of=self.execution, plan=self.left)

    @property
    def starts(self) -> bool:
        """Whether there is something to start."""
        return isinstance(self.how, Method)

    @property
    def chunks(self) -> RetriedChunks | None:
        """How many chunks are processed again; None for one batch, or if that is not known."""
        if self.left is None or not self.starts:
            return None
        return RetriedChunks(len(self.left.chunks), -(-self.candidate.raw.size // self.left.chunk_bytes))

    @property
    def outcome(self) -> Outcome:
        """The outcome so far."""
        if isinstance(self.how, Outcome):
            return self.how
        if self.status is None:
            return Outcome.NOT_STARTED
        if self.status == SUCCEEDED:
            return Outcome.SUCCEEDED
        if self.status in RUNNING:
            return Outcome.UNKNOWN if self.error else Outcome.RUNNING
        return Outcome.REJECTED if self.error == RecordsRejected.__name__ else Outcome.FAILED

    @property
    def planned(self) -> RedriveResult:
        """Describe what would be done."""
        id_ = self.candidate.dead_letter.id
        return RedriveResult(id_, self.candidate.raw, self.how, self.why, self.attempt, self.chunks, self.execution)

    @property
    def result(self) -> RedriveResult:
        """Describe what was done."""
        return structs.replace(
            self.planned,
            outcome=self.outcome,
            status=self.status,
            error=self.error,
            new_dead_letter=self.new_dead_letter,
        )

    def not_started(self, outcome: Outcome, why: str) -> "Redrive":
        """Say why nothing was started."""
        return replace(self, how=outcome, why=why)


def choose_candidates(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Keep one dead letter per batch or bulk object, and per execution.

    Open ones take precedence, then the latest, then that of a whole bulk object.
    """
    return _best(_best(candidates, lambda candidate: candidate.work), lambda candidate: candidate.execution)


def _best(candidates: Iterable[Candidate], key: Callable[[Candidate], Hashable]) -> list[Candidate]:
    best: dict[Hashable, Candidate] = {}
    for candidate in candidates:
        other = best.get(key(candidate), candidate)
        best[key(candidate)] = max(
            other, candidate, key=lambda each: (each.is_open, each.dead_letter.attempt, each.dead_letter.is_of_whole)
        )
    return list(best.values())


def decide(state: BatchState) -> Redrive:
    """Decide how to retry a dead letter: by redriving its own execution where possible, else by a new one."""
    candidate, highest = state.candidate, state.highest
    last = state.executions[-1] if state.executions else None
    arn = last.arn if last else candidate.execution
    if running := next((execution for execution in state.executions if execution.is_running), None):
        return Redrive(candidate, Outcome.IN_FLIGHT, "it is already running", running.attempt, running.arn)
    if state.resolved:
        return Redrive(candidate, *state.resolved, highest, arn)
    why = _obstacle(last, state) if last else "its execution is no longer in the history"
    if last is None or why:
        return Redrive(candidate, Method.NEW, why or "", highest + 1, arn, left=state.left)
    left = state.left if state.is_left_known else None
    return Redrive(
        candidate, Method.NATIVE, "its execution can be redriven", last.attempt + 1, arn, last.redrives, left
    )


def _obstacle(last: ExecutionState, state: BatchState) -> str | None:
    """Say why an execution cannot be redriven, or should not be."""
    if last.status == SUCCEEDED:
        return "its execution succeeded, with rejected records"
    if last.stuck is not None:
        return last.stuck
    if not state.is_unchanged:
        return "the state machine has changed since"
    if last.attempt < state.highest:
        return f"another execution has done attempt {state.highest}"
    return None
