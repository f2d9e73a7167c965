"""What to put into the processed and the audit bucket for a batch, and where: data, which the handler applies."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from types import TracebackType
from typing import IO, Self

from functions.shared.audit import ledger_file
from functions.shared.audit.ledger_file import Failure, Known, Output
from functions.shared.errors import RecordsRejected
from functions.shared.model import tolerance
from functions.shared.model.messages import Counts, Facts, Json, Rejected, Step
from functions.shared.records.gzip_lines import Packed, spool
from functions.shared.records.strict_json import decode
from functions.shared.staging.staged_batch import TAB, ledger_line

STAGE = "write"
MEDIA_TYPE = "application/jsonl"


@dataclass(frozen=True, slots=True)
class Put:
    """An object to put: its key, its bytes and their media type."""

    key: str
    body: bytes
    content_type: str


class Delivery:
    """The processed object of a batch, always the whole truth of it, and the ledger lines that say where each lies.

    Both are files that grow by the lines of a staged batch.
    """

    def __init__(self, step: Step, facts: Facts) -> None:
        self.key = ledger_file.processed_key(step.batch, facts.dataset, facts.last_modified)
        self.counts = Counts()
        self.first: list[Rejected] = []
        self.body: IO[bytes] = spool()
        self.ledger_lines = Packed()
        self._offset = 0

    def __enter__(self) -> Self:
        """Use it until its files are closed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        self.body.close()
        self.ledger_lines.file.close()

    def add(self, lines: Sequence[bytes]) -> None:
        """Lay out some records: the good ones as JSON Lines, and each in the ledger."""
        documents: list[bytes] = []
        committed: list[bytes] = []
        offset = self._offset
        for line in lines:
            head, tab, document = line.partition(TAB)
            if not tab:
                committed.append(self._rejected(line))
                continue
            length = len(document)
            committed.append(
                b'%s,"outcome":"written","output":{"offset":%d,"length":%d,"sha256":"%s"}}\n'
                % (head[:-1], offset, length, sha256(document).hexdigest().encode())
            )
            documents.append(document)
            offset += length + 1
        if documents:
            self.body.write(b"\n".join(documents) + b"\n")
        self.ledger_lines.add(b"".join(committed))
        self._offset = offset
        self.counts += Counts(len(documents), len(lines) - len(documents))

    def _rejected(self, line: bytes) -> bytes:
        if len(self.first) < ledger_file.LISTED:
            self.first.append(Rejected.decode(decode(line)))
        return ledger_line(line)


def taken_back(delivery: Delivery, committed: Iterable[Json]) -> list[Put]:
    """Say what to put in the place of what earlier attempts delivered elsewhere, by the headers of their ledger files.

    The default dataset is part of a key, and may have been changed since.
    """
    keys = {header["output"]["key"] for header in committed if header["output"]}
    return [Put(key, b"", MEDIA_TYPE) for key in sorted(keys - {delivery.key})]


def dead_letter(step: Step, facts: Facts, delivery: Delivery) -> Put | None:
    """Say which dead letter stands beside the delivery; None if no record was rejected."""
    if not delivery.counts.rejected:
        return None
    error = tolerance.rejection(step.batch, delivery.counts, delivery.first)
    failure = Failure(step.name, RecordsRejected.__name__, str(error))
    body = ledger_file.dead_letter(step, failure, facts.dataset, Known(facts, delivery.counts, delivery.first))
    return Put(ledger_file.dead_letter_key(step.batch, ledger_file.REJECTED, step.execution), body, "application/json")


def report(step: Step, facts: Facts, counts: Counts, output: Output | None, audit_bucket: str) -> Json:
    """Say what became of the batch: the output of the execution, which its status-change event carries too."""
    dead_letter = (
        ledger_file.dead_letter_key(step.batch, ledger_file.REJECTED, step.execution) if counts.rejected else None
    )
    return step.batch.encode() | {
        "dataset": facts.dataset,
        "counts": counts.encode(),
        "output": asdict(output) if output else None,
        "ledger": {"bucket": audit_bucket, "key": ledger_file.ledger_key(step.batch)},
        "dead_letter": {"bucket": audit_bucket, "key": dead_letter} if dead_letter else None,
    }
