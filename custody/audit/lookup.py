"""Find the dead letter that somebody names: by its id, its key or its URI, or by an object or a record that it is about.

A record names the dead letter of its own chunk, and only if the record failed: never that of another record.
"""

from custody.audit.reader import AuditReader
from custody.audit.resolution import Resolution
from custody.errors import USAGE, CommandFailed
from custody.terminal.text import visible
from functions.shared.model.keys import DEAD_LETTERS, START_DIGITS, WHOLE, DeadLetterKey, LedgerKey, latest
from functions.shared.model.ledger import DeadLetter, DiscardHeader, LedgerHeader, WrittenLine
from functions.shared.records.reader import may_be_gzipped

_DOCUMENTS = (".json", ".json.gz")
"""How the keys of JSON documents end, whose records are counted."""

_NAMED = 5
"""How many dead letters are named where one of them is to be chosen."""

_File = LedgerHeader | DiscardHeader | DeadLetter

_FAR = 10**START_DIGITS
"""Behind the last byte of any object."""


def find_dead_letter(audit: AuditReader, text: str) -> DeadLetterKey:
    """Find a dead letter by its id, its key, its S3 URI, or by an object or record id: then it is the latest.

    Of an object that is cut into chunks it is the one that tells of them all; of a record, that of its chunk. Raises
    CommandFailed if there is none: so of a record that was written, or whose chunk the ledger do not tell of.
    """
    if "/" in text:
        dead_letter = DeadLetterKey.parse(_key(audit, text))
        if dead_letter and dead_letter in audit.dead_letters(dead_letter.day, dead_letter.object_id):
            return dead_letter
    elif text and (about := _about(audit, text)):
        return max(
            about,
            key=lambda dead_letter: (
                dead_letter.attempt,
                dead_letter.is_of_whole,
                dead_letter.day,
                dead_letter.start,
                dead_letter.name,
            ),
        )
    raise CommandFailed(
        f"There is no dead letter {text!r}. A dead letter's id looks like dt=2026-03-01/OBJECT_ID/000000000000000.0.Validate; "
        "an object id, a record id or a key in the raw bucket will do too. List them with `custody dead-letters --all`.",
        USAGE,
    )


def find_open(audit: AuditReader, text: str) -> DeadLetterKey:
    """Find a dead letter as `find_letter` does but, by an object or record id, the one that is open.

    Raises CommandFailed if there is none, or if several are open.
    """
    if "/" in text or not text:
        return find_dead_letter(audit, text)
    about = _about(audit, text)
    still_open = audit.open_among(audit.dead_letters_of(_object_id(text)))
    candidates = [dead_letter for dead_letter in still_open if dead_letter in about]
    if whole := [dead_letter for dead_letter in candidates if dead_letter.is_of_whole]:
        # It tells of its chunks too.
        candidates = whole
    if len(candidates) > 1:
        more = f", and {len(candidates) - _NAMED:,} more" if len(candidates) > _NAMED else ""
        listed = ", ".join(dead_letter.id for dead_letter in candidates[:_NAMED])
        raise CommandFailed(
            f"{len(candidates):,} dead letters of {_object_id(text)} are open: {listed}{more}. Name one.", USAGE
        )
    return candidates[0] if candidates else find_dead_letter(audit, text)


def position_of(text: str) -> int | None:
    """Take the position out of the id of a record; None if it is the id of anything else."""
    _, _, position = text.partition(".")
    return int(position) if "/" not in text and _is_position(position) else None


def beside(audit: AuditReader, dead_letter: DeadLetterKey) -> list[DeadLetterKey]:
    """Give the other dead letters of the same batch and attempt, on whatever day its executions started."""
    others = audit.dead_letters_of(dead_letter.object_id)
    return [
        each
        for each in others
        if each != dead_letter and (*each.batch, each.attempt) == (*dead_letter.batch, dead_letter.attempt)
    ]


def _about(audit: AuditReader, text: str) -> list[DeadLetterKey]:
    """Give the dead letters that an object or record id names; none, if the ledger know nothing of the object.

    Raises CommandFailed if they know it, and no dead letter of theirs is of what is named.
    """
    object_id = _object_id(text)
    dead_letters = audit.dead_letters_of(object_id) if object_id else []
    resolution = audit.resolution(object_id)
    if not (dead_letters or resolution.entries):
        return []
    if "." not in text:
        if not dead_letters:
            raise CommandFailed(_without_dead_letter(resolution, text))
        return dead_letters
    if not (about := _of_record(audit, resolution, dead_letters, text)):
        raise CommandFailed(f"No dead letter tells of {text} yet. See what its commits say: custody trace {text}")
    return about


