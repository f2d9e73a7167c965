"""Read the audit bucket: list its keys, and read its files.

Whatever does not have the form that Custody writes raises Unreadable.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import ClientError
from msgspec.json import Decoder

from custody.audit import ledger_lines
from custody.errors import CommandFailed
from functions.shared.audit.ledger_file import HEADER_BYTES, UNREADABLE, header_line
from functions.shared.model.decoding import decode
from functions.shared.model.keys import DAY, DEAD_LETTERS, LEDGER, DeadLetterKey, LedgerKey
from functions.shared.model.ledger import ChunkLine, DeadLetter, DiscardHeader, LedgerHeader, RecordLine
from functions.shared.records.strict_json import exact

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Header = TypeVar("Header", LedgerHeader, DiscardHeader)

_DEAD_LETTER = Decoder(DeadLetter, float_hook=exact)


_INACCESSIBLE = frozenset({"AccessDenied", "InvalidObjectState", "MethodNotAllowed", "NoSuchKey"})
"""What S3 answers about a single file: refused, archived or deleted."""


class Unreadable(CommandFailed):
    """A file of the audit bucket is not accessible, or not what Custody wrote. `key` is its S3 key."""

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True)
class AuditReader:
    """The audit bucket of a deployment."""

    s3: "S3Client"
    bucket: str

    def uri(self, key: DeadLetterKey | LedgerKey) -> str:
        """Format the S3 URI of a file."""
        return f"s3://{self.bucket}/{key.key}"

    def ledger_keys(self, object_id: str) -> list[LedgerKey]:
        """List the ledger files of an object by batch and attempt."""
        return sorted(filter(None, map(LedgerKey.parse, self._keys(f"{LEDGER}{object_id}/"))))

    @cached_property
    def days(self) -> list[str]:
        """The days that have dead letters, newest first."""
        return sorted((folder.removeprefix(DAY) for folder in self._folders(f"{DEAD_LETTERS}{DAY}")), reverse=True)

    def dead_letters(self, day: str, object_id: str | None = None) -> Iterator[DeadLetterKey]:
        """List the dead letters of a day by object, page by page; or only those of one object."""
        prefix = f"{DEAD_LETTERS}{DAY}{day}/" + (f"{object_id}/" if object_id else "")
        yield from filter(None, map(DeadLetterKey.parse, self._keys(prefix)))

    def dead_letters_of(self, object_id: str, since: str = "") -> list[DeadLetterKey]:
        """List the dead letters of an object by batch and attempt; it has none before the day `since`."""
        return sorted(key for day in self.days if day >= since for key in self.dead_letters(day, object_id))

    def object_ids_in_ledger(self, prefix: str = "") -> Iterator[str]:
        """List the ids of the objects that have a ledger file, or of those whose id begins with a prefix."""
        return self._folders(f"{LEDGER}{prefix}")

    def object_ids_in_dead_letters(self) -> Iterator[str]:
        """List the ids of the objects that have a dead letter, day by day."""
        return (object_id for day in self.days for object_id in self._folders(f"{DEAD_LETTERS}{DAY}{day}/"))

    def read(self, key: DeadLetterKey) -> DeadLetter:
        """Read a dead letter; raise Unreadable."""
        with self._decoding(key):
            content = self.s3.get_object(Bucket=self.bucket, Key=key.key)["Body"].read()
            return ledger_lines.require_same(decode(content, _DEAD_LETTER), key.object_id, key.attempt)

    def header(self, key: LedgerKey) -> LedgerHeader:
        """Read only the header of a committed ledger file; raise Unreadable."""
        return self._header(key, ledger_lines.committed_header)

    def discard_header(self, key: LedgerKey) -> DiscardHeader:
        """Read only the header of a discard; raise Unreadable."""
        return self._header(key, ledger_lines.discard_header)

    def _header(self, key: LedgerKey, parse: Callable[[bytes, LedgerKey], Header]) -> Header:
        with self._decoding(key):
            try:
                span = f"bytes=0-{HEADER_BYTES - 1}"
                beginning = self.s3.get_object(Bucket=self.bucket, Key=key.key, Range=span)["Body"].read()
            except ClientError as error:
                if error.response["Error"]["Code"] != "InvalidRange":
                    raise
                # The file is empty.
                beginning = b""
            return parse(header_line(beginning), key)

    def lines(self, key: LedgerKey) -> Generator[RecordLine, None, None]:
        """Stream the records of a ledger file; raise Unreadable."""
        with self._opened(key) as lines:
            yield from ledger_lines.records(lines)

    def line_at(self, key: LedgerKey, position: int) -> RecordLine | None:
        """Find the line of a record, reading no further; None if there is none. Raises Unreadable."""
        with closing(self.lines(key)) as lines:
            line = next((line for line in lines if line.position >= position), None)
        return line if line and line.position == position else None

    def chunks(self, key: LedgerKey) -> Generator[ChunkLine, None, None]:
        """Stream the chunks of a summary; raise Unreadable."""
        with self._opened(key) as lines:
            yield from ledger_lines.chunks(lines)

    @contextmanager
    def _opened(self, key: LedgerKey) -> Iterator[Iterator[bytes]]:
        with self._decoding(key), closing(self.s3.get_object(Bucket=self.bucket, Key=key.key)["Body"]) as stream:
            header, lines = ledger_lines.opened(stream)
            (ledger_lines.discard_header if key.discards else ledger_lines.committed_header)(header, key)
            yield lines

    def _keys(self, prefix: str) -> Iterator[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return filter(None, pages.search("Contents[].Key"))

    def _folders(self, prefix: str) -> Iterator[str]:
        """List the names of the folders at a prefix."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix, Delimiter="/")
        prefixes = filter(None, pages.search("CommonPrefixes[].Prefix"))
        return (folder.rstrip("/").rpartition("/")[2] for folder in prefixes)

    @contextmanager
    def _decoding(self, key: DeadLetterKey | LedgerKey) -> Iterator[None]:
        """Raise Unreadable for whatever a damaged, foreign or inaccessible file raises in the block."""
        try:
            yield
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in _INACCESSIBLE and not code.startswith("KMS."):
                raise
            raise Unreadable(f"{self.uri(key)} cannot be read: {error}", key.key) from error
        except UNREADABLE as error:
            raise Unreadable(
                f"{self.uri(key)} is not what Custody wrote: {error}. See its versions, and `custody verify`.", key.key
            ) from error
