"""Staged batches: the records of a batch in the staging bucket between two steps, ordered by position.

The first line holds the facts of the batch; then there is a line a record. For an accepted record it is its span as
JSON, a tab, and its document as it would be delivered; for a rejected one it is JSON alone. The JSON written here holds
no tab, so the first tab is the separator.
"""

from collections.abc import Sequence
from heapq import merge

from msgspec.json import Decoder

from functions.shared.model.records import Page, Record, Rejected
from functions.shared.records.strict_json import decode, encode, encode_all, encode_struct, exact, read_span, write_span

TAB = b"\t"

read_rejected = Decoder(Rejected, float_hook=exact).decode
"""Read the line of a rejected record; raise msgspec.MsgspecError for anything else."""


class NotJson(Exception):
    """The document of the record at a position is not JSON; `why` is the kind of error, and quotes nothing of it."""

    def __init__(self, position: int, why: str) -> None:
        super().__init__(f"{why}, position {position}")
        self.position = position
        self.why = why


def write(page: Page) -> bytes:
    """Write records as lines of a staged batch; raise NotJson for a document that is not JSON."""
    try:
        bodies = encode_all([record.document for record in page.records])
    except Exception:
        _require_json(page)
        raise
    spans = [write_span(record.span) for record in page.records]
    accepted = [b"%b\t%b\n" % line for line in zip(spans, bodies, strict=True)]
    if not page.rejected:
        return b"".join(accepted)
    positions = (record.span.position for record in page.records)
    others = ((rejected.position, _write_rejected(rejected)) for rejected in page.rejected)
    return b"".join(line for _, line in merge(zip(positions, accepted, strict=True), others))


def _write_rejected(rejected: Rejected) -> bytes:
    try:
        encode([violation.limit for violation in rejected.violations])
    except (TypeError, ValueError) as error:
        raise NotJson(rejected.position, f"{type(error).__name__} in the limit of a violation") from error
    return encode_struct(rejected) + b"\n"


def _require_json(page: Page) -> None:
    for record in page.records:
        try:
            encode(record.document)
        except Exception as error:
            raise NotJson(record.span.position, type(error).__name__) from error


def read(lines: Sequence[bytes]) -> Page:
    """Read lines of a staged batch; raise what decoding raises for any others."""
    parts = [line.partition(TAB) for line in lines]
    return Page(
        [Record(read_span(head), decode(document)) for head, tab, document in parts if tab],
        [read_rejected(head) for head, tab, _ in parts if not tab],
    )


def read_rejected_of(lines: Sequence[bytes]) -> list[Rejected]:
    """Read only the rejected records of some lines; raise as `read` does."""
    return [read_rejected(line) for line in lines if TAB not in line]


def ledger_line(line: bytes) -> bytes:
    """Turn the line of a rejected record into its ledger line, without parsing it."""
    return b'{"outcome":"rejected",' + line[1:] + b"\n"
