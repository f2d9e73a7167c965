"""The audit bucket as an operator reads it: ledger files and letters by object, and which letters are open.

Nothing in it is ever changed or deleted, so whether a letter is open is derived: it is, until the ledger says for its
attempt or a later one that the records were written or discarded, or a later letter stands in its place. Whatever is
not of the form that Custody writes is Unreadable, and is told so here, once.
"""

import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeVar

from custody import forms
from custody.failure import CommandFailed
from functions.shared.errors import AttemptTaken
from functions.shared.ledger import START_DIGITS, parse_header, parse_ledger_file

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Parsed = TypeVar("Parsed")

LETTERS = "letters/"
LEDGER = "ledger/"
_DAY = "dt="
_LETTER = re.compile(
    r"letters/dt=(?P<day>[\d-]{10})/(?P<object_id>[\w-]+)/(?P<start>\d+)\.(?P<attempt>\d+)\.(?P<name>\w+)\.json",
    re.ASCII,
)
_ENTRY = re.compile(
    r"ledger/(?P<object_id>[\w-]+)/(?P<start>\d+)\.(?P<attempt>\d+)(?P<discarded>\.discarded)?\.jsonl\.gz",
    re.ASCII,
)


OF_NO_FILE = (OSError, EOFError, zlib.error, ValueError, RecursionError)
"""What reading raises for bytes that are no gzip, no JSON, nested too deep, or of another form."""


class Unreadable(CommandFailed):
    """A file of the audit bucket is not what Custody writes there: somebody has replaced it. `key` is the file's."""

    def __init__(self, said: str, key: str) -> None:
        super().__init__(said)
        self.key = key


@dataclass(frozen=True, order=True)
class Letter:
    """Where a letter stands: `day` is when its execution started, `name` the step that failed, or how it ended."""

    object_id: str
    start: int
    attempt: int
    day: str
    name: str

    @classmethod
    def of(cls, key: str) -> Self | None:
        """Read the key of a letter; None if it is that of something else."""
        found = _LETTER.fullmatch(key)
        if found is None:
            return None
        letter = cls(found["object_id"], int(found["start"]), int(found["attempt"]), found["day"], found["name"])
        return letter if letter.key == key else None

    @property
    def key(self) -> str:
        """Where it lies in the audit bucket."""
        return f"{LETTERS}{self.id}.json"

    @property
    def id(self) -> str:
        """Its name for people and commands: the key without what all keys of letters have."""
        batch = f"{self.start:0{START_DIGITS}d}.{self.attempt}"
        return f"{_DAY}{self.day}/{self.object_id}/{batch}.{self.name}"

    @property
    def batch(self) -> tuple[str, int]:
        """The batch it is about: the object id, and the byte at which the batch begins."""
        return self.object_id, self.start


@dataclass(frozen=True, order=True)
class Entry:
    """Where a ledger file stands: one that a step booked, or one by which an operator discarded records."""

    object_id: str
    start: int
    attempt: int
    discards: bool = False

    @classmethod
    def of(cls, key: str) -> Self | None:
        """Read the key of a ledger file; None if it is that of something else."""
        found = _ENTRY.fullmatch(key)
        if found is None:
            return None
        entry = cls(found["object_id"], int(found["start"]), int(found["attempt"]), found["discarded"] is not None)
        return entry if entry.key == key else None

    @property
    def key(self) -> str:
        """Where it lies in the audit bucket."""
        suffix = ".discarded" if self.discards else ""
        return f"{LEDGER}{self.object_id}/{self.start:0{START_DIGITS}d}.{self.attempt}{suffix}.jsonl.gz"


