"""The audit bucket as an operator reads it: ledger files and dead letters by object, and which dead letters are open.

Nothing in it is ever changed or deleted, so whether a dead letter is open is derived: custody/audit/resolution.py says how.
Whatever is not of the form that Custody writes is Unreadable, and is told so here, once.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing as closed_after
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import tee
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from msgspec.json import Decoder

from custody.audit import ledger_lines
from custody.audit.ledger_lines import UNREADABLE
from custody.audit.resolution import Resolution
from custody.errors import CommandFailed
from functions.shared.audit.ledger_file import HEADER_BYTES, header_line
from functions.shared.model.decoding import Undecodable, decode
from functions.shared.model.keys import DAY, DEAD_LETTERS, LEDGER, DeadLetterKey, LedgerKey
from functions.shared.model.ledger import ChunkLine, DeadLetter, DiscardHeader, LedgerHeader, RecordLine

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_DEAD_LETTER = Decoder(DeadLetter)


class Unreadable(CommandFailed):
    """A file of the audit bucket is not what Custody writes there: somebody has replaced it. `key` is the file's."""

    def __init__(self, said: str, key: str) -> None:
        super().__init__(said)
        self.key = key


@dataclass(frozen=True)
class AuditReader:
    """The audit bucket of a deployment."""

    s3: "S3Client"
    bucket: str

    def entries(self, object_id: str) -> list[LedgerKey]:
        """List the ledger files of an object, in the order of their batches and attempts."""
        found = (LedgerKey.parse(key) for key in self._keys(f"{LEDGER}{object_id}/"))
        return sorted(entry for entry in found if entry)

    @cached_property
    def days(self) -> list[str]:
        """List the days that have dead letters, the newest first."""
        return sorted((folder.removeprefix(DAY) for folder in self._folders(f"{DEAD_LETTERS}{DAY}")), reverse=True)

    def dead_letters(self, day: str, object_id: str | None = None) -> Iterator[DeadLetterKey]:
        """List the dead letters of a day, page by page, in the order of their objects; or only those of one object."""
        prefix = f"{DEAD_LETTERS}{DAY}{day}/" + (f"{object_id}/" if object_id else "")
        found = (DeadLetterKey.parse(key) for key in self._keys(prefix))
        yield from (dead_letter for dead_letter in found if dead_letter)

    def told_in_ledger(self, slug: str = "") -> Iterator[str]:
        """List the objects that have a ledger file, by id, or those whose id begins so; a call tells of a thousand."""
        return self._folders(f"{LEDGER}{slug}")

    def told_in_dead_letters(self) -> Iterator[str]:
        """List the objects that have a dead letter, by id, day by day."""
        return (object_id for day in self.days for object_id in self._folders(f"{DEAD_LETTERS}{DAY}{day}/"))

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

    def read(self, dead_letter: DeadLetterKey) -> DeadLetter:
        """Read a dead letter; raise Unreadable."""
        content = self.s3.get_object(Bucket=self.bucket, Key=dead_letter.key)["Body"].read()
        with self._of_ours(dead_letter.key):
            _require_day(dead_letter.day)
            body = decode(content, _DEAD_LETTER)
            return ledger_lines.require_same(body, dead_letter.object_id, dead_letter.attempt)

    def execution_of(self, dead_letter: DeadLetterKey) -> str | None:
        """Say which execution a dead letter is of, that of all the chunks if it is of one; None if it cannot be read.

        It may be another one's dead letter; but damage to one shall not keep the others from being told.
        """
        try:
            return self.read(dead_letter).object_execution
        except Unreadable:
            return None

    def header(self, entry: LedgerKey) -> LedgerHeader:
        """Read the header of a ledger file that a step committed, and no more of it; raise Unreadable."""
        beginning = self._beginning(entry.key)
        with self._of_ours(entry.key):
            return ledger_lines.committed_header(header_line(beginning), entry)

    def discard_header(self, entry: LedgerKey) -> DiscardHeader:
        """Read the header of a ledger file that discards records, and no more of it; raise Unreadable."""
        beginning = self._beginning(entry.key)
        with self._of_ours(entry.key):
            return ledger_lines.discard_header(header_line(beginning), entry)

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
            (ledger_lines.discard_header if entry.discards else ledger_lines.committed_header)(header, entry)
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
        except UNREADABLE as error:
            raise Unreadable(
                f"s3://{self.bucket}/{key} is not what Custody wrote: {error}. See its versions, and `custody verify`.",
                key,
            ) from error


def _require_day(day: str) -> None:
    """Raise Undecodable for a day that does not exist."""
    try:
        date.fromisoformat(day)
    except ValueError as error:
        raise Undecodable(f"there is no day {day}") from error
