"""Letters as an operator looks at them: selected, found, and shown with what is wrong in the bytes."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from custody.audit.dead_letters import Filter, select
from custody.audit.lookup import find_letter
from custody.audit.reader import Books, Entry, Letter
from custody.errors import CommandFailed
from custody.terminal import console
from functions.shared.errors import RecordsRejected
from tests.support.audit_files import DAY, NEXT_DAY, Run, an_id, booked, chosen, delivered_in_part, posted
from tests.support.buckets import EXECUTION_ARN, Rooms
from tests.support.stages import BAD, GOOD, written


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
    booked(rooms, Entry(closed.object_id, 0, 1))
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
        (".5", "custody letters --all"),
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
    assert json.loads(run("--json").stdout) == {"letters": [], "unreadable": []}
    letter, other = delivered_in_part(rooms), posted(rooms, 1, day="2026-11-22")

    found = json.loads(run("--json").stdout)["letters"]

    assert [each["id"] for each in found] == [letter.id, other.id]
    assert [each["rejected"] for each in found] == [1, None], "None: it is about the whole batch"
    assert found[0]["object"]["key"] == "mission/a.json"


def test_in_a_pipe_that_takes_both_what_is_said_stands_behind_what_was_printed(rooms: Rooms, run: Run) -> None:
    delivered_in_part(rooms)
    both = run("--json").output
    assert both.startswith('{"letters"')
    assert both.index('"unreadable"') < both.index("1 open letter. ")


def test_nothing_found_is_a_line_and_no_failure(run: Run) -> None:
    for options, said in (([], "no open letter matches\n"), (["--all", "--error", "Any"], "no letter matches\n")):
        shown = run(*options)
        assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "", said)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--error", "AccesRefused"], "there are errors AccessRefused, UnknownDataset"),
        (["--step", "validat"], "there are steps Validate, Write"),
        (["--dataset", "x", "--step", "write"], "there are datasets mission, weather and steps Validate, Write"),
    ],
)
def test_what_matches_nothing_is_answered_with_what_there_is(
    rooms: Rooms, run: Run, options: list[str], said: str
) -> None:
    posted(rooms, 1)
    posted(rooms, 2, dataset="weather", error="UnknownDataset", name="Write")
    shown = run(*options)
    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "", f"no open letter matches; {said}\n")


def test_closed_letters_are_not_advised_to_be_run_again(rooms: Rooms, run: Run) -> None:
    booked(rooms, Entry(posted(rooms, 1).object_id, 0, 1))
    assert run("--all").stderr == "1 letter, 0 open. See what one says: custody letters show ID.\n"
    posted(rooms, 2)
    assert "2 letters, 1 open. " in (shown := run("--all")).stderr
    assert "Run an open one again" in shown.stderr


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
        "beside": [],
        "chunks": [],
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
    monkeypatch.setattr(console, "console", terminal)
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


def test_a_letter_of_which_a_redrive_is_under_way_is_shown_so(
    rooms: Rooms, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter = posted(rooms, 1)
    monkeypatch.setattr("custody.recovery.discard._is_running", lambda _, arn: arn == EXECUTION_ARN)
    shown = run("show", letter.id)
    assert "open; a redrive is under way" in shown.stdout
    assert "custody redrive" not in shown.stderr
