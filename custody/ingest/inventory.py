"""The inventory: every object version that arrived, in the order of arrival, and its status.

It is on disk, for there may be millions; SQLite deletes a database without a name together with the process
(https://sqlite.org/inmemorydb.html#temp_db).
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from itertools import islice
from threading import Lock
from typing import Any

from msgspec import Struct
from msgspec.json import decode, encode
from msgspec.structs import replace

from custody.errors import CommandFailed
from functions.shared.model.ids import RawObject

_BATCH = 1000
"""Rows that are held in memory, and written, at a time."""

_TABLE = "CREATE TABLE inventory (id TEXT PRIMARY KEY, at TEXT, key TEXT, size INTEGER, status TEXT, item BLOB)"
_SETTINGS = ("PRAGMA journal_mode = MEMORY", "PRAGMA synchronous = OFF")
"""What is deleted with the process need not survive a crash."""


class ItemStatus(StrEnum):
    """The status of an object version."""

    NEW = "not started"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    FAILED = "failed"
    IN_FLIGHT = "in flight"
    STARTED_BEFORE = "started before"
    PROCESSED_SINCE = "processed since"
    DISCARDED = "discarded"
    REFUSED = "refused"


STARTED_NOW = (ItemStatus.STARTED, ItemStatus.SUCCEEDED, ItemStatus.REJECTED, ItemStatus.FAILED)
"""The statuses of what this run has started."""


class BackfilledObject(Struct, frozen=True):
    """An object version that was started, or would be; or that was refused or, with --again, ran already.

    `deleted` if a delete marker hides its key; this version still exists, and is started. `status` is `started` for
    what was not watched to its end. `why` is empty unless it was refused, passed over or failed. `execution` is the ARN
    of the execution that was started; null if none was.
    """

    object: RawObject
    last_modified: datetime
    deleted: bool
    status: ItemStatus
    why: str
    execution: str | None


class Inventory:
    """A table of object versions that several threads may update; raises CommandFailed when the disk is full."""

    def __init__(self) -> None:
        self._lock = Lock()
        with _disk():
            self._database = sqlite3.connect("", check_same_thread=False)
            for statement in (*_SETTINGS, _TABLE):
                self._database.execute(statement)

    def add(self, items: Iterable[BackfilledObject]) -> Iterator[int]:
        """Add object versions; yield the number of them after each batch."""
        number = 0
        for rows in _batches(map(_row, items)):
            self._write("INSERT INTO inventory VALUES (?, ?, ?, ?, ?, ?)", rows)
            number += len(rows)
            yield number

    def mark(self, object_ids: Iterable[str], before: ItemStatus, after: ItemStatus) -> None:
        """Change the status of the objects that have the status `before`."""
        for rows in _batches((after, object_id, before) for object_id in object_ids):
            self._write("UPDATE inventory SET status = ? WHERE id = ? AND status = ?", rows)

    def update(self, item: BackfilledObject) -> None:
        """Write the status of an object version."""
        self._write(
            "UPDATE inventory SET status = ?, item = ? WHERE id = ?", [(item.status, encode(item), item.object.id)]
        )

    def get(self, object_id: str) -> BackfilledObject | None:
        """Return an object version by its id; None if it is not in the inventory."""
        with self._lock:
            row = self._database.execute("SELECT status, item FROM inventory WHERE id = ?", (object_id,)).fetchone()
        return _item(row) if row else None

    def select(self, statuses: Iterable[ItemStatus]) -> Iterator[BackfilledObject]:
        """Yield what has one of these statuses now, the oldest first; versions of a key in the order of arrival."""
        wanted = list(statuses)
        # S3 lists the versions of a key from the newest to the oldest, and their times in whole seconds.
        marks = ", ".join("?" * len(wanted))
        query = f"SELECT status, item FROM inventory WHERE status IN ({marks}) ORDER BY at, key, rowid DESC"  # noqa: S608 - only `?` is inserted
        with _disk():
            # SQLite sorts into a table of its own before the first row: later changes are not seen.
            rows = self._database.execute(query, wanted)
            while batch := self._fetch(rows):
                yield from map(_item, batch)

    def counts(self) -> dict[ItemStatus, tuple[int, int]]:
        """Count the object versions and their bytes, by status."""
        with self._lock:
            rows = self._database.execute(
                "SELECT status, COUNT(*), SUM(size) FROM inventory GROUP BY status"
            ).fetchall()
        return defaultdict(lambda: (0, 0), {ItemStatus(status): (number, size) for status, number, size in rows})

    def _fetch(self, rows: sqlite3.Cursor) -> list[tuple[Any, ...]]:
        with self._lock:
            return rows.fetchmany(_BATCH)

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        with self._lock, _disk(), self._database:
            self._database.executemany(statement, rows)


def _batches(rows: Iterable[tuple[object, ...]]) -> Iterator[list[tuple[object, ...]]]:
    remaining = iter(rows)
    while batch := list(islice(remaining, _BATCH)):
        yield batch


def _row(item: BackfilledObject) -> tuple[object, ...]:
    version = item.object
    return version.id, item.last_modified.isoformat(), version.key, version.size, item.status, encode(item)


def _item(row: tuple[str, bytes]) -> BackfilledObject:
    status, item = row
    return replace(decode(item, type=BackfilledObject), status=ItemStatus(status))


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise CommandFailed(
            f"The inventory of objects cannot be written: {error}. It is in the folder for temporary files: free some "
            "space there (about 500 bytes per object version), or set TMPDIR to a folder that has it."
        ) from error
