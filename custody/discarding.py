"""Give up the records of a letter: a ledger file says who decided so, and why. Nothing is deleted or changed."""

import gzip
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from custody.books import Books, Entry, Letter
from custody.failure import CommandFailed
from custody.letters import closed_by
from functions.shared.documents import encode
from functions.shared.messages import FORMAT

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

_OF_A_SPAN = ("position", "offset", "length", "sha256")
_OF_A_LETTER = ("object", "chunk", "dataset", "contract", "code")


@dataclass(frozen=True)
class Discard:
    """A decision to give up what a letter tells of.

    `written` is how many records the attempt delivered and booked; `by` is the ARN of who decided, `at` is UTC.
    """

    letter: Letter
    body: dict[str, Any]
    written: int
    reason: str
    by: str
    at: datetime

    @property
    def entry(self) -> Entry:
        """Where it is booked: beside the ledger file of the same attempt, if there is one."""
        return Entry(self.letter.object_id, self.letter.start, self.letter.attempt, discards=True)

    @property
    def counts(self) -> dict[str, int] | None:
        """Count the records of the batch, received = written + rejected + discarded; None if it was never read."""
        received = self.body["received"]
        if received is None:
            return None
        return {"received": received, "written": self.written, "rejected": 0, "discarded": received - self.written}

    def __str__(self) -> str:
        """Say what is given up, such as `2 records`."""
        if self.counts is None:
            return "the whole batch, which was never read"
        discarded = self.counts["discarded"]
        records = f"{discarded} record{'' if discarded == 1 else 's'}"
        return records if discarded == len(self.body["rejected"]) else f"the whole batch of {records}"

    def ledger_file(self) -> bytes:
        """Write it as a ledger file: a header, then a line a rejected record of the letter, gzipped."""
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
        lines = [
            {name: record[name] for name in _OF_A_SPAN} | {"outcome": "discarded"} for record in self.body["rejected"]
        ]
        return gzip.compress(b"".join(encode(line) + b"\n" for line in [header, *lines]), mtime=0)


def require_open(books: Books, letter: Letter) -> None:
    """Raise CommandFailed for a letter that is closed, and say by what."""
    if closing := closed_by(books, letter):
        raise CommandFailed(f"The letter {letter.id} is closed already: {closing}. There is nothing to discard.")


def require_at_rest(stepfunctions: "SFNClient", letter: Letter, body: dict[str, Any]) -> None:
    """Raise CommandFailed while an execution is at work on the batch: that of the letter, or one that redrives it."""
    execution = body["execution"]["arn"]
    machine, _, _ = execution.rpartition(":")
    for arn in (execution, f"{machine}:{letter.object_id}-r{letter.attempt + 1}"):
        if _is_running(stepfunctions, arn):
            raise CommandFailed(
                f"A redrive of {letter.id} is under way: {arn} is RUNNING. "
                "Wait until it has ended; if there is a letter then, discard that."
            )


def written_at(books: Books, letter: Letter) -> int:
    """Count the records that the attempt of a letter delivered and booked; the others are what can be discarded."""
    booked = Entry(letter.object_id, letter.start, letter.attempt)
    return int(books.header(booked)["counts"]["written"]) if booked in books.entries(letter.object_id) else 0


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
