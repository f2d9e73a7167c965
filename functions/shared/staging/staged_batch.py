"""Staged batches: the records of a batch as they lie in the staging bucket between two steps, in the order of their positions.

The first line says what is known of the batch; then comes a line a record. A good one is where it lies, as JSON, then a
tab, then its document, as it would be delivered; a rejected one is JSON alone. JSON as it is written here holds no tab,
so the first one is the one between the two.
"""

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge

from functions.shared.model.messages import Page, Record, Rejected
from functions.shared.records.strict_json import decode, encode, encode_all, read_span, write_span

TAB = b"\t"


class NoJson(Exception):
    """The document of a record, by its position, is no JSON; `why` is the kind of error, and quotes nothing of it."""

    def __init__(self, position: int, why: str) -> None:
        super().__init__(f"{why}, position {position}")
        self.position = position
        self.why = why


def written(page: Page) -> bytes:
    """Write records as lines of a staged batch; raise NoJson for a document that is none."""
    try:
        bodies = encode_all([record.document for record in page.records])
    except Exception:
        _find_no_json(page)
        raise
    spans = [write_span(record.span) for record in page.records]
    accepted = [b"%b\t%b\n" % each for each in zip(spans, bodies, strict=True)]
    if not page.rejected:
        return b"".join(accepted)
    positions = (record.span.position for record in page.records)
    others = ((rejected.span.position, _rejected(rejected)) for rejected in page.rejected)
    return b"".join(line for _, line in merge(zip(positions, accepted, strict=True), others))


def _rejected(rejected: Rejected) -> bytes:
    try:
        return encode(rejected.encode()) + b"\n"
    except (TypeError, ValueError) as error:
        raise NoJson(rejected.span.position, f"{type(error).__name__} in the limit of a violation") from error


def _find_no_json(page: Page) -> None:
    for record in page.records:
        try:
            encode(record.document)
        except Exception as error:
            raise NoJson(record.span.position, type(error).__name__) from error


def read(lines: Sequence[bytes]) -> Page:
    """Read lines of a staged batch; raise KeyError or what `decode` raises for others."""
    parts = [line.partition(TAB) for line in lines]
    return Page(
        [Record(read_span(head), decode(document)) for head, tab, document in parts if tab],
        [Rejected.decode(decode(head)) for head, tab, _ in parts if not tab],
    )


def ledger_line(line: bytes) -> bytes:
    """Make the ledger line of a rejected record from its line in a staged batch, without reading either."""
    return line[:-1] + b',"outcome":"rejected"}\n'


def rejected(pages: Iterable[Sequence[bytes]]) -> Iterator[Rejected]:
    """Read only the rejected records."""
    for lines in pages:
        yield from (Rejected.decode(decode(line)) for line in lines if TAB not in line)
