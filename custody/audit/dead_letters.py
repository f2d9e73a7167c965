"""Dead letters as an operator looks for them: selected by what they tell, and what they are about."""

import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from custody.audit.reader import AuditReader, Unreadable
from custody.audit.resolution import SUMS_UP
from custody.concurrency import map_ordered
from functions.shared.model.ids import RawObject
from functions.shared.model.keys import ENDS, REJECTED, START_DIGITS, DeadLetterKey, LedgerKey
from functions.shared.model.ledger import ChunkCounts, DeadLetter, SummaryHeader
from functions.shared.model.messages import Counts
from functions.shared.model.records import Span
from functions.shared.records.reader import as_read, may_be_gzipped

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_OF_NO_STEP = frozenset({REJECTED, *ENDS.values()})
"""A dead letter of one of these names tells in its body alone of which step it is; any other is named after its step."""

GONE = frozenset({"NoSuchKey", "NoSuchVersion", "404", "MethodNotAllowed"})
"""What S3 answers for a version that is not there any more; the last if it is a delete marker."""

_FAR = 10**START_DIGITS
"""Behind the last byte of any object."""

_MANY = 20
"""Up to so many dead letters of an object are read one after the other."""

_DAYS_OF_A_FIRST_ATTEMPT = 2
"""On how many days a first attempt may be recorded, and more: the state machine ends it 3 hours after its start."""


@dataclass(frozen=True)
class Filter:
    """Which dead letters to take; what is None or empty takes all. `since` and `until` are of the time of recording."""

    dataset: str | None = None
    error: str | None = None
    step: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    open_only: bool = True

    def takes_day(self, day: str) -> bool:
        """Say whether executions that started on a day may have dead letters to take: none is recorded before that."""
        return self.until is None or day <= self.until.astimezone(UTC).date().isoformat()

    def may_take(self, dead_letter: DeadLetterKey) -> bool:
        """Say whether a dead letter is worth reading, by its key alone."""
        if self.step and dead_letter.name not in _OF_NO_STEP and dead_letter.name.lower() != self.step.lower():
            return False
        if self.since is None or dead_letter.attempt > 0:
            return True
        return dead_letter.day >= _days_before(self.since, _DAYS_OF_A_FIRST_ATTEMPT)

    def takes(self, body: DeadLetter) -> bool:
        """Say whether a dead letter is one to take, by what it tells."""
        recorded = datetime.fromisoformat(body.recorded_at)
        return (
            self.dataset in {None, body.dataset}
            and self.error in {None, body.error}
            and (self.step is None or body.step.lower() == self.step.lower())
            and (self.since is None or recorded >= self.since)
            and (self.until is None or recorded <= self.until)
        )


def _days_before(moment: datetime, days: int) -> str:
    """Name the UTC day so many days before; text, so that a dead letter under an impossible day can be compared too."""
    return date.fromordinal(max(1, moment.astimezone(UTC).toordinal() - days)).isoformat()


@dataclass(frozen=True)
class Found:
    """A dead letter, what it tells, and whether it is open."""

    dead_letter: DeadLetterKey
    body: DeadLetter
    is_open: bool


def select(audit: AuditReader, wanted: Filter, odd: list[Unreadable] | None = None) -> Iterator[Found]:
    """Give the dead letters that a filter takes, one by one: the newest day first, and within a day those of an object.

    A dead letter that cannot be read is added to `odd`; without such a list, Unreadable is raised.
    """
    for of_an_object in map_ordered(lambda of_a_day: _selected(audit, of_a_day, wanted), _candidates(audit, wanted)):
        for found in of_an_object:
            if isinstance(found, Found):
                yield found
            elif odd is None:
                raise found
            else:
                odd.append(found)


def _candidates(audit: AuditReader, wanted: Filter) -> Iterator[list[DeadLetterKey]]:
    """List the dead letters that an object has of a day, for each day and object, if there is one worth reading."""
    for day in filter(wanted.takes_day, audit.days):
        for _, dead_letters in groupby(audit.dead_letters(day), lambda dead_letter: dead_letter.object_id):
            of_a_day = list(dead_letters)
            if any(map(wanted.may_take, of_a_day)):
                yield of_a_day


def _selected(audit: AuditReader, of_a_day: list[DeadLetterKey], wanted: Filter) -> list[Found | Unreadable]:
    """Take those of an object's dead letters of a day that a filter takes; ask whether they are open at most once."""

    @cache
    def open_ones() -> frozenset[DeadLetterKey]:
        return frozenset(open_of_day(audit, of_a_day[0].object_id, of_a_day[0].day, of_a_day))

    candidates = list(filter(wanted.may_take, of_a_day))
    if wanted.open_only and candidates:
        candidates = [dead_letter for dead_letter in candidates if dead_letter in open_ones()]
    found: list[Found | Unreadable] = []
    for dead_letter, body in zip(candidates, _bodies(audit, candidates), strict=True):
        if isinstance(body, Unreadable):
            found.append(body)
        elif wanted.takes(body):
            found.append(Found(dead_letter, body, dead_letter in open_ones()))
    return found


