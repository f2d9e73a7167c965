"""Compare bytes with what a ledger file says of them: each difference is a line for people. Nothing is fetched here.

Everything is a stream, and no record is kept: a ledger file may have a million lines.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256

from custody.audit.ledger_lines import Readable
from functions.shared.model.ids import record_id
from functions.shared.model.ledger import LedgerHeader, RecordLine, RejectedLine, WrittenLine
from functions.shared.model.messages import Counts

_PIECE_BYTES = 1 << 20


class Tally:
    """Counts the lines of a ledger file while they pass, and sees whether they are in order and of their chunk.

    `chunk` is the bytes in which a record may begin; None if the batch is a whole object.
    """

    def __init__(self, key: str, chunk: range | None) -> None:
        self._key = key
        self._chunk = chunk
        self._last = -1
        self._is_ordered = self._is_inside = True
        self.lines = self.written = self.rejected = 0

    def passing(self, lines: Iterable[RecordLine]) -> Iterator[RecordLine]:
        """Give the lines on, one by one."""
        for line in lines:
            self.lines += 1
            self.written += isinstance(line, WrittenLine)
            self.rejected += isinstance(line, RejectedLine)
            self._is_ordered &= line.position > self._last
            self._last = line.position
            self._is_inside &= self._chunk is None or line.position in self._chunk
            yield line

    def differences(self, header: LedgerHeader) -> Iterator[str]:
        """Compare what has passed with the header of the file."""
        counted = Counts(self.written + self.rejected, self.written, self.rejected)
        if header.counts != counted or counted.received != self.lines:
            yield (
                f"the ledger file {self._key} counts {header.counts.encode()}, but its {self.lines} lines make "
                f"{counted.encode()}"
            )
        if not self._is_ordered:
            yield f"the ledger file {self._key} does not have each record once, in order of position"
        if not self._is_inside:
            yield f"the ledger file {self._key} claims a record that does not begin in its chunk"


class RawBytes:
    """The bytes of a raw object from a record on, compared with each line of a ledger file that passes."""

    def __init__(self, stream: Readable, at: int) -> None:
        self._stream = stream
        self._at = at

    def difference(self, line: RecordLine) -> str | None:
        """Compare the bytes of one record; None if they are those of the ledger."""
        if line.offset < self._at:
            return "by the ledger it begins before the one before it ends"
        if line.offset > self._at:
            take(self._stream, line.offset - self._at)
        found = take(self._stream, line.length)
        self._at = line.offset + line.length
        return None if found == line.sha256 else "its bytes in the raw object are not those of the ledger"


def differences_in_processed(stream: Readable, object_id: str, written: Iterable[WrittenLine]) -> Iterator[str]:
    """Compare a processed object with what the ledger says of it: these lines, and nothing else."""
    found = ProcessedBytes(stream)
    for line in written:
        if said := found.difference(line):
            yield f"record {record_id(object_id, line.position)}: {said}"
    yield from found.rest()


class ProcessedBytes:
    """The bytes of a processed object, compared with each line of a written record that passes."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._at = 0
        self._is_lost = False

    def difference(self, line: WrittenLine) -> str | None:
        """Compare one record; None if it is what was written, or nothing can be said after one that was misplaced."""
        if self._is_lost:
            return None
        output = line.output
        if output.offset != self._at:
            self._is_lost = True
            return f"by the ledger it begins at byte {output.offset}, not right after the one before"
        found, end = take(self._stream, output.length), self._stream.read(1)
        self._at = output.offset + output.length + 1
        if found != output.sha256:
            return "its line in the processed object is not the one that was written"
        return None if end == b"\n" else "its line in the processed object does not end where it did"

    def rest(self) -> Iterator[str]:
        """Say whether there is more than the records that have passed."""
        if not self._is_lost and self._stream.read(1):
            yield "the processed object has more bytes after its last record"


def take(stream: Readable, length: int) -> str:
    """Read so many bytes, or what is left, and give their SHA-256."""
    if length <= _PIECE_BYTES:
        return sha256(stream.read(length)).hexdigest()
    digest = sha256()
    while length and (piece := stream.read(min(length, _PIECE_BYTES))):
        digest.update(piece)
        length -= len(piece)
    return digest.hexdigest()
