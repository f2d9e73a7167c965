"""What the ledger have of one object, whether it is one batch or cut into chunks: read by as few calls as can be."""

from dataclasses import dataclass

from custody.audit.reader import AuditReader, Unreadable
from custody.audit.resolution import Resolution
from functions.shared.model.keys import DeadLetterKey, LedgerKey, latest
from functions.shared.model.ledger import LedgerHeader, SummaryHeader


@dataclass(frozen=True)
class Committed:
    """What tells of an object: `latest` is the ledger file of its latest attempt, `header` what that says.

    Of a bulk object that is its summary. `gone` are the chunks that it tells of and that have no ledger file.
    """

    entries: list[LedgerKey]
    dead_letters: list[DeadLetterKey]
    latest: LedgerKey | None
    header: LedgerHeader | None
    is_damaged: bool
    is_bulk: bool
    is_open: bool
    gone: tuple[int, ...]

    @classmethod
    def read(cls, audit: AuditReader, object_id: str, since: str, *, is_bulk: bool) -> "Committed":
        """Read what is known of an object that arrived on a day; `is_bulk` if start would cut it into chunks now."""
        resolution = audit.resolution(object_id)
        committed = latest(resolution.entries)
        header, is_damaged = _header(audit, resolution.summary or committed.get(0))
        dead_letters: list[DeadLetterKey] | None = None
        if not committed:
            dead_letters = audit.dead_letters_of(object_id, since=since)
            is_bulk = is_bulk or any(dead_letter.start != 0 for dead_letter in dead_letters)
        elif header:
            is_bulk = resolution.summary is not None or header.chunk is not None
        else:
            is_bulk = is_bulk or any(start != 0 for start in committed)
        if is_bulk and resolution.summary is None:
            header, is_damaged = None, False
        gone = _gone(resolution, header, committed) if is_bulk and isinstance(header, SummaryHeader) else ()
        is_written = header is not None and not gone and _left_out(header) == 0
        if dead_letters is None:
            dead_letters = [] if is_written else audit.dead_letters_of(object_id, since=since)
        last = resolution.summary if is_bulk else committed.get(0)
        is_open = bool(dead_letters) and bool(resolution.open_among(dead_letters))
        return cls(resolution.entries, dead_letters, last, header, is_damaged, is_bulk, is_open, gone)

    @property
    def is_written(self) -> bool:
        """Whether the ledger says of every record that it was written."""
        return self.header is not None and not self.gone and _left_out(self.header) == 0

    @property
    def dead_letter(self) -> DeadLetterKey | None:
        """The latest dead letter; of a bulk object the one that tells of all its chunks, if that is as late."""
        return max(self.dead_letters, key=lambda each: (each.attempt, each.is_of_whole), default=None)

    @property
    def attempt(self) -> int | None:
        """The highest attempt; None if there is nothing at all."""
        attempts = [
            *(entry.attempt for entry in self.entries),
            *(dead_letter.attempt for dead_letter in self.dead_letters),
        ]
        return max(attempts, default=None)

    @property
    def told(self) -> int | None:
        """The highest attempt of its executions, as far as that is known: a chunk may have counted on by itself."""
        if not self.is_bulk or self.attempt is None:
            return self.attempt
        whole = [dead_letter.attempt for dead_letter in self.dead_letters if dead_letter.is_of_whole]
        return max([0, *whole, *(entry.attempt for entry in self.entries if entry.is_summary)])

    @property
    def failed(self) -> int:
        """How many chunks failed, by the summary."""
        return self.header.chunks.failed if isinstance(self.header, SummaryHeader) else 0

    @property
    def total(self) -> int:
        """How many chunks there are, by the summary."""
        return self.header.chunks.total if isinstance(self.header, SummaryHeader) else 0


def _header(audit: AuditReader, entry: LedgerKey | None) -> tuple[LedgerHeader | None, bool]:
    """Read a header; say whether it is damaged."""
    try:
        return (audit.header(entry) if entry else None), False
    except Unreadable:
        return None, True


def _left_out(header: LedgerHeader) -> int:
    """Count what was not written: records, and of a summary chunks too."""
    return header.counts.rejected + (header.chunks.failed if isinstance(header, SummaryHeader) else 0)


def _gone(resolution: Resolution, header: SummaryHeader, committed: dict[int, LedgerKey]) -> tuple[int, ...]:
    """Say which chunks have no ledger file, though the summary tells of one."""
    starts = range(0, header.object.size, header.chunk_bytes)
    missing = [start for start in starts if start not in committed]
    return tuple(
        start for start in missing if (line := resolution.chunks.get(start)) is None or line.attempt is not None
    )
