"""All that is known of one object, wherever it stands: in its ledger files, its dead letters, and its executions."""

import json
from dataclasses import dataclass
from typing import Self

from botocore.exceptions import ClientError

from custody.audit.identifiers import Named
from custody.audit.reader import AuditReader
from custody.audit.resolution import Resolution
from custody.errors import CommandFailed
from custody.executions.pipeline import NOT_STARTED, Execution, Pipeline
from functions.shared.errors import MessageRefused
from functions.shared.model.ids import RawObject
from functions.shared.model.keys import DeadLetterKey, LedgerKey, latest
from functions.shared.model.ledger import DeadLetter, LedgerHeader, SummaryHeader
from functions.shared.model.messages import Batch


@dataclass(frozen=True)
class Run:
    """The execution that is at work on an object, or was last; `status` is None if Step Functions does not say."""

    arn: str | None
    status: str | None = None
    error: str | None = None
    is_running: bool = False


@dataclass(frozen=True)
class ObjectState:
    """An object: `told` is the header of its summary, or else of a ledger file, or else a dead letter; None without any.

    `header` is `told` if that is of a ledger file. `chunk_bytes` is 0 for an object that is one batch. `executions` are
    those that Step Functions tells of, oldest first; `untold` is what it said instead, if it refused.
    """

    audit: AuditReader
    resolution: Resolution
    dead_letters: list[DeadLetterKey]
    raw: RawObject
    chunk_bytes: int
    run: Run
    executions: tuple[Execution, ...]
    untold: str | None
    last: LedgerKey | None
    header: LedgerHeader | None
    told: LedgerHeader | DeadLetter | None

    @classmethod
    def read(cls, audit: AuditReader, pipeline: Pipeline, named: Named) -> Self:
        """Read what is known of an object; raise CommandFailed if nothing is."""
        object_id = named.object_id
        resolution, dead_letters = audit.resolution(object_id), audit.dead_letters_of(object_id)
        committed = latest(resolution.entries)
        last = resolution.summary or committed[min(committed)] if committed else None
        header = audit.header(last) if last else None
        told = header or (audit.read(dead_letters[-1]) if dead_letters else None)
        ran, untold = _executions(pipeline, object_id, told, _highest(resolution, dead_letters))
        run = _run(pipeline, object_id, told, ran, untold)
        begun = _begun(pipeline, run)
        raw = told.raw if told else begun.object if begun else named.raw
        if raw is None:
            raise CommandFailed(
                f"Nothing tells of {object_id}: no ledger file and no dead letter; `custody reconcile` says what became of "
                "every object"
            )
        chunk_bytes = _chunk_bytes(resolution, dead_letters, told, begun)
        return cls(audit, resolution, dead_letters, raw, chunk_bytes, run, ran, untold, last, header, told)

    @property
    def committed(self) -> dict[int, LedgerKey]:
        """Give the ledger file of the latest attempt of each batch, by start."""
        return {start: entry for start, entry in latest(self.resolution.entries).items() if not entry.is_summary}

    @property
    def attempt(self) -> int:
        """The highest attempt that the ledger know."""
        return max(0, _highest(self.resolution, self.dead_letters))

    @property
    def is_closed(self) -> bool:
        """Whether its commits are closed."""
        return self.header is not None and (not self.chunk_bytes or self.resolution.summary is not None)

    @property
    def chunks(self) -> int:
        """How many chunks it is cut into."""
        return -(-self.raw.size // self.chunk_bytes) if self.chunk_bytes else 0

    def start_of(self, position: int) -> int:
        """Say at which byte the batch begins in which a record would."""
        return position // self.chunk_bytes * self.chunk_bytes if self.chunk_bytes else 0

    @property
    def discards(self) -> list[LedgerKey]:
        """Give the discards that hold: no later attempt was committed of their batch."""
        return [entries[-1] for _, entries in sorted(self.resolution.of_batch.items()) if entries[-1].discards]


def _highest(resolution: Resolution, dead_letters: list[DeadLetterKey]) -> int:
    return max(
        [-1, *(entry.attempt for entry in resolution.entries), *(dead_letter.attempt for dead_letter in dead_letters)]
    )


def _executions(
    pipeline: Pipeline, object_id: str, told: LedgerHeader | DeadLetter | None, highest: int
) -> tuple[tuple[Execution, ...], str | None]:
    """Ask for every execution of an object, from the first on; give what Step Functions says if it refuses."""
    attempt = told.attempt if told else None
    try:
        for first in _firsts(pipeline, object_id, told):
            found = pipeline.history(object_id, first, 0 if told else None, highest)
            if told and told.object_execution not in {one.arn for one in found}:
                # Somebody has started it by a name of their own.
                found += pipeline.history(object_id, told.object_execution, attempt, highest)
            if found:
                by_arn = {one.arn: one for one in found}
                return tuple(sorted(by_arn.values(), key=lambda one: one.started_at)), None
    except ClientError as error:
        # Who may read the ledger may not ask Step Functions; and it may answer too many others.
        return (), str(error)
    return (), None


def _run(
    pipeline: Pipeline,
    object_id: str,
    told: LedgerHeader | DeadLetter | None,
    executions: tuple[Execution, ...],
    untold: str | None,
) -> Run:
    if executions:
        last = executions[-1]
        return Run(last.arn, last.status, last.error, last.is_running)
    if told:
        return Run(told.object_execution)
    return Run(_firsts(pipeline, object_id, None)[0]) if untold else Run(None, NOT_STARTED)


def _firsts(pipeline: Pipeline, object_id: str, told: LedgerHeader | DeadLetter | None) -> list[str]:
    """Say which ARN the first execution of an object has, or may have if nothing tells of which machine it is."""
    if told:
        return [f"{told.object_execution.rpartition(':')[0]}:{object_id}"]
    return [pipeline.arn_of(object_id, is_bulk=is_bulk) for is_bulk in (False, True)[: len(pipeline.machines)]]


def execution_in(told: LedgerHeader | DeadLetter) -> str:
    """Give the ARN in a header or, as there is more told of it, in a dead letter."""
    return told.execution.arn if isinstance(told, DeadLetter) else told.execution


def _begun(pipeline: Pipeline, run: Run) -> Batch | None:
    """Read what an execution began with; None if that is not known, or nothing of ours."""
    if run.arn is None or run.status is None:
        return None
    try:
        return Batch.decode(json.loads(pipeline.client.describe_execution(executionArn=run.arn).get("input", "")))
    except (ClientError, ValueError, MessageRefused):
        return None


def _chunk_bytes(
    resolution: Resolution,
    dead_letters: list[DeadLetterKey],
    told: LedgerHeader | DeadLetter | None,
    begun: Batch | None,
) -> int:
    if isinstance(told, SummaryHeader):
        return told.chunk_bytes
    if told and told.chunk:
        return told.chunk.bytes
    if begun and begun.plan:
        return begun.plan.chunk_bytes
    of_chunk = next(
        (dead_letter for dead_letter in dead_letters if not dead_letter.is_of_whole and dead_letter.start), None
    )
    chunk = resolution.audit.read(of_chunk).chunk if of_chunk else None
    return chunk.bytes if chunk else 0
