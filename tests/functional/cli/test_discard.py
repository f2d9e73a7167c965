"""Records given up: only those that were not delivered, and the ledger says who decided so, and why."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from custody.audit.lookup import find_open
from custody.audit.reader import Books, Entry, Letter
from custody.errors import CommandFailed
from custody.recovery.discard import require_at_rest
from functions.shared.audit.ledger_file import parse_ledger_file
from functions.shared.model.ids import RawObject
from tests.support.audit_files import (
    DAY,
    MIXED,
    NEXT_DAY,
    Run,
    an_id,
    booked,
    chosen,
    delivered_in_part,
    posted,
    redriven_in_vain,
)
from tests.support.buckets import EXECUTION_ARN, Rooms
from tests.support.executions import Machine, arn_of
from tests.support.stages import GOOD, written


def test_a_discard_is_booked_beside_the_delivery_and_closes_the_letter(rooms: Rooms, run: Run) -> None:
    letter = delivered_in_part(rooms)
    before = {key: rooms.body("audit", key) for key in rooms.keys("audit")}

    done = run("discard", letter.id, "--reason", " sent by mistake ")

    assert done.exit_code == 0, done.output
    entry = Entry(letter.object_id, 0, 0, discards=True)
    header, lines = parse_ledger_file(rooms.body("audit", entry.key))
    told = json.loads(before[letter.key])
    assert lines == [
        {name: told["rejected"][0][name] for name in ("position", "offset", "length", "sha256")}
        | {"outcome": "discarded"}
    ]
    assert datetime.now(UTC) - datetime.fromisoformat(header.pop("recorded_at")) < timedelta(minutes=5)
    by = header["discarded"].pop("by")
    assert by.startswith("arn:aws:")
    assert header == {
        **{name: told[name] for name in ("format", "object", "chunk", "dataset", "contract", "code")},
        "execution": EXECUTION_ARN,
        "redrive_of": None,
        "parent": None,
        "attempt": 0,
        "counts": {"received": 2, "written": 1, "rejected": 0, "discarded": 1},
        "output": None,
        "discarded": {"letter": letter.key, "reason": "sent by mistake"},
    }
    assert "discarded: 1 record, of s3://raw/mission/a.json" in done.stdout
    assert f"{letter.object_id}.1" in done.stdout
    assert {key: rooms.body("audit", key) for key in before} == before, "nothing else is changed"
    assert chosen(rooms) == []
    assert f"by {by}: sent by mistake" in run("show", letter.id).stdout


def test_a_batch_that_was_never_read_is_discarded_whole(rooms: Rooms, run: Run) -> None:
    raw = rooms.upload("mission/a.json", GOOD).object
    letter = posted(rooms, raw=raw)

    done = run("discard", letter.id, "--reason", "no such dataset", "--json")

    assert done.exit_code == 0, done.output
    header, lines = parse_ledger_file(rooms.body("audit", Entry(letter.object_id, 0, 0, discards=True).key))
    assert (header["counts"], lines) == (None, [])
    assert json.loads(done.stdout)["counts"] is None


def test_a_batch_of_which_nothing_was_booked_is_discarded_whole_though_it_was_read(rooms: Rooms, run: Run) -> None:
    raw = rooms.upload("mission/a.json", MIXED).object
    letter = posted(rooms, raw=raw, name="Write", received=2)

    done = run("discard", letter.id, "--reason", "of no use")

    assert "discarded: the whole batch of 2 records" in done.stdout


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_a_discard_needs_a_reason(rooms: Rooms, run: Run, reason: str) -> None:
    refused = run("discard", delivered_in_part(rooms).id, "--reason", reason)
    assert isinstance(refused.exception, CommandFailed)
    assert refused.exception.code == 2
    assert "needs a reason" in str(refused.exception)


@pytest.mark.parametrize(
    ("close", "said"),
    [
        (lambda rooms: booked(rooms, Entry(an_id(1), 0, 0)), "attempt 0 was booked"),
        (lambda rooms: booked(rooms, Entry(an_id(1), 0, 2), rejected=3), "attempt 2 was booked .* 3 rejected"),
        (lambda rooms: posted(rooms, 1, attempt=1, day=NEXT_DAY), "a later letter .*dt=2026-11-24/.*1.Validate"),
    ],
)
def test_a_closed_letter_is_not_discarded_and_it_is_said_what_closed_it(
    rooms: Rooms, run: Run, close: Callable[[Rooms], Any], said: str
) -> None:
    letter = posted(rooms, 1)
    close(rooms)

    refused = run("discard", letter.id, "--reason", "any")

    assert isinstance(refused.exception, CommandFailed)
    with pytest.raises(CommandFailed, match=said):
        raise refused.exception
    assert not any("discarded" in key for key in rooms.keys("audit"))


def test_a_second_discard_is_refused_with_the_reason_of_the_first(rooms: Rooms, run: Run) -> None:
    letter = delivered_in_part(rooms)
    run("discard", letter.id, "--reason", "the first")
    refused = run("discard", letter.id, "--reason", "the second")
    assert "is closed already: discarded on" in str(refused.exception)
    assert "the first" in str(refused.exception)


def test_of_two_discards_at_the_same_moment_one_is_refused(
    rooms: Rooms, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter = delivered_in_part(rooms)
    monkeypatch.setattr("custody.recovery.discard.closed_by", lambda *_: None)
    run("discard", letter.id, "--reason", "the first")
    refused = run("discard", letter.id, "--reason", "the second")
    assert "just now" in str(refused.exception)


@pytest.mark.parametrize("name", [an_id(1), f"{an_id(1)}-r1"])
def test_a_letter_is_not_discarded_while_a_redrive_is_under_way(rooms: Rooms, name: str) -> None:
    books, machine = Books(rooms.s3, "audit"), Machine()
    stepfunctions: Any = machine
    running = machine.add(rooms.upload("mission/a.json", GOOD), "RUNNING", name=name)
    body = {"execution": {"arn": arn_of(an_id(1))}}
    letter = Letter(an_id(1), 0, 0, DAY, "Write")

    with pytest.raises(CommandFailed, match=f"{running} is RUNNING"):
        require_at_rest(stepfunctions, books, letter, body)

    machine.executions[running]["status"] = "ABORTED"
    require_at_rest(stepfunctions, books, letter, body)


def test_a_discard_tells_what_an_earlier_attempt_delivered(rooms: Rooms, run: Run) -> None:
    letter = redriven_in_vain(rooms)

    done = run("discard", letter.id, "--reason", "of no use")

    assert done.exit_code == 0, done.output
    header, lines = parse_ledger_file(rooms.body("audit", Entry(letter.object_id, 0, 1, discards=True).key))
    assert header["counts"] == {"received": 6, "written": 2, "rejected": 0, "discarded": 4}
    assert [(line["position"], line["outcome"]) for line in lines] == [(at, "discarded") for at in (1, 2, 4, 5)]
    assert "discarded: 4 records (2 of the batch were written by attempt 0), of s3://raw/mission/a.json" in done.stdout
    assert f"{letter.object_id}.4  /confidence: maximum 1" in done.stdout


def unbooked(rooms: Rooms) -> tuple[RawObject, Letter]:
    """Deliver a batch, and refuse the ledger file of it; give the letter of that."""
    report = written(rooms, "mission/a.json", GOOD)
    (key,) = rooms.keys("audit", "ledger/")
    (version,) = rooms.s3.list_object_versions(Bucket="audit", Prefix=key)["Versions"]
    rooms.s3.delete_object(Bucket="audit", Key=key, VersionId=version["VersionId"])
    raw = RawObject(**report["object"])
    return raw, posted(rooms, raw=raw, name="Write", received=1)


def test_what_was_delivered_and_not_booked_is_not_discarded(rooms: Rooms, run: Run) -> None:
    _, letter = unbooked(rooms)

    refused = run("discard", letter.id, "--reason", "any")

    assert "has delivered what no ledger file claims" in str(refused.exception)
    assert f"redrive it instead: custody redrive {letter.id}" in str(refused.exception)
    assert rooms.keys("audit", "ledger/") == []


def test_what_a_later_attempt_delivered_and_did_not_book_is_not_discarded(rooms: Rooms, run: Run) -> None:
    letter = redriven_in_vain(rooms, "Write")
    (key,) = rooms.keys("processed")
    body = rooms.body("processed", key)
    rooms.s3.put_object(Bucket="processed", Key=key, Body=body + GOOD + b"\n")
    refused = run("discard", letter.id, "--reason", "any")
    assert "has delivered what no ledger file claims" in str(refused.exception)

    rooms.s3.put_object(Bucket="processed", Key=key, Body=body)
    assert run("discard", letter.id, "--reason", "any").exit_code == 0, "what the ledger claims, as a new version"


def empty(rooms: Rooms, _: RawObject) -> None:
    """Take back what was delivered."""
    rooms.s3.put_object(Bucket="processed", Key=rooms.keys("processed")[0], Body=b"")


def delete(rooms: Rooms, _: RawObject) -> None:
    """Hide what was delivered."""
    rooms.s3.delete_object(Bucket="processed", Key=rooms.keys("processed")[0])


def forget_raw(rooms: Rooms, raw: RawObject) -> None:
    """Let the raw version expire."""
    rooms.s3.delete_object(Bucket="raw", Key=raw.key, VersionId=raw.version_id)


@pytest.mark.parametrize("undo", [empty, delete, forget_raw])
def test_what_is_not_delivered_or_cannot_be_known_to_be_is_discarded(
    rooms: Rooms, run: Run, undo: Callable[[Rooms, RawObject], None]
) -> None:
    raw, letter = unbooked(rooms)
    undo(rooms, raw)
    assert (done := run("discard", letter.id, "--reason", "any")).exit_code == 0, done.exception


def test_of_two_open_letters_of_an_object_none_is_discarded_by_its_id(rooms: Rooms, run: Run) -> None:
    one, other = posted(rooms, 1, name="Validate"), posted(rooms, 1, name="Write", day=NEXT_DAY)

    refused = run("discard", one.object_id, "--reason", "any")

    assert isinstance(refused.exception, CommandFailed)
    assert refused.exception.code == 2
    assert f"2 letters of {one.object_id} are open: {one.id}, {other.id}. Name one." in str(refused.exception)
    assert rooms.keys("audit", "ledger/") == []
    assert f"There is another letter of attempt 0: custody letters show {one.id}" in run("show", one.object_id).stderr
    assert json.loads(run("show", one.object_id, "--json").stdout)["beside"] == [one.id]


def test_of_an_object_id_the_open_letter_is_discarded_and_not_the_closed_one_beside_it(rooms: Rooms) -> None:
    raw = rooms.upload("mission/a.json", GOOD).object
    is_open = posted(rooms, raw=raw, name="Validate", arn=f"{EXECUTION_ARN}-r1")
    posted(rooms, raw=raw, name="Write")
    booked(rooms, Entry(raw.id, 0, 0))

    assert find_open(Books(rooms.s3, "audit"), raw.id) == is_open


@pytest.mark.parametrize("command", [["show"], ["discard", "--reason", "any"]])
@pytest.mark.parametrize("record", ["2", "99999", "9" * 5000, "x", ""], ids=["next", "far", "endless", "word", "none"])
def test_a_record_that_the_object_does_not_have_is_said_not_to_be_there(
    rooms: Rooms, run: Run, command: list[str], record: str
) -> None:
    letter = delivered_in_part(rooms)
    refused = run(*command, f"{letter.object_id}.{record}")
    assert isinstance(refused.exception, CommandFailed)
    assert refused.exception.code == 2
    assert "There is no record" in str(refused.exception)
    assert "it has 2 records, counted from 0" in str(refused.exception)
    assert not any("discarded" in key for key in rooms.keys("audit"))


def test_the_reason_of_a_discard_moves_no_cursor_when_it_is_told_again(rooms: Rooms, run: Run) -> None:
    letter = delivered_in_part(rooms)
    run("discard", letter.id, "--reason", "\x1b[2J")
    refused = str(run("discard", letter.id, "--reason", "again").exception)
    assert "␛[2J" in refused
    assert "\x1b" not in refused
