"""Which letters of an object are open: derived from its ledger files and its letters, for neither is ever changed.

A letter is open until the ledger says for its attempt or a later one that the records were written or discarded, or a
later letter stands in its place. That of a bulk object which says no more than that chunks failed, or that records were
rejected, is the sum of its chunks': it is open while one of them is.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from custody.audit.ledger_lines import BookedChunk, ChunkLine
from custody.errors import CommandFailed
from functions.shared.errors import AttemptTaken, ChunksFailed, RecordsRejected

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from custody.audit.reader import Books, Entry, Letter

SUMS_UP = frozenset({ChunksFailed.__name__, RecordsRejected.__name__})
"""The errors of a bulk object that tell of nothing but its chunks."""


@dataclass(frozen=True)
class Standing:
    """What the ledger has of an object: `entries` are all its ledger files."""

    books: "Books"
    entries: "list[Entry]"

    @cached_property
    def of_batch(self) -> "Mapping[int, list[Entry]]":
        """Give the ledger files of each batch, by its start."""
        found: dict[int, list[Entry]] = defaultdict(list)
        for entry in sorted(self.entries):
            found[entry.start].append(entry)
        return found

    @cached_property
    def summary(self) -> "Entry | None":
        """Give the summary of the latest attempt; None if the object has none."""
        return max((entry for entry in self.entries if entry.is_summary), default=None)

    @cached_property
    def chunks(self) -> dict[int, ChunkLine]:
        """Read what the summary says of each chunk, by its start; nothing, if it cannot be read."""
        try:
            return {line.start: line for line in self.books.chunks(self.summary)} if self.summary else {}
        except CommandFailed:
            return {}

    def open_among(self, letters: "Iterable[Letter]") -> "list[Letter]":
        """Give those of the object's letters that are open; `letters` are all that it has, or has since a day."""
        latest: dict[int, list[Letter]] = {}
        for letter in sorted(letters):
            others = latest.setdefault(letter.start, [])
            if others and others[0].attempt < letter.attempt:
                others.clear()
            others.append(letter)
        found: list[Letter] = []
        # That of the whole comes last, behind the chunks that it sums up.
        for others in latest.values():
            for letter in others:
                if self.closing(letter) is None and not self._is_settled(letter, found):
                    found.append(letter)
        return found

    def closing(self, letter: "Letter") -> "Entry | None":
        """Give the latest ledger file that closes a letter by itself; None if none does.

        A later attempt closes it, or a discard. The delivery of its own attempt does if it left out no record, and was
        not that of another execution: then the letter's own has delivered nothing.
        """
        entries = self.of_batch.get(letter.start, [])
        after = [entry for entry in entries if (entry.attempt, entry.discards) > (letter.attempt, False)]
        if after:
            return max(after)
        booked = next((entry for entry in entries if (entry.attempt, entry.discards) == (letter.attempt, False)), None)
        return booked if booked and self._settles(booked, letter) else None

    def to_do(self) -> list[int]:
        """Give the starts of the chunks that a new execution is to process: those that failed, or rejected records.

        Not those whose records an operator gave up since.
        """
        return [line.start for line in self.chunks.values() if self._is_to_do(line)]

    def _is_to_do(self, line: ChunkLine) -> bool:
        is_left = not isinstance(line, BookedChunk) or line.counts.rejected > 0
        return is_left and not any(entry.discards for entry in self.of_batch.get(line.start, [])[-1:])

    def unsettled(self) -> list[int]:
        """Give the starts of the chunks that the ledger leaves open: never booked, or with records rejected.

        A discard settles a chunk, and so does a later attempt: its own letter tells if that one rejected records.
        """
        return [line.start for line in self.chunks.values() if self._is_left(line)]

    def _is_left(self, line: ChunkLine) -> bool:
        entries = self.of_batch.get(line.start, [])
        if not entries:
            return True
        if line.attempt is None or line.counts is None or not line.counts.rejected:
            return False
        return max((entry.attempt, entry.discards) for entry in entries) <= (line.attempt, False)

    def _is_settled(self, letter: "Letter", still_open: "list[Letter]") -> bool:
        """Say whether a letter sums up chunks of which none is open any more; what cannot be read settles nothing."""
        if not letter.is_of_whole or any(not other.is_of_whole for other in still_open) or not self.chunks:
            return False
        if self.summary is None or self.summary.attempt != letter.attempt or self.unsettled():
            return False
        try:
            return self.books.read(letter)["error"] in SUMS_UP
        except CommandFailed:
            return False

    def _settles(self, booked: "Entry", letter: "Letter") -> bool:
        """Say whether the delivery of a letter's own attempt closes it; what cannot be read closes nothing."""
        try:
            left, execution = self._told(booked)
            if left:
                return False
            body = self.books.read(letter)
        except CommandFailed:
            return False
        return bool(body["execution"]["arn"] == execution and body["error"] != AttemptTaken.__name__)

    def _told(self, booked: "Entry") -> tuple[int, str]:
        """Say how much a ledger file leaves open, and whose it is: by the summary, where that tells of it.

        There may be thousands of chunks, and the summary is one file.
        """
        line = self.chunks.get(booked.start)
        if isinstance(line, BookedChunk) and line.attempt == booked.attempt:
            return line.counts.rejected, line.execution
        header = self.books.header(booked)
        left = header["chunks"]["failed"] if booked.is_summary else 0
        return header["counts"]["rejected"] + left, header["execution"]
