"""Letters as an operator works with them: selected, shown with what is wrong in the bytes, and given up."""

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import boto3
import pytest
from moto import mock_aws
from rich.console import Console
from rich.text import Text
from typer.testing import CliRunner, Result

from custody import show
from custody.books import Books, Entry, Letter
from custody.commands import letters as letters_command
from custody.discarding import require_at_rest
from custody.failure import CommandFailed
from custody.letters import Filter, find_letter, select
from custody.main import app
from custody.target import Deployment, Target
from functions.shared.errors import RecordsRejected
from functions.shared.identity import RawObject
from functions.shared.ledger import parse_ledger_file
from tests.functional.stages import BAD, GOOD, written
from tests.rooms import EXECUTION_ARN, Rooms

DAY = "2026-11-23"
NEXT_DAY = "2026-11-24"
MIXED = b"[" + GOOD + b", " + BAD + b"]"

Run = Callable[..., Result]


@pytest.fixture
def run(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> Run:  # noqa: ARG001 - the commands talk to its buckets
    """Give the command line, on buckets in memory."""
    target = Target("buckets in memory", boto3.Session(), None)
    named = {"raw": "raw", "processed": "processed", "audit": "audit"}
    deployment = Deployment(**{field.name: named.get(field.name, "") for field in fields(Deployment)})
    monkeypatch.setattr(letters_command, "target_of", lambda *_, **__: target)
    monkeypatch.setattr(letters_command, "find", lambda *_: deployment)
    return lambda *arguments: CliRunner().invoke(app, ["letters", *arguments])


def an_id(number: int) -> str:
    return f"mission-a-json-{number:024x}"


def posted(  # noqa: PLR0913 - one parameter a fact
    rooms: Rooms,
    number: int = 0,
    *,
    attempt: int = 0,
    name: str = "Validate",
    day: str = DAY,
    start: int = 0,
    **facts: Any,
) -> Letter:
    """Put a letter of an object, by number, into the audit bucket."""
    letter = Letter(an_id(number), start, attempt, day, name)
    body = {
        "dataset": "mission",
        "attempt": attempt,
        "step": "Write" if name == "Rejected" else name,
        "error": "AccessRefused",
        "received": None,
        "rejected": [],
        "recorded_at": f"{day}T09:00:01.000Z",
    }
    rooms.s3.put_object(Bucket="audit", Key=letter.key, Body=json.dumps(body | facts).encode())
    return letter


def booked(rooms: Rooms, entry: Entry, *, rejected: int = 0) -> None:
    counts = {"received": 1 + rejected, "written": 1, "rejected": rejected}
    header = {"counts": counts, "recorded_at": f"{DAY}T10:00:00.000Z"}
    rooms.s3.put_object(Bucket="audit", Key=entry.key, Body=gzip.compress(json.dumps(header).encode() + b"\n"))


def delivered_in_part(rooms: Rooms, key: str = "mission/a.json") -> Letter:
    """Send a good record and a bad one through the stages; give the letter of the bad one."""
    with pytest.raises(RecordsRejected):
        written(rooms, key, MIXED)
    (found,) = (letter for letter in map(Letter.of, rooms.keys("audit")) if letter)
    return found


def chosen(rooms: Rooms, **wanted: Any) -> list[Letter]:
    return [found.letter for found in select(Books(rooms.s3, "audit"), Filter(**wanted))]


def at(hour: int, day: str = DAY) -> datetime:
    return datetime.fromisoformat(day).replace(hour=hour, tzinfo=UTC)


def test_open_letters_come_with_the_newest_day_first(rooms: Rooms) -> None:
    old, new = posted(rooms, 1), posted(rooms, 2, day=NEXT_DAY)
    booked(rooms, Entry(posted(rooms, 3).object_id, 0, 1))
    assert chosen(rooms) == [new, old]


def test_closed_letters_come_too_if_they_are_wanted(rooms: Rooms) -> None:
    closed, is_open = posted(rooms, 1), posted(rooms, 2)
    booked(rooms, Entry(closed.object_id, 0, 0))
    found = select(Books(rooms.s3, "audit"), Filter(open_only=False))
    assert [(each.letter, each.is_open) for each in found] == [(closed, False), (is_open, True)]


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({"dataset": "weather"}, [1]),
        ({"error": "UnknownDataset"}, [1]),
        ({"error": "unknowndataset"}, []),
        ({"step": "write"}, [2, 3]),
        ({"step": "Validate"}, [0, 1]),
        ({"step": "validate", "dataset": "mission"}, [0]),
    ],
)
def test_a_filter_takes_what_a_letter_tells(rooms: Rooms, wanted: dict[str, str], numbers: list[int]) -> None:
    posted(rooms, 0)
    posted(rooms, 1, dataset="weather", error="UnknownDataset")
    posted(rooms, 2, name="Write")
    posted(rooms, 3, name="Rejected")
    assert [letter.object_id for letter in chosen(rooms, **wanted)] == list(map(an_id, numbers))


