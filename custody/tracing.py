"""Follow one record, or one object, through the books: straight to the ledger file that tells of it, and no other."""

import re
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from custody.books import Books, Entry, Letter, Unreadable, latest
from custody.failure import CommandFailed
from custody.letters import GONE, raw_of, record_bytes
from custody.lines import BookedChunk, RecordLine, Written, encode, shape
from custody.openness import Standing
from functions.shared.identity import HASH_LENGTH, RawObject, record_id
from functions.shared.messages import Json

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_OBJECT_ID = re.compile(rf"[0-9A-Za-z_-]+-[0-9a-f]{{{HASH_LENGTH}}}")
_POSITION = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True)
class Named:
    """What was asked for: an object, or the record at a position of it; `others` are other versions of its key."""

    object_id: str
    position: int | None = None
    raw: RawObject | None = None
    others: tuple[str, ...] = ()


def named(s3: "S3Client", raw_bucket: str, text: str) -> Named:
    """Say what a record id, an object id, a key or the S3 URI of one names; raise CommandFailed if it is nothing."""
    object_id, dot, position = text.rpartition(".")
    if dot and _OBJECT_ID.fullmatch(object_id) and _POSITION.fullmatch(position):
        return Named(object_id, int(position))
    if _OBJECT_ID.fullmatch(text):
        return Named(text)
    key = text.removeprefix(f"s3://{raw_bucket}/")
    versions = _versions(s3, raw_bucket, key) if key else []
    if not versions:
        raise CommandFailed(
            f"Nothing tells of {text!r}: it is no record id, no object id, and no key in {raw_bucket}. See what there "
            "is: custody executions, custody letters --all."
        )
    newest, *others = versions
    return Named(newest.id, None, newest, tuple(other.id for other in others))


def _versions(s3: "S3Client", bucket: str, key: str) -> list[RawObject]:
    """List the versions of a key, the newest first."""
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key)
    found: list[RawObject] = []
    for page in pages:
        listed = page.get("Versions", [])
        found += [
            RawObject(bucket, key, each["VersionId"], each["Size"], each["ETag"].strip('"'))
            for each in listed
            if each["Key"] == key
        ]
        if any(each["Key"] != key for each in listed):
            # Keys come in order: what begins alike and is longer comes behind.
            break
    return found


def of_record(books: Books, object_id: str, position: int) -> Json:
    """Tell of one record: its place, its outcome, and its bytes before and after; raise CommandFailed if none is known.

    The ledger file is that of the chunk in which the position lies, and is read up to the record.
    """
    standing = books.standing(object_id)
    booked = {start: entry for start, entry in latest(standing.entries).items() if not entry.is_summary}
    name = record_id(object_id, position)
    start = max((start for start in booked if start <= position), default=None)
    if start is None:
        raise CommandFailed(f"Nothing tells of {name}: {_instead(books, object_id)}")
    entry = booked[start]
    header = books.header(entry)
    if (chunk := header["chunk"]) and position >= chunk["start"] + chunk["bytes"]:
        raise CommandFailed(
            f"No ledger file tells of {name}: that of its chunk is missing; {_instead(books, object_id)}"
        )
    with closing(books.lines(entry)) as lines:
        line = next((line for line in lines if line.position >= position), None)
    if line is None or line.position != position:
        raise CommandFailed(f"There is no record {name}: {entry.key} tells of all that begin there, and it is none.")
    return _told(books, standing, header, entry, line)


