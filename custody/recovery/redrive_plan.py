"""Decide how to retry open dead letters, from what is known of each batch. No input or output happens here."""

import hashlib
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from msgspec import UNSET, Struct, UnsetType

from custody.audit.dead_letters import SelectedDeadLetter
from custody.executions.pipeline import SUCCEEDED, ExecutionState
from custody.recovery.event_queue import EventResult
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


STARTED = frozenset({Outcome.SUCCEEDED, Outcome.REJECTED, Outcome.FAILED, Outcome.RUNNING, Outcome.UNKNOWN})


class RetriedChunks(Struct, frozen=True):
    """The chunks of a bulk object that are processed again, and their total."""

    again: int
    total: int


class RedriveResult(Struct, kw_only=True):
    """A dead letter and its redrive: as it is planned, and then as it goes.

    `how` is null if nothing is started, and `why` says why, or why by a new execution; `execution` is the ARN of the
    execution that does the work. `chunks` is null for one batch, or if only the execution knows. `outcome` is `not
    started` before the start. `error` is that of the execution, or of AWS while the outcome is unknown;
    `new_dead_letter` is the id of the dead letter of this attempt. `rejected_before` and `rejected` are the numbers of
    rejected records by the two dead letters; null if they do not say.
    """

    dead_letter: str
    object: RawObject
    execution: str
    how: Method | None = None
    why: str = ""
    attempt: int = 0
    chunks: RetriedChunks | None = None
    outcome: Outcome = Outcome.NOT_STARTED
    error: str | None = None
    new_dead_letter: str | None = None
    rejected_before: int | None = None
    rejected: int | None = None


class RedriveDocument(Struct, frozen=True):
    """What `custody redrive` did, or with --dry-run would do.

    With --events: `events` in start-dlq and dead-letter-dlq, and how many are `hidden` because somebody else has just
    received them. With dead letters or a filter: `redrives`.
    """

    events: list[EventResult] | UnsetType = UNSET
    hidden: int | UnsetType = UNSET
    redrives: list[RedriveResult] | UnsetType = UNSET


class Redrive(RedriveResult, kw_only=True):
    """A redrive, and no more of its dead letter than it takes: there may be thousands. It is updated as it goes.

    `is_bulk` if it is about a bulk object or one of its chunks; then `execution` is that of the object. A new execution
    processes the `chunk` or those that are `left` of a bulk object, and repeats the work of `redrive_of`.
    """

    key: DeadLetterKey
    is_open: bool
    chunk: Chunk | None
    error_before: str
    is_bulk: bool = False
    redrives: int = 0
    redrive_of: str | None = None
    left: Plan | None = None

    @classmethod
    def of(cls, selected: SelectedDeadLetter) -> "Redrive":
        """Return the redrive of a dead letter, to be decided."""
        body, key = selected.body, selected.dead_letter
        is_bulk = key.is_of_whole or body.parent is not None
        return cls(
            dead_letter=key.id,
            object=body.object,
            execution=body.object_execution,
            key=key,
            is_open=selected.is_open,
            chunk=None if is_bulk else body.chunk,
            error_before=body.error,
            rejected_before=body.rejected_count,
            is_bulk=is_bulk,
        )

    @property
    def work(self) -> Hashable:
        """What a redrive does again: a batch, or all that is left of a bulk object."""
        return (self.key.object_id, "bulk") if self.is_bulk else self.key.batch

    @property
    def token(self) -> str:
        """A client token by which a repeated call is one redrive; at most 64 characters."""
        return hashlib.sha256(f"{self.execution} {self.redrives}".encode()).hexdigest()

    @property
    def batch(self) -> Batch:
        """The input of a new execution."""
        return Batch(self.object, self.chunk, self.attempt, redrive_of=self.redrive_of, plan=self.left)

    def skip(self, outcome: Outcome, why: str) -> None:
        """Start nothing, and say why."""
        self.how, self.outcome, self.why = None, outcome, why


@dataclass(frozen=True, slots=True)
class BatchState:
    """What is known of a batch: `committed` is its highest attempt, `executions` end with the latest.

    `resolved` says how the dead letter was resolved, and why; None while it is open. `left` are the chunks of a bulk
    object that are left to do, and `is_left_known` means that its own execution would process just those.
    """

    resolved: tuple[Outcome, str] | None = None
    committed: int = -1
    executions: tuple[ExecutionState, ...] = ()
    left: Plan | None = None
    is_left_known: bool = False


def choose_candidates(candidates: Iterable[Redrive]) -> list[Redrive]:
    """Keep one dead letter per batch or bulk object, and per execution.

    Open ones take precedence, then the latest, then that of a whole bulk object.
    """
    return _best(_best(candidates, lambda candidate: candidate.work), lambda candidate: candidate.execution)


def _best(candidates: Iterable[Redrive], key: Callable[[Redrive], Hashable]) -> list[Redrive]:
    best: dict[Hashable, Redrive] = {}
    for candidate in candidates:
        other = best.get(key(candidate), candidate)
        best[key(candidate)] = max(
            other, candidate, key=lambda each: (each.is_open, each.key.attempt, each.key.is_of_whole)
        )
    return list(best.values())


def decide(redrive: Redrive, state: BatchState, *, is_unchanged: bool) -> None:
    """Decide how to retry a dead letter: by redriving its own execution where possible, else by a new one.

    `is_unchanged` means that the latest execution has the definition that its state machine has now.
    """
    last = state.executions[-1] if state.executions else None
    highest = max([redrive.key.attempt, state.committed, *(execution.attempt for execution in state.executions)])
    redrive.execution, redrive.attempt = last.arn if last else redrive.execution, highest
    if running := next((execution for execution in state.executions if execution.is_running), None):
        redrive.skip(Outcome.IN_FLIGHT, "it is already running")
        redrive.execution, redrive.attempt = running.arn, running.attempt
        return
    if state.resolved:
        redrive.skip(*state.resolved)
        return
    why = _obstacle(last, highest, is_unchanged=is_unchanged)
    if last is None or why:
        redrive.how, redrive.why, redrive.attempt = Method.NEW, why or "", highest + 1
        redrive.redrive_of, redrive.left = redrive.execution, state.left
    else:
        redrive.how, redrive.why = Method.NATIVE, "its execution can be redriven"
        redrive.attempt, redrive.redrives = last.attempt + 1, last.redrives
        redrive.left = state.left if state.is_left_known else None
    if redrive.left:
        redrive.chunks = RetriedChunks(len(redrive.left.chunks), -(-redrive.object.size // redrive.left.chunk_bytes))


def _obstacle(last: ExecutionState | None, highest: int, *, is_unchanged: bool) -> str | None:
    """Say why an execution cannot be redriven, or should not be."""
    if last is None:
        return "its execution is no longer in the history"
    if last.status == SUCCEEDED:
        return "its execution succeeded, with rejected records"
    if last.stuck is not None:
        return last.stuck
    if not is_unchanged:
        return "the state machine has changed since"
    if last.attempt < highest:
        return f"another execution has done attempt {highest}"
    return None