def test_a_time_is_that_of_the_failure_and_not_of_the_execution(rooms: Rooms) -> None:
    early, late = posted(rooms, 1), posted(rooms, 2, attempt=3, recorded_at=f"{NEXT_DAY}T12:00:00.000Z")

    assert chosen(rooms, since=at(11, NEXT_DAY)) == [late]
    assert chosen(rooms, until=at(11, NEXT_DAY)) == [early]
    assert chosen(rooms, since=at(9), until=at(10)) == [early]
    assert chosen(rooms, until=at(8)) == []


def test_a_letter_is_closed_by_a_later_one_that_the_filter_does_not_take(rooms: Rooms) -> None:
    posted(rooms, 1)
    posted(rooms, 1, attempt=1, day=NEXT_DAY, error="CallRefused")
    assert chosen(rooms, error="AccessRefused") == []
    assert chosen(rooms, until=at(23)) == [], "not even if it came later than the filter asks"


def test_no_letter_is_read_that_its_key_rules_out(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = posted(rooms, 1, name="Write", day=NEXT_DAY)
    posted(rooms, 2, name="Transform", day=NEXT_DAY)
    posted(rooms, 3, name="Write", day="2026-01-01")
    posted(rooms, 4, name="Write", day="2026-12-24")
    closed = posted(rooms, 5, name="Write", day=NEXT_DAY)
    booked(rooms, Entry(closed.object_id, 0, 0))
    read: list[Letter] = []
    true_read = Books.read

    def noted(books: Books, letter: Letter) -> Any:
        read.append(letter)
        return true_read(books, letter)

    monkeypatch.setattr(Books, "read", noted)

    assert chosen(rooms, step="write", since=at(0, NEXT_DAY), until=at(23, NEXT_DAY)) == [wanted]
    assert read == [wanted]


def test_a_letter_is_found_by_whatever_names_it(rooms: Rooms) -> None:
    first, latest = posted(rooms, 1), posted(rooms, 1, attempt=1, day=NEXT_DAY)
    books = Books(rooms.s3, "audit")

    for name in (first.id, f"{first.id}.json", first.key, f"s3://audit/{first.key}"):
        assert find_letter(books, name) == first
    for name in (first.object_id, f"{first.object_id}.17"):
        assert find_letter(books, name) == latest


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", "custody letters --all"),
        ("", "custody letters --all"),
        (f"dt={DAY}/{an_id(9)}/000000000000000.0.Write", "dt=2026-03-01/OBJECT_ID"),
        ("dt=/..", "dt=2026-03-01/OBJECT_ID"),
        ("s3://other/letters/a", "are in audit, not in other"),
    ],
)
def test_what_names_no_letter_is_answered_with_what_would(rooms: Rooms, name: str, said: str) -> None:
    posted(rooms, 1)
    with pytest.raises(CommandFailed, match=said):
        find_letter(Books(rooms.s3, "audit"), name)


def test_the_list_shows_each_letter_and_what_to_do_next(rooms: Rooms, run: Run) -> None:
    letter = delivered_in_part(rooms)
    other = posted(rooms, 1)

    shown = run()

    assert shown.exit_code == 0
    (line,) = (line for line in shown.stdout.splitlines() if letter.id in line)
    assert line.split()[1:] == ["mission", "0", "Write", "RecordsRejected", "1", "of", "2", DAY, "09:00", "open"]
    (line,) = (line for line in shown.stdout.splitlines() if other.id in line)
    assert "whole batch" in line
    assert shown.stderr.startswith("2 open letters. ")
    assert "custody redrive ID" in shown.stderr


