"""The claim check: records travel inline while they are few, and through buckets when they are many.

What Validate has read stays in the raw bucket, where it cannot change: only the rejected records are staged. A later
step forwards a staged batch. The steps need not know the difference: they see one page of records at a time.
https://www.enterpriseintegrationpatterns.com/patterns/messaging/StoreInLibrary.html
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, Self, TypeVar

from msgspec import Struct

from functions.shared import aws, runtime
from functions.shared.errors import MessageRefused
from functions.shared.model import tolerance
from functions.shared.model.keys import staged_key
from functions.shared.model.messages import Batch, Counts, Facts, Json, Step, part_of
from functions.shared.model.records import Page, Record, Rejected
from functions.shared.records import gzip_lines, raw_object
from functions.shared.records.gzip_lines import Packed
from functions.shared.records.reader import Limits, Raw
from functions.shared.records.strict_json import UNSURE, decode, encode, encode_struct, is_exact_elsewhere
from functions.shared.runtime import Environment
from functions.shared.staging import staged_batch

Content = TypeVar("Content")


class _Claim(Struct, frozen=True):
    """Where a staged batch lies; the newest version if `version_id` is None."""

    bucket: str
    key: str
    version_id: str | None


def forward_read(
    step: Step, facts: Facts, checked: Iterable[tuple[list[Raw], list[Rejected]]], environment: Environment
) -> Json:
    """Return the message for the next step, with the accepted and the rejected records of each page as they were read.

    As `forward`, but accepted records that do not fit inline stay in the raw bucket.
    """
    with _Draft(step, facts, environment) as draft:
        for accepted, rejected in checked:
            size = sum(len(raw.body) for raw in accepted)
            if draft.add(Page((), rejected), len(accepted), size):
                draft.keep(Page([raw.record for raw in accepted], rejected))
            del accepted  # else it would be in memory beside the next page
        return draft.finished(lambda: {"raw": True, "rejected": draft.upload() if draft.counts.rejected else None})


def forward(step: Step, facts: Facts, pages: Iterable[Page], environment: Environment) -> Json:
    """Return the message for the next step; with an inline limit of 0, all records are staged.

    Records with a number that a double cannot hold are staged too, because the state machine would round it.

    Raises RecordsRejected, with the rejected records left in the staging bucket for DeadLetter, if no record is left,
    and whatever a write raises. A later attempt goes on without records instead, because Write must replace those that
    an earlier one may have delivered.
    """
    with _Draft(step, facts, environment) as draft:
        for page in pages:
            if draft.add(page, len(page.records)):
                draft.keep(page)
            del page
        return draft.finished(draft.upload)


class _Draft:
    """A message under construction: the records to send inline, while they are few, and the staged batch."""

    def __init__(self, step: Step, facts: Facts, environment: Environment) -> None:
        self._step = step
        self._facts = facts
        self._bucket = environment.staging_bucket
        self._limit = environment.inline_limit_bytes
        self._staged = Packed()
        self._staged.add(encode(facts.encode()) + b"\n")
        self._accepted: list[Record] = []
        self._rejected: list[Rejected] = []
        self._size = 0
        self._first: list[Rejected] = []
        self.counts = Counts()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._staged.file.close()

    def add(self, page: Page, accepted: int, size: int = 0) -> bool:
        """Count records and stage a page; return whether the message may still be inline, with `size` more bytes."""
        first = page.rejected[: max(0, tolerance.LISTED - self.counts.rejected)]
        self.counts += Counts(accepted + len(page.rejected), 0, len(page.rejected))
        self._first += first
        if page.records or page.rejected:
            body = staged_batch.write(page)
            self._staged.add(body)
            size += len(body)
        self._size += size
        return self._size <= self._limit

    def keep(self, page: Page) -> None:
        self._accepted += page.records
        self._rejected += page.rejected

    def upload(self) -> Json:
        key = staged_key(self._step.batch, self._step.name)
        version_id = aws.write(self._bucket, key, self._staged.finished(), "application/gzip")
        return {"bucket": self._bucket, "key": key, "version_id": version_id}

    def finished(self, claim: Callable[[], Json]) -> Json:
        batch, counts = self._step.batch, self.counts
        self._emit_metrics()
        if counts.rejected and not counts.accepted and batch.attempt == 0:
            self.upload()
            raise tolerance.rejection(batch, counts, self._first)
        head = batch.encode() | self._facts.encode() | {"counts": counts.encode()}
        return head | (self._records() or {"claim": claim()})

    def _emit_metrics(self) -> None:
        message, dataset, counts = self._step.message, self._facts.dataset, self.counts
        if has_records(message):
            runtime.count(dataset, rejected=counts.rejected - counts_of(message).rejected)
        else:
            runtime.count(dataset, received=counts.received, rejected=counts.rejected)

    def _records(self) -> Json | None:
        """Return the records as they travel inline; None if they cannot.

        Lambda and Step Functions write them anew. They take most with spaces, and with every character escaped that
        may be.
        """
        if self._size > self._limit:
            return None
        body = encode_struct(Page(self._accepted, self._rejected))
        if len(body) > self._limit or not is_exact_elsewhere(body):
            return None
        records = decode(body)
        return records if len(json.dumps(records)) <= self._limit else None


def has_records(message: Json) -> bool:
    """Return whether a message comes from a step that had read the batch."""
    return "claim" in message or "records" in message


def counts_of(message: Json) -> Counts:
    """Return how many records a message announces; raise MessageRefused if it does not say so."""
    return part_of(message.get("counts"), Counts)


def pages(step: Step, limits: Limits | None = None) -> Iterator[Page]:
    """Yield the records of a message, wherever they are, a page at a time.

    Only the first step after Validate passes `limits`, because its records may still lie in the raw bucket; from any
    other step that is refused. Raises MessageRefused, also after the last page if a record is missing or repeated, or
    what a read raises.
    """
    seen = Counts()
    for page in _pages(step, limits):
        seen += Counts(len(page.records) + len(page.rejected), 0, len(page.rejected))
        yield page
        del page
    require_all(step.message, seen)


def _pages(step: Step, limits: Limits | None) -> Iterator[Page]:
    message = step.message
    if not (claim := message.get("claim")):
        yield part_of(message, Page)
    elif not claim.get("raw"):
        yield from _staged(claim, staged_batch.read)
    elif limits is None:
        raise _unprocessed()
    else:
        with raw_object.opened(step.batch, limits) as source:
            yield from _merged(source.pages, rejected(message))


def lines(message: Json) -> Iterator[list[bytes]]:
    """Yield the records of a message as lines of a staged batch, some at a time.

    Raises MessageRefused or what a read raises. Records that still lie in the raw bucket are refused: no step has made
    them ready for delivery.
    """
    if not (claim := message.get("claim")):
        yield staged_batch.write(part_of(message, Page)).splitlines()
    elif claim.get("raw"):
        raise _unprocessed()
    else:
        yield from _staged(claim, list)


def _unprocessed() -> MessageRefused:
    return MessageRefused("the records still lie in the raw bucket; a step before this one must process them")


def rejected(message: Json) -> Iterator[Rejected]:
    """Yield only the rejected records of a message; raise as `pages` does."""
    if not (claim := message.get("claim")):
        yield from part_of(message, Page).rejected
    elif staged := claim.get("rejected") if claim.get("raw") else claim:
        yield from chain.from_iterable(_staged(staged, staged_batch.read_rejected_of))


def rejected_by(step: str, batch: Batch, *, bucket: str) -> tuple[Facts, Iterator[list[bytes]]]:
    """Read what a step staged before it raised RecordsRejected: the facts of the batch, and its lines.

    Raises MessageRefused or what a read raises, also while the lines are read.
    """
    claim = {"bucket": bucket, "key": staged_key(batch, step), "version_id": None}
    lines = _lines(claim)
    with _intact(claim):
        (facts,) = map(decode, next(lines))
    return Facts.decode(facts), lines


def require_all(message: Json, counts: Counts) -> None:
    """Raise MessageRefused if there are not as many records as a message says."""
    expected = counts_of(message)
    if (counts.received, counts.rejected) != (expected.received, expected.rejected):
        raise MessageRefused(
            f"the message announces {expected.received} records, {expected.rejected} of them rejected, but has "
            f"{counts.received} and {counts.rejected}"
        )


def _staged(claim: Any, read: Callable[[list[bytes]], Content]) -> Iterator[Content]:
    lines = _lines(claim)
    next(lines)
    with _intact(claim):
        yield from map(read, lines)


def _lines(claim: Any) -> Iterator[list[bytes]]:
    """Read a staged batch, some lines at a time; the first, which holds the facts, comes alone."""
    place = part_of(claim, _Claim)
    with aws.streamed(place.bucket, place.key, place.version_id) as stored, _intact(claim):
        pages = gzip_lines.lines(gzip_lines.unpacked(stored.pieces))
        first, *others = next(pages, [b""])
        yield [first]
        yield others
        yield from pages


@contextmanager
def _intact(claim: Any) -> Iterator[None]:
    """Raise MessageRefused if a staged batch is damaged, or does not have the expected shape."""
    try:
        yield
    except UNSURE as error:
        raise MessageRefused(
            f"s3://{claim['bucket']}/{claim['key']} is damaged, or does not have the expected shape of a staged batch: "
            f"{type(error).__name__}"
        ) from error


def _merged(pages: Iterable[list[Raw]], set_aside: Iterator[Rejected]) -> Iterator[Page]:
    """Divide the records that are read again into the accepted, and those that were rejected before.

    Raises MessageRefused if they read differently now: the code that reads them has changed since.
    """
    pending = next(set_aside, None)
    for raws in pages:
        rejected_here: list[Rejected] = []
        while pending and raws and pending.position <= raws[-1].position:
            rejected_here.append(pending)
            pending = next(set_aside, None)
        positions = {each.position for each in rejected_here}
        accepted = [raw for raw in raws if raw.position not in positions] if positions else raws
        if len(accepted) + len(positions) != len(raws) or any(raw.violations for raw in accepted):
            raise MessageRefused("the object reads differently than when it was validated: the code has changed since")
        yield Page([raw.record for raw in accepted], rejected_here)
        del raws, accepted
    if pending:
        raise MessageRefused("the object ends earlier than when it was validated: the code has changed since")
