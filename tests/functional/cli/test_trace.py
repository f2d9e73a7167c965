"""`custody trace`: a record with its ledger file and its bytes, an object with its outcome and dead letters."""

import json
from datetime import timedelta
from itertools import dropwhile
from typing import Any

import pytest
from msgspec.structs import replace

from custody.errors import SOME_WITHOUT_OUTCOME
from custody.executions.history import Try, TryOutcome
from custody.recovery.discard import Discarder
from custody.terminal import console as terminal_console
from custody.terminal.console import Screen
from custody.views import trace
from functions.shared.model.keys import LedgerKey
from functions.shared.model.messages import Batch
from tests.support import audit_files
from tests.support.audit_files import (
    Run,
    audit_of,
    delivered_in_part,
    posted,
    reads_of,
    redriven_in_vain,
    state_of,
)
from tests.support.buckets import Buckets
from tests.support.bulk import Bulk, lines
from tests.support.command_line import refusal
from tests.support.executions import STARTED, Machine, arn_of
from tests.support.stages import GOOD, written

COMMAND = "trace"


def test_a_written_record_is_shown_before_and_after(bulk: Bulk, run: Run) -> None:
    traced = json.loads(run(f"{bulk.id}.61", "--json").stdout)
    assert (traced["record"]["outcome"], traced["header"]["chunk"], traced["header"]["attempt"]) == (
        "written",
        {"start": 0, "bytes": 200},
        0,
    )
    assert traced["received_text"] == GOOD.decode()
    assert json.loads(traced["written_text"])["confidence_band"] == "high"
    assert traced["header"]["parent"] == bulk.arn

    shown = run(f"{bulk.id}.61").stdout
    assert "written at attempt 0" in shown
    assert "byte 61, 60 bytes, in the chunk of 200 bytes at byte 0" in shown
    assert '"confidence_band":"high"' in shown


