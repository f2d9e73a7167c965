"""Follow one record through the books and its executions: straight to the one ledger file that tells of it."""

from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from custody.audit.dead_letters import GONE, raw_of, record_bytes
from custody.audit.identifiers import Named
from custody.audit.ledger_lines import RecordLine, Written, encode
from custody.audit.object_state import Dossier, execution_in
from custody.audit.reader import Books, Entry, Unreadable
from custody.errors import CommandFailed
from custody.executions.object_trace import discard_of, executions_of, letters_of, links_of
from custody.executions.timeline import Teller, in_order
from functions.shared.model.chunking import PLAIN_LINES
from functions.shared.model.ids import record_id
from functions.shared.model.messages import Json

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def of_record(books: Books, teller: Teller, object_id: str, position: int) -> Json:
    """Tell of one record: its place, its outcome, and its bytes before and after; raise CommandFailed if none is known.

    The ledger file is that of the chunk in which the position lies, and is read up to the record.
    """
    known = Dossier.read(books, teller.pipeline, Named(object_id))
    name = record_id(object_id, position)
    if known.raw.key.lower().endswith(PLAIN_LINES) and position >= known.raw.size:
        raise CommandFailed(
            f"There is no record {name}: its position is the byte at which it begins, and {known.raw.uri} has "
            f"{known.raw.size:,} bytes."
        )
    start = known.start_of(position)
    entries = known.standing.of_batch.get(start, [])
    entry = max(entries, key=lambda each: (not each.discards, each.attempt), default=None)
    if entry is None:
        raise CommandFailed(_without_books(known, name, start))
    if found := books.line_at(entry, position):
        body, line = found
        return _told(known, teller, entry, line, body.decode().removesuffix("\n"))
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


def _told(known: Dossier, teller: Teller, entry: Entry, line: RecordLine, text: str) -> Json:
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
        "ledger": f"s3://{books.bucket}/{entry.key}",
        "ledger_line": text,
        "letters": letters_of(known, teller, [letter for letter in known.letters if letter.start == entry.start]),
        "links": links_of(known, teller, output, entry),
        "executions": _of_chunk(known, teller, entry) if header["chunk"] else executions_of(known, teller),
    }


def _of_chunk(known: Dossier, teller: Teller, entry: Entry) -> list[Json]:
    """Tell of the executions of a chunk itself, which the books name: those that booked it, and those that failed."""
    books = known.books
    booked = [one for one in known.standing.of_batch[entry.start] if not one.discards]
    letters = [letter for letter in known.letters if letter.start == entry.start]
    bodies = [*(partial(books.header, one) for one in booked), *(partial(books.read, one) for one in letters)]
    arns: dict[str, None] = {}
    for body in bodies:
        with suppress(Unreadable):
            arns[execution_in(body())] = None
    return in_order(map(teller.named, arns))


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
