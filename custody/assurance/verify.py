"""Check what the ledger says against what is there: recompute the hashes of raw and processed objects.

Only the ledger is taken at its word, and only while it has not been touched: each of its files is written once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from threading import Lock
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from custody.assurance.findings import Findings, Result, Verdict
from custody.assurance.verify_batch import prove, still_elsewhere
from custody.audit import ledger_lines
from custody.audit.ledger_lines import UNREADABLE
from custody.concurrency import map_ordered
from functions.shared.audit.ledger_file import HEADER_BYTES, header_line
from functions.shared.model.keys import LEDGER, LedgerKey
from functions.shared.model.ledger import ChunkCounts, ChunkLine, CommittedChunk, LedgerHeader, SummaryHeader
from functions.shared.model.messages import Counts

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import DeleteMarkerEntryTypeDef, ObjectVersionTypeDef

__all__ = ["Holding", "Progress", "Result", "Verdict", "holdings", "verdicts", "verify"]

_WORKERS = 4
"""Each streams the ledger files of one object, and what they tell of."""

_Known = dict[tuple[int, int], Counts | None]
"""What the header of a chunk's ledger file counts, by its start and attempt; None if it cannot be read."""


_STEP = 10_000
"""Records after which it is told how far a check is."""

Passed = Callable[[int], None]
"""Is told, in any thread, of so many more records that have been checked."""


