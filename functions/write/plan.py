"""Decide what to put into the processed and the audit bucket for a batch; the handler does it."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import IO, TYPE_CHECKING, Self

from msgspec import to_builtins

from functions.shared.audit.dead_letter import LISTED, Contents, Failure, dead_letter
from functions.shared.errors import RecordsRejected
from functions.shared.model import tolerance
from functions.shared.model.keys import REJECTED, DeadLetterKey, LedgerKey, processed_key
from functions.shared.model.ledger import LedgerHeader, Output
from functions.shared.model.messages import Counts, Facts, Json, Step
from functions.shared.records.gzip_lines import Packed, spool
from functions.shared.staging.staged_batch import TAB, ledger_line, read_rejected

if TYPE_CHECKING:
    from functions.shared.model.records import Rejected

STAGE = "write"
MEDIA_TYPE = "application/jsonl"


class Delivery:
    """The whole processed object of a batch, and the ledger lines that say where each record lies in it.

    Both are files that grow with the lines of a staged batch.
    """

    def __init__(self, step: Step, facts: Facts) -> None:
        self.key = processed_key(step.batch, facts.dataset, facts.last_modified)
        self.counts = Counts()
        self.first: list[Rejected] = []
        self.body: IO[bytes] = spool()
        self.ledger_lines = Packed()
        self._offset = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.body.close()
        self.ledger_lines.file.close()

    def add(self, lines: Sequence[bytes]) -> None:
        """Add records: the accepted to the processed object, as JSON Lines, and all to the ledger."""
        documents: list[bytes] = []
        ledger: list[bytes] = []
        offset = self._offset
        for line in lines:
            head, tab, document = line.partition(TAB)
            if not tab:
                ledger.append(self._rejected(line))
                continue
            length = len(document)
            ledger.append(
                b'{"outcome":"written",%s,"output":{"offset":%d,"length":%d,"sha256":"%s"}}\n'
                % (head[1:-1], offset, length, sha256(document).hexdigest().encode())
            )
            documents.append(document)
            offset += length + 1
        if documents:
            self.body.write(b"\n".join(documents) + b"\n")
        self.ledger_lines.add(b"".join(ledger))
        self._offset = offset
        self.counts += Counts(len(lines), len(documents), len(lines) - len(documents))

    def _rejected(self, line: bytes) -> bytes:
        if len(self.first) < LISTED:
            self.first.append(read_rejected(line))
        return ledger_line(line)


def outdated_keys(delivery: Delivery, committed: Iterable[LedgerHeader]) -> list[str]:
    """Return the other keys under which earlier attempts delivered records, to be replaced by empty objects.

    The default dataset is part of a key, and may have changed since.
    """
    return sorted({header.output.key for header in committed if header.output} - {delivery.key})


def dead_letter_key(step: Step, counts: Counts) -> str | None:
    """Return the key of the dead letter of the rejected records; None if there are none."""
    return DeadLetterKey.of(step.batch, REJECTED, step.execution).key if counts.rejected else None


def dead_letter_of(step: Step, facts: Facts, delivery: Delivery) -> bytes:
    """Return the dead letter of the rejected records."""
    error = tolerance.rejection(step.batch, delivery.counts, delivery.first)
    failure = Failure(step.name, RecordsRejected.__name__, str(error))
    return dead_letter(step, failure, facts.dataset, Contents(facts, delivery.counts, delivery.first))


def report(step: Step, facts: Facts, counts: Counts, output: Output | None, audit_bucket: str) -> Json:
    """Return the output of the execution, which its status-change event carries too."""
    rejected_key = dead_letter_key(step, counts)
    return step.batch.encode() | {
        "dataset": facts.dataset,
        "counts": counts.encode(),
        "output": to_builtins(output),
        "ledger": {"bucket": audit_bucket, "key": LedgerKey.of(step.batch).key},
        "dead_letter": {"bucket": audit_bucket, "key": rejected_key} if rejected_key else None,
    }
