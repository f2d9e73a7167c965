"""Find the dead letter that an operator names: by its id, key or URI, or by an object or record.

A record stands for the dead letter of its own chunk, and only if that record failed: never for that of another record.
"""

from custody.audit.object_state import ObjectState
from custody.audit.reader import AuditReader
from custody.errors import USAGE, CommandFailed
from functions.shared.model.keys import DEAD_LETTERS, START_DIGITS, DeadLetterKey
from functions.shared.model.ledger import WrittenLine

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
    elif text and (candidates := _dead_letters_about(ObjectState(audit, text.partition(".")[0]), text)):
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
    state = ObjectState(audit, text.partition(".")[0])
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
    is_position = "/" not in text and position.isascii() and position.isdecimal() and len(position) <= START_DIGITS
    return int(position) if is_position else None


def _dead_letters_about(state: ObjectState, text: str) -> list[DeadLetterKey]:
    """List the dead letters that an object or record id stands for; none if the audit bucket does not know the object.

    Raises CommandFailed if it does, but has no dead letter about it.
    """
    if not state.object_id or not state.keys:
        return []
    if not (about := _dead_letters_about_record(state, text) if "." in text else state.dead_letters):
        raise CommandFailed(f"There is no dead letter about {text}. See what is known about it: custody trace {text}")
    return about


def _dead_letters_about_record(state: ObjectState, text: str) -> list[DeadLetterKey]:
    """List the dead letters of the chunk of a record; raise CommandFailed if it is written, or there is no such."""
    if (at := position_of(text)) is None:
        raise CommandFailed(f"There is no record {text!r}: what follows the dot is not a position.", USAGE)
    start = max((key.start for key in state.keys if key.start <= at), default=None)
    if start is None:
        return []
    dead_letters, committed = [key for key in state.dead_letters if key.start == start], state.committed.get(start)
    if committed:
        chunk = state.header(committed).chunk
    elif dead_letters:
        chunk = state.audit.read(dead_letters[-1]).chunk
    else:
        chunk = state.audit.discard_header(state.by_start[start][-1]).chunk
    if chunk and at >= chunk.start + chunk.bytes:
        return []
    if committed:
        entry = state.audit.line_at(committed, at)
        if entry is None:
            raise CommandFailed(
                f"There is no record {text!r}: {committed.key} lists every record of its batch, but not this one.",
                USAGE,
            )
        if isinstance(entry[1], WrittenLine):
            raise CommandFailed(
                f"{text} is written: it did not fail, and there is nothing to redrive or discard. "
                f"Follow it: custody trace {text}"
            )
    return dead_letters


def _key(audit: AuditReader, text: str) -> str:
    if text.startswith("s3://"):
        bucket, _, text = text.removeprefix("s3://").partition("/")
        if bucket != audit.bucket:
            raise CommandFailed(f"The dead letters of this deployment are in {audit.bucket}, not in {bucket}.", USAGE)
    return f"{DEAD_LETTERS}{text.removeprefix(DEAD_LETTERS).removesuffix('.json')}.json"
