"""Upload objects, watch their executions, and read their outcomes."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

from custody.audit.committed_records import CommittedRecords
from custody.ingest.outcome import FileOutcome, UploadedFile, read_outcome
from custody.ingest.upload import Uploader
from custody.session import Session
from functions.shared.model.ids import RawObject
from functions.shared.model.messages import Counts

_WAITING = "waiting for its event"

_BACKOFF = 2.0
"""The pause is at least this many times as long as the last look: a large ledger is listed in many pages."""


@dataclass(frozen=True)
class ExecutionProgress:
    """How far an execution is; of a bulk object also its committed chunks, of how many, and their records."""

    state: str
    chunks: tuple[int, int] | None = None
    counts: Counts | None = None


class Watcher:
    """Uploads to one deployment, and watches what it has uploaded; threads may share it."""

    def __init__(self, session: Session, pause: float | None = None) -> None:
        self._session = session
        self._uploader = Uploader(session.s3, session.deployment.raw)
        self._pipeline = session.pipeline
        self._pause = pause or session.pause
        self._stopped = Event()

    @property
    def arrived(self) -> list[RawObject]:
        """The objects that S3 has confirmed so far."""
        return self._uploader.arrived

    def stop(self) -> None:
        """End uploads, which then fail, and watches."""
        self._uploader.stop()
        self._stopped.set()

    def upload(self, file: Path, key: str, on_progress: Callable[[int], object] = lambda _: None) -> UploadedFile:
        """Upload a file to a key of the raw bucket; `on_progress` is called with the number of bytes just sent."""
        raw = self._uploader.upload(file, key, on_progress)
        execution = self._pipeline.arn_of(raw.id, is_bulk=self._pipeline.plan_of(raw) is not None)
        return UploadedFile(str(file), raw, execution)

    def watch(self, uploaded: UploadedFile, timeout: float) -> Iterator[ExecutionProgress]:
        """Yield the progress of an execution whenever it changes, until it has ended or for `timeout` seconds."""
        deadline, total = time.monotonic() + timeout, self._chunks(uploaded)
        committed, last = CommittedRecords(self._session.audit), None
        while (started := time.monotonic()) < deadline and not self._stopped.is_set():
            execution = self._pipeline.describe(uploaded.execution)
            now = ExecutionProgress(execution.status if execution else _WAITING)
            if total is not None and execution:
                chunks = committed.add(uploaded.object.id)
                now = replace(now, chunks=(chunks, total), counts=committed.counts)
            if now != last:
                yield now
                last = now
            if execution and not execution.is_running:
                return
            elapsed = time.monotonic() - started
            self._stopped.wait(min(max(self._pause, elapsed * _BACKOFF), max(0.0, deadline - time.monotonic())))

    def outcome(self, uploaded: UploadedFile) -> FileOutcome:
        """Read the outcome of an upload; raise Unreadable."""
        execution = self._pipeline.describe(uploaded.execution)
        return read_outcome(self._session.audit, uploaded, execution, self._chunks(uploaded))

    def _chunks(self, uploaded: UploadedFile) -> int | None:
        plan = self._pipeline.plan_of(uploaded.object)
        return len(plan.chunks) if plan else None