@dataclass(frozen=True)
class Books:
    """The audit bucket of a deployment."""

    s3: "S3Client"
    bucket: str

    def entries(self, object_id: str) -> list[Entry]:
        """List the ledger files of an object, in the order of their batches and attempts."""
        found = (Entry.of(key) for key in self._keys(f"{LEDGER}{object_id}/"))
        return sorted(entry for entry in found if entry)

    @cached_property
    def days(self) -> list[str]:
        """List the days that have letters, the newest first."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=f"{LETTERS}{_DAY}", Delimiter="/"
        )
        prefixes = [found["Prefix"] for page in pages for found in page.get("CommonPrefixes", [])]
        return sorted((prefix.removeprefix(f"{LETTERS}{_DAY}").rstrip("/") for prefix in prefixes), reverse=True)

    def letters(self, day: str, object_id: str | None = None) -> Iterator[Letter]:
        """List the letters of a day, page by page, in the order of their objects; or only those of one object."""
        prefix = f"{LETTERS}{_DAY}{day}/" + (f"{object_id}/" if object_id else "")
        found = (Letter.of(key) for key in self._keys(prefix))
        yield from (letter for letter in found if letter)

    def letters_of(self, object_id: str, since: str = "") -> list[Letter]:
        """List the letters of an object, the latest attempt last; `since` is a day before which it cannot have any."""
        return sorted(letter for day in self.days if day >= since for letter in self.letters(day, object_id))

    def read(self, letter: Letter) -> Any:
        """Read a letter; raise Unreadable."""

        def parsed(content: bytes) -> Any:
            _require_day(letter.day)
            body = json.loads(content)
            forms.letter(body, letter.object_id, letter.attempt)
            return body

        return self._parsed(letter.key, parsed)

    def header(self, entry: Entry) -> Any:
        """Read the header of a ledger file; raise Unreadable."""

        def parsed(content: bytes) -> Any:
            return _header_of(entry, parse_header(content))

        return self._parsed(entry.key, parsed)

    def lines(self, entry: Entry) -> tuple[Any, list[Any]]:
        """Read a ledger file: its header, and a line a record; raise Unreadable."""

        def parsed(content: bytes) -> tuple[Any, list[Any]]:
            header, lines = parse_ledger_file(content)
            forms.lines(lines)
            return _header_of(entry, header), lines

        return self._parsed(entry.key, parsed)

    def open_among(self, letters: Iterable[Letter]) -> list[Letter]:
        """Give those of an object's letters that are open; `letters` are all that the object has."""
        latest: dict[tuple[str, int], list[Letter]] = {}
        for letter in sorted(letters):
            others = latest.setdefault(letter.batch, [])
            if others and others[0].attempt < letter.attempt:
                others.clear()
            others.append(letter)
        return [letter for others in latest.values() for letter in others if self.closing(letter) is None]

    def closing(self, letter: Letter) -> Entry | None:
        """Give the latest ledger file that closes a letter; None if none does.

        A later attempt closes it, or a discard. The delivery of its own attempt does if it left out no record, and was
        not that of another execution: then the letter's own has delivered nothing.
        """
        entries = [entry for entry in self.entries(letter.object_id) if entry.start == letter.start]
        after = [entry for entry in entries if (entry.attempt, entry.discards) > (letter.attempt, False)]
        if after:
            return max(after)
        booked = Entry(letter.object_id, letter.start, letter.attempt)
        return booked if booked in entries and self._settles(booked, letter) else None

    def _settles(self, booked: Entry, letter: Letter) -> bool:
        """Say whether the delivery of a letter's own attempt closes it; what cannot be read closes nothing."""
        try:
            header = self.header(booked)
            if header["counts"]["rejected"]:
                return False
            body = self.read(letter)
        except Unreadable:
            return False
        return bool(body["execution"]["arn"] == header["execution"] and body["error"] != AttemptTaken.__name__)

    def _keys(self, prefix: str) -> Iterator[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        yield from (found["Key"] for page in pages for found in page.get("Contents", []))

    def _parsed(self, key: str, parse: Callable[[bytes], Parsed]) -> Parsed:
        body = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        try:
            return parse(body)
        except OF_NO_FILE as error:
            raise Unreadable(
                f"s3://{self.bucket}/{key} is not what Custody wrote: {error}. See its versions, and `custody verify`.",
                key,
            ) from error


def _require_day(day: str) -> None:
    """Raise AnotherForm for a day that no calendar has."""
    try:
        date.fromisoformat(day)
    except ValueError as error:
        raise forms.AnotherForm(f"there is no day {day}") from error


def _header_of(entry: Entry, header: Any) -> Any:
    """Give a header; raise AnotherForm if it is not one of the ledger file that it stands in."""
    form = forms.discard_header if entry.discards else forms.header
    form(header, entry.object_id, entry.attempt)
    return header
