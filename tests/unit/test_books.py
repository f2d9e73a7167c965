"""Which dead letters are open, as the audit bucket tells: it alone, for nothing in it is ever changed."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from custody.audit.reader import AuditReader, Unreadable
from functions.shared.audit.ledger_file import HEADER_BYTES
from functions.shared.model.ids import RawObject
from functions.shared.model.keys import WHOLE, DeadLetterKey, LedgerKey
from tests.support.buckets import EXECUTION_ARN, Buckets

DAY = "2026-11-23"
NEXT_DAY = "2026-11-24"
OBJECT = "mission-a-json-0123456789abcdef01234567"

OBJECT_IDS = st.from_regex(r"[0-9A-Za-z_-]{1,65}", fullmatch=True)
STARTS = st.integers(0, WHOLE - 1) | st.just(WHOLE)
ATTEMPTS = st.integers(0, 10_000)
DAYS = st.dates().map(lambda day: day.isoformat())
NAMES = st.sampled_from(["Validate", "Transform", "Write", "Rejected", "Aborted", "TimedOut", "Failed"])


def a_dead_letter(attempt: int = 0, name: str = "Write", *, start: int = 0, day: str = DAY) -> DeadLetterKey:
    return DeadLetterKey(OBJECT, start, attempt, day, name)


def facts(object_id: str, attempt: int) -> dict[str, Any]:
    """Give what a dead letter or the header of a ledger file begins with."""
    raw = RawObject("raw", "mission/a.json", "v1", 1, "e")
    moment = f"{DAY}T09:00:00.000Z"
    of_object = {"id": object_id} | asdict(raw)
    named: dict[str, Any] = {"dataset": "mission", "contract": None, "code": {}, "redrive_of": None, "parent": None}
    return named | {"format": 1, "object": of_object, "chunk": None, "attempt": attempt, "recorded_at": moment}


def post(buckets: Buckets, dead_letter: DeadLetterKey, arn: str = EXECUTION_ARN, error: str = "AccessRefused") -> None:
    body = facts(dead_letter.object_id, dead_letter.attempt) | {
        "resumes_at": "Write",
        "rejected_count": None,
        "step": "Write",
        "error": error,
        "cause": "told by a test",
        "advice": "None.",
        "received": None,
        "rejected": [],
        "execution": {"arn": arn, "started_at": f"{DAY}T09:00:00.000Z", "redrives": 0, "console": ""},
    }
    buckets.s3.put_object(Bucket="audit", Key=dead_letter.key, Body=json.dumps(body).encode())


def audit_reader(buckets: Buckets, *dead_letters: DeadLetterKey) -> AuditReader:
    for dead_letter in dead_letters:
        post(buckets, dead_letter)
    return AuditReader(buckets.s3, "audit")


def commit(buckets: Buckets, entry: LedgerKey, *, rejected: int = 0, written: int = 1) -> None:
    counts = {"received": written + rejected, "written": written, "rejected": rejected}
    header = facts(entry.object_id, entry.attempt) | {"counts": counts}
    header |= {"execution": EXECUTION_ARN, "output": None}
    buckets.s3.put_object(Bucket="audit", Key=entry.key, Body=gzip.compress(json.dumps(header).encode() + b"\n"))


def still_open(audit: AuditReader) -> list[DeadLetterKey]:
    return audit.open_among(audit.dead_letters_of(OBJECT))


def test_a_dead_letter_is_open_while_the_ledger_says_nothing(buckets: Buckets) -> None:
    dead_letter = a_dead_letter()
    assert still_open(audit_reader(buckets, dead_letter)) == [dead_letter]


def test_a_delivery_of_the_same_attempt_closes_it_if_no_record_was_rejected(buckets: Buckets) -> None:
    audit = audit_reader(buckets, a_dead_letter())
    commit(buckets, LedgerKey(OBJECT, 0, 0))
    assert still_open(audit) == []


def test_a_delivery_of_the_same_attempt_leaves_it_open_if_records_were_rejected(buckets: Buckets) -> None:
    dead_letter = a_dead_letter(name="Rejected")
    audit = audit_reader(buckets, dead_letter)
    commit(buckets, LedgerKey(OBJECT, 0, 0), rejected=1)
    assert still_open(audit) == [dead_letter]


def test_a_delivery_of_the_same_attempt_by_another_execution_leaves_it_open(buckets: Buckets) -> None:
    """The other one came first, so what this one did was refused; a later attempt says what became of it."""
    own, taken = a_dead_letter(name="Rejected"), a_dead_letter(name="Write")
    audit = audit_reader(buckets, own)
    post(buckets, taken, arn=f"{EXECUTION_ARN}-r1")
    commit(buckets, LedgerKey(OBJECT, 0, 0))
    assert still_open(audit) == [taken]

    commit(buckets, LedgerKey(OBJECT, 0, 1))
    assert still_open(audit) == []


def test_an_attempt_that_was_taken_stays_open_though_the_same_execution_committed_it_before(buckets: Buckets) -> None:
    audit = AuditReader(buckets.s3, "audit")
    post(buckets, a_dead_letter(), error="AttemptTaken")
    commit(buckets, LedgerKey(OBJECT, 0, 0))
    assert still_open(audit) == [a_dead_letter()]


def test_a_later_attempt_in_the_ledger_closes_it(buckets: Buckets) -> None:
    audit = audit_reader(buckets, a_dead_letter())
    commit(buckets, LedgerKey(OBJECT, 0, 1))
    assert still_open(audit) == []


def test_an_earlier_attempt_in_the_ledger_leaves_it_open(buckets: Buckets) -> None:
    dead_letter = a_dead_letter(attempt=1)
    audit = audit_reader(buckets, dead_letter)
    commit(buckets, LedgerKey(OBJECT, 0, 0))
    assert still_open(audit) == [dead_letter]


@pytest.mark.parametrize(("discarded", "is_open"), [(0, True), (1, False), (2, False)])
def test_a_discard_of_its_attempt_or_a_later_one_closes_it(buckets: Buckets, discarded: int, *, is_open: bool) -> None:
    dead_letter = a_dead_letter(attempt=1)
    audit = audit_reader(buckets, dead_letter)
    commit(buckets, LedgerKey(OBJECT, 0, discarded, discards=True))
    assert still_open(audit) == ([dead_letter] if is_open else [])


def test_a_discard_closes_it_though_the_ledger_has_rejected_records_of_the_attempt(buckets: Buckets) -> None:
    audit = audit_reader(buckets, a_dead_letter(name="Rejected"))
    commit(buckets, LedgerKey(OBJECT, 0, 0), rejected=1)
    commit(buckets, LedgerKey(OBJECT, 0, 0, discards=True))
    assert still_open(audit) == []


def test_a_later_dead_letter_stands_in_its_place_even_if_it_is_of_another_day(buckets: Buckets) -> None:
    later = a_dead_letter(attempt=1, day=NEXT_DAY)
    assert still_open(audit_reader(buckets, a_dead_letter(), later)) == [later]


def test_attempts_count_as_numbers(buckets: Buckets) -> None:
    tenth = a_dead_letter(attempt=10)
    audit = audit_reader(buckets, a_dead_letter(attempt=9), tenth)
    commit(buckets, LedgerKey(OBJECT, 0, 9))
    assert still_open(audit) == [tenth]


def test_a_later_dead_letter_that_is_closed_closes_what_it_stands_for(buckets: Buckets) -> None:
    audit = audit_reader(buckets, a_dead_letter(), a_dead_letter(attempt=1, name="Rejected"))
    commit(buckets, LedgerKey(OBJECT, 0, 0), rejected=1)
    commit(buckets, LedgerKey(OBJECT, 0, 1, discards=True))
    assert still_open(audit) == []


def test_two_dead_letters_of_one_attempt_are_open_and_closed_together(buckets: Buckets) -> None:
    both = [a_dead_letter(name="Rejected"), a_dead_letter(name="Write")]
    audit = audit_reader(buckets, *both)
    assert still_open(audit) == both

    commit(buckets, LedgerKey(OBJECT, 0, 0, discards=True))
    assert still_open(audit) == []


def test_the_ledger_of_one_batch_says_nothing_of_another_batch_of_the_object(buckets: Buckets) -> None:
    first, second = a_dead_letter(start=0), a_dead_letter(start=1000)
    audit = audit_reader(buckets, first, second)
    commit(buckets, LedgerKey(OBJECT, 0, 1))
    assert still_open(audit) == [second]


def test_the_ledger_of_one_object_says_nothing_of_one_whose_id_begins_alike(buckets: Buckets) -> None:
    dead_letter = a_dead_letter()
    audit = audit_reader(buckets, dead_letter)
    commit(buckets, LedgerKey(f"{OBJECT}-and-more", 0, 1))
    assert still_open(audit) == [dead_letter]


ODD = [b"not gzip", *map(gzip.compress, [b"", b"[]", b"{}", b"null", b'{"counts": 1}', b"[" * 100_000])]


@pytest.mark.parametrize("odd", [*ODD, gzip.compress(b"{}" * 100)[:-12]], ids=lambda _: "odd")
def test_a_ledger_file_that_custody_did_not_write_closes_nothing(buckets: Buckets, odd: bytes) -> None:
    dead_letter, entry = a_dead_letter(), LedgerKey(OBJECT, 0, 0)
    audit = audit_reader(buckets, dead_letter)
    buckets.s3.put_object(Bucket="audit", Key=entry.key, Body=odd)

    assert still_open(audit) == [dead_letter]
    for read in (audit.header, lambda entry: list(audit.lines(entry))):
        with pytest.raises(Unreadable, match="is not what Custody wrote") as told:
            read(entry)
        assert told.value.key == entry.key


@pytest.mark.parametrize(
    "line",
    [
        [],
        {"outcome": "lost"},
        {"outcome": ["written"]},
        {"outcome": "discarded", "position": -1, "offset": 0, "length": 1, "sha256": ""},
        {"outcome": "discarded", "position": True, "offset": 0, "length": 1, "sha256": ""},
        {"outcome": "written", "position": 0, "offset": 0, "length": 1, "sha256": "", "output": None},
    ],
)
def test_a_line_of_another_form_is_not_what_custody_wrote(buckets: Buckets, line: Any) -> None:
    entry = LedgerKey(OBJECT, 0, 0)
    commit(buckets, entry)
    body = gzip.decompress(buckets.body("audit", entry.key)) + json.dumps(line).encode() + b"\n"
    buckets.s3.put_object(Bucket="audit", Key=entry.key, Body=gzip.compress(body))
    with pytest.raises(Unreadable, match="line 2"):
        list(AuditReader(buckets.s3, "audit").lines(entry))


def test_a_ledger_file_of_another_object_is_not_what_custody_wrote(buckets: Buckets) -> None:
    dead_letter = a_dead_letter()
    audit = audit_reader(buckets, dead_letter)
    commit(buckets, LedgerKey("another", 0, 0))
    copied = buckets.body("audit", LedgerKey("another", 0, 0).key)
    buckets.s3.put_object(Bucket="audit", Key=LedgerKey(OBJECT, 0, 0).key, Body=copied)
    assert still_open(audit) == [dead_letter]


def test_of_a_large_ledger_file_only_the_beginning_is_read_for_its_header(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = LedgerKey(OBJECT, 0, 0)
    commit(buckets, entry)
    header = buckets.body("audit", entry.key)
    line = {"outcome": "discarded", "position": 0, "offset": 0, "length": 1, "sha256": ""}
    lines = b"".join(json.dumps(line | {"position": at, "sha256": f"{at:064x}"}).encode() + b"\n" for at in range(9000))
    buckets.s3.put_object(Bucket="audit", Key=entry.key, Body=header + gzip.compress(lines, 0))
    audit = AuditReader(buckets.s3, "audit")
    asked: list[Any] = []
    true = buckets.s3.get_object

    def noting(**call: Any) -> Any:
        asked.append(call.get("Range"))
        return true(**call)

    monkeypatch.setattr(buckets.s3, "get_object", noting)
    assert audit.header(entry).counts.received == 1
    assert asked == [f"bytes=0-{HEADER_BYTES - 1}"]
    assert sum(1 for _ in audit.lines(entry)) == 9000


def test_a_ledger_file_that_ends_too_soon_is_read_so_far_and_then_told(buckets: Buckets) -> None:
    entry = LedgerKey(OBJECT, 0, 0)
    commit(buckets, entry)
    line = {"outcome": "discarded", "position": 0, "offset": 0, "length": 1, "sha256": ""}
    body = buckets.body("audit", entry.key) + gzip.compress(b"".join([json.dumps(line).encode() + b"\n"] * 9000))[:-20]
    buckets.s3.put_object(Bucket="audit", Key=entry.key, Body=body)
    found = AuditReader(buckets.s3, "audit").lines(entry)
    assert next(found).position == 0
    with pytest.raises(Unreadable):
        list(found)


def test_what_a_line_says_is_not_quoted_when_it_is_odd(buckets: Buckets) -> None:
    entry = LedgerKey(OBJECT, 0, 0)
    for line in (b'{"outcome": "a secret"}', b'{"outcome": "rejected", "position": "a secret"}', b'"a secret', b"\xff"):
        commit(buckets, entry)
        body = gzip.decompress(buckets.body("audit", entry.key)) + line + b"\n"
        buckets.s3.put_object(Bucket="audit", Key=entry.key, Body=gzip.compress(body))
        with pytest.raises(Unreadable) as told:
            list(AuditReader(buckets.s3, "audit").lines(entry))
        assert "secret" not in str(told.value)


def test_dead_letters_are_listed_by_day_the_newest_first_and_others_keys_are_passed_over(buckets: Buckets) -> None:
    old, new = a_dead_letter(), a_dead_letter(attempt=1, day=NEXT_DAY)
    audit = audit_reader(buckets, old, new)
    for foreign in (
        f"dead-letters/dt={DAY}/{OBJECT}/notes.txt",
        f"dead-letters/dt={DAY}/readme",
        "dead letters/readme",
    ):
        buckets.s3.put_object(Bucket="audit", Key=foreign, Body=b"")
    buckets.s3.put_object(Bucket="audit", Key=f"ledger/{OBJECT}/notes.txt", Body=b"")

    assert audit.days == [NEXT_DAY, DAY]
    assert list(audit.dead_letters(DAY)) == [old]
    assert audit.dead_letters_of(OBJECT) == [old, new]
    assert audit.dead_letters_of(OBJECT, since=NEXT_DAY) == [new]
    assert audit.entries(OBJECT) == []


@given(st.builds(DeadLetterKey, OBJECT_IDS, STARTS, ATTEMPTS, DAYS, NAMES))
def test_the_key_of_a_dead_letter_tells_all_of_it(dead_letter: DeadLetterKey) -> None:
    assert DeadLetterKey.parse(dead_letter.key) == dead_letter
    assert dead_letter.key == f"dead-letters/{dead_letter.id}.json"
    assert LedgerKey.parse(dead_letter.key) is None


@given(st.builds(LedgerKey, OBJECT_IDS, STARTS, ATTEMPTS, st.booleans()))
def test_the_key_of_a_ledger_file_tells_all_of_it(entry: LedgerKey) -> None:
    assert LedgerKey.parse(entry.key) == entry
    assert DeadLetterKey.parse(entry.key) is None


@given(st.text())
def test_no_other_text_is_taken_for_a_key(text: str) -> None:
    dead_letter, entry = DeadLetterKey.parse(text), LedgerKey.parse(text)
    assert dead_letter is None or text.startswith("dead-letters/dt=")
    assert entry is None or text.startswith("ledger/")


@pytest.mark.parametrize(
    "key",
    [
        f"ledger/{OBJECT}/000000000000000.0.jsonl.gz.bak",
        f"ledger/{OBJECT}/000000000000000.x.jsonl.gz",
        f"ledger/{OBJECT}/000000000000000.0.removed.jsonl.gz",
        f"other/ledger/{OBJECT}/000000000000000.0.jsonl.gz",
        f"dead-letters/dt={DAY}/{OBJECT}/000000000000000.0.json",
        f"dead-letters/{OBJECT}/000000000000000.0.Write.json",
        f"dead-letters/dt={DAY}/{OBJECT}/0.0.Write.json",
        f"dead-letters/dt={DAY}/{OBJECT}/000000000000000.00.Write.json",
        f"ledger/{OBJECT}/0.0.jsonl.gz",
        f"ledger/{OBJECT}/objects.0.jsonl.gz",
        f"ledger/{OBJECT}/{WHOLE}.0.jsonl.gz",
    ],
)
def test_a_key_of_another_form_is_foreign(key: str) -> None:
    assert LedgerKey.parse(key) is None
    assert DeadLetterKey.parse(key) is None