def test_the_list_as_json_is_one_document(rooms: Rooms, run: Run) -> None:
    assert json.loads(run("--json").stdout) == {"letters": []}
    letter, other = delivered_in_part(rooms), posted(rooms, 1, day="2026-11-22")

    found = json.loads(run("--json").stdout)["letters"]

    assert [each["id"] for each in found] == [letter.id, other.id]
    assert [each["rejected"] for each in found] == [1, None], "None: it is about the whole batch"
    assert found[0]["object"]["key"] == "mission/a.json"


def test_nothing_found_is_a_line_and_no_failure(rooms: Rooms, run: Run) -> None:
    posted(rooms, 1)
    shown = run("--error", "NoSuchError")
    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "", "no open letters match\n")


def test_options_before_the_command_are_refused_for_they_would_be_lost(run: Run) -> None:
    refused = run("--env", "prod", "show", "anything")
    assert isinstance(refused.exception, CommandFailed)
    assert "after the command" in str(refused.exception)


def test_a_letter_is_shown_with_the_offending_bytes_pointed_at(rooms: Rooms, run: Run) -> None:
    letter = delivered_in_part(rooms)

    shown = run("show", letter.id)

    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    at_maximum = lines.index("    /confidence: maximum 1")
    assert lines[at_maximum + 1] == f"      {BAD.decode()}"
    assert lines[at_maximum + 2] == " " * (6 + BAD.index(b"1.7")) + "^^^"
    for said in ("RecordsRejected at Write, attempt 0", "s3://raw/mission/a.json?versionId=", EXECUTION_ARN, "open"):
        assert said in shown.stdout
    assert f"custody letters discard {letter.id}" in shown.stderr


def test_a_letter_as_json_is_whole_and_has_no_bytes_of_a_record(rooms: Rooms, run: Run) -> None:
    letter = delivered_in_part(rooms)
    shown = run("show", f"{letter.object_id}.1", "--json")
    assert json.loads(shown.stdout) == {
        "id": letter.id,
        "uri": f"s3://audit/{letter.key}",
        "open": True,
        "closed_by": None,
        "letter": rooms.letter(),
    }
    assert "RUMINT" not in shown.stdout


def test_bytes_that_are_not_those_of_the_letter_are_said_to_be_so(rooms: Rooms, run: Run) -> None:
    letter = delivered_in_part(rooms)
    body = rooms.letter()
    body["rejected"][0]["sha256"] = "0" * 64
    rooms.s3.put_object(Bucket="audit", Key=letter.key, Body=json.dumps(body).encode())
    assert "their hash differs" in run("show", letter.id).stdout


def test_a_raw_version_that_is_gone_is_said_to_be_so(rooms: Rooms, run: Run) -> None:
    letter = delivered_in_part(rooms)
    raw = rooms.letter()["object"]
    rooms.s3.delete_object(Bucket="raw", Key=raw["key"], VersionId=raw["version_id"])

    shown = run("show", letter.id)

    assert shown.exit_code == 0, shown.output
    assert "the raw version is gone" in shown.stdout
    assert "/confidence: maximum 1" in shown.stdout


def test_a_raw_object_that_was_replaced_is_still_shown_as_it_was(rooms: Rooms, run: Run) -> None:
    letter = delivered_in_part(rooms)
    rooms.upload("mission/a.json", b"something else")
    assert BAD.decode() in run("show", letter.id).stdout


@pytest.mark.parametrize(("options", "records"), [([], 20), (["--all-records"], 25)])
def test_of_many_rejected_records_some_are_shown_and_all_on_demand(
    rooms: Rooms, run: Run, options: Sequence[str], records: int
) -> None:
    with pytest.raises(RecordsRejected):
        written(rooms, "mission/a.json", b"[" + GOOD + b"," + b",".join([BAD] * 25) + b"]")
    object_id = rooms.letter()["object"]["id"]

    shown = run("show", object_id, *options)

    assert shown.stdout.count("/confidence: maximum 1\n") == records
    assert ("5 more rejected records" in shown.stderr) is not bool(options)


