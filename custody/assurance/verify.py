"""Verify the ledger against what is stored: recompute the hashes of raw and processed objects.

The ledger itself is trusted, but only as it was first written: each of its files is written once.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from threading import Lock
from typing import TYPE_CHECKING, Any

from custody.assurance.findings import Findings, ObjectVerdict, Result
from custody.assurance.verify_batch import delivered_elsewhere, format_counts, verify_batch
from custody.audit import ledger_lines
from custody.audit.object_versions import object_versions
from custody.concurrency import map_ordered
from custody.terminal.text import plural
from functions.shared.audit.ledger_file import UNREADABLE
from functions.shared.model.keys import LEDGER, LedgerKey
from functions.shared.model.ledger import ChunkCounts, ChunkLine, CommittedChunk, LedgerHeader, Output, SummaryHeader
from functions.shared.model.messages import Counts

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_WORKERS = 4
"""Each worker streams the ledger files of one object, and what they describe."""


class Progress:
    """Counts the records checked so far, in any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._records = 0

    def add(self, number: int) -> None:
        """Count more records."""
        with self._lock:
            self._records += number

    def __str__(self) -> str:
        """Format the number of records."""
        return plural(self._records, "record")


@dataclass(frozen=True)
class StoredFile:
    """A ledger file as the audit bucket keeps it: its versions, newest first, and whether it was deleted."""

    key: LedgerKey
    versions: tuple[str, ...]
    is_deleted: bool
    modified: datetime


@dataclass(frozen=True)
class StoredLedger:
    """The ledger files of an object."""

    object_id: str
    files: tuple[StoredFile, ...]

    @property
    def modified(self) -> datetime:
        """When the last of them was written."""
        return max(file.modified for file in self.files)

    @property
    def committed(self) -> list[Sequence[StoredFile]]:
        """The committed files that still exist by batch, the latest attempt last; then the summaries."""
        existing = (file for file in self.files if file.versions and not file.key.discards)
        in_order = sorted(existing, key=attrgetter("key"))
        return [list(files) for _, files in groupby(in_order, lambda file: file.key.start)]


def stored_ledgers(s3: "S3Client", bucket: str, object_id: str | None = None) -> Iterator[StoredLedger]:
    """List the ledger by object, page by page, with what was deleted or replaced; or only that of one object."""
    versions = object_versions(s3, bucket, f"{LEDGER}{object_id}/" if object_id else LEDGER)
    files = (_stored_file(key, list(group)) for key, group in groupby(versions, attrgetter("key")))
    for of_object, group in groupby(filter(None, files), lambda file: file.key.object_id):
        yield StoredLedger(of_object, tuple(group))


def verify_all(
    s3: "S3Client", bucket: str, ledgers: Iterable[StoredLedger], progress: Progress | None = None
) -> Iterator[ObjectVerdict]:
    """Verify objects, a few at a time, and yield their verdicts in order."""
    progress = progress or Progress()
    return map_ordered(lambda ledger: _Check(s3, bucket, progress).verdict(ledger), ledgers, _WORKERS)


