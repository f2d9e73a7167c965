"""Which dead letters of an object are open: derived from its ledger files and its dead letters, for neither is ever changed.

A dead letter is open until the ledger says for its attempt or a later one that the records were written or discarded, or a
later dead letter stands in its place. That of a bulk object which says no more than that chunks failed, or that records were
rejected, is the sum of its chunks': it is open while one of them is.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from custody.errors import CommandFailed
from functions.shared.errors import AttemptTaken, ChunksFailed, RecordsRejected
from functions.shared.model.ledger import ChunkLine, CommittedChunk, SummaryHeader

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from custody.audit.reader import AuditReader
    from functions.shared.model.keys import DeadLetterKey, LedgerKey

SUMS_UP = frozenset({ChunksFailed.__name__, RecordsRejected.__name__})
"""The errors of a bulk object that tell of nothing but its chunks."""


@dataclass(frozen=True)
class Resolution:
    """What the ledger has of an object: `entries` are all its ledger files."""

    audit: "AuditReader"
    entries: "list[LedgerKey]"

    @cached_property
    def of_batch(self) -> "Mapping[int, list[LedgerKey]]":
        """Give the ledger files of each batch, by its start."""
        found: dict[int, list[LedgerKey]] = defaultdict(list)
        for entry in sorted(self.entries):
            found[entry.start].append(entry)
        return found

    @cached_property
    def summary(self) -> "LedgerKey | None":
        """Give the summary of the latest attempt; None if the object has none."""
        return max((entry for entry in self.entries if entry.is_summary), default=None)

    @cached_property
    def chunks(self) -> dict[int, ChunkLine]:
        """Read what the summary says of each chunk, by its start; nothing, if it cannot be read."""
        try:
            return {line.start: line for line in self.audit.chunks(self.summary)} if self.summary else {}
        except CommandFailed:
            return {}

    def open_among(self, dead_letters: "Iterable[DeadLetterKey]") -> "list[DeadLetterKey]":
        """Give those of the object's dead letters that are open; `dead letters` are all that it has, or has since a day."""
        latest: dict[int, list[DeadLetterKey]] = {}
        for dead_letter in sorted(dead_letters):
            others = latest.setdefault(dead_letter.start, [])
            if others and others[0].attempt < dead_letter.attempt:
                others.clear()
            others.append(dead_letter)
        found: list[DeadLetterKey] = []
        # That of the whole comes last, behind the chunks that it sums up.
        for others in latest.values():
            for dead_letter in others:
                if self.closing(dead_letter) is None and not self._is_settled(dead_letter, found):
                    found.append(dead_letter)
        return found

    def closing(self, dead_letter: "DeadLetterKey") -> "LedgerKey | None":
        """Give the latest ledger file that closes a dead letter by itself; None if none does.

        A later attempt closes it, or a discard. The delivery of its own attempt does if it left out no record, and was
        not that of another execution: then the dead letter's own has delivered nothing.
        """
        entries = self.of_batch.get(dead_letter.start, [])
        after = [entry for entry in entries if (entry.attempt, entry.discards) > (dead_letter.attempt, False)]
        if after:
            return max(after)
        committed = next(
            (entry for entry in entries if (entry.attempt, entry.discards) == (dead_letter.attempt, False)), None
        )
        return committed if committed and self._settles(committed, dead_letter) else None

    def to_do(self) -> list[int]:
        """Give the starts of the chunks that a new execution is to process: those that failed, or rejected records.

        Not those whose records an operator gave up since.
        """
        return [line.start for line in self.chunks.values() if self._is_to_do(line)]

    def _is_to_do(self, line: ChunkLine) -> bool:
        is_left = not isinstance(line, CommittedChunk) or line.counts.rejected > 0
        return is_left and not any(entry.discards for entry in self.of_batch.get(line.start, [])[-1:])

    def unsettled(self) -> list[int]:
        """Give the starts of the chunks that the ledger leaves open: never committed, or with records rejected.

        A discard settles a chunk, and so does a later attempt: its own dead letter tells if that one rejected records.
        """
        return [line.start for line in self.chunks.values() if self._is_left(line)]

    def _is_left(self, line: ChunkLine) -> bool:
        entries = self.of_batch.get(line.start, [])
        if not entries:
            return True
        if line.attempt is None or line.counts is None or not line.counts.rejected:
            return False
        return max((entry.attempt, entry.discards) for entry in entries) <= (line.attempt, False)

    def _is_settled(self, dead_letter: "DeadLetterKey", still_open: "list[DeadLetterKey]") -> bool:
        """Say whether a dead letter sums up chunks of which none is open any more; what cannot be read settles nothing."""
        if not dead_letter.is_of_whole or any(not other.is_of_whole for other in still_open) or not self.chunks:
            return False
        if self.summary is None or self.summary.attempt != dead_letter.attempt or self.unsettled():
            return False
        try:
            return self.audit.read(dead_letter).error in SUMS_UP
        except CommandFailed:
            return False

    def _settles(self, committed: "LedgerKey", dead_letter: "DeadLetterKey") -> bool:
        """Say whether the delivery of a dead letter's own attempt closes it; what cannot be read closes nothing."""
        try:
            left, execution = self._told(committed)
            if left:
                return False
            body = self.audit.read(dead_letter)
        except CommandFailed:
            return False
        return body.execution.arn == execution and body.error != AttemptTaken.__name__

    def _told(self, committed: "LedgerKey") -> tuple[int, str]:
        """Say how much a ledger file leaves open, and whose it is: by the summary, where that tells of it.

        There may be thousands of chunks, and the summary is one file.
        """
        line = self.chunks.get(committed.start)
        if isinstance(line, CommittedChunk) and line.attempt == committed.attempt:
            return line.counts.rejected, line.execution
        header = self.audit.header(committed)
        left = header.chunks.failed if isinstance(header, SummaryHeader) else 0
        return header.counts.rejected + left, header.execution