def test_a_rejected_record_is_shown_with_its_violations_from_the_ledger_file_of_its_chunk_alone(
    bulk: Bulk, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = reads_of("line_at", monkeypatch)
    shown = run(f"{bulk.id}.244").stdout
    assert read == [LedgerKey(bulk.id, 200, 0)]
    assert "rejected at attempt 0" in shown
    assert "validate: /confidence: maximum 1" in shown
    assert "RUMINT" in shown
    assert f"{bulk.id}/000000000000200.0.Rejected (open, of its chunk)" in shown
    assert "written to" not in shown


@pytest.mark.parametrize(
    ("name", "message", "code"),
    [
        ("{id}.62", "There is no record", 2),
        ("{id}.1219", "There is no record", 2),
        ("{id}.450", "no ledger file is about its batch. See its object: custody trace {id}", 1),
        ("nothing.json", "No record, object, dead letter or key 'nothing.json' found in raw", 2),
        ("", "No record, object, dead letter or key", 2),
        (f"a-json-{0:024x}", "has no ledger file, no dead letter and no execution", 2),
        (
            f"a-json-{0:024x}.7",
            f"See its object: custody trace a-json-{0:024x}",
            2,
        ),
    ],
)
def test_what_is_not_known_fails_with_one_line(bulk: Bulk, run: Run, name: str, message: str, code: int) -> None:
    assert message.format(id=bulk.id) in failure(run, name.format(id=bulk.id), code)


def failure(run: Run, name: str, code: int = SOME_WITHOUT_OUTCOME) -> str:
    return refusal(run(name), code)


def test_an_object_with_only_a_dead_letter_is_shown_by_that(buckets: Buckets, run: Run) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    bulk.end("ExecutionAborted", "ProcessChunks")
    shown = run(bulk.id).stdout
    assert f"execution    {bulk.arn}" in shown
    assert "object.0.ProcessChunks (open)" in shown


def test_a_record_whose_ledger_file_was_deleted_has_no_outcome(bulk: Bulk, run: Run) -> None:
    bulk.buckets.hide("audit", LedgerKey(bulk.id, 600, 0).key)
    assert "no ledger file is about its batch" in failure(run, f"{bulk.id}.609")


def discarded(bulk: Bulk, machine: Machine, start: int) -> None:
    """Discard a chunk as an operator does."""
    state = state_of(bulk.buckets, bulk.id)
    (dead_letter,) = (key for key in state.dead_letters if key.start == start)
    by = "arn:aws:iam::1:user/eve"
    Discarder(state.audit, machine.pipeline(), "processed", "sent by mistake", by).discard(dead_letter)


def test_a_record_of_a_chunk_that_was_discarded_unread_names_who_did(bulk: Bulk, machine: Machine, run: Run) -> None:
    discarded(bulk, machine, 400)
    message = failure(run, f"{bulk.id}.450")
    assert "its batch was never committed, and was discarded on" in message
    assert message.endswith("by arn:aws:iam::1:user/eve: sent by mistake")


def test_a_discard_has_who_when_and_why(bulk: Bulk, machine: Machine, run: Run) -> None:
    audit_files.discarded(bulk.buckets, bulk.id, 200)
    assert "discarded at attempt 0, by an unknown user" in run(f"{bulk.id}.244").stdout
    bulk.buckets.forget("audit", LedgerKey(bulk.id, 200, 0, discards=True).key)
    discarded(bulk, machine, 200)
    header = audit_of(bulk.buckets).discard_header(LedgerKey(bulk.id, 200, 0, discards=True))
    discard = f"on {header.recorded_at} by arn:aws:iam::1:user/eve: sent by mistake"
    assert f"discarded at attempt 0, {discard}" in run(f"{bulk.id}.244").stdout
    assert header.recorded_at in json.loads(run(f"{bulk.id}.244", "--json").stdout)["discarded"]
    next_record = run(f"{bulk.id}.304").stdout
    assert "sent by mistake" not in next_record
    assert "written at attempt 0" in next_record

    shown = run(bulk.id).stdout
    assert f"discarded    the chunk at byte 200, {discard}" in shown
    assert f"{bulk.id}.244 discarded: /confidence: maximum 1" in shown
    assert "at byte 200: rejected records" not in shown


def test_the_first_rejected_records_of_an_object_are_listed(buckets: Buckets, run: Run) -> None:
    bulk = Bulk.upload(buckets, lines(20, bad=tuple(range(3, 15))))
    assert bulk.run() == "RecordsRejected"
    shown = run(bulk.id).stdout
    assert shown.count(" rejected: ") == 10
    assert f"{bulk.id}.183 rejected: " in shown
    assert "/confidence: maximum 1" in shown
    assert "and 2 more; the ledger has all" in shown


@pytest.mark.parametrize("status", ["RUNNING", "ABORTED"])
def test_an_object_without_commits_is_shown_by_its_execution(
    buckets: Buckets, machine: Machine, run: Run, status: str
) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    assert "no execution yet" in run(bulk.batch.object.key).stdout
    machine.add(bulk.batch, status)
    shown = run(bulk.id).stdout
    assert f"state        {status}\n" in shown


def test_every_address_that_custody_prints_names_its_object(bulk: Bulk, machine: Machine, run: Run) -> None:
    buckets, raw = bulk.buckets, bulk.batch.object
    child = machine.add(replace(bulk.batch, plan=None), name="a-child-without-a-name")
    shown = run(bulk.id).stdout
    printed = [raw.uri, bulk.arn, f"{bulk.arn}-r2", child, f"s3://processed/{buckets.keys('processed')[0]}?versionId=1"]
    for key in buckets.keys("audit"):
        printed += [f"s3://audit/{key}", key, key.removeprefix("dead-letters/").removesuffix(".json")]
    for text in printed:
        assert run(text).stdout == shown, text


def test_the_dead_letter_to_act_on_comes_first(buckets: Buckets, run: Run) -> None:
    bulk = Bulk.upload(buckets, lines(70, bad=tuple(range(70))))
    assert bulk.run() == "RecordsRejected"
    dead_letters = [line for line in run(bulk.id).stdout.splitlines() if line.startswith("  dead letter")]
    assert "object.0.Summarize (open)" in dead_letters[0]
    assert len(dead_letters) == 20
    assert "and 2 more of 22 dead letters" in run(bulk.id).stdout


def refuse(machine: Machine, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise machine.error("AccessDeniedException")

    monkeypatch.setattr(machine, call, refused)


def test_an_object_is_shown_with_its_chunks_and_dead_letters(bulk: Bulk, run: Run) -> None:
    shown = run(bulk.id).stdout
    assert "17 received, 16 written, 1 rejected, at attempt 0" in shown
    assert "7: 6 committed, 1 failed" in shown
    assert "at byte 200: rejected records: 1" in shown
    assert "at byte 400: failed" in shown
    assert "object.0.Summarize (open)" in shown

    traced = json.loads(run(bulk.id, "--json").stdout)
    assert [chunk["start"] for chunk in traced["chunks_to_redo"]] == [200, 400]
    assert len(traced["dead_letters"]) == 3


def test_an_unfinished_bulk_object_is_shown_without_counts(buckets: Buckets, run: Run) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    bulk.chunk(0)
    bulk.chunk(200)
    traced = json.loads(run(bulk.id, "--json").stdout)
    assert (traced["counts"], traced["ledger"], traced["chunks"]) == (None, None, None)
    assert [each["arn"] for each in traced["executions"]] == [bulk.arn]
    assert "not all of them have an outcome, at attempt 0" in run(bulk.id).stdout


def test_an_object_that_is_one_batch_is_shown_with_its_output_and_other_versions(buckets: Buckets, run: Run) -> None:
    dead_letter = delivered_in_part(buckets)
    shown = run(dead_letter.object_id).stdout
    assert "2 received, 1 written, 1 rejected, at attempt 0" in shown
    assert "s3://processed/mission/" in shown
    assert "rejected at attempt 0" in run(f"{dead_letter.object_id}.1").stdout
    assert run("mission/a.json").stdout == run("s3://raw/mission/a.json").stdout == shown
    buckets.upload("mission/a.json.bak", GOOD)
    written(buckets, "mission/a.json", GOOD)
    assert f"another version of its key: {dead_letter.object_id}" in run("mission/a.json").stdout


def test_the_attempts_of_a_record_are_listed(buckets: Buckets, run: Run) -> None:
    dead_letter = redriven_in_vain(buckets)
    traced = json.loads(run(f"{dead_letter.object_id}.1", "--json").stdout)
    assert traced["ledger_files"] == [f"s3://audit/{LedgerKey(dead_letter.object_id, 0, 0).key}"]
    assert [each["open"] for each in traced["dead_letters"]] == [False, True]


def test_versions_that_are_gone_are_reported(bulk: Bulk, run: Run) -> None:
    for bucket in ("raw", "processed"):
        bulk.buckets.forget(bucket)
    shown = run(f"{bulk.id}.61").stdout
    assert "the raw version is gone or archived" in shown
    assert "that version is gone: see `custody verify`" in shown


def section(shown: str, name: str) -> list[str]:
    """Return what is shown from a fact on."""
    lines = [line.rstrip() for line in shown.splitlines()]
    return list(dropwhile(lambda line: not line.startswith(f"  {name}"), lines))


def test_each_execution_of_an_object_has_its_timeline(buckets: Buckets, machine: Machine, run: Run) -> None:
    dead_letter = redriven_in_vain(buckets)
    raw = audit_of(buckets).read(dead_letter).object
    ended = STARTED + timedelta(seconds=12)
    first = machine.add(Batch(raw), error="RecordsRejected", stopDate=ended)
    later = STARTED + timedelta(hours=1)
    second = machine.add(Batch(raw, attempt=1), "SUCCEEDED", redrives=1)
    machine.executions[second] |= {"startDate": later, "stopDate": later + timedelta(seconds=3)}
    machine.histories |= {first: "aws-rejected", second: "aws-retried"}

    console = "https://us-east-1.console.aws.amazon.com/states/home?region=us-east-1#/v2/executions/details"
    rejected = "RecordsRejected: 1 of 1 records rejected: mission-a-json-d30197dffcbe6648761405b7.0 at validate"
    throttled = "Lambda.TooManyRequestsException: Rate Exceeded. (Service: Lambda, Status Code: 429"
    timelines = section(run(dead_letter.object_id).stdout, "execution")
    assert [line.partition(", Request ID")[0].partition(": /confidence")[0] for line in timelines] == [
        f"  execution    {first}",
        "               FAILED at attempt 0, 2026-11-23 09:00:00.000 UTC, 12.0 s",
        f"               {console}/{first}",
        "    2026-03-01 10:00:00.134  Validate    caught     465 ms",
        f"      {rejected}",
        "    2026-03-01 10:00:00.620  DeadLetter  failed     456 ms",
        f"      {rejected}",
        f"  execution    {second}",
        "               SUCCEEDED at attempt 2 (1 redrive), 2026-11-23 10:00:00.000 UTC, 3.0 s",
        f"               {console}/{second}",
        "    2026-03-01 10:00:00.134  Validate   succeeded  465 ms",
        "    2026-03-01 10:00:00.620  Transform  succeeded  2.8 s",
        f"      try 1 at 10:00:00.622, 31 ms; {throttled}",
        f"      try 2 at 10:00:01.353, 31 ms; {throttled}",
        "      try 3 at 10:00:02.984, 454 ms: succeeded",
        "    2026-03-01 10:00:03.468  Write      succeeded  465 ms",
    ]


def test_a_redrive_separates_steps_and_a_map_has_its_runs_with_their_counts_unless_these_are_refused(
    bulk: Bulk, machine: Machine, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.histories[bulk.arn] = "aws-bulk"
    assert section(run(bulk.id).stdout, "execution")[3:] == [
        "    2026-03-01 10:00:00.134  ProcessChunks  aborted    40.2 s",
        "    redrive 1",
        "    2026-03-01 11:00:40.634  ProcessChunks  succeeded  1 min 0 s",
        "      7 runs: 6 succeeded, 1 failed",
        "    2026-03-01 11:01:40.664  Summarize      succeeded  465 ms",
    ]
    timeline = json.loads(run(bulk.id, "--json").stdout)["executions"][0]
    assert (timeline["machine"], timeline["status"], timeline["seconds"]) == ("bulk", "FAILED", 90.0)
    assert [step["redrive"] for step in timeline["steps"]] == [0, 1, 1]
    aborted, redriven = (step["tries"][0]["map_run"] for step in timeline["steps"][:2])
    assert aborted["arn"] == redriven["arn"]
    assert aborted["items"] is None, "Step Functions counts a Map Run as it is after the redrive"
    assert redriven["items"]["total"] == 7

    machine.histories[bulk.arn] = "embedded-bulk"
    counted = [
        each["map_run"]["items"]["total"]
        for step in json.loads(run(bulk.id, "--json").stdout)["executions"][0]["steps"]
        for each in step["tries"]
        if each["map_run"] and each["map_run"]["items"]
    ]
    assert counted == [7, 7], "the first run, and the one of the redrive"

    refuse(machine, "describe_map_run", monkeypatch)
    assert run(bulk.id).exit_code == 0
    assert " runs: " not in run(bulk.id).stdout


@pytest.mark.parametrize(
    ("failed", "seconds", "outcome", "error", "cause", "text"),
    [
        (True, None, "timed_out", None, None, "try 2 at 10:00:01.000: timed out"),
        (True, None, "running", None, None, "try 2 at 10:00:01.000: running"),
        (True, 2.0, "succeeded", None, None, "try 2 at 10:00:01.000, 2.0 s: succeeded"),
        (False, 1.0, "timed_out", "States.Timeout", None, "States.Timeout"),
        (False, 1.0, "timed_out", "States.Timeout", "too slow", "States.Timeout: too slow"),
    ],
)
def test_each_try_is_described_by_its_outcome_or_error(  # noqa: PLR0913, PLR0917 - a table
    failed: bool,
    seconds: float | None,
    outcome: TryOutcome,
    error: str | None,
    cause: str | None,
    text: str,
) -> None:
    at = "2026-03-01T10:00:01.000Z"
    tries = [Try(at, at, 1.0, "failed", "Boom")] * failed
    tries.append(Try(at, at if seconds else None, seconds, outcome, error, cause))
    assert [described for described, _ in trace.describe_tries(tries)][-1] == text


def test_a_narrow_terminal_folds_each_error(
    bulk: Bulk, machine: Machine, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.histories[bulk.arn] = "aws-rejected"
    monkeypatch.setattr(terminal_console, "console", Screen(force_terminal=True, color_system=None, width=80))
    steps = section(run(bulk.id).stdout, "execution")[3:]
    assert max(map(len, steps)) <= 80
    assert steps[1:4] == [
        "      RecordsRejected: 1 of 1 records rejected:",
        "        mission-a-json-d30197dffcbe6648761405b7.0 at validate: /confidence:",
        "        maximum 1",
    ]


def test_a_record_in_a_chunk_has_the_executions_of_the_chunk(bulk: Bulk, machine: Machine, run: Run) -> None:
    child = f"{bulk.arn.replace(':bulk:', ':bulk/ProcessChunks:')}-0"
    machine.executions[child] = machine.executions[bulk.arn] | {"executionArn": child, "status": "SUCCEEDED"}
    machine.histories[child] = "aws-good"
    traced = json.loads(run(f"{bulk.id}.61", "--json").stdout)
    (timeline,) = traced["executions"]
    assert (timeline["arn"], timeline["machine"], timeline["status"]) == (child, "chunk", "SUCCEEDED")
    assert [step["name"] for step in timeline["steps"]] == ["Validate", "Transform", "Write"]
    assert f"part of      {bulk.arn}" in run(f"{bulk.id}.61").stdout


def test_a_history_that_is_refused_is_reported_in_one_line(
    bulk: Bulk, machine: Machine, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(machine, "history", monkeypatch)
    shown = section(run(bulk.id).stdout, "execution")
    assert shown[1].strip() == "FAILED at attempt 0, 2026-11-23 09:00:00.000 UTC, 1 min 30 s"
    assert shown[3].strip().startswith("Step Functions does not report it: An error occurred (AccessDeniedException)")
    assert len(shown) == 4


@pytest.mark.parametrize(
    ("is_refused", "why"),
    [(False, "Step Functions no longer has it"), (True, "AccessDeniedException")],
    ids=["expired", "refused"],
)
def test_an_execution_that_cannot_be_described_is_named_and_the_rest_shown(  # noqa: PLR0913, PLR0917 - a table
    bulk: Bulk, machine: Machine, run: Run, monkeypatch: pytest.MonkeyPatch, is_refused: bool, why: str
) -> None:
    machine.executions.clear()
    if is_refused:
        refuse(machine, "describe_execution", monkeypatch)
    record = f"{bulk.id}.61"
    for name, arn in ((bulk.id, bulk.arn), (record, f"{bulk.arn.replace(':bulk:', ':bulk/ProcessChunks:')}-0")):
        (timeline,) = json.loads(run(name, "--json").stdout)["executions"]
        assert (timeline["arn"], timeline["status"], timeline["steps"]) == (arn, None, None)
        assert why in timeline["unavailable"]
    shown = run(bulk.id).stdout
    assert "17 received, 16 written, 1 rejected, at attempt 0" in shown
    assert "state        not known" in shown
    assert "written at attempt 0" in run(record).stdout


def test_objects_on_aws_have_console_links(bulk: Bulk, run: Run) -> None:
    console, version = "https://us-east-1.console.aws.amazon.com/s3/object", bulk.batch.object.version_id
    shown = run(f"{bulk.id}.61").stdout
    assert f"{console}/raw?region=us-east-1&prefix=mission%2Fmany.jsonl&versionId={version}" in shown
    assert f"{console}/processed?region=us-east-1&prefix=mission%2F" in shown
    assert f"{console}/audit?region=us-east-1&prefix=ledger%2F{bulk.id}%2F000000000000000.0.jsonl.gz" in shown


def test_an_execution_with_another_name_is_shown_too(buckets: Buckets, machine: Machine, run: Run) -> None:
    dead_letter = posted(buckets, raw=buckets.upload("mission/b.json", GOOD).object, arn=arn_of("by-hand"))
    batch = Batch(audit_of(buckets).read(dead_letter).object)
    machine.add(batch, name="by-hand")
    machine.add(batch, "ABORTED")
    machine.executions[arn_of("by-hand")]["startDate"] += timedelta(minutes=1)
    traced = json.loads(run(dead_letter.object_id, "--json").stdout)
    assert [each["name"] for each in traced["executions"]] == [dead_letter.object_id, "by-hand"]


def test_a_bulk_object_names_the_ledger_files_of_its_chunks(bulk: Bulk, run: Run) -> None:
    assert f"of each chunk, with the processed object that it was written to: s3://audit/ledger/{bulk.id}/" in " ".join(
        run(bulk.id).stdout.split()
    )
