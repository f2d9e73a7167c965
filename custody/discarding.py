"""Give up the records of a letter: a ledger file says who decided so, and why. Nothing is deleted or changed."""

import gzip
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from custody.books import Books, Entry, Letter
from custody.checking import Readable, differences_in_processed, rejected_of, written_of
from custody.failure import CommandFailed
from custody.letters import GONE, chunk_of, closed_by, raw_of
from custody.pointing import visible
from functions.shared.documents import encode
from functions.shared.ledger import processed_key
from functions.shared.messages import FORMAT, Batch

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

_OF_A_SPAN = ("position", "offset", "length", "sha256")
_OF_A_LETTER = ("object", "chunk", "dataset", "contract", "code")


@dataclass(frozen=True)
class Booked:
    """What the ledger says by now of a batch: the latest file that a step booked."""

    entry: Entry
    header: Any
    lines: list[Any]


@dataclass(frozen=True)
class Discard:
    """A decision to give up what a letter tells of.

    `booked` is what the attempt of the letter, or the latest before it, delivered and booked; None if none did. `by` is
    the ARN of who decided, `at` is UTC.
    """

    letter: Letter
    body: dict[str, Any]
    booked: Booked | None
    reason: str
    by: str
    at: datetime

    @property
    def entry(self) -> Entry:
        """Where it is booked: beside the ledger file of the same attempt, if there is one."""
        return Entry(self.letter.object_id, self.letter.start, self.letter.attempt, discards=True)

    @property
    def rejected(self) -> list[Any]:
        """The records that are known to be rejected, by the ledger or else by the letter; the latest word counts."""
        return rejected_of(self.booked.lines) if self.booked else self.body["rejected"]

    @property
    def counts(self) -> dict[str, int] | None:
        """Count the records of the batch, received = written + rejected + discarded; None if it was never read."""
        if self.booked:
            booked = self.booked.header["counts"]
            received, written = booked["received"], booked["written"]
        elif self.body["received"] is not None:
            received, written = self.body["received"], 0
        else:
            return None
        return {"received": received, "written": written, "rejected": 0, "discarded": received - written}

    def __str__(self) -> str:
        """Say what is given up, such as `2 records`."""
        counts = self.counts
        if counts is None:
            return "the whole batch, which was never read"
        records = f"{counts['discarded']} record{'' if counts['discarded'] == 1 else 's'}"
        if self.booked is None and counts["discarded"] != len(self.rejected):
            return f"the whole batch of {records}"
        if self.booked and self.booked.entry.attempt < self.letter.attempt:
            return f"{records} ({counts['written']} of the batch were written by attempt {self.booked.entry.attempt})"
        return records

    def ledger_file(self) -> bytes:
        """Write it as a ledger file: a header, then a line a rejected record, gzipped."""
        header = {
            "format": FORMAT,
            **{name: self.body[name] for name in _OF_A_LETTER},
            "execution": self.body["execution"]["arn"],
            "redrive_of": self.body.get("redrive_of"),
            "attempt": self.letter.attempt,
            "recorded_at": self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "counts": self.counts,
            "output": None,
            "discarded": {"letter": self.letter.key, "reason": self.reason, "by": self.by},
        }
        lines = [{name: record[name] for name in _OF_A_SPAN} | {"outcome": "discarded"} for record in self.rejected]
        return gzip.compress(b"".join(encode(line) + b"\n" for line in [header, *lines]), mtime=0)


def require_open(books: Books, letter: Letter) -> None:
    """Raise CommandFailed for a letter that is closed, and say by what."""
    if closed := closed_by(books, letter):
        raise CommandFailed(
            f"The letter {letter.id} is closed already: {visible(closed)}. There is nothing to discard."
        )


def require_at_rest(stepfunctions: "SFNClient", letter: Letter, body: dict[str, Any]) -> None:
    """Raise CommandFailed while an execution is at work on the batch: that of the letter, or one that redrives it."""
    if arn := under_way(stepfunctions, letter, body):
        raise CommandFailed(
            f"A redrive of {letter.id} is under way: {arn} is RUNNING. "
            "Wait until it has ended; if there is a letter then, discard that."
        )


def under_way(stepfunctions: "SFNClient", letter: Letter, body: dict[str, Any]) -> str | None:
    """Name the execution that is at work on the batch of a letter, its own or one that redrives it; None if none is."""
    execution = body["execution"]["arn"]
    machine, _, _ = execution.rpartition(":")
    arns = (execution, f"{machine}:{letter.object_id}-r{letter.attempt + 1}")
    return next((arn for arn in arns if _is_running(stepfunctions, arn)), None)


def latest_booked(books: Books, letter: Letter) -> Booked | None:
    """Read what the attempt of a letter delivered and booked, or else the latest before it; None if none did.

    Raises Unreadable.
    """
    entries = [
        entry
        for entry in books.entries(letter.object_id)
        if entry.start == letter.start and entry.attempt <= letter.attempt and not entry.discards
    ]
    return Booked(entries[-1], *books.lines(entries[-1])) if entries else None


def require_claimed(s3: "S3Client", processed: str, decision: Discard) -> None:
    """Raise CommandFailed if consumers read what no ledger file claims: then the ledger would say `discarded` of it.

    That is so if Write delivered, and could not book. An empty processed object delivers nothing.
    """
    key = _processed_key(s3, decision.body)
    if key is None:
        return
    try:
        answer = s3.get_object(Bucket=processed, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in GONE:
            return
        raise
    with closing(answer["Body"]) as stream:
        if answer["ContentLength"] == 0 or _claims(decision.booked, key, stream):
            return
    raise CommandFailed(
        f"The batch of {decision.letter.id} has delivered what no ledger file claims: s3://{processed}/{key}; "
        f"redrive it instead: custody redrive {decision.letter.id}"
    )


def _claims(booked: Booked | None, key: str, stream: Readable) -> bool:
    """Say whether a ledger file tells just what is in the processed object of a key."""
    if booked is None or booked.header["output"] is None or booked.header["output"]["key"] != key:
        return False
    return not any(differences_in_processed(stream, booked.entry.object_id, written_of(booked.lines)))


def _processed_key(s3: "S3Client", body: dict[str, Any]) -> str | None:
    """Say where Write delivers the batch of a letter; None if the raw version, whose day is part of it, is gone."""
    raw = raw_of(body)
    try:
        modified = s3.head_object(Bucket=raw.bucket, Key=raw.key, VersionId=raw.version_id)["LastModified"]
    except ClientError as error:
        if error.response["Error"]["Code"] in GONE:
            return None
        raise
    return processed_key(Batch(raw, chunk_of(body)), body["dataset"], modified.astimezone(UTC).isoformat())


def book(books: Books, discard: Discard) -> None:
    """Put the ledger file, unless there is one; raise CommandFailed if there is."""
    key = discard.entry.key
    try:
        books.s3.put_object(
            Bucket=books.bucket, Key=key, Body=discard.ledger_file(), ContentType="application/gzip", IfNoneMatch="*"
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "PreconditionFailed":
            raise
        raise CommandFailed(
            f"Somebody else has discarded {discard.letter.id} just now: s3://{books.bucket}/{key}."
        ) from error


def _is_running(stepfunctions: "SFNClient", arn: str) -> bool:
    try:
        return stepfunctions.describe_execution(executionArn=arn)["status"] == "RUNNING"
    except stepfunctions.exceptions.ExecutionDoesNotExist:
        return False