class Progress:
    """Counts the records that have been checked, in whatever threads: one object may have a million."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._records = 0

    def add(self, number: int) -> None:
        """Count so many more."""
        with self._lock:
            self._records += number

    def __str__(self) -> str:
        """Say how many there are so far."""
        return f"{self._records:,} record{'' if self._records == 1 else 's'}"


def _unheard(_: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class _Check:
    """A check of one object: where its commits are, what is found, and what the headers of its chunks count."""

    s3: "S3Client"
    bucket: str
    passed: Passed
    findings: Findings
    known: _Known

    def counted(self, found: Iterator[bytes]) -> Iterator[bytes]:
        """Give the lines of a ledger file on, and tell of them."""
        number = 0
        for number, line in enumerate(found, 1):
            if number % _STEP == 0:
                self.passed(_STEP)
            yield line
        self.passed(number % _STEP)


@dataclass(frozen=True)
class Kept:
    """A ledger file as the audit bucket keeps it: its versions, the newest first, and whether it was deleted."""

    entry: LedgerKey
    versions: tuple[str, ...]
    is_deleted: bool
    modified: datetime


@dataclass(frozen=True)
class Holding:
    """The ledger files of an object."""

    object_id: str
    files: tuple[Kept, ...]

    @property
    def modified(self) -> datetime:
        """When the last of them was put."""
        return max(kept.modified for kept in self.files)

    @property
    def to_check(self) -> list[Sequence[Kept]]:
        """The files that a step committed and that are there still, by batch; the latest attempt last."""
        return [list(of_batch) for _, of_batch in groupby(self._committed(), lambda kept: kept.entry.start)]

    @property
    def summary(self) -> Kept | None:
        """The summary of the latest attempt, if the object is cut into chunks and that is there still."""
        return max(self._committed(summaries=True), key=lambda kept: kept.entry, default=None)

    def _committed(self, *, summaries: bool = False) -> list[Kept]:
        committed = (kept for kept in self.files if kept.versions and not kept.entry.discards)
        return sorted((kept for kept in committed if kept.entry.is_summary is summaries), key=lambda kept: kept.entry)


def holdings(s3: "S3Client", bucket: str, object_id: str | None = None) -> Iterator[Holding]:
    """List the ledger by object, page by page, with what was deleted or replaced; or only that of one object."""
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket=bucket, Prefix=f"{LEDGER}{object_id}/" if object_id else LEDGER
    )
    listed = (
        found
        for page in pages
        for found in sorted(
            [*map(_version, page.get("Versions", [])), *map(_marker, page.get("DeleteMarkers", []))], key=_KEY
        )
    )
    kept = (_kept(key, list(found)) for key, found in groupby(listed, _KEY))
    files = (each for each in kept if each)
    for of_object, its_files in groupby(files, lambda each: each.entry.object_id):
        yield Holding(of_object, tuple(its_files))


def verdicts(s3: "S3Client", bucket: str, found: Iterable[Holding], passed: Passed = _unheard) -> Iterator[Verdict]:
    """Check objects, a few at a time, and give their verdicts in the same order."""
    return map_ordered(lambda holding: verify(s3, bucket, holding, passed), found, _WORKERS)


def verify(s3: "S3Client", bucket: str, holding: Holding, passed: Passed = _unheard) -> Verdict:
    """Check one object: its ledger files, its raw version, and its processed objects as they are now."""
    check = _Check(s3, bucket, passed, Findings(), {})
    for kept in holding.files:
        check.findings.broken(_touched(kept))
    records = sum(_batch(check, of_batch) for of_batch in holding.to_check)
    if holding.summary:
        _summary(check, holding.summary)
    return check.findings.verdict(holding.object_id, records)


def _batch(check: _Check, of_batch: Sequence[Kept]) -> int:
    """Check a batch by the ledger file of its latest attempt; give how many records that has."""
    *earlier, latest = of_batch
    findings, known = check.findings, check.known
    outputs = []
    for kept in earlier:
        header = _header(check, kept)
        known[kept.entry.start, kept.entry.attempt] = header.counts if header else None
        outputs.append(header.output if header else None)
    entry = latest.entry
    known[entry.start, entry.attempt] = None
    try:
        with closing(_first(check, latest)) as stream:
            line, found = ledger_lines.opened(stream)
            header = ledger_lines.committed_header(line, entry)
            known[entry.start, entry.attempt] = header.counts
            number = prove(check.s3, entry, header, check.counted(found), findings)
    except UNREADABLE as error:
        findings.broken(_unreadable(latest, error))
        return 0
    findings.broken(still_elsewhere(check.s3, header.output, filter(None, outputs)))
    return number


def _summary(check: _Check, kept: Kept) -> None:
    """Check the summary of an object against the ledger files of its chunks."""
    try:
        with closing(_first(check, kept)) as stream:
            line, found = ledger_lines.opened(stream)
            header = ledger_lines.summary_header(line, kept.entry)
            check.findings.broken(_missummed(kept.entry.key, header, ledger_lines.chunks(found), check.known))
    except UNREADABLE as error:
        check.findings.broken(_unreadable(kept, error))


def _missummed(key: str, header: SummaryHeader, found: Iterable[ChunkLine], known: _Known) -> Iterator[str]:
    starts: list[int] = []
    summed = Counts()
    committed = 0
    for line in found:
        starts.append(line.start)
        committed += isinstance(line, CommittedChunk)
        if line.counts is None or line.attempt is None:
            continue
        summed += line.counts
        where = f"the chunk at byte {line.start:,}, attempt {line.attempt}"
        if (line.start, line.attempt) not in known:
            yield f"the summary {key} tells of {where}, but that has no ledger file"
        elif (told := known[line.start, line.attempt]) is not None and told != line.counts:
            yield (f"the summary {key} counts {line.counts.encode()} for {where}, but its ledger file {told.encode()}")
    chunks = ChunkCounts(len(starts), committed, len(starts) - committed)
    if (header.counts, header.chunks) != (summed, chunks):
        claimed, counted = (to_builtins(each) for each in ((header.counts, header.chunks), (summed, chunks)))
        yield f"the summary {key} counts {claimed[0]} and {claimed[1]}, but its lines {counted[0]} and {counted[1]}"
    if starts != (whole := list(range(0, header.raw.size, header.chunk_bytes))):
        yield f"the summary {key} does not tell of each chunk of the object once, in their order"
    if beyond := {start for start, _ in known} - set(whole):
        yield f"there is a ledger file of a chunk that the object is not cut into, at byte {min(beyond):,}"


_Listed = tuple[str, str | None, datetime]
"""A key, its version id or None for a delete marker, and when that was put."""

_KEY = itemgetter(0)


def _version(found: "ObjectVersionTypeDef") -> _Listed:
    return found["Key"], found["VersionId"], found["LastModified"]


def _marker(found: "DeleteMarkerEntryTypeDef") -> _Listed:
    return found["Key"], None, found["LastModified"]


def _kept(key: str, found: Sequence[_Listed]) -> Kept | None:
    entry = LedgerKey.parse(key)
    if entry is None:
        return None
    versions = tuple(version for _, version, _ in found if version)
    return Kept(entry, versions, len(versions) < len(found), max(modified for _, _, modified in found))


def _unreadable(kept: Kept, why: Exception) -> str:
    return f"the ledger file {kept.entry.key} cannot be read: {why}"


def _touched(kept: Kept) -> Iterator[str]:
    """Tell of a ledger file that was touched after it was written."""
    if kept.is_deleted:
        still = f"; its first version is {kept.versions[-1]}" if kept.versions else ", and no version of it is left"
        yield f"the ledger file {kept.entry.key} was deleted{still}"
    if len(kept.versions) > 1:
        yield (
            f"the ledger file {kept.entry.key} was replaced: it has {len(kept.versions)} versions, "
            f"of which {kept.versions[-1]} is the first"
        )


def _first(check: _Check, kept: Kept) -> Any:
    """Open the first version of a ledger file."""
    return check.s3.get_object(Bucket=check.bucket, Key=kept.entry.key, VersionId=kept.versions[-1])["Body"]


def _header(check: _Check, kept: Kept) -> LedgerHeader | None:
    """Read the header of a ledger file, and no more of it; None if it cannot be read, and that is taken down."""
    try:
        with closing(_first(check, kept)) as stream:
            return ledger_lines.committed_header(header_line(stream.read(HEADER_BYTES)), kept.entry)
    except UNREADABLE as error:
        check.findings.broken(_unreadable(kept, error))
        return None
