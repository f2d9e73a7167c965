"""Follow one record, or one object, through the books: straight to the ledger file that tells of it, and no other."""

from contextlib import closing
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from custody.books import WHOLE, Books, Entry, Letter, Unreadable
from custody.dossier import Dossier
from custody.executions import Pipeline
from custody.failure import CommandFailed
from custody.fates import parts_of, rejected_of
from custody.letters import GONE, raw_of, record_bytes
from custody.lines import BookedChunk, RecordLine, Written, encode, shape
from custody.naming import Named
from functions.shared.identity import record_id
from functions.shared.messages import Json

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LISTED = 10
"""How many rejected records of an object are listed, and how many discards."""

_LINES = (".jsonl", ".ndjson")
"""How the keys end of which a position is a byte as it is stored."""


def of_record(books: Books, pipeline: Pipeline, object_id: str, position: int) -> Json:
    """Tell of one record: its place, its outcome, and its bytes before and after; raise CommandFailed if none is known.

    The ledger file is that of the chunk in which the position lies, and is read up to the record.
    """
    known = Dossier.read(books, pipeline, Named(object_id))
    name = record_id(object_id, position)
    if known.raw.key.lower().endswith(_LINES) and position >= known.raw.size:
        raise CommandFailed(
            f"There is no record {name}: its position is the byte at which it begins, and {known.raw.uri} has "
            f"{known.raw.size:,} bytes."
        )
    start = known.start_of(position)
    entries = known.standing.of_batch.get(start, [])
    entry = max(entries, key=lambda each: (not each.discards, each.attempt), default=None)
    if entry is None:
        raise CommandFailed(_without_books(known, name, start))
    with closing(books.lines(entry)) as lines:
        line = next((line for line in lines if line.position >= position), None)
    if line is not None and line.position == position:
        return _told(known, entry, line)
    if entry.discards:
        said = discard_of(books, entry)
        raise CommandFailed(
            f"{name} has no outcome of its own: {_part(known)} was never booked, and was discarded on {said['at']} by "
            f"{said['by']}: {said['reason']}"
        )
    raise CommandFailed(f"There is no record {name}: {entry.key} tells of all that begin there, and it is none.")


def _without_books(known: Dossier, name: str, start: int) -> str:
    """Say why no ledger file tells of a batch."""
    line = known.standing.chunks.get(start)
    part, run = _part(known), known.run
    if line is not None and line.attempt is not None:
        return (
            f"No ledger file tells of {name}: that of its chunk is missing, though the summary tells of it. See "
            f"custody verify {known.raw.id}"
        )
    letters = [letter for letter in known.letters if letter.start == start]
    if run.is_running:
        since = f", after it failed before: custody letters show {letters[-1].id}" if letters else ""
        return f"{name} has no outcome yet: {part} is not booked so far, and {run.arn} is {run.status}{since}"
    if letters:
        return f"{name} has no outcome: {part} failed: custody letters show {letters[-1].id}"
    ended = f"; {run.arn} is {run.status}" if run.status else ""
    whole = f"; custody letters show {known.letters[-1].id}" if known.letters else "; see custody reconcile"
    return f"{name} has no outcome: {part} was not processed{ended}{whole}"


def _part(known: Dossier) -> str:
    return "its chunk" if known.chunk_bytes else "its object"


def discard_of(books: Books, entry: Entry) -> Json:
    """Say who discarded a batch, when and why: null if that cannot be read; `start` is null for all that was left."""
    told = {"start": None if entry.start == WHOLE else entry.start, "ledger": f"s3://{books.bucket}/{entry.key}"}
    try:
        header = books.header(entry)
    except Unreadable:
        return told | dict.fromkeys(("at", "by", "reason"))
    return told | {
        "at": header["recorded_at"],
        "by": header["discarded"]["by"],
        "reason": header["discarded"]["reason"],
    }


