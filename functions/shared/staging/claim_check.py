"""The claim check: records travel inline while they are few, and through buckets when they are many.

What Validate has read stays in the raw bucket, where it cannot change: only the rejected records are staged. A later
step forwards a staged batch. The steps need not know the difference: they see one page of records at a time.
https://www.enterpriseintegrationpatterns.com/patterns/messaging/StoreInLibrary.html
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, Self, TypeVar

from msgspec import Struct

from functions.shared import aws, runtime
from functions.shared.errors import MessageRefused
from functions.shared.model import tolerance
from functions.shared.model.keys import staged_key
from functions.shared.model.messages import (
    Batch,
    Counts,
    Facts,
    Forwarded,
    Json,
    Step,
    decode_records,
    encode_records,
    part_of,
)
from functions.shared.model.records import Page, Rejected
from functions.shared.records import gzip_lines, raw_object
from functions.shared.records.gzip_lines import Packed
from functions.shared.records.reader import Limits, Raw
from functions.shared.records.strict_json import UNSURE, decode, encode, is_exact_elsewhere
from functions.shared.staging import staged_batch

Content = TypeVar("Content")


class _Claim(Struct, frozen=True):
    """Where a staged batch lies; the newest version if `version_id` is None."""

    bucket: str
    key: str
    version_id: str | None


def forward_read(
    step: Step,
    facts: Facts,
    checked: Iterable[tuple[list[Raw], list[Rejected]]],
    *,
    bucket: str,
    inline_limit: int,
) -> Json:
    """Return the message for the next step, with the accepted and the rejected records of each page as they were read.

    As `forward`, but accepted records that do not fit inline stay in the raw bucket.
    """
    with _Draft(step, facts, bucket, inline_limit) as message:
        for accepted, rejected in checked:
            message.count(len(accepted), rejected)
            size = message.stage(Page((), rejected)) if rejected else 0
            if message.may_be_inline(size + sum(len(raw.body) for raw in accepted)):
                message.keep(Page([raw.record for raw in accepted], rejected))
        return message.finished(
            lambda: {"raw": True, "rejected": message.upload() if message.forwarded.rejected else None}
        )


def forward(step: Step, facts: Facts, pages: Iterable[Page], *, bucket: str, inline_limit: int) -> Json:
    """Return the message for the next step; `inline_limit` is in bytes of JSON, and 0 stages everything.

    Records with a number that a double cannot hold are staged too, because the state machine would round it.

    Raises RecordsRejected, with the rejected records left in the staging bucket for DeadLetter, if no record is left,
    and whatever a write raises. A later attempt goes on without records instead, because Write must replace those that
    an earlier one may have delivered.
    """
    with _Draft(step, facts, bucket, inline_limit) as message:
        for page in pages:
            message.count(len(page.records), page.rejected)
            size = message.stage(page)
            if message.may_be_inline(size):
                message.keep(page)
        return message.finished(message.upload)


class _Draft:
    """A message under construction: the records to send inline, while they are few, and the staged batch."""

    def __init__(self, step: Step, facts: Facts, bucket: str, inline_limit: int) -> None:
        self._step = step
        self._facts = facts
        self._bucket = bucket
        self._limit = inline_limit
        self._staged = Packed()
        self._staged.add(encode(facts.encode()) + b"\n")
        self._inline: list[Page] = []
        self._size = 0
        self._first: list[Rejected] = []
        self.forwarded = Forwarded()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._staged.file.close()

    def count(self, accepted: int, rejected: Iterable[Rejected]) -> None:
        before = self.forwarded.rejected
        listed = list(rejected)
        self.forwarded += Forwarded(accepted, len(listed))
        if before < tolerance.LISTED:
            self._first += listed[: tolerance.LISTED - before]

    def may_be_inline(self, size: int) -> bool:
        self._size += size
        if self._size > self._limit:
            self._inline.clear()
        return self._size <= self._limit

    def keep(self, page: Page) -> None:
        self._inline.append(page)

    def stage(self, page: Page) -> int:
        body = staged_batch.write(page)
        self._staged.add(body)
        return len(body)

    def upload(self) -> Json:
        key = staged_key(self._step.batch, self._step.name)
        version_id = aws.write(self._bucket, key, self._staged.finished(), "application/gzip")
        return {"bucket": self._bucket, "key": key, "version_id": version_id}

    def finished(self, claim: Callable[[], Json]) -> Json:
        batch, forwarded = self._step.batch, self.forwarded
        self._emit_metrics()
        if forwarded.rejected and not forwarded.accepted and batch.attempt == 0:
            self.upload()
            raise tolerance.rejection(batch, forwarded.counts, self._first)
        head = batch.encode() | self._facts.encode() | {"counts": forwarded.encode()}
        return head | (self._records() or {"claim": claim()})

    def _emit_metrics(self) -> None:
        message, dataset, forwarded = self._step.message, self._facts.dataset, self.forwarded
        if has_records(message):
            runtime.count(dataset, rejected=forwarded.rejected - forwarded_by(message).rejected)
        else:
            runtime.count(dataset, received=forwarded.counts.received, rejected=forwarded.rejected)

    def _records(self) -> Json | None:
        """Return the records as they travel inline; None if they cannot."""
        if self._size > self._limit:
            return None
        accepted = chain.from_iterable(page.records for page in self._inline)
        rejected = chain.from_iterable(page.rejected for page in self._inline)
        records = encode_records(Page(list(accepted), list(rejected)))
        body = encode(records)
        return records if len(body) <= self._limit and is_exact_elsewhere(body) else None


def has_records(message: Json) -> bool:
    """Return whether a message comes from a step that had read the batch."""
    return "claim" in message or "records" in message


def forwarded_by(message: Json) -> Forwarded:
    """Return how many records a message forwards; raise MessageRefused if it does not say so."""
    return part_of(message.get("counts"), Forwarded)


@contextmanager
def pages(step: Step, limits: Limits | None = None) -> Iterator[Iterator[Page]]:
    """Open the records of a message, wherever they are, a page at a time.

    Only the first step after Validate passes `limits`, because its records may still lie in the raw bucket; from any
    other step that is refused. Raises MessageRefused, also if there are not as many records as the message says, or
    what a read raises, while they are read.
    """
    message = step.message
    if "claim" not in message:
        yield _all_of(message, iter([decode_records(message)]))
    elif message["claim"].get("raw"):
        if limits is None:
            raise _unprocessed()
        with (
            raw_object.opened(step.batch, limits) as source,
            _staged(message["claim"].get("rejected"), staged_batch.read_rejected_of) as (_, staged),
        ):
            yield _all_of(message, _merged(source.pages, chain.from_iterable(staged)))
    else:
        with _staged(message["claim"], staged_batch.read) as (_, staged):
            yield _all_of(message, staged)


@contextmanager
def lines(message: Json) -> Iterator[Iterator[list[bytes]]]:
    """Open the records of a message as lines of a staged batch, some at a time.

    Raises MessageRefused or what a read raises, also while they are read. Records that still lie in the raw bucket are
    refused: no step has made them ready for delivery.
    """
    if "claim" not in message:
        yield iter([staged_batch.write(decode_records(message)).splitlines()])
        return
    if message["claim"].get("raw"):
        raise _unprocessed()
    with _staged(message["claim"], list) as (_, staged):
        yield staged


def _unprocessed() -> MessageRefused:
    return MessageRefused("the records still lie in the raw bucket; a step before this one must process them")


@contextmanager
def rejected(message: Json) -> Iterator[Iterator[Rejected]]:
    """Open only the rejected records of a message; raise as `lines` does."""
    if "claim" not in message:
        yield iter(decode_records(message).rejected)
        return
    claim = message["claim"]
    with _staged(claim.get("rejected") if claim.get("raw") else claim, staged_batch.read_rejected_of) as (_, staged):
        yield chain.from_iterable(staged)


@contextmanager
def rejected_by(step: str, batch: Batch, *, bucket: str) -> Iterator[tuple[Facts, Iterator[list[bytes]]]]:
    """Open what a step staged before it raised RecordsRejected: the facts of the batch, and its lines.

    Raises MessageRefused or what a read raises.
    """
    claim = {"bucket": bucket, "key": staged_key(batch, step), "version_id": None}
    with _staged(claim, list) as (facts, staged):
        yield Facts.decode(facts), staged


def require_all(message: Json, counts: Counts) -> None:
    """Raise MessageRefused if there are not as many records as a message says."""
    expected = forwarded_by(message)
    if counts != expected.counts:
        raise MessageRefused(
            f"the message announces {expected.accepted} accepted and {expected.rejected} rejected records, but has "
            f"{counts.written} and {counts.rejected}"
        )


def _all_of(message: Json, pages: Iterable[Page]) -> Iterator[Page]:
    """Pass the pages of a message on; raise MessageRefused after the last if a record is missing or repeated."""
    seen = Forwarded()
    for page in pages:
        seen += Forwarded(len(page.records), len(page.rejected))
        yield page
    require_all(message, seen.counts)


@contextmanager
def _staged(claim: Any, read: Callable[[list[bytes]], Content]) -> Iterator[tuple[Json, Iterator[Content]]]:
    """Open a staged batch: the facts in its first line, and the lines after it as read; empty if the claim is None."""
    if claim is None:
        yield {}, iter(())
        return
    place = part_of(claim, _Claim)
    with aws.streamed(place.bucket, place.key, place.version_id) as stored:
        pages = gzip_lines.lines(gzip_lines.unpacked(stored.pieces))
        with _intact(place):
            first, *others = next(pages, [b""])
            facts = decode(first)
        yield facts, _read(chain([others], pages), read, place)


def _read(pages: Iterable[list[bytes]], read: Callable[[list[bytes]], Content], place: _Claim) -> Iterator[Content]:
    with _intact(place):
        yield from map(read, pages)


@contextmanager
def _intact(place: _Claim) -> Iterator[None]:
    """Raise MessageRefused if a staged batch is damaged, or does not have the expected shape."""
    try:
        yield
    except (*UNSURE, *gzip_lines.DAMAGED) as error:
        raise MessageRefused(
            f"s3://{place.bucket}/{place.key} is damaged, or does not have the expected shape of a staged batch: "
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
    if pending:
        raise MessageRefused("the object ends earlier than when it was validated: the code has changed since")
