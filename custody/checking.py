"""Compare bytes with what a ledger file says of them: each difference is a line for people. Nothing is fetched here."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Protocol

from custody import forms
from functions.shared.identity import record_id
from functions.shared.ledger import counts, parse_header, parse_ledger_file

_PIECE_BYTES = 1 << 20


class Readable(Protocol):
    """A stream of bytes, read once."""

    def read(self, amt: int, /) -> bytes:
        """Read at most so many bytes."""
        ...


def read_header(body: bytes) -> Any:
    """Read the header of a ledger file that a step booked; raise one of OF_NO_FILE."""
    header = parse_header(body)
    forms.booked_header(header)
    return header


def read_booked(body: bytes) -> tuple[Any, list[Any]]:
    """Read a ledger file that a step booked, its header and its lines; raise one of OF_NO_FILE."""
    header, lines = parse_ledger_file(body)
    forms.booked_header(header)
    forms.lines(lines)
    return header, lines


def written_of(lines: list[Any]) -> list[Any]:
    """Give the lines of the records that were written."""
    return [line for line in lines if line["outcome"] == "written"]


def rejected_of(lines: list[Any]) -> list[Any]:
    """Give the lines of the records that were rejected."""
    return [line for line in lines if line["outcome"] == "rejected"]


def miscounted(key: str, header: Any, lines: list[Any]) -> Iterator[str]:
    """Compare the lines of a ledger file with its header, and with each other."""
    counted = counts(len(written_of(lines)), len(rejected_of(lines)))
    if header["counts"] != counted or counted["received"] != len(lines):
        yield f"the ledger file {key} counts {header['counts']}, but its {len(lines)} lines make {counted}"
    positions = [line["position"] for line in lines]
    if positions != sorted(set(positions)):
        yield f"the ledger file {key} does not have each record once, in order of position"


def differences_in_raw(stream: Readable, object_id: str, lines: list[Any]) -> Iterator[str]:
    """Compare the bytes of a raw object, from the first record to the last, with the records of a ledger file."""
    at = lines[0]["offset"]
    for line in lines:
        record = record_id(object_id, line["position"])
        if line["offset"] < at:
            yield f"record {record}: by the ledger it begins before the one before it ends"
            continue
        _take(stream, line["offset"] - at)
        found = _take(stream, line["length"])
        at = line["offset"] + line["length"]
        if found != line["sha256"]:
            yield f"record {record}: its bytes in the raw object are not those of the ledger"


def differences_in_processed(stream: Readable, object_id: str, written: list[Any]) -> Iterator[str]:
    """Compare a processed object with what the ledger says of it: these lines, and nothing else."""
    at = 0
    for line in written:
        record, output = record_id(object_id, line["position"]), line["output"]
        if output["offset"] != at:
            yield f"record {record}: by the ledger it begins at byte {output['offset']}, not right after the one before"
            return
        found, end = _take(stream, output["length"]), stream.read(1)
        if found != output["sha256"]:
            yield f"record {record}: its line in the processed object is not the one that was written"
        elif end != b"\n":
            yield f"record {record}: its line in the processed object does not end where it did"
        at = output["offset"] + output["length"] + 1
    if stream.read(1):
        yield "the processed object has more bytes after its last record"


def _take(stream: Readable, length: int) -> str:
    """Read so many bytes, or what is left, and give their SHA-256."""
    digest = sha256()
    while length and (piece := stream.read(min(length, _PIECE_BYTES))):
        digest.update(piece)
        length -= len(piece)
    return digest.hexdigest()
