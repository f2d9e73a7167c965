"""The claim check: records travel inline while they are few, and lie in buckets when they are not.

What Validate has read lies in the raw bucket, where it cannot change: it forwards only what it rejects. A later step
forwards a staged batch. The steps do not know the difference, and see a page of records at a time.
https://www.enterpriseintegrationpatterns.com/patterns/messaging/StoreInLibrary.html
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Self

from functions.shared import aws, runtime
from functions.shared.audit.ledger_file import batch_name
from functions.shared.errors import MessageRefused
from functions.shared.model import tolerance
from functions.shared.model.messages import (
    Batch,
    Counts,
    Facts,
    Json,
    Page,
    Rejected,
    Step,
    decode_records,
    encode_records,
)
from functions.shared.records import gzip_lines, raw_object
from functions.shared.records.gzip_lines import Packed
from functions.shared.records.reader import Limits, Raw
from functions.shared.records.strict_json import UNSURE, decode, encode, is_exact_elsewhere
from functions.shared.staging import staged_batch

_PLACE = ("bucket", "key", "version_id")


def staged_key(batch: Batch, step: str) -> str:
    """Say where the staged batch of a batch lies in the staging bucket, as a step left it."""
    return f"batches/{batch.object.id}/{batch_name(batch)}.{step}.jsonl.gz"


def forward_read(
    step: Step,
    facts: Facts,
    checked: Iterable[tuple[list[Raw], list[Rejected]]],
    *,
    bucket: str,
    inline_limit: int,
) -> Json:
    """Make the message for the next step of what was read and checked, the good records and the rejected of each page.

    As `hand_on`; but good records that are too many stay where they are.
    """
    with _Forwarding(step, facts, bucket, inline_limit) as forwarding:
        for accepted, rejected in checked:
            forwarding.count(len(accepted), rejected)
            size = forwarding.stage(Page((), rejected)) if rejected else 0
            if forwarding.may_be_inline(size + sum(len(raw.body) for raw in accepted)):
                forwarding.keep(Page([raw.record for raw in accepted], rejected))
        return forwarding.message(
            lambda: {"raw": True, "rejected": forwarding.staged() if forwarding.counts.rejected else None}
        )


def forward(step: Step, facts: Facts, pages: Iterable[Page], *, bucket: str, inline_limit: int) -> Json:
    """Make the message for the next step; `inline_limit` is in bytes of JSON, and 0 stages everything.

    What has a number that a double does not hold is staged too: the state machine would round it.

    Raises RecordsRejected, with the rejected records left in the staging bucket for DeadLetter, if no record is left,
    and whatever a write raises. At a later attempt the batch goes on without records, for an earlier one may have
    delivered some, and Write must then take their place.
    """
    with _Forwarding(step, facts, bucket, inline_limit) as forwarding:
        for page in pages:
            forwarding.count(len(page.records), page.rejected)
            size = forwarding.stage(page)
            if forwarding.may_be_inline(size):
                forwarding.keep(page)
        return forwarding.message(forwarding.staged)


class _Forwarding:
    """A message that is being made: what would travel inline, while that is little, and the staged batch."""

    def __init__(self, step: Step, facts: Facts, bucket: str, inline_limit: int) -> None:
        self._step = step
        self._facts = facts
        self._bucket = bucket
        self._limit = inline_limit
        self._staged_batch = Packed()
        self._staged_batch.add(encode(facts.encode()) + b"\n")
        self._inline: list[Page] = []
        self._size = 0
        self._first: list[Rejected] = []
        self.counts = Counts()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._staged_batch.file.close()

    def count(self, accepted: int, rejected: Iterable[Rejected]) -> None:
        before = self.counts.rejected
        listed = list(rejected)
        self.counts += Counts(accepted, len(listed))
        if before < tolerance.TOLD:
            self._first += listed[: tolerance.TOLD - before]

    def may_be_inline(self, size: int) -> bool:
        self._size += size
        if self._size > self._limit:
            self._inline.clear()
        return self._size <= self._limit

    def keep(self, page: Page) -> None:
        self._inline.append(page)

    def stage(self, page: Page) -> int:
        body = staged_batch.written(page)
        self._staged_batch.add(body)
        return len(body)

    def staged(self) -> Json:
        key = staged_key(self._step.batch, self._step.name)
        version_id = aws.write(self._bucket, key, self._staged_batch.finished(), "application/gzip")
        return {"bucket": self._bucket, "key": key, "version_id": version_id}

    def message(self, claim: Callable[[], Json]) -> Json:
        batch, counts = self._step.batch, self.counts
        self._count()
        if counts.rejected and not counts.accepted and batch.attempt == 0:
            self.staged()
            raise tolerance.rejection(batch, counts, self._first)
        head = batch.encode() | self._facts.encode() | {"counts": counts.encode()}
        return head | (self._records() or {"claim": claim()})

    def _count(self) -> None:
        message, dataset = self._step.message, self._facts.dataset
        if has_records(message):
            runtime.count(dataset, rejected=self.counts.rejected - counts(message).rejected)
        else:
            runtime.count(dataset, received=self.counts.received, rejected=self.counts.rejected)

    def _records(self) -> Json | None:
        """Give the records as they travel inline; None if they cannot."""
        if self._size > self._limit:
            return None
        accepted = chain.from_iterable(page.records for page in self._inline)
        rejected = chain.from_iterable(page.rejected for page in self._inline)
        records = encode_records(Page(list(accepted), list(rejected)))
        body = encode(records)
        return records if len(body) <= self._limit and is_exact_elsewhere(body) else None


def has_records(message: Json) -> bool:
    """Say whether a message comes from a step that had read the batch."""
    return "claim" in message or "records" in message


def counts(message: Json) -> Counts:
    """Read how many records a message forwards; raise MessageRefused if it does not say so."""
    try:
        return Counts(message["counts"]["written"], message["counts"]["rejected"])
    except (KeyError, TypeError) as error:
        raise MessageRefused(f"a message came without a part that it must have: {error}") from error


@contextmanager
def pages(step: Step, limits: Limits | None = None) -> Iterator[Iterator[Page]]:
    """Open the records of a message, wherever they are: some at a time.

    The first step behind Validate gives `limits`, for there they may lie in the raw bucket still; to any other that is
    refused. Raises MessageRefused, also if they are not as many as the message says, or what a read raises, while they
    are read.
    """
    message = step.message
    if "claim" not in message:
        yield _all_of(message, iter([decode_records(message)]))
    elif message["claim"].get("raw"):
        if limits is None:
            raise _not_ready()
        with (
            raw_object.opened(step.batch, limits) as found,
            _staged_batch(message["claim"].get("rejected")) as (_, staged),
        ):
            yield _all_of(message, _without(found.pages, _rejected(staged)))
    else:
        with _staged_batch(message["claim"]) as (_, staged):
            yield _all_of(message, map(_page, staged))


@contextmanager
def lines(message: Json) -> Iterator[Iterator[list[bytes]]]:
    """Open the records of a message as lines of a staged batch: some at a time.

    Raises MessageRefused or what a read raises, also while they are read. What lies in the raw bucket still, no step
    has made to be delivered: that is refused too.
    """
    if "claim" not in message:
        yield iter([staged_batch.written(decode_records(message)).splitlines()])
        return
    if message["claim"].get("raw"):
        raise _not_ready()
    with _staged_batch(message["claim"]) as (_, staged):
        yield staged


def _not_ready() -> MessageRefused:
    return MessageRefused("records came as they lie in the raw bucket; a step before this one must make them ready")


@contextmanager
def rejected(message: Json) -> Iterator[Iterator[Rejected]]:
    """Open only the rejected records of a message; raise as `lines` does."""
    if "claim" not in message:
        yield iter(decode_records(message).rejected)
        return
    claim = message["claim"]
    with _staged_batch(claim.get("rejected") if claim.get("raw") else claim) as (_, staged):
        yield _rejected(staged)


@contextmanager
def left_by(step: str, batch: Batch, *, bucket: str) -> Iterator[tuple[Facts, Iterator[list[bytes]]]]:
    """Open what a step left when it raised RecordsRejected: what it knew, and the records, as lines of a staged batch.

    Raises MessageRefused or what a read raises.
    """
    with _staged_batch({"bucket": bucket, "key": staged_key(batch, step), "version_id": None}) as (facts, staged):
        yield Facts.decode(facts), staged


def require_all(message: Json, found: Counts) -> None:
    """Raise MessageRefused if there are not as many records as a message says."""
    if found != (said := counts(message)):
        raise MessageRefused(
            f"the message says {said.accepted} good and {said.rejected} rejected records, and there are {found.accepted} and "
            f"{found.rejected}"
        )


def _all_of(message: Json, found: Iterable[Page]) -> Iterator[Page]:
    """Give the pages of a message; raise MessageRefused at their end if a record is missing, or is there twice."""
    seen = Counts()
    for page in found:
        seen += Counts(len(page.records), len(page.rejected))
        yield page
    require_all(message, seen)


def _page(staged: list[bytes]) -> Page:
    try:
        return staged_batch.read(staged)
    except (KeyError, TypeError, *UNSURE) as error:
        raise MessageRefused(f"a staged batch of records is of another form than this code knows: {error!r}") from error


def _rejected(staged: Iterable[list[bytes]]) -> Iterator[Rejected]:
    try:
        yield from staged_batch.rejected(staged)
    except (KeyError, TypeError, *UNSURE) as error:
        raise MessageRefused(f"a staged batch of records is of another form than this code knows: {error!r}") from error


@contextmanager
def _staged_batch(place: Json | None) -> Iterator[tuple[Json, Iterator[list[bytes]]]]:
    """Open a staged batch: what its first line says of the batch, and the lines after it; there are none if it is nowhere."""
    if place is None:
        yield {}, iter(())
        return
    try:
        bucket, key, version_id = (place[part] for part in _PLACE)
    except (KeyError, TypeError) as error:
        raise MessageRefused(f"a claim came without a part that it must have: {error}") from error
    with aws.streamed(bucket, key, version_id) as stored:
        found = _sound(gzip_lines.lines(gzip_lines.unpacked(stored.pieces)), f"s3://{bucket}/{key}")
        try:
            first, *others = next(found, [b""])
            facts = decode(first)
        except UNSURE as error:
            raise MessageRefused(f"s3://{bucket}/{key} is no staged batch of records: {error!r}") from error
        yield facts, chain([others], found)


def _sound(found: Iterator[list[bytes]], name: str) -> Iterator[list[bytes]]:
    """Give the lines of a staged batch; raise MessageRefused if it turns out to be damaged."""
    try:
        yield from found
    except gzip_lines.DAMAGED as error:
        raise MessageRefused(f"{name} is no staged batch of records, or is damaged: {error}") from error


def _without(found: Iterable[list[Raw]], set_aside: Iterator[Rejected]) -> Iterator[Page]:
    """Part what is read again into the good records and those that were rejected before.

    Raises MessageRefused where it is not what it was then: the code that reads has changed since.
    """
    pending = next(set_aside, None)
    for raws in found:
        rejected_here: list[Rejected] = []
        while pending and raws and pending.span.position <= raws[-1].position:
            rejected_here.append(pending)
            pending = next(set_aside, None)
        gone = {each.span.position for each in rejected_here}
        accepted = [raw for raw in raws if raw.position not in gone] if gone else raws
        if len(accepted) + len(gone) != len(raws) or any(raw.violations for raw in accepted):
            raise MessageRefused("the object does not read as it did when it was checked: the code was changed since")
        yield Page([raw.record for raw in accepted], rejected_here)
    if pending:
        raise MessageRefused("the object reads shorter than it did when it was checked: the code was changed since")