@dataclass(frozen=True)
class _Check:
    """The check of one object.

    `counts` are those in the headers of its chunks, by start and attempt; None if a header cannot be read.
    """

    s3: "S3Client"
    bucket: str
    progress: Progress
    findings: Findings = field(default_factory=Findings)
    counts: dict[tuple[int, int], Counts | None] = field(default_factory=dict)

    def verdict(self, ledger: StoredLedger) -> ObjectVerdict:
        """Verify the ledger files of the object, its raw version, and its processed objects as they are now."""
        for file in ledger.files:
            self.findings.add_broken(_tampering(file))
        records = 0
        for files in ledger.committed:
            if files[-1].key.is_summary:
                self._verify_summary(files[-1])
            else:
                records += self._verify_batch(files)
        return self.findings.verdict(ledger.object_id, records)

    def _verify_batch(self, files: Sequence[StoredFile]) -> int:
        """Verify a batch by the ledger file of its latest attempt, and return how many records that has."""
        outputs: list[Output | None] = []
        number = 0
        for file in files:
            key = file.key
            self.counts[key.start, key.attempt] = None
            with self._reading(file) as stream:
                header, lines = _opened(stream, key)
                self.counts[key.start, key.attempt] = header.counts
                if file is files[-1]:
                    number = verify_batch(self.s3, key, header, lines, self.findings)
                    self.findings.add_broken(delivered_elsewhere(self.s3, header.output, filter(None, outputs)))
                outputs.append(header.output)
        self.progress.add(number)
        return number

    def _verify_summary(self, file: StoredFile) -> None:
        """Verify the summary of the latest attempt against the ledger files of the chunks."""
        with self._reading(file) as stream:
            header, lines = _opened(stream, file.key)
            if isinstance(header, SummaryHeader):
                chunks = ledger_lines.chunks(lines)
                self.findings.add_broken(self._summary_differences(file.key.key, header, chunks))

    def _summary_differences(self, key: str, header: SummaryHeader, lines: Iterable[ChunkLine]) -> Iterator[str]:
        starts: list[int] = []
        counts, committed = Counts(), 0
        for line in lines:
            starts.append(line.start)
            committed += isinstance(line, CommittedChunk)
            if line.counts is None or line.attempt is None:
                continue
            counts += line.counts
            where = f"the chunk at byte {line.start:,}, attempt {line.attempt}"
            if (line.start, line.attempt) not in self.counts:
                yield f"the summary {key} has {where}, but there is no such ledger file"
            elif (of_chunk := self.counts[line.start, line.attempt]) is not None and of_chunk != line.counts:
                yield (
                    f"the summary {key} counts {format_counts(line.counts)} for {where}, but its ledger file "
                    f"{format_counts(of_chunk)}"
                )
        chunks = ChunkCounts(len(starts), committed, len(starts) - committed)
        if header.counts != counts:
            yield f"the summary {key} counts {format_counts(header.counts)}, but its lines {format_counts(counts)}"
        if header.chunks != chunks:
            yield f"the summary {key} counts {_format_chunks(header.chunks)}, but its lines {_format_chunks(chunks)}"
        whole = list(range(0, header.object.size, header.chunk_bytes))
        if starts != whole:
            yield f"the summary {key} does not have each chunk of the object once, in order"
        if foreign := {start for start, _ in self.counts} - set(whole):
            yield f"there is a ledger file of a chunk that the object is not cut into, at byte {min(foreign):,}"

    @contextmanager
    def _reading(self, file: StoredFile) -> Iterator[Any]:
        """Open the first version of a ledger file; if the block cannot read it, add that to the findings."""
        body = self.s3.get_object(Bucket=self.bucket, Key=file.key.key, VersionId=file.versions[-1])["Body"]
        with closing(body):
            try:
                yield body
            except UNREADABLE as error:
                self.findings.add(Result.BROKEN, f"the ledger file {file.key.key} cannot be read: {error}")


def _opened(stream: Any, key: LedgerKey) -> tuple[LedgerHeader, Iterator[bytes]]:
    """Return the header of a ledger file, and its lines undecoded; raise one of UNREADABLE."""
    header, lines = ledger_lines.opened(stream)
    return ledger_lines.committed_header(header, key), lines


def _stored_file(key: str, versions: Sequence[Any]) -> StoredFile | None:
    parsed = LedgerKey.parse(key)
    if parsed is None:
        return None
    version_ids = tuple(version.version_id for version in versions if not version.is_marker)
    modified = max(version.modified for version in versions)
    return StoredFile(parsed, version_ids, len(version_ids) < len(versions), modified)


def _tampering(file: StoredFile) -> Iterator[str]:
    """Describe how a ledger file was changed after it was written."""
    if file.is_deleted:
        left = f"; its first version is {file.versions[-1]}" if file.versions else ", and no version of it is left"
        yield f"the ledger file {file.key.key} was deleted{left}"
    if len(file.versions) > 1:
        yield (
            f"the ledger file {file.key.key} was replaced: it has {len(file.versions)} versions, of which "
            f"{file.versions[-1]} is the first"
        )


def _format_chunks(chunks: ChunkCounts) -> str:
    return f"{chunks.total:,} chunks, {chunks.committed:,} committed, {chunks.failed:,} failed"
