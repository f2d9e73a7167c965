"""Dead letters as an operator looks at them: selected, found, and shown with what is wrong in the bytes."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from custody.audit.dead_letters import Filter, select
from custody.audit.lookup import find_dead_letter
from custody.audit.reader import AuditReader
from custody.errors import USAGE, CommandFailed
from custody.terminal import console
from functions.shared.errors import RecordsRejected
from functions.shared.model.keys import DeadLetterKey, LedgerKey
from tests.support.audit_files import DAY, NEXT_DAY, Run, an_id, chosen, committed, delivered_in_part, posted
from tests.support.buckets import EXECUTION_ARN, Buckets
from tests.support.stages import BAD, GOOD, written


def at(hour: int, day: str = DAY) -> datetime:
    return datetime.fromisoformat(day).replace(hour=hour, tzinfo=UTC)


def test_open_dead_letters_come_with_the_newest_day_first(buckets: Buckets) -> None:
    old, new = posted(buckets, 1), posted(buckets, 2, day=NEXT_DAY)
    committed(buckets, LedgerKey(posted(buckets, 3).object_id, 0, 1))
    assert chosen(buckets) == [new, old]


def test_closed_dead_letters_come_too_if_they_are_wanted(buckets: Buckets) -> None:
    closed, is_open = posted(buckets, 1), posted(buckets, 2)
    committed(buckets, LedgerKey(closed.object_id, 0, 0))
    found = select(AuditReader(buckets.s3, "audit"), Filter(open_only=False))
    assert [(each.dead_letter, each.is_open) for each in found] == [(closed, False), (is_open, True)]


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
def test_a_filter_takes_what_a_dead_letter_tells(buckets: Buckets, wanted: dict[str, str], numbers: list[int]) -> None:
    posted(buckets, 0)
    posted(buckets, 1, dataset="weather", error="UnknownDataset")
    posted(buckets, 2, name="Write")
    posted(buckets, 3, name="Rejected")
    assert [dead_letter.object_id for dead_letter in chosen(buckets, **wanted)] == list(map(an_id, numbers))


def test_a_time_is_that_of_the_failure_and_not_of_the_execution(buckets: Buckets) -> None:
    early, late = posted(buckets, 1), posted(buckets, 2, attempt=3, recorded_at=f"{NEXT_DAY}T12:00:00.000Z")

    assert chosen(buckets, since=at(11, NEXT_DAY)) == [late]
    assert chosen(buckets, until=at(11, NEXT_DAY)) == [early]
    assert chosen(buckets, since=at(9), until=at(10)) == [early]
    assert chosen(buckets, until=at(8)) == []


def test_a_dead_letter_is_closed_by_a_later_one_that_the_filter_does_not_take(buckets: Buckets) -> None:
    posted(buckets, 1)
    posted(buckets, 1, attempt=1, day=NEXT_DAY, error="CallRefused")
    assert chosen(buckets, error="AccessRefused") == []
    assert chosen(buckets, until=at(23)) == [], "not even if it came later than the filter asks"


def test_no_dead_letter_is_read_that_its_key_rules_out(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = posted(buckets, 1, name="Write", day=NEXT_DAY)
    posted(buckets, 2, name="Transform", day=NEXT_DAY)
    posted(buckets, 3, name="Write", day="2026-01-01")
    posted(buckets, 4, name="Write", day="2026-12-24")
    closed = posted(buckets, 5, name="Write", day=NEXT_DAY)
    committed(buckets, LedgerKey(closed.object_id, 0, 1))
    read: list[DeadLetterKey] = []
    true_read = AuditReader.read

    def noted(audit: AuditReader, dead_letter: DeadLetterKey) -> Any:
        read.append(dead_letter)
        return true_read(audit, dead_letter)

    monkeypatch.setattr(AuditReader, "read", noted)

    assert chosen(buckets, step="write", since=at(0, NEXT_DAY), until=at(23, NEXT_DAY)) == [wanted]
    assert read == [wanted]


def test_a_dead_letter_is_found_by_whatever_names_it(buckets: Buckets) -> None:
    first, latest = posted(buckets, 1), posted(buckets, 1, attempt=1, day=NEXT_DAY)
    audit = AuditReader(buckets.s3, "audit")

    for name in (first.id, f"{first.id}.json", first.key, f"s3://audit/{first.key}"):
        assert find_dead_letter(audit, name) == first
    for name in (first.object_id, f"{first.object_id}.17"):
        assert find_dead_letter(audit, name) == latest


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", "custody dead-letters --all"),
        ("", "custody dead-letters --all"),
        (".5", "custody dead-letters --all"),
        (f"dt={DAY}/{an_id(9)}/000000000000000.0.Write", "dt=2026-03-01/OBJECT_ID"),
        ("dt=/..", "dt=2026-03-01/OBJECT_ID"),
        ("s3://other/dead letters/a", "are in audit, not in other"),
    ],
)
def test_what_names_no_dead_letter_is_answered_with_what_would(buckets: Buckets, name: str, said: str) -> None:
    posted(buckets, 1)
    with pytest.raises(CommandFailed, match=said):
        find_dead_letter(AuditReader(buckets.s3, "audit"), name)


def test_the_list_shows_each_dead_letter_and_what_to_do_next(buckets: Buckets, run: Run) -> None:
    dead_letter = delivered_in_part(buckets)
    other = posted(buckets, 1)

    shown = run()

    assert shown.exit_code == 0
    (line,) = (line for line in shown.stdout.splitlines() if dead_letter.id in line)
    assert line.split()[1:] == ["mission", "0", "Write", "RecordsRejected", "1", "of", "2", DAY, "09:00", "open"]
    (line,) = (line for line in shown.stdout.splitlines() if other.id in line)
    assert "whole batch" in line
    assert shown.stderr.startswith("2 open dead letters. ")
    assert "custody redrive ID" in shown.stderr


def test_the_list_as_json_is_one_document(buckets: Buckets, run: Run) -> None:
    assert json.loads(run("--json").stdout) == {"dead_letters": [], "unreadable": []}
    dead_letter, other = delivered_in_part(buckets), posted(buckets, 1, day="2026-11-22")

    found = json.loads(run("--json").stdout)["dead_letters"]

    assert [each["id"] for each in found] == [dead_letter.id, other.id]
    assert [each["rejected"] for each in found] == [1, None], "None: it is about the whole batch"
    assert found[0]["object"]["key"] == "mission/a.json"


def test_in_a_pipe_that_takes_both_what_is_said_stands_behind_what_was_printed(buckets: Buckets, run: Run) -> None:
    delivered_in_part(buckets)
    both = run("--json").output
    assert both.startswith('{"dead_letters"')
    assert both.index('"unreadable"') < both.index("1 open dead letter. ")


def test_nothing_found_is_a_line_and_no_failure(run: Run) -> None:
    for options, said in (
        ([], "no open dead letter matches\n"),
        (["--all", "--error", "Any"], "no dead letter matches\n"),
    ):
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
    buckets: Buckets, run: Run, options: list[str], said: str
) -> None:
    posted(buckets, 1)
    posted(buckets, 2, dataset="weather", error="UnknownDataset", name="Write")
    shown = run(*options)
    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "", f"no open dead letter matches; {said}\n")


def test_closed_dead_letters_are_not_advised_to_be_run_again(buckets: Buckets, run: Run) -> None:
    committed(buckets, LedgerKey(posted(buckets, 1).object_id, 0, 1))
    assert run("--all").stderr == "1 dead letter, 0 open. See what one says: custody dead-letters show ID.\n"
    posted(buckets, 2)
    assert "2 dead letters, 1 open. " in (shown := run("--all")).stderr
    assert "Run an open one again" in shown.stderr


def test_options_before_the_subcommand_are_refused(run: Run) -> None:
    refused = run("--env", "prod", "show", "anything")
    assert refused.exit_code == USAGE
    assert "unexpected" in refused.stderr


def test_without_a_subcommand_open_dead_letters_are_listed(run: Run) -> None:
    assert run("--json").stdout == run("list", "--json").stdout


def test_a_dead_letter_is_shown_with_the_offending_bytes_pointed_at(buckets: Buckets, run: Run) -> None:
    dead_letter = delivered_in_part(buckets)

    shown = run("show", dead_letter.id)

    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    at_maximum = lines.index("    /confidence: maximum 1")
    assert lines[at_maximum + 1] == f"      {BAD.decode()}"
    assert lines[at_maximum + 2] == " " * (6 + BAD.index(b"1.7")) + "^^^"
    for said in ("RecordsRejected at Write, attempt 0", "s3://raw/mission/a.json?versionId=", EXECUTION_ARN, "open"):
        assert said in shown.stdout
    assert f"custody dead-letters discard {dead_letter.id}" in shown.stderr


def test_a_dead_letter_as_json_is_whole_and_has_no_bytes_of_a_record(buckets: Buckets, run: Run) -> None:
    dead_letter = delivered_in_part(buckets)
    shown = run("show", f"{dead_letter.object_id}.1", "--json")
    assert json.loads(shown.stdout) == {
        "id": dead_letter.id,
        "uri": f"s3://audit/{dead_letter.key}",
        "open": True,
        "closed_by": None,
        "beside": [],
        "chunks": [],
        "dead_letter": buckets.dead_letter(),
    }
    assert "RUMINT" not in shown.stdout


def test_bytes_that_are_not_those_of_the_dead_letter_are_said_to_be_so(buckets: Buckets, run: Run) -> None:
    dead_letter = delivered_in_part(buckets)
    body = buckets.dead_letter()
    body["rejected"][0]["sha256"] = "0" * 64
    buckets.s3.put_object(Bucket="audit", Key=dead_letter.key, Body=json.dumps(body).encode())
    assert "their hash differs" in run("show", dead_letter.id).stdout


def test_a_raw_version_that_is_gone_is_said_to_be_so(buckets: Buckets, run: Run) -> None:
    dead_letter = delivered_in_part(buckets)
    raw = buckets.dead_letter()["object"]
    buckets.s3.delete_object(Bucket="raw", Key=raw["key"], VersionId=raw["version_id"])

    shown = run("show", dead_letter.id)

    assert shown.exit_code == 0, shown.output
    assert "the raw version is gone" in shown.stdout
    assert "/confidence: maximum 1" in shown.stdout


def test_a_raw_object_that_was_replaced_is_still_shown_as_it_was(buckets: Buckets, run: Run) -> None:
    dead_letter = delivered_in_part(buckets)
    buckets.upload("mission/a.json", b"something else")
    assert BAD.decode() in run("show", dead_letter.id).stdout


@pytest.mark.parametrize(("options", "records"), [([], 20), (["--all-records"], 25)])
def test_of_many_rejected_records_some_are_shown_and_all_on_demand(
    buckets: Buckets, run: Run, options: Sequence[str], records: int
) -> None:
    with pytest.raises(RecordsRejected):
        written(buckets, "mission/a.json", b"[" + GOOD + b"," + b",".join([BAD] * 25) + b"]")
    object_id = buckets.dead_letter()["object"]["id"]

    shown = run("show", object_id, *options)

    assert shown.stdout.count("/confidence: maximum 1\n") == records
    assert ("5 more rejected records" in shown.stderr) is not bool(options)


def test_nothing_in_a_dead_letter_can_move_the_cursor_of_a_terminal(buckets: Buckets, run: Run) -> None:
    batch = buckets.upload("mission/a.json", b"\x1b[2J")
    dead_letter = delivered_in_part(buckets, "mission/b.json")
    body = buckets.dead_letter() | {"cause": "\x1b[2J", "advice": "[red]none[/]"}
    body["rejected"][0] |= {"offset": 0, "length": batch.object.size, "stage": "validate"}
    body["rejected"][0]["violations"] = [{"pointer": "/\x1b[2J", "rule": "type", "limit": "string"}]
    body["object"] |= {"key": "mission/a.json", "version_id": batch.object.version_id}
    buckets.s3.put_object(Bucket="audit", Key=dead_letter.key, Body=json.dumps(body).encode())

    shown = run("show", dead_letter.id)

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
    buckets: Buckets, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_letter = delivered_in_part(buckets)
    out = on_a_terminal(monkeypatch, columns=40)

    run("show", dead_letter.id)

    (line,) = (line for line in out.getvalue().splitlines() if "\x1b[1;4;31m1.7\x1b[0m" in line)
    assert len(Text.from_ansi(line)) <= 40
    assert "^" not in out.getvalue()


@pytest.mark.parametrize(("columns", "lines_a_dead_letter"), [(250, 1), (80, 2)])
def test_where_the_terminal_is_too_narrow_for_a_table_a_dead_letter_has_lines_of_its_own(
    buckets: Buckets, run: Run, monkeypatch: pytest.MonkeyPatch, columns: int, lines_a_dead_letter: int
) -> None:
    dead_letter = delivered_in_part(buckets)
    out = on_a_terminal(monkeypatch, columns)

    run()

    lines = Text.from_ansi(out.getvalue()).plain.splitlines()
    (first,) = (number for number, line in enumerate(lines) if dead_letter.id in line)
    said = " ".join(lines[first : first + lines_a_dead_letter])
    assert all(fact in said for fact in ("mission", "Write", "RecordsRejected", "1 of 2", "open")), lines


def test_a_dead_letter_of_which_a_redrive_is_under_way_is_shown_so(
    buckets: Buckets, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_letter = posted(buckets, 1)
    monkeypatch.setattr("custody.recovery.discard._is_running", lambda _, arn: arn == EXECUTION_ARN)
    shown = run("show", dead_letter.id)
    assert "open; a redrive is under way" in shown.stdout
    assert "custody redrive" not in shown.stderr
