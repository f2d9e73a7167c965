"""Find the dead letter that an operator names: by its id, key or URI, or by an object or record.

A record stands for the dead letter of its own chunk, and only if that record failed: never for that of another record.
"""

from custody.audit.object_state import ObjectState
from custody.audit.raw_object import BEYOND
from custody.audit.reader import AuditReader
from custody.errors import USAGE, CommandFailed
from custody.terminal.text import plural, visible
from functions.shared.model.keys import DEAD_LETTERS, START_DIGITS, WHOLE, DeadLetterKey, LedgerKey
from functions.shared.model.ledger import DeadLetter, DiscardHeader, LedgerHeader, WrittenLine
from functions.shared.records.reader import may_be_gzipped

_DOCUMENTS = (".json", ".json.gz")
"""The suffixes of JSON documents, whose records are numbered."""

_NAMED = 5
"""How many dead letters an error names where one has to be chosen."""


def find_dead_letter(audit: AuditReader, text: str) -> DeadLetterKey:
    """Find a dead letter by its id, key or S3 URI; or the latest one of an object or record id.

    For a bulk object, that is the dead letter of the whole; for a record, that of its chunk. Raises CommandFailed if
    there is none, such as for a record that was written, or whose chunk the audit bucket does not know.
    """
    if "/" in text:
        key = DeadLetterKey.parse(_key(audit, text))
        if key and key in audit.dead_letters(key.day, key.object_id):
            return key
    elif text and (candidates := _dead_letters_about(ObjectState(audit, _object_id(text)), text)):
        return max(candidates, key=lambda key: (key.attempt, key.is_of_whole, key.day, key.start, key.name))
    raise CommandFailed(
        f"There is no dead letter {text!r}. Give its id, such as dt=2026-03-01/OBJECT_ID/000000000000000.0.Validate, "
        "an object id, a record id, or a key in the raw bucket. List dead letters with `custody dead-letters --all`.",
        USAGE,
    )


def find_open_dead_letter(audit: AuditReader, text: str) -> DeadLetterKey:
    """Find a dead letter as `find_dead_letter` does but, for an object or record id, the open one.

    Raises CommandFailed if there is none, or if several are open.
    """
    if "/" in text or not text:
        return find_dead_letter(audit, text)
    state = ObjectState(audit, _object_id(text))
    about = _dead_letters_about(state, text)
    candidates = [key for key in state.open_dead_letters if key in about]
    # The dead letter of a whole object includes those of its chunks.
    candidates = [key for key in candidates if key.is_of_whole] or candidates
    if len(candidates) > 1:
        more = f", and {len(candidates) - _NAMED:,} more" if len(candidates) > _NAMED else ""
        ids = ", ".join(key.id for key in candidates[:_NAMED])
        raise CommandFailed(
            f"{len(candidates):,} dead letters of {state.object_id} are open: {ids}{more}. Name one of them.", USAGE
        )
    return candidates[0] if candidates else find_dead_letter(audit, text)


def position_of(text: str) -> int | None:
    """Parse the position in a record id; None if the text is anything else."""
    _, _, position = text.partition(".")
    return int(position) if "/" not in text and _is_position(position) else None


def _dead_letters_about(state: ObjectState, text: str) -> list[DeadLetterKey]:
    """List the dead letters that an object or record id stands for; none if the audit bucket does not know the object.

    Raises CommandFailed if it does, but has no dead letter about it.
    """
    if not state.object_id or not state.keys:
        return []
    if "." not in text:
        if not state.dead_letters:
            raise CommandFailed(_why_no_dead_letter(state))
        return state.dead_letters
    if not (about := _dead_letters_about_record(state, text)):
        raise CommandFailed(f"{text} has no dead letter yet. See what the ledger has of it: custody trace {text}")
    return about


def _why_no_dead_letter(state: ObjectState) -> str:
    """Explain why an object has no dead letter: nothing of it failed, or it is not finished."""
    object_id, key = state.object_id, state.summary or state.committed.get(0)
    header = state.header(key) if key else None
    if header and (key == state.summary or not header.chunk) and not header.counts.rejected:
        received = header.counts.received
        records = "its 1 record is" if received == 1 else f"its {received:,} records are"
        return f"Nothing of {object_id} failed: {records} written. Follow it: custody trace {object_id}"
    return f"{object_id} has no dead letter yet. See what the ledger has of it: custody trace {object_id}"


