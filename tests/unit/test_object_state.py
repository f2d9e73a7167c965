"""Which dead letters are open, derived from keys and headers; and files that Custody did not write."""

import gzip
import json
from collections.abc import Callable
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

Step = Callable[[Buckets], Any]

OBJECT_IDS = st.from_regex(r"[0-9A-Za-z_-]{1,65}", fullmatch=True)
STARTS = st.integers(0, WHOLE - 1) | st.just(WHOLE)
ATTEMPTS = st.integers(0, 10_000)
DAYS = st.dates().map(lambda day: day.isoformat())
NAMES = st.sampled_from(["Validate", "Transform", "Write", "Rejected", "Aborted", "TimedOut", "Failed"])


def still_open(buckets: Buckets) -> list[DeadLetterKey]:
    return state_of(buckets, OBJECT).open_dead_letters


def lines(*given: Any) -> bytes:
    return b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in given)


def post(attempt: int = 0, **facts: Any) -> Step:
    return lambda buckets: posted(buckets, attempt=attempt, **facts)


def commit(attempt: int = 0, start: int = 0, object_id: str = OBJECT, *, rejected: int = 0) -> Step:
    return lambda buckets: committed(buckets, LedgerKey(object_id, start, attempt), rejected=rejected)


def discard(attempt: int = 0) -> Step:
    return lambda buckets: discarded(buckets, OBJECT, 0, attempt)


REJECTED, ELSEWHERE = post(name="Rejected"), post(name="Write", arn=f"{EXECUTION_ARN}-r1")


@pytest.mark.parametrize(
    ("steps", "open_ones"),
    [
        pytest.param([post()], [0], id="nothing is in the ledger"),
        pytest.param([REJECTED, commit()], [], id="its attempt rejected no record"),
        pytest.param([REJECTED, commit(rejected=1)], [0], id="its attempt rejected a record"),
        pytest.param([post(1), commit(0)], [0], id="an earlier attempt is in the ledger"),
        pytest.param([post(1), commit(2)], [], id="a later attempt is in the ledger"),
        pytest.param([post(2), commit(10)], [], id="attempts in the ledger are compared as numbers"),
        # Another execution committed first, so that this one was refused.
        pytest.param([REJECTED, ELSEWHERE, commit()], [1], id="another execution committed its attempt"),
        pytest.param([REJECTED, ELSEWHERE, commit(), commit(1)], [], id="another execution, then a later attempt"),
        pytest.param([post(error="AttemptTaken"), commit()], [0], id="its attempt was taken"),
        pytest.param([post(1), discard(0)], [0], id="an earlier attempt is discarded"),
        pytest.param([post(1), discard(1)], [], id="its attempt is discarded"),
        pytest.param([post(1), discard(2)], [], id="a later attempt is discarded"),
        pytest.param([REJECTED, commit(rejected=1), discard()], [], id="its rejected records are discarded"),
        pytest.param([post(), post(1, day=NEXT_DAY)], [1], id="superseded on another day"),
        pytest.param([post(9), post(10), commit(9)], [1], id="superseded attempts are compared as numbers"),
        pytest.param(
            [post(), post(1, name="Rejected"), commit(rejected=1), discard(1)], [], id="superseded by a resolved one"
        ),
        pytest.param([REJECTED, post(name="Write")], [0, 1], id="two of one attempt"),
        pytest.param([REJECTED, post(name="Write"), discard()], [], id="two of one attempt are discarded"),
        pytest.param(
            [post(), post(start=1000), commit(1), commit(1, 1000, f"{OBJECT}-and-more")],
            [1],
            id="another batch or object is in the ledger",
        ),
    ],
)
def test_a_dead_letter_is_open_until_something_resolves_it(
    buckets: Buckets, steps: list[Step], open_ones: list[int]
) -> None:
    results = [step(buckets) for step in steps]
    assert still_open(buckets) == [results[at] for at in open_ones]


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


@given(
    st.builds(DeadLetterKey, OBJECT_IDS, STARTS, ATTEMPTS, DAYS, NAMES),
    st.builds(LedgerKey, OBJECT_IDS, STARTS, ATTEMPTS, st.booleans()),
)
def test_a_key_is_parsed_back(dead_letter: DeadLetterKey, ledger: LedgerKey) -> None:
    assert DeadLetterKey.parse(dead_letter.key) == dead_letter
    assert dead_letter.key == f"dead-letters/{dead_letter.id}.json"
    assert LedgerKey.parse(ledger.key) == ledger
    assert (LedgerKey.parse(dead_letter.key), DeadLetterKey.parse(ledger.key)) == (None, None)


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
