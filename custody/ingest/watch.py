"""Upload objects, watch their executions, and read their outcomes."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from custody.audit.reader import AuditReader
from custody.concurrency import map_ordered
from custody.executions.pipeline import ExecutionState
from custody.ingest.outcome import FileOutcome, UploadedFile, read_outcome
from custody.ingest.upload import Uploader
from custody.session import Session
from functions.shared.model.ids import RawObject
from functions.shared.model.keys import latest
from functions.shared.model.messages import Counts

_STATE_ENTERED = ("TaskStateEntered", "ChoiceStateEntered")
_WAITING = "waiting for its event"

_BACKOFF = 2.0
"""The pause is at least this many times as long as the last look: a large ledger is listed in many pages."""


@dataclass(frozen=True)
class ExecutionProgress:
    """How far an execution is; of a bulk object also its committed chunks, of how many, and their records."""

    state: str
    has_ended: bool = False
    chunks: tuple[int, int] | None = None
    counts: Counts | None = None


class Watcher:
    """Uploads to one deployment, and watches what it has uploaded."""

    def __init__(self, session: Session, pause: float | None = None) -> None:
        self._session = session
        self._uploader = Uploader(session.s3, session.deployment.raw)
        self._pipeline = session.pipeline
        self._pause = pause or session.pause

    @property
    def arrived(self) -> list[RawObject]:
        """The objects that S3 has confirmed so far."""
        return self._uploader.arrived

    def upload(self, file: Path, key: str, on_progress: Callable[[int], object] = lambda _: None) -> UploadedFile:
        """Upload a file to a key of the raw bucket; `on_progress` is called with the number of bytes just sent."""
        raw = self._uploader.upload(file, key, on_progress)
        execution = self._pipeline.arn_of(raw.id, is_bulk=self._pipeline.plan_of(raw) is not None)
        return UploadedFile(str(file), raw, execution)

    def watch(self, uploaded: UploadedFile, timeout: float) -> Iterator[ExecutionProgress]:
        """Yield the progress of an execution whenever it changes, until it has ended or for `timeout` seconds."""
        deadline = time.monotonic() + timeout
        total = self._chunks(uploaded)
        chunks = _ChunkProgress(self._session.audit, uploaded.object.id, total) if total is not None else None
        last = None
        while (started := time.monotonic()) < deadline:
            now = self._progress(uploaded)
            if chunks and now.state != _WAITING:
                now = chunks.add_to(now)
            if now != last:
                yield now
                last = now
            if now.has_ended:
                return
            elapsed = time.monotonic() - started
            time.sleep(min(max(self._pause, elapsed * _BACKOFF), max(0.0, deadline - time.monotonic())))

    def outcome(self, uploaded: UploadedFile) -> FileOutcome:
        """Read the outcome of an upload; raise Unreadable."""
        execution = self._pipeline.describe(uploaded.execution)
        return read_outcome(self._session.audit, uploaded, execution, self._chunks(uploaded))

    def _chunks(self, uploaded: UploadedFile) -> int | None:
        plan = self._pipeline.plan_of(uploaded.object)
        return len(plan.chunks) if plan else None

    def _progress(self, uploaded: UploadedFile) -> ExecutionProgress:
        execution = self._pipeline.describe(uploaded.execution)
        if execution is None:
            return ExecutionProgress(_WAITING)
        if not execution.is_running:
            return ExecutionProgress(execution.status, has_ended=True)
        return ExecutionProgress(
            "in ProcessChunks" if self._pipeline.is_bulk(execution.arn) else self._state(execution)
        )

    def _state(self, execution: ExecutionState) -> str:
        history = self._pipeline.client.get_execution_history(
            executionArn=execution.arn, reverseOrder=True, maxResults=10, includeExecutionData=False
        )
        states = (e["stateEnteredEventDetails"]["name"] for e in history["events"] if e["type"] in _STATE_ENTERED)
        state = next(states, None)
        return f"in {state}" if state else "started"


class _ChunkProgress:
    """The committed chunks of an object: the ledger is listed each time, the header of each file read once."""

    def __init__(self, audit: AuditReader, object_id: str, total: int) -> None:
        self._audit = audit
        self._object_id = object_id
        self._total = total
        self._committed: set[int] = set()
        self._counts = Counts()

    def add_to(self, progress: ExecutionProgress) -> ExecutionProgress:
        """Add the chunks committed so far, and the counts of their records."""
        files = latest(self._audit.ledger_keys(self._object_id)).values()
        new = [key for key in files if not key.is_summary and key.start not in self._committed]
        for key, header in zip(new, map_ordered(self._audit.header, new), strict=True):
            self._committed.add(key.start)
            self._counts += header.counts
        is_summarizing = len(self._committed) >= self._total and not progress.has_ended
        state = "in Summarize" if is_summarizing else progress.state
        return replace(progress, state=state, chunks=(len(self._committed), self._total), counts=self._counts)
