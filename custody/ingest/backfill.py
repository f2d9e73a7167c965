"""Start what lies in the raw bucket: what was never started or, if requested, all of it again.

What was started before is known by its ledger files and dead letters, or by Step Functions, which accepts each name
once in 90 days and so decides last: https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
All three are listed, a thousand per call, before anything is started.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from custody.audit.committed_records import CommittedRecords
from custody.audit.object_state import ObjectState
from custody.audit.reader import AuditReader
from custody.concurrency import WORKERS, map_ordered, paced
from custody.errors import ALL_WRITTEN, SOME_REJECTED, SOME_WITHOUT_OUTCOME
from custody.executions.pipeline import STATUSES, SUCCEEDED, Pipeline, object_of_execution
from custody.ingest.inventory import STARTED_NOW, BackfilledObject, Inventory, ItemStatus
from custody.ingest.raw_versions import NO_VERSION, UNVERSIONED, Arrival
from functions.shared.errors import RecordsRejected
from functions.shared.model.chunking import whole
from functions.shared.model.ids import NOT_SLUG, SLUG_LENGTH
from functions.shared.model.messages import Batch

_RUNNING = "RUNNING"
_UNSUCCESSFUL = tuple(status for status in STATUSES if status not in {_RUNNING, SUCCEEDED})

_CLOCK_SKEW = timedelta(minutes=15)
"""How much the clock here may be ahead of that of Step Functions."""

_ALREADY_RUNNING = "it started before this run, perhaps with the previous code: run it again when it has ended"


class BackfillTotals(Struct, frozen=True):
    """The numbers of object versions by status, and the `bytes` of all that was started, or would be.

    `seconds` is how long the starts would take at --rate; null unless this is a dry run.
    """

    counts: dict[ItemStatus, int]
    bytes: int
    seconds: float | None
    dry_run: bool


class BackfillDocument(BackfillTotals, frozen=True):
    """What `custody backfill` started, or with --dry-run would start; `objects` come with the oldest first."""

    objects: list[BackfilledObject]


@dataclass
class Backfiller:
    """Takes the inventory, starts and watches; `pause` is the number of seconds between two looks at what is running.

    With `dry_run` it only plans. It `is_watched` once the executions were watched to the end or the timeout.
    `committed_before` is None to start only what was never started. Otherwise what the audit bucket has of an object by
    that time is processed again, so that an interrupted run can continue.
    """

    audit: AuditReader
    pipeline: Pipeline
    inventory: Inventory
    committed_before: datetime | None
    pause: float
    per_second: float
    dry_run: bool
    is_watched: bool = False

    def take_inventory(self, arrivals: Iterable[Arrival], prefix: str) -> Iterator[int]:
        """Add each object version to the inventory with its status; yield how many there are, as they come.

        `prefix` is the prefix of their keys. An execution commits before it ends: what ends after the executions were
        listed is in the ledger.
        """
        number = 0
        for number in self.inventory.add(map(_item, arrivals)):
            yield number
        statuses = {_RUNNING: ItemStatus.IN_FLIGHT} | dict.fromkeys(_UNSUCCESSFUL, ItemStatus.STARTED_BEFORE)
        for execution_status, status in statuses.items():
            self.inventory.mark(map(object_of_execution, self._names(execution_status)), ItemStatus.NEW, status)
            yield number
        for object_ids in (
            self.audit.object_ids_in_dead_letters(),
            self.audit.object_ids_in_ledger(_slug_of_prefix(prefix)),
        ):
            self.inventory.mark(object_ids, ItemStatus.NEW, ItemStatus.STARTED_BEFORE)
            yield number

    @property
    def startable(self) -> tuple[ItemStatus, ...]:
        """The statuses of what is to be started."""
        return (ItemStatus.NEW,) if self.committed_before is None else (ItemStatus.NEW, ItemStatus.STARTED_BEFORE)

    @property
    def started(self) -> tuple[ItemStatus, ...]:
        """The statuses of what was started, or would be."""
        return self.startable if self.dry_run else STARTED_NOW

    @property
    def passed_over(self) -> tuple[ItemStatus, ...]:
        """The status of what a later run has to look at again."""
        return () if self.committed_before is None else (ItemStatus.IN_FLIGHT,)

    @property
    def listed(self) -> tuple[ItemStatus, ...]:
        """The statuses of the object versions in the document."""
        return (*self.started, *self.passed_over, ItemStatus.REFUSED)

    @property
    def totals(self) -> BackfillTotals:
        """The totals of the document."""
        counts = self.inventory.counts()
        numbers = {status: counts[status][0] for status in ItemStatus}
        size = sum(counts[status][1] for status in self.started)
        number = sum(numbers[status] for status in self.started)
        return BackfillTotals(numbers, size, round(number / self.per_second, 1) if self.dry_run else None, self.dry_run)

    @property
    def code(self) -> int:
        """The exit code."""
        counts = self.totals.counts
        if self.dry_run:
            return ALL_WRITTEN
        running = (ItemStatus.STARTED,) if self.is_watched else ()
        failures = (ItemStatus.REFUSED, ItemStatus.FAILED, ItemStatus.NEW, *self.passed_over, *running)
        if any(counts[status] for status in failures):
            return SOME_WITHOUT_OUTCOME
        return SOME_REJECTED if counts[ItemStatus.REJECTED] else ALL_WRITTEN

    def select(self, statuses: Iterable[ItemStatus]) -> Iterator[BackfilledObject]:
        """Yield what has one of these statuses, the oldest first."""
        for item in self.inventory.select(statuses):
            yield replace(item, why=_ALREADY_RUNNING) if item.status is ItemStatus.IN_FLIGHT else item

    def plan(self) -> Iterator[BackfilledObject]:
        """Yield what would be started, the oldest first; record why the rest would not."""
        for item in map_ordered(lambda item: self._plan(item)[0], self.inventory.select(self.startable)):
            if item.status in self.startable:
                yield item
            else:
                self.inventory.update(item)

    def start(self) -> Iterator[BackfilledObject]:
        """Start what is to be started, the oldest first; record the status of each, and yield it.

        Raises ClientError or BotoCoreError, and starts no more, when Step Functions refuses one.
        """
        return map_ordered(self._start, paced(self.inventory.select(self.startable), self.per_second), ahead=WORKERS)

    def watch(self, since: datetime, timeout: float, committed: CommittedRecords | None = None) -> Iterator[int]:
        """Record how what was started `since` then has ended; yield how many run, until none does or the timeout.

        `committed` counts the records of bulk objects meanwhile.
        """
        deadline = time.monotonic() + timeout
        remaining = self._remaining
        while remaining:
            running = list(filter(self._is_ours, self._names(_RUNNING)))
            is_late = time.monotonic() >= deadline
            if not running or is_late:
                self._record_ends(since)
                remaining = self._remaining
            elif committed:
                committed.look(self._bulk(running))
            yield len(running) or remaining
            if is_late:
                return
            if remaining:
                time.sleep(max(0.0, min(self.pause, deadline - time.monotonic())))

    def _start(self, item: BackfilledObject) -> BackfilledObject:
        item, batch = self._plan(item)
        if batch and item.status is ItemStatus.NEW:
            execution = self.pipeline.begin(batch)
            status = ItemStatus.STARTED if execution else ItemStatus.STARTED_BEFORE
            item = replace(item, status=status, execution=execution)
        elif batch:
            started = self.pipeline.start(batch)
            status = ItemStatus.STARTED if started.is_new else ItemStatus.IN_FLIGHT
            item = replace(item, status=status, execution=started.execution if started.is_new else None)
        self.inventory.update(item)
        return item

    def _plan(self, item: BackfilledObject) -> tuple[BackfilledObject, Batch | None]:
        """Return the batch to start: of what was started before the whole, as its next attempt, or why it is not."""
        raw = item.object
        if item.status is ItemStatus.NEW:
            return item, self.pipeline.batch_of(raw)
        plan = self.pipeline.plan_of(raw)
        state = ObjectState(self.audit, raw.id, since=Arrival(raw, item.last_modified).day, is_large=plan is not None)
        if state.is_damaged:
            why = f"its ledger file cannot be read: see `custody verify {raw.id}`"
            return replace(item, status=ItemStatus.REFUSED, why=why), None
        if any(key.discards for key in state.ledger_keys):
            return replace(item, status=ItemStatus.DISCARDED, why="its records were discarded, which stands"), None
        # What is in the audit bucket from after `committed_before` was made with the current code.
        file, limit = state.latest_file, self.committed_before
        if file and limit and datetime.fromisoformat(file.recorded_at) >= limit:
            return replace(item, status=ItemStatus.PROCESSED_SINCE), None
        last = state.last_execution(self.pipeline)
        if state.is_bulk:
            plan = whole(raw, state.chunk_bytes(self.pipeline, last))
        keys = state.ledger_keys if state.is_written else state.keys
        attempt = max((key.attempt for key in keys), default=0)
        return item, Batch(raw, attempt=attempt + 1, redrive_of=last, plan=plan)

    @property
    def _remaining(self) -> int:
        return self.inventory.counts()[ItemStatus.STARTED][0]

    def _is_ours(self, name: str) -> bool:
        """Tell whether an execution was started by this run, and its end is unknown."""
        item = self.inventory.get(object_of_execution(name))
        return (
            item is not None and item.status is ItemStatus.STARTED and (item.execution or "").rpartition(":")[2] == name
        )

    def _bulk(self, names: Iterable[str]) -> Iterator[tuple[str, int]]:
        """Yield the object id and the attempt of each execution of a bulk object."""
        for name in names:
            object_id = object_of_execution(name)
            item = self.inventory.get(object_id)
            if item and item.execution == self.pipeline.arn_of(name, is_bulk=True):
                yield object_id, int(name.removeprefix(f"{object_id}-r")) if name != object_id else 0

    def _record_ends(self, since: datetime) -> None:
        succeeded = (name for name in self._names(SUCCEEDED, since) if self._is_ours(name))
        self.inventory.mark(map(object_of_execution, succeeded), ItemStatus.STARTED, ItemStatus.SUCCEEDED)
        for status in _UNSUCCESSFUL:
            names = (name for name in self._names(status, since) if self._is_ours(name))
            items = (self.inventory.get(object_of_execution(name)) for name in names)
            for item in map_ordered(self._ended, (item for item in items if item)):
                self.inventory.update(item)

    def _ended(self, item: BackfilledObject) -> BackfilledObject:
        """Look at how an execution ended that did not succeed."""
        execution = self.pipeline.describe(item.execution or "")
        if execution is None or execution.is_running:
            return item
        is_rejected = execution.error == RecordsRejected.__name__
        status = ItemStatus.REJECTED if is_rejected else ItemStatus.FAILED
        return replace(item, status=status, why=f"{execution.error or execution.status}; see `custody dead-letters`")

    def _names(self, status: str, since: datetime | None = None) -> Iterator[str]:
        """List the names of the executions of both state machines with a status, started `since` then."""
        earliest = since - _CLOCK_SKEW if since else None
        for machine in self.pipeline.machines:
            executions = self.pipeline.list_executions(machine, status, earliest)
            yield from (execution["executionArn"].rpartition(":")[2] for execution in executions)


def _slug_of_prefix(prefix: str) -> str:
    """Return the common prefix of the ids of all objects whose keys have a prefix; empty if there is none."""
    return NOT_SLUG.sub("-", prefix).rstrip("-")[:SLUG_LENGTH].strip("-")


def _item(arrival: Arrival) -> BackfilledObject:
    is_refused = arrival.raw.version_id == NO_VERSION
    status, why = (ItemStatus.REFUSED, UNVERSIONED) if is_refused else (ItemStatus.NEW, "")
    return BackfilledObject(arrival.raw, arrival.at, arrival.is_deleted, status, why, None)