def _told(books: Books, standing: Standing, header: Any, entry: Entry, line: RecordLine) -> Json:
    raw, output = raw_of(header), header["output"] if isinstance(line, Written) else None
    place = encode(line)
    before = record_bytes(books.s3, raw, place)
    after = _delivered(books.s3, output, line) if isinstance(line, Written) else None
    of_batch = standing.of_batch[entry.start]
    letters = [letter for letter in books.letters_of(entry.object_id) if letter.start == entry.start]
    return {
        "record": record_id(entry.object_id, line.position),
        "object": {"id": raw.id} | asdict(raw),
        "uri": raw.uri,
        "chunk": header["chunk"],
        "attempt": entry.attempt,
        "attempts": [
            {"attempt": each.attempt, "discarded": each.discards, "ledger": f"s3://{books.bucket}/{each.key}"}
            for each in of_batch
        ],
        "discarded": of_batch[-1].discards,
        "execution": header["execution"],
        "parent": header.get("parent"),
        "recorded_at": header["recorded_at"],
        "contract": header["contract"],
        "code": header["code"],
        **place,
        "output": place["output"] | output if output else None,
        "received_text": _text(before),
        "written_text": _text(after),
        "letters": _letters(standing, letters),
    }


def of_object(books: Books, wanted: Named) -> Json:
    """Tell of one object: its versions, its books and its letters; raise CommandFailed if nothing tells of it."""
    object_id = wanted.object_id
    standing = books.standing(object_id)
    letters = books.letters_of(object_id)
    booked = latest(standing.entries)
    if not (booked or letters):
        raise CommandFailed(f"Nothing tells of {object_id}: {_instead(books, object_id)}")
    last = standing.summary or booked.get(min(booked)) if booked else None
    header = books.header(last) if last else None
    told = header or books.read(letters[-1])
    raw = raw_of(told)
    is_bulk = standing.summary is not None or any(start != 0 for start in booked) or told["chunk"] is not None
    # Before the books of a bulk object are closed, its first chunk tells which it is, and no more.
    closed = header if not is_bulk or standing.summary is not None else None
    highest = max([*(entry.attempt for entry in standing.entries), *(letter.attempt for letter in letters)])
    return {
        "object": {"id": raw.id} | asdict(raw),
        "uri": raw.uri,
        "other_versions": list(wanted.others),
        "dataset": told["dataset"],
        "attempt": closed["attempt"] if closed else highest,
        "counts": closed["counts"] if closed else None,
        "chunks": _chunks(standing, booked, header) if is_bulk else None,
        "execution": told.get("parent") or (header["execution"] if header else told["execution"]["arn"]),
        "output": header["output"] if header and not is_bulk else None,
        "ledger": f"s3://{books.bucket}/{last.key}" if last and closed else None,
        "letters": _letters(standing, letters),
    }


def _chunks(standing: Standing, booked: dict[int, Entry], header: Any) -> Json:
    """Count the chunks, and name those that are not written whole."""
    left = [
        {
            "start": line.start,
            "outcome": "booked" if isinstance(line, BookedChunk) else "failed",
            "attempt": line.attempt,
            "counts": shape(line.counts) if line.counts else None,
        }
        for line in standing.chunks.values()
        if not isinstance(line, BookedChunk) or line.counts.rejected
    ]
    counted = header["chunks"] if standing.summary else {"booked": len(booked)}
    return {**counted, "not_written": left}


def _letters(standing: Standing, letters: list[Letter]) -> list[Json]:
    are_open = frozenset(standing.open_among(letters))
    return [{"id": letter.id, "open": letter in are_open} for letter in letters]


def _delivered(s3: "S3Client", output: Any, line: Written) -> bytes | None:
    """Read the line of a record as it was delivered; None if that version is gone."""
    place = line.output
    try:
        return s3.get_object(
            Bucket=output["bucket"],
            Key=output["key"],
            VersionId=output["version_id"],
            Range=f"bytes={place.offset}-{place.offset + place.length - 1}",
        )["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] in GONE:
            return None
        raise


def _text(body: bytes | None) -> str | None:
    return None if body is None else body.decode(errors="backslashreplace")


def _instead(books: Books, object_id: str) -> str:
    """Say where else to look."""
    try:
        letters = books.letters_of(object_id)
    except Unreadable:
        letters = []
    if letters:
        return f"its latest letter says why: custody letters show {letters[-1].id}"
    return "no ledger file and no letter; `custody reconcile` says what became of every object"
