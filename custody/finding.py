"""Find the letter that somebody names: by its id, its key or its URI, or by an object or a record that it is about."""

from typing import Any

from custody.books import LETTERS, Books, Letter
from custody.failure import USAGE, CommandFailed
from custody.letters import raw_of
from functions.shared.ledger import START_DIGITS
from functions.shared.reading import may_be_gzipped

_DOCUMENTS = (".json", ".json.gz")
"""How the keys of JSON documents end, whose records are counted."""

_NAMED = 5
"""How many letters are named where one of them is to be chosen."""

_FAR = 10**START_DIGITS
"""Behind the last byte of any object."""


def find_letter(books: Books, text: str) -> Letter:
    """Find a letter by its id, its key, its S3 URI, or by an object or record id: then it is the latest.

    Of an object that is cut into chunks it is the one that tells of them all; of a record, that of its chunk. Raises
    CommandFailed if there is none.
    """
    if "/" in text:
        letter = Letter.of(_key(books, text))
        if letter and letter in books.letters(letter.day, letter.object_id):
            return letter
    elif text and (letters := books.letters_of(_object_id(text))):
        about = _of_record(books, text, letters)
        return max(
            about, key=lambda letter: (letter.attempt, letter.is_of_whole, letter.day, letter.start, letter.name)
        )
    raise CommandFailed(
        f"There is no letter {text!r}. A letter's id looks like dt=2026-03-01/OBJECT_ID/000000000000000.0.Validate; "
        "an object id or a record id will do too. List them with `custody letters --all`.",
        USAGE,
    )


def find_open(books: Books, text: str) -> Letter:
    """Find a letter as `find_letter` does but, by an object or record id, the one that is open.

    Raises CommandFailed if there is none, or if several are open.
    """
    if "/" in text or not text:
        return find_letter(books, text)
    candidates = books.open_among(books.letters_of(_object_id(text)))
    candidates = _of_record(books, text, candidates)
    if whole := [letter for letter in candidates if letter.is_of_whole]:
        # It tells of its chunks too.
        candidates = whole
    if len(candidates) > 1:
        more = f", and {len(candidates) - _NAMED:,} more" if len(candidates) > _NAMED else ""
        listed = ", ".join(letter.id for letter in candidates[:_NAMED])
        raise CommandFailed(
            f"{len(candidates):,} letters of {_object_id(text)} are open: {listed}{more}. Name one.", USAGE
        )
    return candidates[0] if candidates else find_letter(books, text)


def _of_record(books: Books, text: str, letters: list[Letter]) -> list[Letter]:
    """Leave the letters of the chunk of a record, if it is a record that was asked for, and its chunk has some."""
    object_id, dot, position = text.partition(".")
    if not dot or not position.isdecimal() or len(position) > START_DIGITS:
        return letters
    starts = {entry.start for entry in books.entries(object_id)} | {letter.start for letter in letters}
    start = max((start for start in starts if start <= int(position)), default=0)
    return [letter for letter in letters if letter.start == start] or letters


def beside(books: Books, letter: Letter) -> list[Letter]:
    """Give the other letters of the same batch and attempt, on whatever day its executions started."""
    others = books.letters_of(letter.object_id)
    return [
        each for each in others if each != letter and (*each.batch, each.attempt) == (*letter.batch, letter.attempt)
    ]


def require_record(text: str, letter: Letter, body: dict[str, Any]) -> None:
    """Raise CommandFailed if a letter was asked for by the id of a record that its object does not have."""
    object_id, dot, position = text.partition(".")
    received, raw = body["received"], raw_of(body)
    is_document = raw.key.lower().endswith(_DOCUMENTS)
    if "/" in text or not dot or (is_document and received is None and position.isdecimal()):
        return
    # The position of a line is the byte at which it begins; what is gzipped has more of them than are stored.
    end = received if is_document else _FAR if may_be_gzipped(raw.key) else raw.size
    if not position.isdecimal() or len(position) > START_DIGITS or int(position) >= end:
        number = f"{received} record{'' if received == 1 else 's'}"
        has = "it was not read" if received is None else f"it has {number}, counted from 0"
        if not is_document:
            has = f"the position of a record in it is the byte at which it begins, and it has {raw.size:,} bytes"
        raise CommandFailed(f"There is no record {text!r} in {object_id}: {has}. Its letter is {letter.id}.", USAGE)


def _key(books: Books, text: str) -> str:
    if text.startswith("s3://"):
        bucket, _, text = text.removeprefix("s3://").partition("/")
        if bucket != books.bucket:
            raise CommandFailed(f"The letters of this deployment are in {books.bucket}, not in {bucket}.", USAGE)
    return f"{LETTERS}{text.removeprefix(LETTERS).removesuffix('.json')}.json"


def _object_id(text: str) -> str:
    """Take the object id out of a record id; an object id has no dot."""
    return text.partition(".")[0]
