"""What the books have of one object, whether it is one batch or cut into chunks: read by as few calls as can be."""

from dataclasses import dataclass
from typing import Any

from custody.audit.reader import Books, Entry, Letter, Unreadable, latest
from custody.audit.resolution import Standing


@dataclass(frozen=True)
class Booked:
    """What tells of an object: `latest` is the ledger file of its latest attempt, `header` what that says.

    Of a bulk object that is its summary. `gone` are the chunks that it tells of and that have no ledger file.
    """

    entries: list[Entry]
    letters: list[Letter]
    latest: Entry | None
    header: Any
    is_damaged: bool
    is_bulk: bool
    is_open: bool
    gone: tuple[int, ...]

    @classmethod
    def read(cls, books: Books, object_id: str, since: str, *, is_bulk: bool) -> "Booked":
        """Read what is known of an object that arrived on a day; `is_bulk` if start would cut it into chunks now."""
        standing = books.standing(object_id)
        booked = latest(standing.entries)
        header, is_damaged = _header(books, standing.summary or booked.get(0))
        letters: list[Letter] | None = None
        if not booked:
            letters = books.letters_of(object_id, since=since)
            is_bulk = is_bulk or any(letter.start != 0 for letter in letters)
        elif header:
            is_bulk = standing.summary is not None or header["chunk"] is not None
        else:
            is_bulk = is_bulk or any(start != 0 for start in booked)
        if is_bulk and standing.summary is None:
            header, is_damaged = None, False
        gone = _gone(standing, header, booked) if is_bulk and header else ()
        is_written = header is not None and not gone and _left_out(header) == 0
        if letters is None:
            letters = [] if is_written else books.letters_of(object_id, since=since)
        last = standing.summary if is_bulk else booked.get(0)
        is_open = bool(letters) and bool(standing.open_among(letters))
        return cls(standing.entries, letters, last, header, is_damaged, is_bulk, is_open, gone)

    @property
    def is_written(self) -> bool:
        """Whether the ledger says of every record that it was written."""
        return self.header is not None and not self.gone and _left_out(self.header) == 0

    @property
    def letter(self) -> Letter | None:
        """The latest letter; of a bulk object the one that tells of all its chunks, if that is as late."""
        return max(self.letters, key=lambda each: (each.attempt, each.is_of_whole), default=None)

    @property
    def attempt(self) -> int | None:
        """The highest attempt; None if there is nothing at all."""
        attempts = [*(entry.attempt for entry in self.entries), *(letter.attempt for letter in self.letters)]
        return max(attempts, default=None)

    @property
    def told(self) -> int | None:
        """The highest attempt of its executions, as far as that is known: a chunk may have counted on by itself."""
        if not self.is_bulk or self.attempt is None:
            return self.attempt
        whole = [letter.attempt for letter in self.letters if letter.is_of_whole]
        return max([0, *whole, *(entry.attempt for entry in self.entries if entry.is_summary)])

    @property
    def failed(self) -> int:
        """How many chunks failed, by the summary."""
        return int(self.header["chunks"]["failed"]) if self.is_bulk and self.header else 0

    @property
    def total(self) -> int:
        """How many chunks there are, by the summary."""
        return int(self.header["chunks"]["total"]) if self.is_bulk and self.header else 0


def _header(books: Books, entry: Entry | None) -> tuple[Any, bool]:
    """Read a header; say whether it is damaged."""
    try:
        return (books.header(entry) if entry else None), False
    except Unreadable:
        return None, True


def _left_out(header: Any) -> int:
    """Count what was not written: records, and of a summary chunks too."""
    failed = header["chunks"]["failed"] if "chunks" in header else 0
    return int(header["counts"]["rejected"] + failed)


def _gone(standing: Standing, header: Any, booked: dict[int, Entry]) -> tuple[int, ...]:
    """Say which chunks have no ledger file, though the summary tells of one."""
    starts = range(0, header["object"]["size"], header["chunk_bytes"])
    missing = [start for start in starts if start not in booked]
    return tuple(start for start in missing if (line := standing.chunks.get(start)) is None or line.attempt is not None)
