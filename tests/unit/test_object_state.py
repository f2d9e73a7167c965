"""Which dead letters are open, derived from keys and headers; and files that Custody did not write."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.audit.reader import AuditReader, Unreadable
from functions.shared.audit.ledger_file import HEADER_BYTES
from functions.shared.model.keys import WHOLE, DeadLetterKey, LedgerKey
from tests.support.audit_files import DAY, NEXT_DAY, an_id, audit_of, committed, discarded, posted, state_of
from tests.support.buckets import EXECUTION_ARN, Buckets

OBJECT = an_id(0)
FIRST = LedgerKey(OBJECT, 0, 0)
LINE = {"outcome": "discarded", "position": 0, "offset": 0, "length": 1, "sha256": ""}

OBJECT_IDS = st.from_regex(r"[0-9A-Za-z_-]{1,65}", fullmatch=True)
STARTS = st.integers(0, WHOLE - 1) | st.just(WHOLE)
ATTEMPTS = st.integers(0, 10_000)
DAYS = st.dates().map(lambda day: day.isoformat())
NAMES = st.sampled_from(["Validate", "Transform", "Write", "Rejected", "Aborted", "TimedOut", "Failed"])


def still_open(buckets: Buckets) -> list[DeadLetterKey]:
    return state_of(buckets, OBJECT).open_dead_letters


def lines(*given: Any) -> bytes:
    return b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in given)


def test_a_dead_letter_is_open_while_the_ledger_is_empty(buckets: Buckets) -> None:
    dead_letter = posted(buckets)
    assert still_open(buckets) == [dead_letter]


@pytest.mark.parametrize(("rejected", "is_open"), [(0, False), (1, True)])
def test_its_own_attempt_resolves_it_if_no_record_was_rejected(
    buckets: Buckets, rejected: int, *, is_open: bool
) -> None:
    dead_letter = posted(buckets, name="Rejected")
    committed(buckets, FIRST, rejected=rejected)
    assert still_open(buckets) == ([dead_letter] if is_open else [])


@pytest.mark.parametrize(("attempt", "is_open"), [(0, True), (2, False), (10, False)])
def test_a_later_attempt_in_the_ledger_resolves_it_and_an_earlier_one_does_not(
    buckets: Buckets, attempt: int, *, is_open: bool
) -> None:
    dead_letter = posted(buckets, attempt=1)
    committed(buckets, LedgerKey(OBJECT, 0, attempt))
    assert still_open(buckets) == ([dead_letter] if is_open else [])


def test_a_delivery_by_another_execution_does_not_resolve_it(buckets: Buckets) -> None:
    """The other one committed first, so this one was refused; only a later attempt tells."""
    posted(buckets, name="Rejected")
    refused = posted(buckets, name="Write", arn=f"{EXECUTION_ARN}-r1")
    committed(buckets, FIRST)
    assert still_open(buckets) == [refused]

    committed(buckets, LedgerKey(OBJECT, 0, 1))
    assert still_open(buckets) == []


def test_an_attempt_that_was_taken_stays_open_though_the_same_execution_committed_it(buckets: Buckets) -> None:
    dead_letter = posted(buckets, error="AttemptTaken")
    committed(buckets, FIRST)
    assert still_open(buckets) == [dead_letter]


@pytest.mark.parametrize(("attempt", "is_open"), [(0, True), (1, False), (2, False)])
def test_a_discard_of_its_attempt_or_a_later_one_resolves_it(buckets: Buckets, attempt: int, *, is_open: bool) -> None:
    dead_letter = posted(buckets, attempt=1)
    discarded(buckets, OBJECT, 0, attempt)
    assert still_open(buckets) == ([dead_letter] if is_open else [])


def test_a_discard_resolves_it_though_the_ledger_has_rejected_records(buckets: Buckets) -> None:
    posted(buckets, name="Rejected")
    committed(buckets, FIRST, rejected=1)
    discarded(buckets, OBJECT, 0)
    assert still_open(buckets) == []


def test_a_later_dead_letter_supersedes_it_even_on_another_day(buckets: Buckets) -> None:
    posted(buckets)
    later = posted(buckets, attempt=1, day=NEXT_DAY)
    assert still_open(buckets) == [later]


def test_attempts_are_compared_as_numbers(buckets: Buckets) -> None:
    posted(buckets, attempt=9)
    tenth = posted(buckets, attempt=10)
    committed(buckets, LedgerKey(OBJECT, 0, 9))
    assert still_open(buckets) == [tenth]


def test_a_later_dead_letter_that_is_resolved_resolves_the_one_it_superseded(buckets: Buckets) -> None:
    posted(buckets)
    posted(buckets, attempt=1, name="Rejected")
    committed(buckets, FIRST, rejected=1)
    discarded(buckets, OBJECT, 0, 1)
    assert still_open(buckets) == []


def test_two_dead_letters_of_one_attempt_are_resolved_together(buckets: Buckets) -> None:
    both = [posted(buckets, name="Rejected"), posted(buckets, name="Write")]
    assert still_open(buckets) == both

    discarded(buckets, OBJECT, 0)
    assert still_open(buckets) == []


def test_another_batch_or_object_resolves_nothing(buckets: Buckets) -> None:
    posted(buckets)
    second = posted(buckets, start=1000)
    committed(buckets, LedgerKey(OBJECT, 0, 1))
    committed(buckets, LedgerKey(f"{OBJECT}-and-more", 1000, 1))
    assert still_open(buckets) == [second]


NOT_HEADERS = [b"not gzip", *map(gzip.compress, [b"", b"[]", b"{}", b"null", b'{"counts": 1}', b"[" * 100_000])]


@pytest.mark.parametrize("body", [*NOT_HEADERS, gzip.compress(b"{}" * 100)[:-12]], ids=lambda _: "body")
def test_a_foreign_ledger_file_resolves_nothing_and_is_unreadable(buckets: Buckets, body: bytes) -> None:
    dead_letter, audit = posted(buckets), audit_of(buckets)
    buckets.put("audit", FIRST.key, body)

    assert still_open(buckets) == [dead_letter]
    for read in (audit.header, lambda key: list(audit.lines(key))):
        with pytest.raises(Unreadable, match="is not what Custody wrote") as raised:
            read(FIRST)
        assert raised.value.key == FIRST.key


def test_the_ledger_file_of_another_object_resolves_nothing(buckets: Buckets) -> None:
    dead_letter, other = posted(buckets), LedgerKey("another", 0, 0)
    committed(buckets, other)
    buckets.put("audit", FIRST.key, buckets.body("audit", other.key))
    assert still_open(buckets) == [dead_letter]


@pytest.mark.parametrize(
    "line",
    [
        [],
        {"outcome": "lost"},
        {"outcome": ["written"]},
        LINE | {"position": -1},
        LINE | {"position": True},
        LINE | {"outcome": "written", "output": None},
        b'{"outcome": "lost", "position": 1}\n',
        b'{"outcome": "rejected", "position": "lost"}\n',
        b'"lost',
        b"\xff",
    ],
)
def test_a_foreign_line_is_unreadable_and_not_quoted(buckets: Buckets, line: Any) -> None:
    committed(buckets, FIRST, lines=lines(line))
    with pytest.raises(Unreadable, match="line 2") as raised:
        list(audit_of(buckets).lines(FIRST))
    assert "lost" not in str(raised.value), "a value may be that of a record"


def test_only_the_beginning_of_a_large_ledger_file_is_read_for_its_header(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = lines(*(LINE | {"position": at, "sha256": f"{at:064x}"} for at in range(9000)))
    committed(buckets, FIRST, lines=records)
    ranges: list[Any] = []
    original = buckets.s3.get_object

    def recording(**call: Any) -> Any:
        ranges.append(call.get("Range"))
        return original(**call)

    monkeypatch.setattr(buckets.s3, "get_object", recording)
    audit = AuditReader(buckets.s3, "audit")
    assert audit.header(FIRST).counts.received == 1
    assert ranges == [f"bytes=0-{HEADER_BYTES - 1}"]
    assert sum(1 for _ in audit.lines(FIRST)) == 9000


def test_a_truncated_ledger_file_is_read_as_far_as_it_goes(buckets: Buckets) -> None:
    committed(buckets, FIRST, lines=lines(*[LINE] * 9000))
    buckets.put("audit", FIRST.key, buckets.body("audit", FIRST.key)[:-20])
    records = audit_of(buckets).lines(FIRST)
    assert next(records).position == 0
    with pytest.raises(Unreadable):
        list(records)


def test_dead_letters_are_listed_newest_day_first_without_foreign_keys(buckets: Buckets) -> None:
    old, new = posted(buckets), posted(buckets, attempt=1, day=NEXT_DAY)
    for folder in (f"dead-letters/dt={DAY}/{OBJECT}", f"dead-letters/dt={DAY}", "dead-letters", f"ledger/{OBJECT}"):
        buckets.put("audit", f"{folder}/notes.txt", b"")
    audit = audit_of(buckets)

    assert audit.days == [NEXT_DAY, DAY]
    assert list(audit.dead_letters(DAY)) == [old]
    assert audit.dead_letters_of(OBJECT) == [old, new]
    assert audit.dead_letters_of(OBJECT, since=NEXT_DAY) == [new]
    assert audit.ledger_keys(OBJECT) == []


@given(st.builds(DeadLetterKey, OBJECT_IDS, STARTS, ATTEMPTS, DAYS, NAMES))
def test_the_key_of_a_dead_letter_is_parsed_back(key: DeadLetterKey) -> None:
    assert DeadLetterKey.parse(key.key) == key
    assert key.key == f"dead-letters/{key.id}.json"
    assert LedgerKey.parse(key.key) is None


@given(st.builds(LedgerKey, OBJECT_IDS, STARTS, ATTEMPTS, st.booleans()))
def test_the_key_of_a_ledger_file_is_parsed_back(key: LedgerKey) -> None:
    assert LedgerKey.parse(key.key) == key
    assert DeadLetterKey.parse(key.key) is None


@given(st.text())
def test_other_text_is_not_a_key(text: str) -> None:
    assert DeadLetterKey.parse(text) is None or text.startswith("dead-letters/dt=")
    assert LedgerKey.parse(text) is None or text.startswith("ledger/")


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
def test_a_foreign_key_is_not_parsed(key: str) -> None:
    assert LedgerKey.parse(key) is None
    assert DeadLetterKey.parse(key) is None
