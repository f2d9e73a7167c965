"""What became of an object that was put: counted, with the first of the records that matter, however many there are."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC
from itertools import islice
from typing import Any

from custody.audit.ledger_lines import Counts, RecordLine, Rejected, added, encode, shape
from custody.audit.reader import AuditReader, LedgerKey, latest
from custody.audit.resolution import Resolution
from custody.concurrency import map_ordered
from custody.errors import ALL_WRITTEN, SOME_REJECTED, SOME_WITHOUT_OUTCOME
from custody.executions.pipeline import RUNNING, SUCCEEDED
from functions.shared.model.ids import RawObject, record_id

NOT_STARTED = "NOT STARTED"
"""Stands for the status of an execution that is not there."""

LISTED = 1000
"""Of an object of at most so many records each is listed; of a larger one the first so many that were rejected."""


@dataclass(frozen=True)
class Sent:
    """An object that was put, the ARN that its execution has or will have, and how many chunks it is cut into."""

    file: str
    raw: RawObject
    execution: str
    chunks: int | None = None

    def encode(self) -> dict[str, Any]:
        """Give the JSON shape of `--json`."""
        raw = {"object_id": self.raw.id} | asdict(self.raw)
        return {"file": self.file, "object": raw, "execution": self.execution}


@dataclass(frozen=True)
class ObjectOutcome:
    """What became of an object: `status` of its execution, `counts` of its records; None if it has no ledger file.

    `records` are as LISTED says, `chunks` how many of a bulk object are committed and failed; None before its commits are
    closed, and for one batch. `committed` is how many ledger files it has by then, of one batch each.
    """

    sent: Sent
    status: str
    counts: Counts | None
    records: list[dict[str, Any]]
    output: dict[str, str] | None
    chunks: dict[str, int] | None = None
    error: str | None = None
    cause: str | None = None
    dead_letter: str | None = None
    committed: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is to come."""
        return self.status not in {*RUNNING, NOT_STARTED}

    @property
    def is_large(self) -> bool:
        """Whether not all of its records are listed."""
        return self.counts is not None and self.counts.received > LISTED

    @property
    def more(self) -> int:
        """How many records are not listed."""
        return (self.counts.received if self.counts else 0) - len(self.records)

    @property
    def is_accounted_for(self) -> bool:
        """Whether each of its records has an outcome, as far as it is one batch, or its commits are closed."""
        if self.sent.chunks is not None:
            return self.chunks is not None and not self.chunks["failed"]
        return self.counts is not None or self.status == SUCCEEDED

    @property
    def code(self) -> int:
        """The exit code that this alone would give."""
        if not self.is_accounted_for:
            return SOME_WITHOUT_OUTCOME
        return SOME_REJECTED if self.counts and self.counts.rejected else ALL_WRITTEN

    def encode(self) -> dict[str, Any]:
        """Give the JSON shape of `--json`."""
        return self.sent.encode() | {
            "status": self.status,
            "counts": shape(self.counts) if self.counts else None,
            "chunks": self.chunks,
            "records": self.records,
            "records_more": self.more,
            "output": self.output,
            "error": self.error,
            "cause": self.cause,
            "dead_letter": self.dead_letter,
        }


def fate_of(audit: AuditReader, sent: Sent, described: dict[str, Any] | None) -> ObjectOutcome:
    """Read what became of an object: from its execution as Step Functions describes it, its ledger and its dead letters.

    Raises Unreadable.
    """
    ended = described or {"status": NOT_STARTED}
    resolution = audit.resolution(sent.raw.id)
    summary = audit.header(resolution.summary) if resolution.summary else None
    parts = parts_of(audit, resolution)
    counts, records = None, []
    for _, header in parts:
        counts = added(counts or Counts(0, 0, 0), Counts(**header["counts"]))
    if counts:
        listed = _listed(audit, parts, all_of_them=counts.received <= LISTED)
        records = [{"record": record_id(sent.raw.id, line.position)} | encode(line) for line in listed]
    return ObjectOutcome(
        sent,
        ended["status"],
        counts,
        records,
        parts[0][1].get("output") if len(parts) == 1 else None,
        summary and summary["chunks"],
        ended.get("error"),
        ended.get("cause"),
        _dead_letter(audit, sent, ended),
        len(parts),
    )


Part = tuple[LedgerKey, dict[str, Any]]
"""A ledger file of records, and its header, or as much of that as the summary of a bulk object repeats."""


def parts_of(audit: AuditReader, resolution: Resolution) -> list[Part]:
    """Give the ledger file of the latest attempt of each batch, by the summary where there is one."""
    if resolution.chunks:
        return [
            (
                LedgerKey(resolution.entries[0].object_id, line.start, line.attempt),
                {"counts": shape(line.counts), "output": getattr(line, "output", None)},
            )
            for line in resolution.chunks.values()
            if line.attempt is not None and line.counts is not None
        ]
    entries = [entry for entry in latest(resolution.entries).values() if not entry.is_summary]
    return list(zip(entries, map_ordered(audit.header, entries), strict=True))


def _listed(audit: AuditReader, parts: list[Part], *, all_of_them: bool) -> Iterator[RecordLine]:
    if all_of_them:
        for entry, _ in parts:
            yield from audit.lines(entry)
        return
    yield from (line for _, line in islice(rejected_of(audit, parts), LISTED))


def rejected_of(audit: AuditReader, parts: list[Part]) -> Iterator[tuple[LedgerKey, Rejected]]:
    """Give the rejected records; no ledger file is read further than to the last of its own, or to what is wanted."""
    for entry, header in parts:
        if number := header["counts"]["rejected"]:
            with closing(audit.lines(entry)) as lines:
                yield from islice(((entry, line) for line in lines if isinstance(line, Rejected)), number)


def _dead_letter(audit: AuditReader, sent: Sent, ended: dict[str, Any]) -> str | None:
    if "startDate" not in ended:
        return None
    day = ended["startDate"].astimezone(UTC).strftime("%Y-%m-%d")
    dead_letters = audit.dead_letters(day, sent.raw.id)
    last = max(
        dead_letters, key=lambda dead_letter: (dead_letter.attempt, dead_letter.is_of_whole, dead_letter), default=None
    )
    return f"s3://{audit.bucket}/{last.key}" if last else None
