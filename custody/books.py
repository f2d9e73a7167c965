"""The audit bucket as an operator reads it: ledger files and letters by object, and which letters are open.

Nothing in it is ever changed or deleted, so whether a letter is open is derived: it is, until the ledger says for its
attempt or a later one that the records were written or discarded, or a later letter stands in its place.
"""

import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from custody.failure import CommandFailed
from functions.shared.ledger import START_DIGITS, parse_header, parse_ledger_file

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LETTERS = "letters/"
LEDGER = "ledger/"
_DAY = "dt="
_LETTER = re.compile(
    r"letters/dt=(?P<day>[\d-]{10})/(?P<object_id>[\w-]+)/(?P<start>\d+)\.(?P<attempt>\d+)\.(?P<name>\w+)\.json"
)
_ENTRY = re.compile(
    r"ledger/(?P<object_id>[\w-]+)/(?P<start>\d+)\.(?P<attempt>\d+)(?P<discarded>\.discarded)?\.jsonl\.gz"
)


class Unreadable(CommandFailed):
    """A file of the audit bucket is not what Custody writes there: somebody has replaced it."""


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
        return found and cls(
            found["object_id"], int(found["start"]), int(found["attempt"]), found["day"], found["name"]
        )

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
        return found and cls(
            found["object_id"], int(found["start"]), int(found["attempt"]), found["discarded"] is not None
        )

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
        return self._parsed(letter.key, json.loads)

    def header(self, entry: Entry) -> Any:
        """Read the header of a ledger file; raise Unreadable."""
        return self._parsed(entry.key, parse_header)

    def lines(self, entry: Entry) -> tuple[Any, list[Any]]:
        """Read a ledger file: its header, and a line a record; raise Unreadable."""
        header, lines = self._parsed(entry.key, parse_ledger_file)
        return header, lines

    def open_among(self, letters: Iterable[Letter]) -> list[Letter]:
        """Give those of an object's letters that are open; `letters` are all that the object has."""
        latest: dict[tuple[str, int], list[Letter]] = {}
        for letter in sorted(letters):
            others = latest.setdefault(letter.batch, [])
            if others and others[0].attempt < letter.attempt:
                others.clear()
            others.append(letter)
        return [letter for others in latest.values() if not self._is_closed(others[0]) for letter in others]

    def _is_closed(self, letter: Letter) -> bool:
        """Say whether the ledger closes the latest letter of a batch; a file that cannot be read closes nothing."""
        entries = [entry for entry in self.entries(letter.object_id) if entry.start == letter.start]
        if any(
            entry.attempt > letter.attempt or (entry.discards and entry.attempt == letter.attempt) for entry in entries
        ):
            return True
        booked = Entry(letter.object_id, letter.start, letter.attempt)
        try:
            return booked in entries and self.header(booked)["counts"]["rejected"] == 0
        except Unreadable:
            return False

    def _keys(self, prefix: str) -> Iterator[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        yield from (found["Key"] for page in pages for found in page.get("Contents", []))

    def _parsed(self, key: str, parse: Callable[[bytes], Any]) -> Any:
        body = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        try:
            return parse(body)
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise Unreadable(
                f"s3://{self.bucket}/{key} is not what Custody wrote: {error}. See its versions, and `custody verify`."
            ) from error