def _told(known: Dossier, entry: Entry, line: RecordLine) -> Json:
    books, header = known.books, known.books.header(entry)
    raw, output = raw_of(header), header["output"] if isinstance(line, Written) else None
    place = encode(line)
    of_batch = known.standing.of_batch[entry.start]
    discard = of_batch[-1] if of_batch[-1].discards and not isinstance(line, Written) else None
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
        "execution": header["execution"],
        "parent": header.get("parent"),
        "status": known.run.status,
        "recorded_at": header["recorded_at"],
        "contract": header["contract"],
        "code": header["code"],
        **place,
        "outcome": "discarded" if discard else place["outcome"],
        "discarded": discard_of(books, discard) if discard else None,
        "output": place["output"] | output if output else None,
        "received_text": _text(record_bytes(books.s3, raw, place)),
        "written_text": _text(_delivered(books.s3, output, line)) if isinstance(line, Written) else None,
        "letters": _letters(known, [letter for letter in known.letters if letter.start == entry.start]),
    }


def of_object(books: Books, pipeline: Pipeline, wanted: Named) -> Json:
    """Tell of one object: its versions, its state, its books and its letters; raise CommandFailed if nothing does."""
    known = Dossier.read(books, pipeline, wanted)
    header = known.header if known.is_closed else None
    discards = known.discards
    return {
        "object": {"id": known.raw.id} | asdict(known.raw),
        "uri": known.raw.uri,
        "other_versions": list(wanted.others),
        "dataset": known.told["dataset"] if known.told else None,
        "status": known.run.status,
        "error": known.run.error,
        # Before the books of a bulk object are closed, its first chunk tells which it is, and no more.
        "attempt": header["attempt"] if header else known.attempt,
        "counts": header["counts"] if header else None,
        "chunks": _chunks(known) if known.chunk_bytes else None,
        "rejected": list(islice(_rejected(known), LISTED)) if header else [],
        "discards": [discard_of(books, each) for each in discards[:LISTED]],
        "discards_more": max(0, len(discards) - LISTED),
        "execution": known.run.arn,
        "output": header["output"] if header and not known.chunk_bytes else None,
        "ledger": f"s3://{books.bucket}/{known.last.key}" if known.last and header else None,
        "letters": _letters(known, known.letters),
    }


def _rejected(known: Dossier) -> Any:
    """Give the rejected records, those that were discarded since too; no more is read than is asked for."""
    given_up = frozenset(entry.start for entry in known.discards)
    for entry, line in rejected_of(known.books, parts_of(known.books, known.standing)):
        outcome = {"outcome": "discarded"} if entry.start in given_up else {}
        yield {"record": record_id(entry.object_id, line.position)} | encode(line) | outcome


def _chunks(known: Dossier) -> Json:
    """Count the chunks, and name those that are not written whole."""
    given_up = frozenset(entry.start for entry in known.discards)
    left = [
        {
            "start": line.start,
            "outcome": _outcome(line.start in given_up, isinstance(line, BookedChunk)),
            "attempt": line.attempt,
            "counts": shape(line.counts) if line.counts else None,
        }
        for line in known.standing.chunks.values()
        if not isinstance(line, BookedChunk) or line.counts.rejected
    ]
    counted = known.header["chunks"] if known.is_closed else {"total": known.chunks, "booked": len(known.booked)}
    return {**counted, "not_written": left}


def _outcome(is_given_up: bool, is_booked: bool) -> str:  # noqa: FBT001 - two facts of a chunk
    if is_given_up:
        return "discarded"
    return "booked" if is_booked else "failed"


def _letters(known: Dossier, letters: list[Letter]) -> list[Json]:
    """Tell of letters: first of the one to act on, that of all chunks, if there is one."""
    are_open = frozenset(known.standing.open_among(letters))
    ordered = sorted(letters, key=lambda letter: not letter.is_of_whole)
    return [{"id": letter.id, "open": letter in are_open} for letter in ordered]


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
