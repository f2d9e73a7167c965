"""Put objects into the raw bucket, follow their executions, and read what became of each record."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from custody.audit.ledger_lines import Counts, added
from custody.audit.reader import AuditReader, LedgerKey, latest
from custody.concurrency import map_ordered
from custody.deployment.target import Deployment, Target
from custody.executions.pipeline import Pipeline
from custody.executions.timeline import said
from custody.ingest.outcome import ObjectOutcome, Sent, fate_of
from custody.ingest.upload import Place, upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from functions.shared.model.ids import RawObject

__all__ = ["Sent", "Watcher", "Whereabouts"]

_STATES = ("TaskStateEntered", "ChoiceStateEntered")

_LOOKING = 2.0
"""How much longer than a look at the ledger takes, the next one waits: a large one is listed in many pages."""


@dataclass(frozen=True)
class Whereabouts:
    """Where an execution is; of a bulk object also how many of its chunks are committed, and what these count."""

    said: str
    has_ended: bool = False
    chunks: tuple[int, int] | None = None
    counts: Counts | None = None

    def __str__(self) -> str:
        """Say it in a line."""
        return self.said


class Watcher:
    """Sends and follows, on one deployment; `arrived` are the objects that it has put, as soon as they are there."""

    def __init__(self, target: Target, deployment: Deployment) -> None:
        self.arrived: list[RawObject] = []
        self._s3: S3Client = target.client("s3")
        self._audit = AuditReader(self._s3, deployment.audit)
        self._pipeline = Pipeline.of(target, deployment)
        self._stepfunctions = self._pipeline.client
        self._raw = deployment.raw
        self._pause = 0.05 if target.is_local else 1.0

    def send(self, file: Path, key: str, sent: Callable[[int], object] = lambda _: None) -> Sent:
        """Put a file into the raw bucket under a key; `sent` is told how many bytes went, each time some did."""
        raw = upload(Place(self._s3, self._raw, key, self.arrived.append), file, sent)
        plan = self._pipeline.plan_of(raw)
        execution = self._pipeline.arn_of(raw.id, is_bulk=plan is not None)
        return Sent(str(file), raw, execution, len(plan.chunks) if plan else None)

    def watch(self, sent: Sent, seconds: float) -> Iterator[Whereabouts]:
        """Say where an execution is whenever that changes, until it has ended or the time is up."""
        deadline = time.monotonic() + seconds
        chunks = _Chunks(self._audit, sent) if sent.chunks is not None else None
        said = None
        while (begun := time.monotonic()) < deadline:
            now = self._whereabouts(sent)
            if chunks and (now.has_ended or now.said != _WAITING):
                now = chunks.look(now)
            if now != said:
                yield now
                said = now
            if now.has_ended:
                return
            took = time.monotonic() - begun
            time.sleep(min(max(self._pause, took * _LOOKING), max(0.0, deadline - time.monotonic())))

    def fate(self, sent: Sent) -> ObjectOutcome:
        """Read what became of an object: from its execution, its ledger files and its dead letter; raise Unreadable."""
        found = fate_of(self._audit, sent, self._describe(sent))
        return replace(found, cause=said(found.cause))

    def _whereabouts(self, sent: Sent) -> Whereabouts:
        described = self._describe(sent)
        if described is None:
            return Whereabouts(_WAITING)
        if described["status"] != "RUNNING":
            return Whereabouts(str(described["status"]), has_ended=True)
        if sent.chunks is not None:
            return Whereabouts("in ProcessChunks")
        history = self._stepfunctions.get_execution_history(
            executionArn=sent.execution, reverseOrder=True, maxResults=10, includeExecutionData=False
        )
        entered = [event["stateEnteredEventDetails"]["name"] for event in history["events"] if event["type"] in _STATES]
        return Whereabouts(f"in {entered[0]}" if entered else "started")

    def _describe(self, sent: Sent) -> dict[str, Any] | None:
        try:
            return dict(self._stepfunctions.describe_execution(executionArn=sent.execution))
        except ClientError as error:
            if error.response["Error"]["Code"] == "ExecutionDoesNotExist":
                return None
            raise


_WAITING = "waiting for its event"


class _Chunks:
    """Which chunks of an object are committed: its ledger is listed, and of each file only the header read, once."""

    def __init__(self, audit: AuditReader, sent: Sent) -> None:
        self._audit = audit
        self._object_id = sent.raw.id
        self._total = sent.chunks or 0
        self._seen: dict[int, LedgerKey] = {}
        self._counts = Counts(0, 0, 0)

    def look(self, now: Whereabouts) -> Whereabouts:
        """Say how many are committed by now, and what they count."""
        committed = latest(self._audit.entries(self._object_id))
        new = [entry for entry in committed.values() if not entry.is_summary and entry.start not in self._seen]
        for entry, header in zip(new, map_ordered(self._audit.header, new), strict=True):
            self._seen[entry.start] = entry
            self._counts = added(self._counts, Counts(**header["counts"]))
        is_closing = len(self._seen) >= self._total and not now.has_ended
        said = "in Summarize" if is_closing else now.said
        return replace(now, said=said, chunks=(len(self._seen), self._total), counts=self._counts)