def _without_dead_letter(resolution: Resolution, object_id: str) -> str:
    """Say why an object has no dead letter: nothing of it failed, or its commits are not closed."""
    last = resolution.summary or latest(resolution.entries).get(0)
    header = resolution.audit.header(last) if last else None
    if header and (last == resolution.summary or not header.chunk) and not header.counts.rejected:
        number = header.counts.received
        records = "its 1 record is" if number == 1 else f"its {number:,} records are"
        return f"Nothing of {object_id} failed: {records} written. Follow it: custody trace {object_id}"
    return f"No dead letter tells of {object_id} yet. See what its commits say: custody trace {object_id}"


def _of_record(
    audit: AuditReader, resolution: Resolution, dead_letters: list[DeadLetterKey], text: str
) -> list[DeadLetterKey]:
    """Give the dead letters of the chunk of a record that was not written; raise CommandFailed if it is no such record."""
    _, _, position = text.partition(".")
    starts = {entry.start for entry in resolution.entries} | {dead_letter.start for dead_letter in dead_letters}
    if not _is_position(position):
        _require_record(text, _told(audit, resolution, dead_letters, max(starts)))
        raise CommandFailed(f"There is no record {text!r}: what stands behind the dot is no position.", USAGE)
    at = int(position)
    start = max((start for start in starts if start <= at), default=max(starts))
    told = _told(audit, resolution, dead_letters, start)
    _require_record(text, told)
    chunk = told.chunk
    if start > at or (chunk and at >= chunk.start + chunk.bytes):
        raise CommandFailed(_without_chunk(audit, resolution, text))
    if committed := latest(resolution.entries).get(start):
        _require_not_written(audit, committed, text, at)
    return [dead_letter for dead_letter in dead_letters if dead_letter.start == start]


def _told(audit: AuditReader, resolution: Resolution, dead_letters: list[DeadLetterKey], start: int) -> _File:
    """Read what tells of a batch: its latest ledger file that a step committed, or else a dead letter, or else a discard."""
    if committed := latest(resolution.entries).get(start):
        return audit.header(committed)
    of_batch = [dead_letter for dead_letter in dead_letters if dead_letter.start == start]
    return audit.read(of_batch[-1]) if of_batch else audit.discard_header(resolution.of_batch[start][-1])


def _without_chunk(audit: AuditReader, resolution: Resolution, text: str) -> str:
    """Say of a record that no chunk that the ledger tell of has it, and why, as far as that is known."""
    object_id = _object_id(text)
    given_up = [entry for entry in resolution.of_batch.get(WHOLE, []) if entry.discards]
    if given_up:
        header = audit.discard_header(given_up[-1])
        why = (
            f"the chunks of which nothing tells were discarded on {header.recorded_at} by {header.discarded.by}: "
            f"{visible(header.discarded.reason)}"
        )
    else:
        why = "that chunk is not processed yet, or its execution ended before it was"
    return f"Nothing tells of {text}: no chunk that the ledger tell of has it; {why}. See: custody trace {object_id}"


def _require_not_written(audit: AuditReader, committed: LedgerKey, text: str, position: int) -> None:
    """Raise CommandFailed for a record that a ledger file says was written, or that it would tell of and does not."""
    found = audit.line_at(committed, position)
    if found is None:
        raise CommandFailed(
            f"There is no record {text!r}: {committed.key} tells of all that begin there, and it is none.", USAGE
        )
    if isinstance(found[1], WrittenLine):
        raise CommandFailed(
            f"{text} is written: nothing of it failed, and there is nothing to redrive or to discard. "
            f"Follow it: custody trace {text}"
        )


def _require_record(text: str, told: _File) -> None:
    """Raise CommandFailed for the id of a record that its object does not have, by what a dead letter or header tells."""
    object_id, _, position = text.partition(".")
    received, raw = _received(told), told.raw
    is_document = raw.key.lower().endswith(_DOCUMENTS)
    if is_document and received is None and position.isdecimal():
        return
    # The position of a line is the byte at which it begins; what is gzipped has more of them than are stored.
    end = received or 0 if is_document else _FAR if may_be_gzipped(raw.key) else raw.size
    if not _is_position(position) or int(position) >= end:
        number = f"{received} record{'' if received == 1 else 's'}"
        has = "it was not read" if received is None else f"it has {number}, counted from 0"
        if not is_document:
            has = f"the position of a record in it is the byte at which it begins, and it has {raw.size:,} bytes"
        raise CommandFailed(f"There is no record {text!r} in {object_id}: {has}.", USAGE)


def _received(told: _File) -> int | None:
    """Return how many records a batch had; None if it was not read."""
    if isinstance(told, DeadLetter):
        return told.received
    return told.counts.received if told.counts else None


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
