"""Which letters are open, as the audit bucket tells: it alone, for nothing in it is ever changed."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.books import Books, Entry, Letter, Unreadable
from functions.shared.ledger import START_DIGITS
from tests.rooms import Rooms

DAY = "2026-11-23"
NEXT_DAY = "2026-11-24"
OBJECT = "mission-a-json-0123456789abcdef01234567"

OBJECT_IDS = st.from_regex(r"[0-9A-Za-z_-]{1,65}", fullmatch=True)
STARTS = st.integers(0, 10**START_DIGITS - 1)
ATTEMPTS = st.integers(0, 10_000)
DAYS = st.dates().map(lambda day: day.isoformat())
NAMES = st.sampled_from(["Validate", "Transform", "Write", "Rejected", "Aborted", "TimedOut", "Failed"])


def a_letter(attempt: int = 0, name: str = "Write", *, start: int = 0, day: str = DAY) -> Letter:
    return Letter(OBJECT, start, attempt, day, name)


def the_books(rooms: Rooms, *letters: Letter) -> Books:
    for letter in letters:
        rooms.s3.put_object(Bucket="audit", Key=letter.key, Body=b"{}")
    return Books(rooms.s3, "audit")


def book(rooms: Rooms, entry: Entry, *, rejected: int = 0, written: int = 1) -> None:
    counts = {"received": written + rejected, "written": written, "rejected": rejected}
    header = json.dumps({"counts": None if entry.discards else counts}).encode()
    rooms.s3.put_object(Bucket="audit", Key=entry.key, Body=gzip.compress(header + b"\n"))


def still_open(books: Books) -> list[Letter]:
    return books.open_among(books.letters_of(OBJECT))


def test_a_letter_is_open_while_the_ledger_says_nothing(rooms: Rooms) -> None:
    letter = a_letter()
    assert still_open(the_books(rooms, letter)) == [letter]


def test_a_delivery_of_the_same_attempt_closes_it_if_no_record_was_rejected(rooms: Rooms) -> None:
    books = the_books(rooms, a_letter())
    book(rooms, Entry(OBJECT, 0, 0))
    assert still_open(books) == []


def test_a_delivery_of_the_same_attempt_leaves_it_open_if_records_were_rejected(rooms: Rooms) -> None:
    letter = a_letter(name="Rejected")
    books = the_books(rooms, letter)
    book(rooms, Entry(OBJECT, 0, 0), rejected=1)
    assert still_open(books) == [letter]


def test_a_later_attempt_in_the_ledger_closes_it(rooms: Rooms) -> None:
    books = the_books(rooms, a_letter())
    book(rooms, Entry(OBJECT, 0, 1))
    assert still_open(books) == []


def test_an_earlier_attempt_in_the_ledger_leaves_it_open(rooms: Rooms) -> None:
    letter = a_letter(attempt=1)
    books = the_books(rooms, letter)
    book(rooms, Entry(OBJECT, 0, 0))
    assert still_open(books) == [letter]


@pytest.mark.parametrize(("discarded", "is_open"), [(0, True), (1, False), (2, False)])
def test_a_discard_of_its_attempt_or_a_later_one_closes_it(rooms: Rooms, discarded: int, *, is_open: bool) -> None:
    letter = a_letter(attempt=1)
    books = the_books(rooms, letter)
    book(rooms, Entry(OBJECT, 0, discarded, discards=True))
    assert still_open(books) == ([letter] if is_open else [])


def test_a_discard_closes_it_though_the_ledger_has_rejected_records_of_the_attempt(rooms: Rooms) -> None:
    books = the_books(rooms, a_letter(name="Rejected"))
    book(rooms, Entry(OBJECT, 0, 0), rejected=1)
    book(rooms, Entry(OBJECT, 0, 0, discards=True))
    assert still_open(books) == []


def test_a_later_letter_stands_in_its_place_even_if_it_is_of_another_day(rooms: Rooms) -> None:
    later = a_letter(attempt=1, day=NEXT_DAY)
    assert still_open(the_books(rooms, a_letter(), later)) == [later]


def test_attempts_count_as_numbers(rooms: Rooms) -> None:
    tenth = a_letter(attempt=10)
    books = the_books(rooms, a_letter(attempt=9), tenth)
    book(rooms, Entry(OBJECT, 0, 9))
    assert still_open(books) == [tenth]


def test_a_later_letter_that_is_closed_closes_what_it_stands_for(rooms: Rooms) -> None:
    books = the_books(rooms, a_letter(), a_letter(attempt=1, name="Rejected"))
    book(rooms, Entry(OBJECT, 0, 0), rejected=1)
    book(rooms, Entry(OBJECT, 0, 1, discards=True))
    assert still_open(books) == []


def test_two_letters_of_one_attempt_are_open_and_closed_together(rooms: Rooms) -> None:
    both = [a_letter(name="Rejected"), a_letter(name="Write")]
    books = the_books(rooms, *both)
    assert still_open(books) == both

    book(rooms, Entry(OBJECT, 0, 0, discards=True))
    assert still_open(books) == []


def test_the_ledger_of_one_batch_says_nothing_of_another_batch_of_the_object(rooms: Rooms) -> None:
    first, second = a_letter(start=0), a_letter(start=1000)
    books = the_books(rooms, first, second)
    book(rooms, Entry(OBJECT, 0, 1))
    assert still_open(books) == [second]


def test_the_ledger_of_one_object_says_nothing_of_one_whose_id_begins_alike(rooms: Rooms) -> None:
    letter = a_letter()
    books = the_books(rooms, letter)
    book(rooms, Entry(f"{OBJECT}-and-more", 0, 1))
    assert still_open(books) == [letter]


def test_a_ledger_file_that_cannot_be_read_closes_nothing(rooms: Rooms) -> None:
    letter, entry = a_letter(), Entry(OBJECT, 0, 0)
    books = the_books(rooms, letter)
    rooms.s3.put_object(Bucket="audit", Key=entry.key, Body=b"not what Custody writes")

    assert still_open(books) == [letter]
    with pytest.raises(Unreadable, match="is not what Custody wrote"):
        books.header(entry)


def test_letters_are_listed_by_day_the_newest_first_and_others_keys_are_passed_over(rooms: Rooms) -> None:
    old, new = a_letter(), a_letter(attempt=1, day=NEXT_DAY)
    books = the_books(rooms, old, new)
    for foreign in (f"letters/dt={DAY}/{OBJECT}/notes.txt", f"letters/dt={DAY}/readme", "letters/readme"):
        rooms.s3.put_object(Bucket="audit", Key=foreign, Body=b"")
    rooms.s3.put_object(Bucket="audit", Key=f"ledger/{OBJECT}/notes.txt", Body=b"")

    assert books.days == [NEXT_DAY, DAY]
    assert list(books.letters(DAY)) == [old]
    assert books.letters_of(OBJECT) == [old, new]
    assert books.letters_of(OBJECT, since=NEXT_DAY) == [new]
    assert books.entries(OBJECT) == []


@given(st.builds(Letter, OBJECT_IDS, STARTS, ATTEMPTS, DAYS, NAMES))
def test_the_key_of_a_letter_tells_all_of_it(letter: Letter) -> None:
    assert Letter.of(letter.key) == letter
    assert letter.key == f"letters/{letter.id}.json"
    assert Entry.of(letter.key) is None


@given(st.builds(Entry, OBJECT_IDS, STARTS, ATTEMPTS, st.booleans()))
def test_the_key_of_a_ledger_file_tells_all_of_it(entry: Entry) -> None:
    assert Entry.of(entry.key) == entry
    assert Letter.of(entry.key) is None


@given(st.text())
def test_no_other_text_is_taken_for_a_key(text: str) -> None:
    letter, entry = Letter.of(text), Entry.of(text)
    assert letter is None or text.startswith("letters/dt=")
    assert entry is None or text.startswith("ledger/")


@pytest.mark.parametrize(
    "key",
    [
        f"ledger/{OBJECT}/000000000000000.0.jsonl.gz.bak",
        f"ledger/{OBJECT}/000000000000000.x.jsonl.gz",
        f"ledger/{OBJECT}/000000000000000.0.removed.jsonl.gz",
        f"other/ledger/{OBJECT}/000000000000000.0.jsonl.gz",
        f"letters/dt={DAY}/{OBJECT}/000000000000000.0.json",
        f"letters/{OBJECT}/000000000000000.0.Write.json",
    ],
)
def test_a_key_of_another_form_is_foreign(key: str) -> None:
    assert Entry.of(key) is None
    assert Letter.of(key) is None
