"""The audit bucket as an operator reads it: ledger files and dead letters by object, and which dead letters are open.

Nothing in it is ever changed or deleted, so whether a dead letter is open is derived: custody/audit/resolution.py says how.
Whatever is not of the form that Custody writes is Unreadable, and is told so here, once.
"""

import json
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing as closed_after
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import tee
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import ClientError

from custody.audit import forms, ledger_lines
from custody.audit.ledger_lines import OF_NO_FILE, ChunkLine, RecordLine
from custody.audit.resolution import Resolution
from custody.errors import CommandFailed
from functions.shared.audit.ledger_file import HEADER_BYTES, OBJECT, START_DIGITS, parse_header

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DEAD_LETTERS = "dead-letters/"
LEDGER = "ledger/"

WHOLE: int = 10**START_DIGITS
"""Stands for the start of what tells of all the chunks of an object: behind every start, as OBJECT is as text."""

_DAY = "dt="
_START = rf"(?P<start>\d{{{START_DIGITS}}}|{OBJECT})"
_DEAD_LETTER = re.compile(
    rf"dead-letters/dt=(?P<day>[\d-]{{10}})/(?P<object_id>[\w-]+)/{_START}\.(?P<attempt>\d+)\.(?P<name>\w+)\.json",
    re.ASCII,
)
_ENTRY = re.compile(
    rf"ledger/(?P<object_id>[\w-]+)/{_START}\.(?P<attempt>\d+)(?P<discarded>\.discarded)?\.jsonl\.gz",
    re.ASCII,
)


class Unreadable(CommandFailed):
    """A file of the audit bucket is not what Custody writes there: somebody has replaced it. `key` is the file's."""

    def __init__(self, said: str, key: str) -> None:
        super().__init__(said)
        self.key = key


@dataclass(frozen=True, order=True)
class DeadLetterKey:
    """Where a dead letter stands: `day` is when its execution started, `name` the step that failed, or how it ended.

    `start` is WHOLE if it is about all the chunks of an object.
    """

    object_id: str
    start: int
    attempt: int
    day: str
    name: str

    @classmethod
    def of(cls, key: str) -> Self | None:
        """Read the key of a dead letter; None if it is that of something else."""
        found = _DEAD_LETTER.fullmatch(key)
        if found is None:
            return None
        dead_letter = cls(
            found["object_id"], _start(found["start"]), int(found["attempt"]), found["day"], found["name"]
        )
        return dead_letter if dead_letter.key == key else None

    @property
    def key(self) -> str:
        """Where it lies in the audit bucket."""
        return f"{DEAD_LETTERS}{self.id}.json"

    @property
    def id(self) -> str:
        """Its name for people and commands: the key without what all keys of dead letters have."""
        return f"{_DAY}{self.day}/{self.object_id}/{_start_name(self.start)}.{self.attempt}.{self.name}"

    @property
    def batch(self) -> tuple[str, int]:
        """The batch it is about: the object id, and the byte at which the batch begins."""
        return self.object_id, self.start

    @property
    def is_of_whole(self) -> bool:
        """Whether it is about all the chunks of an object."""
        return self.start == WHOLE


@dataclass(frozen=True, order=True)
class LedgerKey:
    """Where a ledger file stands: one that a step committed, or one by which an operator discarded records.

    `start` is WHOLE if it is the summary of all the chunks of an object.
    """

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
        discards = found["discarded"] is not None
        entry = cls(found["object_id"], _start(found["start"]), int(found["attempt"]), discards)
        return entry if entry.key == key else None

    @property
    def key(self) -> str:
        """Where it lies in the audit bucket."""
        suffix = ".discarded" if self.discards else ""
        return f"{LEDGER}{self.object_id}/{_start_name(self.start)}.{self.attempt}{suffix}.jsonl.gz"

    @property
    def is_summary(self) -> bool:
        """Whether it sums up what became of all the chunks of an object."""
        return self.start == WHOLE and not self.discards