def _dead_letters_about_record(state: ObjectState, text: str) -> list[DeadLetterKey]:
    """List the dead letters of the chunk of an unwritten record; raise CommandFailed if there is no such record."""
    _, _, position = text.partition(".")
    starts = {key.start for key in state.keys}
    if not _is_position(position):
        _require_record(text, _describe_batch(state, max(starts)))
        raise CommandFailed(f"There is no record {text!r}: what follows the dot is not a position.", USAGE)
    at = int(position)
    start = max((start for start in starts if start <= at), default=max(starts))
    batch = _describe_batch(state, start)
    _require_record(text, batch)
    chunk = batch.chunk
    if start > at or (chunk and at >= chunk.start + chunk.bytes):
        raise CommandFailed(_why_no_chunk(state, text))
    if committed := _latest_committed(state, start):
        _require_not_written(state, committed, text, at)
    return [key for key in state.dead_letters if key.start == start]


def _latest_committed(state: ObjectState, start: int) -> LedgerKey | None:
    return state.summary if start == WHOLE else state.committed.get(start)


def _describe_batch(state: ObjectState, start: int) -> LedgerHeader | DeadLetter | DiscardHeader:
    """Read the header of the latest committed ledger file of a batch, or else its dead letter, or else its discard."""
    if committed := _latest_committed(state, start):
        return state.header(committed)
    dead_letters = [key for key in state.dead_letters if key.start == start]
    if dead_letters:
        return state.audit.read(dead_letters[-1])
    return state.audit.discard_header(state.by_start[start][-1])


def _why_no_chunk(state: ObjectState, text: str) -> str:
    """Explain, as far as is known, why the audit bucket has no chunk with a record."""
    discards = [key for key in state.by_start.get(WHOLE, []) if key.discards]
    why = "that chunk is not processed yet, or its execution ended before it was"
    if discards:
        header = state.audit.discard_header(discards[-1])
        why = (
            f"the chunks without a ledger file were discarded on {header.recorded_at} by {header.discarded.by}: "
            f"{visible(header.discarded.reason)}"
        )
    return f"The audit bucket has no chunk with {text}: {why}. See: custody trace {state.object_id}"


def _require_not_written(state: ObjectState, committed: LedgerKey, text: str, position: int) -> None:
    """Raise CommandFailed for a record that a ledger file has as written, or does not have though it would."""
    entry = state.audit.line_at(committed, position)
    if entry is None:
        raise CommandFailed(f"There is no record {text!r}: {committed.key} lists every record of its batch.", USAGE)
    if isinstance(entry[1], WrittenLine):
        raise CommandFailed(
            f"{text} is written: nothing of it failed, and there is nothing to redrive or to discard. "
            f"Follow it: custody trace {text}"
        )


def _require_record(text: str, batch: LedgerHeader | DeadLetter | DiscardHeader) -> None:
    """Raise CommandFailed if a record id is beyond its object, as far as a dead letter or header tells."""
    object_id, _, position = text.partition(".")
    received = batch.received if isinstance(batch, DeadLetter) else batch.counts.received if batch.counts else None
    raw = batch.raw
    is_document = raw.key.lower().endswith(_DOCUMENTS)
    if is_document and received is None:
        end, has = BEYOND, "it was not read"
    elif is_document:
        end, has = received or 0, f"it has {plural(received or 0, 'record')}, counted from 0"
    else:
        # A gzipped object has more bytes than are stored.
        end = BEYOND if may_be_gzipped(raw.key) else raw.size
        has = f"the position of its records is the byte at which they begin, and it has {raw.size:,} bytes"
    if not _is_position(position) or int(position) >= end:
        raise CommandFailed(f"There is no record {text!r} in {object_id}: {has}.", USAGE)


def _is_position(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= START_DIGITS


def _key(audit: AuditReader, text: str) -> str:
    if text.startswith("s3://"):
        bucket, _, text = text.removeprefix("s3://").partition("/")
        if bucket != audit.bucket:
            raise CommandFailed(f"The dead letters of this deployment are in {audit.bucket}, not in {bucket}.", USAGE)
    return f"{DEAD_LETTERS}{text.removeprefix(DEAD_LETTERS).removesuffix('.json')}.json"


def _object_id(text: str) -> str:
    """Take the object id out of a record id; an object id has no dot."""
    return text.partition(".")[0]
