"""The roll: each object version that arrived, in the order of arrival, and what became of it.

It lies on disk, for there may be millions; a table of SQLite without a name goes when the process does
(https://sqlite.org/inmemorydb.html#temp_db).
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from threading import Lock

from custody.errors import CommandFailed
from custody.ingest.raw_versions import Arrival
from functions.shared.model.ids import RawObject

_AT_ONCE = 1000
"""Rows that are held, and written, at a time."""

_TABLE = """
CREATE TABLE roll (
    id TEXT PRIMARY KEY, at TEXT, bucket TEXT, key TEXT, version TEXT, size INTEGER, etag TEXT, is_deleted INTEGER,
    became TEXT, why TEXT, execution TEXT
)
"""
_SETTINGS = ("PRAGMA journal_mode = MEMORY", "PRAGMA synchronous = OFF")
"""What is gone with the process need not outlive a crash."""


@dataclass(frozen=True, slots=True)
class InventoryItem:
    """An object version, what became of it, and why; `execution` is the ARN of the one that does its work now."""

    arrival: Arrival
    became: str
    why: str = ""
    execution: str = ""


class Inventory:
    """A table of object versions; what notes what became of one may run in any thread.

    Raises CommandFailed when the disk is full.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        with _room():
            self._database = sqlite3.connect("", check_same_thread=False)
            for statement in (*_SETTINGS, _TABLE):
                self._database.execute(statement)

    def add(self, found: Iterable[InventoryItem]) -> Iterator[int]:
        """Enrol object versions; give how many they are, now and then."""
        rows = (_row(one) for one in found)
        number = 0
        while some := list(islice(rows, _AT_ONCE)):
            self._write("INSERT INTO roll VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", some)
            number += len(some)
            yield number

    def mark(self, object_ids: Iterable[str], before: str, became: str) -> None:
        """Note of those objects that were `before` what became of them."""
        given = ((became, object_id, before) for object_id in object_ids)
        while some := list(islice(given, _AT_ONCE)):
            self._write("UPDATE roll SET became = ? WHERE id = ? AND became = ?", some)

    def note(self, one: InventoryItem) -> None:
        """Note what became of an object."""
        given = (one.became, one.why, one.execution, one.arrival.raw.id)
        self._write("UPDATE roll SET became = ?, why = ?, execution = ? WHERE id = ?", [given])

    def find(self, object_id: str) -> InventoryItem | None:
        """Give an object by its id; None if it is not enrolled."""
        with self._lock:
            row = self._database.execute("SELECT * FROM roll WHERE id = ?", (object_id,)).fetchone()
        return _item(row) if row else None

    def those(self, became: Iterable[str]) -> Iterator[InventoryItem]:
        """Give those of which something became by now, the oldest first; versions of a key in the order they came."""
        wanted = list(became)
        # S3 lists the versions of a key from the newest to the oldest, and tells their times in whole seconds.
        query = f"SELECT * FROM roll WHERE became IN ({_places(wanted)}) ORDER BY at, key, rowid DESC"  # noqa: S608 - only `?` is put in
        with _room():
            # SQLite sorts into a table of its own before it gives the first row: what changes meanwhile is not seen.
            rows = self._database.execute(query, wanted)
            while some := self._some(rows):
                yield from map(_item, some)

    def counts(self) -> dict[str, tuple[int, int]]:
        """Count the object versions and their bytes, by what became of them."""
        with self._lock:
            rows = self._database.execute("SELECT became, COUNT(*), SUM(size) FROM roll GROUP BY became").fetchall()
        return defaultdict(lambda: (0, 0), {became: (number, size) for became, number, size in rows})

    def _some(self, rows: sqlite3.Cursor) -> list[tuple[str, ...]]:
        with self._lock:
            return rows.fetchmany(_AT_ONCE)

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        with self._lock, _room(), self._database:
            self._database.executemany(statement, rows)


def _row(one: InventoryItem) -> tuple[object, ...]:
    raw, at = one.arrival.raw, one.arrival.at.isoformat()
    told = (raw.bucket, raw.key, raw.version_id, raw.size, raw.etag, one.arrival.is_deleted)
    return (raw.id, at, *told, one.became, one.why, one.execution)


def _item(row: Sequence[str]) -> InventoryItem:
    _, at, bucket, key, version, size, etag, is_deleted, became, why, execution = row
    raw = RawObject(bucket, key, version, int(size), etag)
    return InventoryItem(Arrival(raw, datetime.fromisoformat(at), bool(is_deleted)), became, why, execution)


def _places(values: Sequence[str]) -> str:
    return ", ".join("?" for _ in values)


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise CommandFailed(
            f"The list of object versions cannot be kept in the temporary folder: {error}. It takes some 500 bytes for "
            "each; make room, or let TMPDIR name a folder that has it, and run it again."
        ) from error
