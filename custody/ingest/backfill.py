"""Start what lies in the raw bucket already: what was never started or, if that is asked for, everything once more.

What has been started is known by its ledger files and dead letters; or by Step Functions, which takes no name twice within
90 days, and so is the last to decide
(https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html). All three are listed, a
thousand to a call, before anything is started.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from custody.assurance.reconcile import execution_of
from custody.audit.identifiers import slug_of_prefix
from custody.audit.object_summary import Committed
from custody.audit.reader import AuditReader, Unreadable
from custody.concurrency import WORKERS, map_ordered, paced
from custody.executions.pipeline import STATUSES, SUCCEEDED, Pipeline, object_of_execution
from custody.ingest.inventory import Inventory, InventoryItem
from custody.ingest.raw_versions import NO_VERSION, UNVERSIONED, Arrival
from functions.shared.errors import RecordsRejected
from functions.shared.model.chunking import whole
from functions.shared.model.messages import Batch

_RUNS = "RUNNING"
_ENDED_BADLY = tuple(status for status in STATUSES if status not in {_RUNS, SUCCEEDED})


_CLOCKS = timedelta(minutes=15)
"""By how much the clock here may be ahead of that of Step Functions."""


class Became(StrEnum):
    """What became of an object version."""

    NEW = "not started"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    FAILED = "failed"
    IN_FLIGHT = "in flight"
    BEFORE = "started before"
    SINCE = "processed since"
    DISCARDED = "discarded"
    REFUSED = "refused"


BEGUN = (Became.STARTED, Became.SUCCEEDED, Became.REJECTED, Became.FAILED)
"""What becomes of what was started now: at first that it was started."""


@dataclass(frozen=True)
class Backfiller:
    """Enrols, starts and follows. `booked_before` is None to start only what was never started.

    If it is a time, what the ledger had of an object by then is processed once more; so that this can be interrupted and
    go on. `pause` is in seconds, between two looks at what runs.
    """

    audit: AuditReader
    pipeline: Pipeline
    inventory: Inventory
    committed_before: datetime | None
    pause: float

    def add(self, arrived: Iterable[Arrival], prefix: str) -> Iterator[int]:
        """Put each object version on the roll, and note what is known of it; say how many there are, now and then.

        `prefix` is what their keys begin with. An execution commits before it ends: what ended after the executions were
        listed is in the ledger.
        """
        number = 0
        for number in self.inventory.add(map(_item_of, arrived)):
            yield number
        for status, became in ((_RUNS, Became.IN_FLIGHT), *((each, Became.BEFORE) for each in _ENDED_BADLY)):
            self.inventory.mark(map(object_of_execution, self._names(status)), Became.NEW, became)
            yield number
        for object_ids in (self.audit.told_in_dead_letters(), self.audit.told_in_ledger(slug_of_prefix(prefix))):
            self.inventory.mark(object_ids, Became.NEW, Became.BEFORE)
            yield number

    @property
    def wanted(self) -> tuple[Became, ...]:
        """What is started: what is new and, once more, what was started before."""
        return (Became.NEW,) if self.committed_before is None else (Became.NEW, Became.BEFORE)

    def plan(self) -> Iterator[InventoryItem]:
        """Say what would be started, the oldest first; note why the rest would not."""
        for one in map_ordered(self._planned, self.inventory.those(self.wanted)):
            if one.became in self.wanted:
                yield one
            else:
                self.inventory.note(one)

    def start(self, per_second: float) -> Iterator[InventoryItem]:
        """Start what is wanted, the oldest first, so many a second; say and note what became of each.

        Raises ClientError or BotoCoreError, and starts no more, when Step Functions does not take one.
        """
        return map_ordered(self._start, paced(self.inventory.those(self.wanted), per_second), ahead=WORKERS)

    def watch(self, since: datetime, seconds: float) -> Iterator[int]:
        """Note how what was started `since` then has ended; say how many run still, until none does or time is up."""
        deadline = time.monotonic() + seconds
        left = self._left
        while left:
            running = sum(self._is_ours(name) for name in self._names(_RUNS))
            is_late = time.monotonic() >= deadline
            if running == 0 or is_late:
                self._settle(since)
                left = self._left
            yield running or left
            if is_late:
                return
            if left:
                time.sleep(max(0.0, min(self.pause, deadline - time.monotonic())))

    def _planned(self, one: InventoryItem) -> InventoryItem:
        return one if one.became == Became.NEW else self._again(one)[0]

    def _start(self, one: InventoryItem) -> InventoryItem:
        if one.became == Became.NEW:
            execution = self.pipeline.begin(self.pipeline.batch_of(one.arrival.raw))
            done = replace(one, became=Became.STARTED if execution else Became.BEFORE, execution=execution or "")
        else:
            done, batch = self._again(one)
            if batch:
                started = self.pipeline.start(batch)
                if started.is_new:
                    done = replace(one, became=Became.STARTED, execution=started.execution)
                else:
                    done = replace(one, became=Became.IN_FLIGHT)
        self.inventory.note(done)
        return done

    def _again(self, one: InventoryItem) -> tuple[InventoryItem, Batch | None]:
        """Decide whether an object that was started before is processed once more, as its next attempt, whole."""
        raw = one.arrival.raw
        plan = self.pipeline.plan_of(raw)
        committed = Committed.read(self.audit, raw.id, one.arrival.day, is_bulk=plan is not None)
        if committed.is_damaged:
            why = f"its ledger file cannot be read: see `custody verify {raw.id}`"
            return replace(one, became=Became.REFUSED, why=why), None
        if any(entry.discards for entry in committed.entries):
            return replace(one, became=Became.DISCARDED, why="records of it were discarded, which holds"), None
        if self._was_told_since(committed):
            return replace(one, became=Became.SINCE), None
        last = execution_of(self.audit, self.pipeline, raw.id, committed)
        if committed.is_bulk:
            header = committed.header
            chunk_bytes = header["chunk_bytes"] if header else self.pipeline.chunk_bytes_of(last)
            plan = whole(raw, chunk_bytes or self.pipeline.chunk_bytes)
        return one, Batch(raw, attempt=(committed.attempt or 0) + 1, redrive_of=last, plan=plan)

    def _was_told_since(self, committed: Committed) -> bool:
        """Say whether the latest that the ledger have of an object is of after `booked_before`."""
        dead_letter, latest = committed.dead_letter, committed.latest
        body = committed.header
        if dead_letter and (latest is None or dead_letter.attempt > latest.attempt):
            try:
                body = self.audit.read(dead_letter)
            except Unreadable:
                return False
        return bool(
            body and self.committed_before and datetime.fromisoformat(body["recorded_at"]) >= self.committed_before
        )

    @property
    def _left(self) -> int:
        return self.inventory.counts()[Became.STARTED][0]

    def _is_ours(self, name: str) -> bool:
        """Say whether an execution is one that was started now, and of which no end is known."""
        one = self.inventory.find(object_of_execution(name))
        return one is not None and one.became == Became.STARTED and one.execution.rpartition(":")[2] == name

    def _settle(self, since: datetime) -> None:
        """Note what Step Functions says of the ends of what was started."""
        ended = (name for name in self._names(SUCCEEDED, since) if self._is_ours(name))
        self.inventory.mark(map(object_of_execution, ended), Became.STARTED, Became.SUCCEEDED)
        for status in _ENDED_BADLY:
            failed = (name for name in self._names(status, since) if self._is_ours(name))
            found = (self.inventory.find(object_of_execution(name)) for name in failed)
            for one in map_ordered(self._ended, (each for each in found if each)):
                self.inventory.note(one)

    def _ended(self, one: InventoryItem) -> InventoryItem:
        """Say how an execution ended that did not succeed."""
        now = self.pipeline.describe(one.execution)
        if now is None or now.is_running:
            return one
        became = Became.REJECTED if now.error == RecordsRejected.__name__ else Became.FAILED
        return replace(one, became=became, why=f"{now.error or now.status}; see `custody dead-letters`")

    def _names(self, status: str, since: datetime | None = None) -> Iterator[str]:
        """List the names of the executions of a status, of both machines, and of those that were started since then."""
        late = since - _CLOCKS if since else None
        for machine in self.pipeline.machines:
            yield from (one["executionArn"].rpartition(":")[2] for one in self.pipeline.listed(machine, status, late))


def _item_of(arrival: Arrival) -> InventoryItem:
    if arrival.raw.version_id == NO_VERSION:
        return InventoryItem(arrival, Became.REFUSED, UNVERSIONED)
    return InventoryItem(arrival, Became.NEW)
