"""`custody dead-letters`: selected, found, and shown with what is wrong in the bytes."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from rich.text import Text

from custody.audit import ledger_lines
from custody.audit.dead_letters import Filter, select
from custody.errors import USAGE
from custody.terminal import console
from custody.terminal.console import Screen
from functions.shared.errors import RecordsRejected, TransformFailed
from functions.shared.model.keys import LedgerKey
from functions.shared.model.ledger import RejectedLine
from functions.shared.model.records import Page, Record, Span
from functions.shared.staging.map_records import apply
from tests.support.audit_files import (
    DAY,
    NEXT_DAY,
    Run,
    an_id,
    audit_of,
    chosen,
    committed,
    delivered_in_part,
    posted,
    put,
    reads_of,
)
from tests.support.buckets import EXECUTION_ARN, Buckets
from tests.support.command_line import refusal
from tests.support.stages import BAD, GOOD, written
from tests.support.steps import BULK, PIPELINE


def at(hour: int, day: str = DAY) -> datetime:
    return datetime.fromisoformat(day).replace(hour=hour, tzinfo=UTC)


def test_open_dead_letters_are_selected_newest_day_first(buckets: Buckets) -> None:
    old, new = posted(buckets, 1), posted(buckets, 2, day=NEXT_DAY)
    committed(buckets, LedgerKey(posted(buckets, 3).object_id, 0, 1))
    assert chosen(buckets) == [new, old]


def test_resolved_dead_letters_are_selected_on_demand(buckets: Buckets) -> None:
    resolved, is_open = posted(buckets, 1), posted(buckets, 2)
    committed(buckets, LedgerKey(resolved.object_id, 0, 0))
    selected = select(audit_of(buckets), Filter(open_only=False))
    assert {each.dead_letter: each.is_open for each in selected} == {resolved: False, is_open: True}


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
def test_a_filter_selects_by_dataset_error_and_step(
    buckets: Buckets, wanted: dict[str, str], numbers: list[int]
) -> None:
    posted(buckets, 0)
    posted(buckets, 1, dataset="weather", error="UnknownDataset")
    posted(buckets, 2, name="Write")
    posted(buckets, 3, name="Rejected")
    assert [dead_letter.object_id for dead_letter in chosen(buckets, **wanted)] == list(map(an_id, numbers))


def test_times_refer_to_the_failure_and_not_to_the_execution(buckets: Buckets) -> None:
    early, late = posted(buckets, 1), posted(buckets, 2, attempt=3, recorded_at=f"{NEXT_DAY}T12:00:00.000Z")

    assert chosen(buckets, since=at(11, NEXT_DAY)) == [late]
    assert chosen(buckets, until=at(11, NEXT_DAY)) == [early]
    assert chosen(buckets, since=at(9), until=at(10)) == [early]
    assert chosen(buckets, until=at(8)) == []


def test_a_dead_letter_is_superseded_by_a_later_one_that_the_filter_does_not_accept(buckets: Buckets) -> None:
    posted(buckets, 1)
    posted(buckets, 1, attempt=1, day=NEXT_DAY, error="CallRefused")
    assert chosen(buckets, error="AccessRefused") == []
    assert chosen(buckets, until=at(23)) == [], "not even if the later one is outside the time"


def test_dead_letters_that_their_key_rules_out_are_not_read(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = posted(buckets, 1, name="Write", day=NEXT_DAY)
    posted(buckets, 2, name="Transform", day=NEXT_DAY)
    posted(buckets, 3, name="Write", day="2026-01-01")
    posted(buckets, 4, name="Write", day="2026-12-24")
    resolved = posted(buckets, 5, name="Write", day=NEXT_DAY)
    committed(buckets, LedgerKey(resolved.object_id, 0, 1))
    read = reads_of("read", monkeypatch)

    assert chosen(buckets, step="write", since=at(0, NEXT_DAY), until=at(23, NEXT_DAY)) == [wanted]
    assert read == [wanted]


def test_a_dead_letter_is_found_by_any_of_its_names(buckets: Buckets, run: Run) -> None:
    first, latest = posted(buckets, 1), posted(buckets, 1, attempt=1, day=NEXT_DAY)
    names = dict.fromkeys((first.id, f"{first.id}.json", first.key, f"s3://audit/{first.key}"), first)
    names |= dict.fromkeys((first.object_id, f"{first.object_id}.17"), latest)
    for name, dead_letter in names.items():
        assert json.loads(run("show", name, "--json").stdout)["id"] == dead_letter.id


@pytest.mark.parametrize(
    "name", ["nothing", "", ".5", f"dt={DAY}/{an_id(9)}/000000000000000.0.Write", "dt=/..", "s3://other/dead-letters/a"]
)
def test_a_name_without_a_dead_letter_fails_with_where_to_look(buckets: Buckets, run: Run, name: str) -> None:
    posted(buckets, 1)
    assert "custody dead-letters --all" in refusal(run("show", name))


def test_the_list_shows_each_dead_letter_and_what_to_do_next(buckets: Buckets, run: Run) -> None:
    dead_letter = delivered_in_part(buckets)
    other = posted(buckets, 1)

    shown = run()

    assert shown.exit_code == 0
    (line,) = (line for line in shown.stdout.splitlines() if dead_letter.id in line)
    assert line.split()[1:] == ["mission", "0", "Write", "RecordsRejected", "1", "of", "2", DAY, "09:00", "open"]
    (line,) = (line for line in shown.stdout.splitlines() if other.id in line)
    assert "whole batch" in line
    assert shown.stderr.startswith("2 open dead letters\n")
    assert "custody redrive ID" in shown.stderr


def test_the_list_as_json_is_one_document_before_any_message(buckets: Buckets, run: Run) -> None:
    assert json.loads(run("--json").stdout) == {"dead_letters": [], "unreadable": []}
    dead_letter, other = delivered_in_part(buckets), posted(buckets, 1, day="2026-11-22")

    shown = run("--json")

    listed = json.loads(shown.stdout)["dead_letters"]
    assert [each["id"] for each in listed] == [dead_letter.id, other.id]
    assert [each["rejected_count"] for each in listed] == [1, None], "None: it was not read"
    assert listed[0]["object"]["key"] == "mission/a.json"
    assert shown.output.startswith('{"dead_letters"')
    assert shown.output.index('"unreadable"') < shown.output.index("2 open dead letters\n")
    assert run("list", "--json").stdout == shown.stdout, "listed without a subcommand too"


def test_an_empty_list_is_not_a_failure(run: Run) -> None:
    for options, message in (([], "no open dead letter matches\n"), (["--all"], "no dead letter matches\n")):
        shown = run(*options)
        assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "", message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--error", "AccesRefused"], "there are errors AccessRefused, UnknownDataset"),
        (["--step", "validat"], "there are steps Validate, Write"),
        (["--dataset", "x", "--step", "write"], "there are datasets mission, weather and steps Validate, Write"),
    ],
)
def test_a_filter_without_a_match_fails_with_the_values_there_are(
    buckets: Buckets, run: Run, options: list[str], message: str
) -> None:
    posted(buckets, 1)
    posted(buckets, 2, dataset="weather", error="UnknownDataset", name="Write")
    shown = run(*options)
    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "", f"no open dead letter matches; {message}\n")


def test_resolved_dead_letters_come_without_advice_to_redrive(buckets: Buckets, run: Run) -> None:
    committed(buckets, LedgerKey(posted(buckets, 1).object_id, 0, 1))
    assert run("--all").stderr == "1 dead letter, 0 open\nSee one:      custody dead-letters show ID\n"
    posted(buckets, 2)
    assert "2 dead letters, 1 open\n" in (shown := run("--all")).stderr
    assert "Run it again: custody redrive ID" in shown.stderr


def test_options_before_the_subcommand_are_refused(run: Run) -> None:
    refused = run("--env", "prod", "show", "anything")
    assert refused.exit_code == USAGE
    assert "unexpected" in refused.stderr


def test_a_dead_letter_is_shown_with_the_offending_bytes_pointed_at(buckets: Buckets, run: Run) -> None:
    dead_letter = delivered_in_part(buckets)

    shown = run("show", dead_letter.id)

    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    at_maximum = lines.index("    /confidence: maximum 1")
    assert lines[at_maximum + 1] == f"      {BAD.decode()}"
    assert lines[at_maximum + 2] == " " * (6 + BAD.index(b"1.7")) + "^^^"
    for fact in ("RecordsRejected at Write, attempt 0", "s3://raw/mission/a.json?versionId=", EXECUTION_ARN, "open"):
        assert fact in shown.stdout
    assert f"custody dead-letters discard {dead_letter.id}" in shown.stderr


def test_a_dead_letter_as_json_has_no_bytes_of_a_record(buckets: Buckets, run: Run) -> None:
    dead_letter = delivered_in_part(buckets)
    shown = run("show", f"{dead_letter.object_id}.1", "--json")
    assert json.loads(shown.stdout) == {
        "id": dead_letter.id,
        "uri": f"s3://audit/{dead_letter.key}",
        "open": True,
        "resolution": None,
        "same_attempt": [],
        "chunks": [],
        "totals": None,
        "dead_letter": buckets.dead_letter(),
    }
    assert "RUMINT" not in shown.stdout


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"offset": 10_000}], ids=["hash", "beyond the end"])
def test_bytes_that_are_not_those_of_the_record_are_not_shown(buckets: Buckets, run: Run, change: Any) -> None:
    dead_letter = delivered_in_part(buckets)
    body = buckets.dead_letter()
    body["rejected"][0] |= change
    put(buckets, dead_letter, body)
    shown = run("show", dead_letter.id)
    assert shown.exit_code == 0, shown.exception
    assert "their hash differs" in shown.stdout


def test_the_raw_version_is_shown_until_it_is_gone(buckets: Buckets, run: Run) -> None:
    dead_letter = delivered_in_part(buckets)
    buckets.upload("mission/a.json", b"something else")
    assert BAD.decode() in run("show", dead_letter.id).stdout
    buckets.forget("raw")

    shown = run("show", dead_letter.id)

    assert shown.exit_code == 0, shown.output
    assert "the raw version is gone or archived" in shown.stdout
    assert "/confidence: maximum 1" in shown.stdout


@pytest.mark.parametrize(("options", "records"), [([], 20), (["--all-records"], 25)])
def test_all_rejected_records_are_shown_on_demand(
    buckets: Buckets, run: Run, options: Sequence[str], records: int
) -> None:
    with pytest.raises(RecordsRejected):
        written(buckets, "mission/a.json", b"[" + GOOD + b"," + b",".join([BAD] * 25) + b"]")
    object_id = buckets.dead_letter()["object"]["id"]

    shown = run("show", object_id, *options)

    assert shown.stdout.count("/confidence: maximum 1\n") == records
    assert ("5 more rejected records" in shown.stderr) is not bool(options)


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> StringIO:
    """Show everything on a terminal with so many columns, and return its output."""
    out = StringIO()
    terminal = Screen(file=out, force_terminal=True, width=columns, color_system="standard")
    monkeypatch.setattr(console, "console", terminal)
    return out


def test_on_a_terminal_the_place_is_highlighted_and_the_line_fits(
    buckets: Buckets, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_letter = delivered_in_part(buckets)
    out = on_a_terminal(monkeypatch, columns=40)

    run("show", dead_letter.id)

    (line,) = (line for line in out.getvalue().splitlines() if "\x1b[1;4;31m1.7\x1b[0m" in line)
    assert len(Text.from_ansi(line)) <= 40
    assert "^" not in out.getvalue()


@pytest.mark.parametrize(("columns", "lines_a_dead_letter"), [(250, 1), (80, 3)])
def test_a_narrow_terminal_shows_a_paragraph_per_dead_letter(
    buckets: Buckets, run: Run, monkeypatch: pytest.MonkeyPatch, columns: int, lines_a_dead_letter: int
) -> None:
    dead_letter = delivered_in_part(buckets)
    out = on_a_terminal(monkeypatch, columns)

    run()

    lines = Text.from_ansi(out.getvalue()).plain.splitlines()
    (first,) = (number for number, line in enumerate(lines) if dead_letter.id in line)
    text = " ".join(lines[first : first + lines_a_dead_letter])
    assert all(fact in text for fact in ("mission", "Write", "RecordsRejected", "1 of 2", "open")), lines


def test_a_running_redrive_is_shown(buckets: Buckets, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    dead_letter = posted(buckets, 1)
    monkeypatch.setattr("custody.commands.dead_letters.running_execution", lambda *_: EXECUTION_ARN)
    shown = run("show", dead_letter.id)
    assert "open; a redrive is running" in shown.stdout
    assert "custody redrive" not in shown.stderr


def test_the_record_that_a_transform_failed_on_is_shown(buckets: Buckets, run: Run) -> None:
    raw = buckets.upload("mission/a.jsonl", GOOD + b"\n" + BAD).object
    span = Span(len(GOOD) + 1, len(GOOD) + 1, len(BAD), "")
    with pytest.raises(TransformFailed) as failed:
        apply("transform", lambda _: 1 / 0, Page([Record(span, {})], []))
    dead_letter = posted(buckets, raw=raw, name="Transform", error="TransformFailed", cause=str(failed.value))
    shown = run("show", dead_letter.id).stdout
    assert f"{raw.id}.{span.position}  TransformFailed at Transform; {len(BAD)} bytes at byte {span.offset} of" in shown
    assert BAD.decode() in shown


def test_a_first_attempt_is_selected_by_its_record_however_long_its_machine_may_run(buckets: Buckets) -> None:
    longest = max(timedelta(seconds=machine["TimeoutSeconds"]) for machine in (PIPELINE, BULK))
    dead_letter = posted(buckets, 1)
    recorded = at(23) + longest
    put(
        buckets, dead_letter, json.loads(buckets.body("audit", dead_letter.key)) | {"recorded_at": recorded.isoformat()}
    )
    assert chosen(buckets, since=recorded) == [dead_letter]


def test_a_limit_keeps_its_digits(buckets: Buckets, run: Run) -> None:
    dead_letter = delivered_in_part(buckets)
    exact = buckets.body("audit", dead_letter.key).replace(b'"limit":1}', b'"limit":9999999999999999.99}')
    buckets.put("audit", dead_letter.key, exact)
    assert "/confidence: maximum 9999999999999999.99\n" in run("show", dead_letter.id).stdout

    (line,) = (line for line in json.loads(exact)["rejected"])
    line["violations"][0]["limit"] = 0
    text = json.dumps({"outcome": "rejected", **line}).replace('"limit": 0', '"limit": 9999999999999999.99')
    (record,) = ledger_lines.records(iter([text.encode()]))
    assert isinstance(record, RejectedLine)
    assert str(record.violations[0]) == "/confidence: maximum 9999999999999999.99"