def _bodies(audit: AuditReader, dead_letters: list[DeadLetterKey]) -> Iterator[Any]:
    """Read dead letters, several at a time where there are many: a bulk object may have one a chunk."""

    def read(dead_letter: DeadLetterKey) -> Any:
        try:
            return audit.read(dead_letter)
        except Unreadable as unreadable:
            return unreadable

    return map_ordered(read, dead_letters) if len(dead_letters) > _MANY else map(read, dead_letters)


def open_of_day(audit: AuditReader, object_id: str, day: str, dead_letters: list[DeadLetterKey]) -> list[DeadLetterKey]:
    """Give the open ones among all the dead letters that an object has of one day.

    A later attempt starts on the same day or a later one, so that no earlier day needs to be looked at; and no day at
    all, if the ledger closes them.
    """
    resolution = audit.resolution(object_id)
    candidates = resolution.open_among(dead_letters)
    if not candidates or day == audit.days[0]:
        return candidates
    still_open = frozenset(resolution.open_among(audit.dead_letters_of(object_id, since=day)))
    return [dead_letter for dead_letter in candidates if dead_letter in still_open]


def closed_by(audit: AuditReader, dead_letter: DeadLetterKey) -> str | None:
    """Say what closed a dead letter; None while it is open."""
    dead_letters = audit.dead_letters_of(dead_letter.object_id, since=dead_letter.day)
    resolution = audit.resolution(dead_letter.object_id)
    if dead_letter in resolution.open_among(dead_letters):
        return None
    entry = resolution.closing(dead_letter)
    if entry is None:
        latest = max(each for each in dead_letters if each.batch == dead_letter.batch)
        if latest.attempt == dead_letter.attempt:
            return "it sums up its chunks, and each of these is written or discarded by now"
        return f"a later dead letter stands in its place: {latest.id}"
    what = "it was discarded" if entry.discards else f"attempt {entry.attempt} was committed"
    try:
        if entry.discards:
            discard = audit.discard_header(entry)
            return f"discarded on {discard.recorded_at} by {discard.discarded.by}: {discard.discarded.reason}"
        header = audit.header(entry)
    except Unreadable as unreadable:
        return f"{what}, but {unreadable}"
    return f"{what} on {header.recorded_at}: {header.counts.written} written, {header.counts.rejected} rejected"


@dataclass(frozen=True)
class Sum:
    """What the dead letter of a bulk object sums up: what its summary counts, and the open dead letters of its chunks.

    `counts` and `chunks` are as in the header of the summary; None if there is none that can be read.
    """

    counts: Counts | None
    chunks: ChunkCounts | None
    open: tuple[DeadLetterKey, ...]


def summed_up(audit: AuditReader, dead_letter: DeadLetterKey, body: DeadLetter) -> Sum | None:
    """Give what a dead letter sums up; None if it is that of a batch, or tells of the execution of an object itself."""
    if not dead_letter.is_of_whole or body.error not in SUMS_UP:
        return None
    resolution = audit.resolution(dead_letter.object_id)
    still_open = resolution.open_among(audit.dead_letters_of(dead_letter.object_id))
    entry = LedgerKey(dead_letter.object_id, dead_letter.start, dead_letter.attempt)
    try:
        header = audit.header(entry) if entry in resolution.entries else None
    except Unreadable:
        header = None
    open_chunks = tuple(each for each in still_open if not each.is_of_whole)
    chunks = header.chunks if isinstance(header, SummaryHeader) else None
    return Sum(header.counts if header else None, chunks, open_chunks)


def record_bytes(s3: "S3Client", raw: RawObject, record: Span) -> bytes | None:
    """Read the bytes of a record of an object, or what is left of them; None if that version of the object is gone."""
    if record.length == 0:
        return b""
    try:
        with closing(open_span(s3, raw, record.offset, record.offset + record.length)) as stream:
            return bytes(stream.read())
    except ClientError as error:
        if error.response["Error"]["Code"] in GONE:
            return None
        raise


def open_span(s3: "S3Client", raw: RawObject, start: int, end: int | None = None) -> Any:
    """Open a raw version from byte `start` up to `end`, or to its end, as it was read; raise ClientError if it is gone.

    What may be gzipped is read whole, for only so can it be told whether it is: there is no more of it than one batch
    may have.
    """
    if may_be_gzipped(raw.key):
        body = s3.get_object(Bucket=raw.bucket, Key=raw.key, VersionId=raw.version_id)["Body"].read()
        return io.BytesIO(as_read(body, raw.key, _FAR if end is None else end)[start:])
    if end is not None and start >= end:
        s3.head_object(Bucket=raw.bucket, Key=raw.key, VersionId=raw.version_id)
        return io.BytesIO()
    span = f"bytes={start}-" + ("" if end is None else str(end - 1))
    try:
        return s3.get_object(Bucket=raw.bucket, Key=raw.key, VersionId=raw.version_id, Range=span)["Body"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "InvalidRange":
            return io.BytesIO()
        raise
