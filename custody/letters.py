"""Dead letters as an operator looks for them: selected by what they tell, or found by whatever names one."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from custody.books import LETTERS, Books, Letter
from custody.failure import USAGE, CommandFailed
from custody.parallel import answers
from functions.shared.identity import RawObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_STEPS = frozenset({"validate", "transform", "write"})
"""A letter of one of these names tells of that step; of any other, such as `Rejected`, only the body says which."""

GONE = frozenset({"NoSuchKey", "NoSuchVersion", "404", "MethodNotAllowed"})
"""What S3 answers for a version that is not there any more; the last if it is a delete marker."""

_FIRST_ATTEMPT_ENDS = timedelta(days=1)
"""How long after its start a first attempt may be recorded, and longer: the state machine ends it after 3 hours."""


@dataclass(frozen=True)
class Filter:
    """Which letters to take; what is None or empty takes all. `since` and `until` are of the time of recording."""

    dataset: str | None = None
    error: str | None = None
    step: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    open_only: bool = True

    def takes_day(self, day: str) -> bool:
        """Say whether executions that started on a day may have letters to take: none is recorded before that."""
        return self.until is None or day <= self.until.astimezone(UTC).date().isoformat()

    def may_take(self, letter: Letter) -> bool:
        """Say whether a letter is worth reading, by its key alone."""
        if self.step and letter.name.lower() in _STEPS and letter.name.lower() != self.step.lower():
            return False
        if self.since is None or letter.attempt > 0:
            return True
        ended = datetime.fromisoformat(letter.day).replace(tzinfo=UTC) + timedelta(days=1) + _FIRST_ATTEMPT_ENDS
        return ended >= self.since

    def takes(self, body: dict[str, Any]) -> bool:
        """Say whether a letter is one to take, by what it tells."""
        recorded = datetime.fromisoformat(body["recorded_at"])
        return (
            self.dataset in {None, body["dataset"]}
            and self.error in {None, body["error"]}
            and (self.step is None or body["step"].lower() == self.step.lower())
            and (self.since is None or recorded >= self.since)
            and (self.until is None or recorded <= self.until)
        )


@dataclass(frozen=True)
class Found:
    """A letter, what it tells, and whether it is open."""

    letter: Letter
    body: dict[str, Any]
    is_open: bool


def select(books: Books, wanted: Filter) -> Iterator[Found]:
    """Give the letters that a filter takes, one by one: the newest day first, and within a day those of an object."""
    for found in answers(lambda of_a_day: _selected(books, of_a_day, wanted), _candidates(books, wanted)):
        yield from found


def _candidates(books: Books, wanted: Filter) -> Iterator[list[Letter]]:
    """List the letters that an object has of a day, for each day and object, if there is one worth reading."""
    for day in filter(wanted.takes_day, books.days):
        for _, letters in groupby(books.letters(day), lambda letter: letter.object_id):
            of_a_day = list(letters)
            if any(map(wanted.may_take, of_a_day)):
                yield of_a_day


def _selected(books: Books, of_a_day: list[Letter], wanted: Filter) -> list[Found]:
    """Take those of an object's letters of a day that a filter takes; ask whether they are open at most once."""

    @cache
    def open_ones() -> list[Letter]:
        return open_of_day(books, of_a_day[0].object_id, of_a_day[0].day, of_a_day)

    found = []
    for letter in filter(wanted.may_take, of_a_day):
        if wanted.open_only and letter not in open_ones():
            continue
        body = books.read(letter)
        if wanted.takes(body):
            found.append(Found(letter, body, letter in open_ones()))
    return found


def open_of_day(books: Books, object_id: str, day: str, letters: list[Letter]) -> list[Letter]:
    """Give the open ones among all the letters that an object has of one day.

    A later attempt starts on the same day or a later one, so that no earlier day needs to be looked at; and no day at
    all, if the ledger closes them.
    """
    candidates = books.open_among(letters)
    if not candidates or day == books.days[0]:
        return candidates
    still_open = books.open_among(books.letters_of(object_id, since=day))
    return [letter for letter in candidates if letter in still_open]


def closed_by(books: Books, letter: Letter) -> str | None:
    """Say what closed a letter; None while it is open."""
    letters = books.letters_of(letter.object_id, since=letter.day)
    if letter in books.open_among(letters):
        return None
    for entry in reversed(books.entries(letter.object_id)):
        if entry.start != letter.start or entry.attempt < letter.attempt:
            continue
        header = books.header(entry)
        if entry.discards:
            said = header["discarded"]
            return f"discarded on {header['recorded_at']} by {said['by']}: {said['reason']}"
        counts = header["counts"]
        if entry.attempt > letter.attempt or counts["rejected"] == 0:
            booked = f"{counts['written']} written, {counts['rejected']} rejected"
            return f"attempt {entry.attempt} was booked on {header['recorded_at']}: {booked}"
    latest = max(each for each in letters if each.batch == letter.batch)
    return f"a later letter stands in its place: {latest.id}"


def raw_of(body: dict[str, Any]) -> RawObject:
    """Give the object that a letter or the header of a ledger file is about."""
    return RawObject(**{name: value for name, value in body["object"].items() if name != "id"})


def record_bytes(s3: "S3Client", raw: RawObject, record: dict[str, Any]) -> bytes | None:
    """Read the bytes of a record of an object; None if that version of the object is gone."""
    if record["length"] == 0:
        return b""
    span = f"bytes={record['offset']}-{record['offset'] + record['length'] - 1}"
    try:
        return s3.get_object(Bucket=raw.bucket, Key=raw.key, VersionId=raw.version_id, Range=span)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] in GONE:
            return None
        raise


def find_letter(books: Books, text: str) -> Letter:
    """Find a letter by its id, its key, its S3 URI, or by an object or record id: then it is the object's latest.

    Raises CommandFailed if there is none.
    """
    if "/" in text:
        letter = Letter.of(_key(books, text))
        if letter and letter in books.letters(letter.day, letter.object_id):
            return letter
    elif text and (letters := books.letters_of(_object_id(text))):
        return max(letters, key=lambda letter: (letter.attempt, letter.day, letter.start, letter.name))
    raise CommandFailed(
        f"There is no letter {text!r}. A letter's id looks like dt=2026-03-01/OBJECT_ID/000000000000000.0.Validate; "
        "an object id or a record id will do too. List them with `custody letters --all`.",
        USAGE,
    )


def _key(books: Books, text: str) -> str:
    if text.startswith("s3://"):
        bucket, _, text = text.removeprefix("s3://").partition("/")
        if bucket != books.bucket:
            raise CommandFailed(f"The letters of this deployment are in {books.bucket}, not in {bucket}.", USAGE)
    return f"{LETTERS}{text.removeprefix(LETTERS).removesuffix('.json')}.json"


def _object_id(text: str) -> str:
    """Take the object id out of a record id; an object id has no dot."""
    return text.partition(".")[0]
