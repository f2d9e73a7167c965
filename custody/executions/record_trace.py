"""Follow one record through the ledger and its executions: straight to the one ledger file that tells of it."""

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from msgspec import to_builtins

from custody.audit.dead_letters import GONE, record_bytes
from custody.audit.identifiers import Named
from custody.audit.object_state import ObjectState, execution_in
from custody.audit.reader import AuditReader, Unreadable
from custody.errors import CommandFailed
from custody.executions.object_trace import dead_letters_of, discard_of, executions_of, links_of
from custody.executions.timeline import Timelines, in_order
from functions.shared.model.chunking import PLAIN_LINES
from functions.shared.model.ids import record_id
from functions.shared.model.keys import LedgerKey
from functions.shared.model.ledger import DeadLetter, LedgerHeader, RecordLine, StoredObject, WrittenLine
from functions.shared.model.messages import Json

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client


def of_record(audit: AuditReader, timelines: Timelines, object_id: str, position: int) -> Json:
    """Tell of one record: its place, its outcome, and its bytes before and after; raise CommandFailed if none is known.

    The ledger file is that of the chunk in which the position lies, and is read up to the record.
    """
    known = ObjectState.read(audit, timelines.pipeline, Named(object_id))
    name = record_id(object_id, position)
    if known.raw.key.lower().endswith(PLAIN_LINES) and position >= known.raw.size:
        raise CommandFailed(
            f"There is no record {name}: its position is the byte at which it begins, and {known.raw.uri} has "
            f"{known.raw.size:,} bytes."
        )
    start = known.start_of(position)
    entries = known.resolution.of_batch.get(start, [])
    entry = max(entries, key=lambda each: (not each.discards, each.attempt), default=None)
    if entry is None:
        raise CommandFailed(_without_books(known, name, start))
    if found := audit.line_at(entry, position):
        body, line = found
        return _told(known, timelines, entry, line, body.decode().removesuffix("\n"))
    if entry.discards:
        said = discard_of(audit, entry)
        raise CommandFailed(
            f"{name} has no outcome of its own: {_part(known)} was never committed, and was discarded on {said['at']} by "
            f"{said['by']}: {said['reason']}"
        )
    raise CommandFailed(f"There is no record {name}: {entry.key} tells of all that begin there, and it is none.")


def _without_books(known: ObjectState, name: str, start: int) -> str:
    """Say why no ledger file tells of a batch."""
    line = known.resolution.chunks.get(start)
    part, run = _part(known), known.run
    if line is not None and line.attempt is not None:
        return (
            f"No ledger file tells of {name}: that of its chunk is missing, though the summary tells of it. See "
            f"custody verify {known.raw.id}"
        )
    dead_letters = [dead_letter for dead_letter in known.dead_letters if dead_letter.start == start]
    if run.is_running:
        since = f", after it failed before: custody dead-letters show {dead_letters[-1].id}" if dead_letters else ""
        return f"{name} has no outcome yet: {part} is not committed so far, and {run.arn} is {run.status}{since}"
    if dead_letters:
        return f"{name} has no outcome: {part} failed: custody dead-letters show {dead_letters[-1].id}"
    ended = f"; {run.arn} is {run.status}" if run.status else ""
    whole = (
        f"; custody dead-letters show {known.dead_letters[-1].id}" if known.dead_letters else "; see custody reconcile"
    )
    return f"{name} has no outcome: {part} was not processed{ended}{whole}"


def _part(known: ObjectState) -> str:
    return "its chunk" if known.chunk_bytes else "its object"


def _told(known: ObjectState, timelines: Timelines, entry: LedgerKey, line: RecordLine, text: str) -> Json:
    audit = known.audit
    header = audit.discard_header(entry) if entry.discards else audit.header(entry)
    raw, output = header.raw, to_builtins(header.output) if isinstance(line, WrittenLine) else None
    place = to_builtins(line)
    of_batch = known.resolution.of_batch[entry.start]
    discard = of_batch[-1] if of_batch[-1].discards and not isinstance(line, WrittenLine) else None
    return {
        "record": record_id(entry.object_id, line.position),
        "object": to_builtins(StoredObject.of(raw)),
        "uri": raw.uri,
        "chunk": to_builtins(header.chunk),
        "attempt": entry.attempt,
        "attempts": [
            {"attempt": each.attempt, "discarded": each.discards, "ledger": f"s3://{audit.bucket}/{each.key}"}
            for each in of_batch
        ],
        "execution": header.execution,
        "parent": header.parent,
        "status": known.run.status,
        "recorded_at": header.recorded_at,
        "contract": header.contract,
        "code": header.code,
        **place,
        "outcome": "discarded" if discard else place["outcome"],
        "discarded": discard_of(audit, discard) if discard else None,
        "output": place["output"] | output if output else None,
        "received_text": _text(record_bytes(audit.s3, raw, line)),
        "written_text": _text(_delivered(audit.s3, output, line)) if isinstance(line, WrittenLine) else None,
        "ledger": f"s3://{audit.bucket}/{entry.key}",
        "ledger_line": text,
        "dead_letters": dead_letters_of(
            known, timelines, [dead_letter for dead_letter in known.dead_letters if dead_letter.start == entry.start]
        ),
        "links": links_of(known, timelines, output, entry),
        "executions": _of_chunk(known, timelines, entry) if header.chunk else executions_of(known, timelines),
    }


def _of_chunk(known: ObjectState, timelines: Timelines, entry: LedgerKey) -> list[Json]:
    """Tell of the executions of a chunk itself, which the ledger name: those that committed it, and those that failed."""
    audit = known.audit
    committed = [one for one in known.resolution.of_batch[entry.start] if not one.discards]
    dead_letters = [dead_letter for dead_letter in known.dead_letters if dead_letter.start == entry.start]
    bodies: list[Callable[[], LedgerHeader | DeadLetter]] = [
        *(partial(audit.header, one) for one in committed),
        *(partial(audit.read, one) for one in dead_letters),
    ]
    arns: dict[str, None] = {}
    for body in bodies:
        with suppress(Unreadable):
            arns[execution_in(body())] = None
    return in_order(map(timelines.named, arns))


def _delivered(s3: "S3Client", output: Any, line: WrittenLine) -> bytes | None:
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
