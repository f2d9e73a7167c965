"""Count records while the chunks of objects are committed, so that people see long executions advance."""

import time
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice

from botocore.exceptions import BotoCoreError, ClientError

from custody.audit.reader import AuditReader, Unreadable
from custody.concurrency import map_ordered
from functions.shared.model.keys import LedgerKey, latest
from functions.shared.model.messages import Counts

_OBJECTS = 10
"""How many running objects are looked at; of more, the others are counted when they are among the first."""

_PAUSE = 2.0
_BACKOFF = 4.0
"""The pause is at least this many times as long as the last look: a large ledger is listed in many pages."""


class CommittedRecords:
    """The counts of the records committed so far; the header of each ledger file is read once."""

    def __init__(self, audit: AuditReader) -> None:
        self.counts = Counts()
        self._audit = audit
        self._seen = set[LedgerKey]()
        self._due = 0.0

    def add(self, object_id: str, attempt: int = 0) -> int:
        """Count the chunks of an object that were committed since an attempt, and return their number.

        Raises Unreadable.
        """
        files = latest(self._audit.ledger_keys(object_id)).values()
        committed = [key for key in files if not key.is_summary and key.attempt >= attempt]
        new = [key for key in committed if key not in self._seen]
        self.counts = sum((header.counts for header in map_ordered(self._audit.header, new)), self.counts)
        self._seen.update(new)
        return len(committed)

    def look(self, running: Iterable[tuple[str, int]]) -> None:
        """Count the chunks of running objects, each since an attempt; not more often than needed.

        What cannot be read is not counted.
        """
        if (begun := time.monotonic()) < self._due:
            return
        for object_id, attempt in islice(running, _OBJECTS):
            with suppress(Unreadable, ClientError, BotoCoreError):
                self.add(object_id, attempt)
        self._due = time.monotonic() + max(_PAUSE, _BACKOFF * (time.monotonic() - begun))