def test_nothing_in_a_letter_can_move_the_cursor_of_a_terminal(rooms: Rooms, run: Run) -> None:
    batch = rooms.upload("mission/a.json", b"\x1b[2J")
    letter = delivered_in_part(rooms, "mission/b.json")
    body = rooms.letter() | {"cause": "\x1b[2J", "advice": "[red]none[/]"}
    body["rejected"][0] |= {"offset": 0, "length": batch.object.size, "stage": "validate"}
    body["rejected"][0]["violations"] = [{"pointer": "/\x1b[2J", "rule": "type", "limit": "string"}]
    body["object"] |= {"key": "mission/a.json", "version_id": batch.object.version_id}
    rooms.s3.put_object(Bucket="audit", Key=letter.key, Body=json.dumps(body).encode())

    shown = run("show", letter.id)

    assert "\x1b" not in shown.output
    assert shown.stdout.count("␛[2J") == 3
    assert "[red]none[/]" in shown.stdout


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> StringIO:
    """Let what is shown go to a terminal of so many columns, and give what it gets."""
    out = StringIO()
    terminal = Console(file=out, force_terminal=True, width=columns, highlight=False, color_system="standard")
    monkeypatch.setattr(show, "console", terminal)
    return out


def test_on_a_terminal_the_place_stands_out_and_the_line_fits(
    rooms: Rooms, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter = delivered_in_part(rooms)
    out = on_a_terminal(monkeypatch, columns=40)

    run("show", letter.id)

    (line,) = (line for line in out.getvalue().splitlines() if "\x1b[1;4;31m1.7\x1b[0m" in line)
    assert len(Text.from_ansi(line)) <= 40
    assert "^" not in out.getvalue()


@pytest.mark.parametrize(("columns", "lines_a_letter"), [(250, 1), (80, 2)])
def test_where_the_terminal_is_too_narrow_for_a_table_a_letter_has_lines_of_its_own(
    rooms: Rooms, run: Run, monkeypatch: pytest.MonkeyPatch, columns: int, lines_a_letter: int
) -> None:
    letter = delivered_in_part(rooms)
    out = on_a_terminal(monkeypatch, columns)

    run()

    lines = Text.from_ansi(out.getvalue()).plain.splitlines()
    (first,) = (number for number, line in enumerate(lines) if letter.id in line)
    said = " ".join(lines[first : first + lines_a_letter])
    assert all(fact in said for fact in ("mission", "Write", "RecordsRejected", "1 of 2", "open")), lines


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
    letter = posted(rooms, 1, **about(raw))

    done = run("discard", letter.id, "--reason", "no such dataset", "--json")

    assert done.exit_code == 0, done.output
    header, lines = parse_ledger_file(rooms.body("audit", Entry(letter.object_id, 0, 0, discards=True).key))
    assert (header["counts"], lines) == (None, [])
    assert json.loads(done.stdout)["counts"] is None


def test_a_batch_of_which_nothing_was_booked_is_discarded_whole_though_it_was_read(rooms: Rooms, run: Run) -> None:
    raw = rooms.upload("mission/a.json", MIXED).object
    letter = posted(rooms, 1, name="Write", received=2, **about(raw))

    done = run("discard", letter.id, "--reason", "of no use")

    assert "discarded: the whole batch of 2 records" in done.stdout


def about(raw: RawObject) -> dict[str, Any]:
    """Give what a letter tells of an object, in tests that put letters by hand."""
    named = {"bucket": raw.bucket, "key": raw.key, "version_id": raw.version_id, "size": raw.size, "etag": raw.etag}
    rest = {"chunk": None, "contract": None, "code": {}, "execution": {"arn": EXECUTION_ARN}}
    return {"object": {"id": raw.id, **named}} | rest


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
    monkeypatch.setattr("custody.discarding.closed_by", lambda *_: None)
    run("discard", letter.id, "--reason", "the first")
    refused = run("discard", letter.id, "--reason", "the second")
    assert "just now" in str(refused.exception)


@pytest.mark.parametrize("name", [an_id(1), f"{an_id(1)}-r1"])
@mock_aws
def test_a_letter_is_not_discarded_while_a_redrive_is_under_way(name: str) -> None:
    stepfunctions = boto3.client("stepfunctions")
    waits = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}}}
    machine = stepfunctions.create_state_machine(
        name="pipeline", definition=json.dumps(waits), roleArn="arn:aws:iam::123456789012:role/any"
    )["stateMachineArn"]
    running = stepfunctions.start_execution(stateMachineArn=machine, name=name)["executionArn"]
    body = {"execution": {"arn": f"{machine.replace(':stateMachine:', ':execution:')}:{an_id(1)}"}}
    letter = Letter(an_id(1), 0, 0, DAY, "Write")

    with pytest.raises(CommandFailed, match=f"{running} is RUNNING"):
        require_at_rest(stepfunctions, letter, body)

    stepfunctions.stop_execution(executionArn=running)
    require_at_rest(stepfunctions, letter, body)