@dataclass(frozen=True)
class AuditReader:
    """The audit bucket of a deployment."""

    s3: "S3Client"
    bucket: str

    def entries(self, object_id: str) -> list[LedgerKey]:
        """List the ledger files of an object, in the order of their batches and attempts."""
        found = (LedgerKey.of(key) for key in self._keys(f"{LEDGER}{object_id}/"))
        return sorted(entry for entry in found if entry)

    @cached_property
    def days(self) -> list[str]:
        """List the days that have dead letters, the newest first."""
        return sorted((folder.removeprefix(_DAY) for folder in self._folders(f"{DEAD_LETTERS}{_DAY}")), reverse=True)

    def dead_letters(self, day: str, object_id: str | None = None) -> Iterator[DeadLetterKey]:
        """List the dead letters of a day, page by page, in the order of their objects; or only those of one object."""
        prefix = f"{DEAD_LETTERS}{_DAY}{day}/" + (f"{object_id}/" if object_id else "")
        found = (DeadLetterKey.of(key) for key in self._keys(prefix))
        yield from (dead_letter for dead_letter in found if dead_letter)

    def told_in_ledger(self, slug: str = "") -> Iterator[str]:
        """List the objects that have a ledger file, by id, or those whose id begins so; a call tells of a thousand."""
        return self._folders(f"{LEDGER}{slug}")

    def told_in_dead_letters(self) -> Iterator[str]:
        """List the objects that have a dead letter, by id, day by day."""
        return (object_id for day in self.days for object_id in self._folders(f"{DEAD_LETTERS}{_DAY}{day}/"))

    def dead_letters_of(self, object_id: str, since: str = "") -> list[DeadLetterKey]:
        """List the dead letters of an object, the latest attempt last; `since` is a day before which it cannot have any."""
        return sorted(
            dead_letter for day in self.days if day >= since for dead_letter in self.dead_letters(day, object_id)
        )

    def attempt_of(self, object_id: str) -> int:
        """Give the highest attempt that the ledger know of an object; -1 if they know nothing of it."""
        entries = (entry.attempt for entry in self.entries(object_id))
        dead_letters = (dead_letter.attempt for dead_letter in self.dead_letters_of(object_id))
        return max([-1, *entries, *dead_letters])

    def read(self, dead_letter: DeadLetterKey) -> Any:
        """Read a dead letter; raise Unreadable."""
        content = self.s3.get_object(Bucket=self.bucket, Key=dead_letter.key)["Body"].read()
        with self._of_ours(dead_letter.key):
            _require_day(dead_letter.day)
            body = json.loads(content)
            forms.dead_letter(body, dead_letter.object_id, dead_letter.attempt)
            return body

    def execution_of(self, dead_letter: DeadLetterKey) -> str | None:
        """Say which execution a dead letter is of, that of all the chunks if it is of one; None if it cannot be read.

        It may be another one's dead letter; but damage to one shall not keep the others from being told.
        """
        try:
            body = self.read(dead_letter)
        except Unreadable:
            return None
        return str(body.get("parent") or body["execution"]["arn"])

    def header(self, entry: LedgerKey) -> Any:
        """Read the header of a ledger file, and no more of it; raise Unreadable."""
        beginning = self._beginning(entry.key)
        with self._of_ours(entry.key):
            return header_of(entry, parse_header(beginning))

    def lines(self, entry: LedgerKey) -> Generator[RecordLine, None, None]:
        """Give the lines of a ledger file, one by one, while it is read; raise Unreadable."""
        with self._opened(entry) as found:
            yield from ledger_lines.records(found)

    def line_at(self, entry: LedgerKey, position: int) -> tuple[bytes, RecordLine] | None:
        """Give the line of a record, as it stands in a ledger file and as it is read; None if the file has none of it.

        The file is read up to the record. Raises Unreadable.
        """
        with self._opened(entry) as found:
            bodies, read = tee(found)
            for body, line in zip(bodies, ledger_lines.records(read), strict=True):
                if line.position >= position:
                    return (body, line) if line.position == position else None
        return None

    def chunks(self, entry: LedgerKey) -> Generator[ChunkLine, None, None]:
        """Give the lines of a summary, one by one, while it is read; raise Unreadable."""
        with self._opened(entry) as found:
            yield from ledger_lines.chunks(found)

    def resolution(self, object_id: str) -> Resolution:
        """Give what the ledger has of an object, by which its dead letters are open or closed."""
        return Resolution(self, self.entries(object_id))

    def open_among(self, dead_letters: Iterable[DeadLetterKey]) -> list[DeadLetterKey]:
        """Give those of an object's dead letters that are open; `dead letters` are all that the object has, or since a day."""
        found = list(dead_letters)
        return self.resolution(found[0].object_id).open_among(found) if found else []

    def closing(self, dead_letter: DeadLetterKey) -> LedgerKey | None:
        """Give the latest ledger file that closes a dead letter by itself; None if none does."""
        return self.resolution(dead_letter.object_id).closing(dead_letter)

    @contextmanager
    def _opened(self, entry: LedgerKey) -> Iterator[Iterator[bytes]]:
        stream = self.s3.get_object(Bucket=self.bucket, Key=entry.key)["Body"]
        with closed_after(stream), self._of_ours(entry.key):
            header, found = ledger_lines.opened(stream)
            header_of(entry, header)
            yield found

    def _beginning(self, key: str) -> bytes:
        try:
            span = f"bytes=0-{HEADER_BYTES - 1}"
            return self.s3.get_object(Bucket=self.bucket, Key=key, Range=span)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] == "InvalidRange":
                # Nothing is in it at all.
                return b""
            raise

    def _keys(self, prefix: str) -> Iterator[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        yield from (found["Key"] for page in pages for found in page.get("Contents", []))

    def _folders(self, prefix: str) -> Iterator[str]:
        """List the names of the folders that begin so."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix, Delimiter="/")
        prefixes = (found["Prefix"] for page in pages for found in page.get("CommonPrefixes", []))
        yield from (found.rstrip("/").rpartition("/")[2] for found in prefixes)

    @contextmanager
    def _of_ours(self, key: str) -> Iterator[None]:
        try:
            yield
        except OF_NO_FILE as error:
            raise Unreadable(
                f"s3://{self.bucket}/{key} is not what Custody wrote: {error}. See its versions, and `custody verify`.",
                key,
            ) from error


def latest(entries: Iterable[LedgerKey]) -> dict[int, LedgerKey]:
    """Give the ledger file of the latest attempt of each batch, by start, of those that a step committed."""
    return {entry.start: entry for entry in sorted(entries) if not entry.discards}


def header_of(entry: LedgerKey, header: Any) -> Any:
    """Give a header; raise AnotherForm if it is not one of the ledger file that it stands in."""
    if entry.discards:
        forms.discard_header(header, entry.object_id, entry.attempt)
    elif entry.is_summary:
        forms.summary_header(header, entry.object_id, entry.attempt)
    else:
        forms.header(header, entry.object_id, entry.attempt)
    return header


def _start(name: str) -> int:
    return WHOLE if name == OBJECT else int(name)


def _start_name(start: int) -> str:
    return OBJECT if start == WHOLE else f"{start:0{START_DIGITS}d}"


def _require_day(day: str) -> None:
    """Raise AnotherForm for a day that no calendar has."""
    try:
        date.fromisoformat(day)
    except ValueError as error:
        raise forms.AnotherForm(f"there is no day {day}") from error
