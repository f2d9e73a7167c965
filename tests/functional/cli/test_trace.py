"""A record leads straight to its ledger file and its bytes; an object to its commits and dead letters."""

import gzip
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console

from custody.audit.reader import AuditReader
from custody.errors import CommandFailed
from custody.recovery.discard import Discarder
from custody.terminal import console as terminal_console
from custody.views import trace
from functions.shared.model.keys import LedgerKey
from functions.shared.model.messages import Batch
from tests.support.audit_files import Run, delivered_in_part, posted, reads_of, redriven_in_vain
from tests.support.buckets import Buckets
from tests.support.bulk import CHUNK_BYTES, Bulk, lines
from tests.support.command_line import CommandLine
from tests.support.executions import STARTED, Machine, arn_of
from tests.support.histories import events
from tests.support.stages import GOOD, written


class Telling(Machine):
    """A machine that tells the history of an execution: that of a file of tests/histories, or an empty one."""

    def __init__(self) -> None:
        super().__init__()
        self.histories: dict[str, str] = {}

    def get_paginator(self, name: str) -> Any:
        return self if name == "get_execution_history" else super().get_paginator(name)

    def paginate(self, *, executionArn: str = "", **more: Any) -> Any:  # noqa: N803 - as boto3 has it
        return self._history(executionArn) if executionArn else super().paginate(**more)

    def _history(self, arn: str) -> Iterator[Any]:
        if arn not in self.executions:
            raise self.error("ExecutionDoesNotExist")
        found = events(self.histories[arn]) if arn in self.histories else []
        yield {"events": found[:3]}
        yield {"events": found[3:]}

    def describe_map_run(self, *, mapRunArn: str) -> Any:  # noqa: N803 - as boto3 has it
        assert ":mapRun:" in mapRunArn
        counts = {"total": 7, "succeeded": 6, "failed": 1, "aborted": 0, "timedOut": 0, "running": 0, "pending": 0}
        return {"itemCounts": counts}


@pytest.fixture
def machine(buckets: Buckets) -> Telling:  # noqa: ARG001 - the client of a machine stands on moto
    return Telling()


@pytest.fixture
def run(command_line: CommandLine, machine: Telling) -> Run:
    """Run `custody trace`, on a machine in memory."""
    command_line.clients["stepfunctions"] = machine
    command_line.deploy(chunk_bytes=CHUNK_BYTES)
    return command_line.command("trace")


@pytest.fixture
def bulk(buckets: Buckets, machine: Telling) -> Bulk:
    """Give an object of seven chunks: that at 200 rejected a record, and that at 400 failed."""
    bulk = Bulk.upload(buckets, lines(20, bad=(4,)))
    machine.add(bulk.batch, error="ChunksFailed", stopDate=STARTED + timedelta(seconds=90))
    assert bulk.run(failing=(400,)) == "ChunksFailed"
    return bulk


def test_a_written_record_is_shown_as_it_came_and_as_it_is_delivered(bulk: Bulk, run: Run) -> None:
    told = json.loads(run(f"{bulk.id}.61", "--json").stdout)
    assert (told["outcome"], told["chunk"], told["attempt"]) == ("written", {"start": 0, "bytes": 200}, 0)
    assert told["received_text"] == GOOD.decode()
    assert json.loads(told["written_text"])["confidence_band"] == "high"
    assert told["parent"] == bulk.arn

    shown = run(f"{bulk.id}.61").stdout
    assert "written at attempt 0" in shown
    assert "byte 61, 60 bytes, in the chunk of 200 bytes at byte 0" in shown
    assert '"confidence_band":"high"' in shown


def test_a_rejected_record_is_shown_with_all_that_it_breaks(bulk: Bulk, run: Run) -> None:
    shown = run(f"{bulk.id}.244").stdout
    assert "rejected at attempt 0" in shown
    assert "validate: /confidence: maximum 1" in shown
    assert "RUMINT" in shown
    assert f"{bulk.id}/000000000000200.0.Rejected (open, of its chunk)" in shown
    assert "written to" not in shown


def test_a_record_that_was_given_up_says_so(bulk: Bulk, run: Run) -> None:
    bulk.buckets.s3.put_object(Bucket="audit", Key=LedgerKey(bulk.id, 200, 0, discards=True).key, Body=b"")
    assert "discarded at attempt 0, by whom is not known" in run(f"{bulk.id}.244").stdout
    assert "written at attempt 0" in run(f"{bulk.id}.304").stdout, "its neighbour was delivered"


def test_only_the_ledger_file_of_its_chunk_is_read(bulk: Bulk, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    read = reads_of("line_at", monkeypatch)
    assert run(f"{bulk.id}.609").exit_code == 0
    assert read == [LedgerKey(bulk.id, 600, 0)]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("{id}.62", "There is no record"),
        ("{id}.450", "its chunk failed: custody dead-letters show dt=2026-11-23/{id}/000000000000400.0.Write"),
        ("{id}.1219", "its position is the byte at which it begins, and s3://raw/mission/many.jsonl"),
        ("nothing.json", "it is no record id, no object id, and no key in raw"),
        ("", "it is no record id"),
        (f"a-json-{0:024x}", "no ledger file and no dead letter"),
        (f"a-json-{0:024x}.7", "no ledger file and no dead letter"),
    ],
)
def test_what_nothing_tells_of_is_said_in_a_line(bulk: Bulk, run: Run, wanted: str, said: str) -> None:
    refused = run(wanted.format(id=bulk.id))
    assert isinstance(refused.exception, CommandFailed)
    assert refused.exception.code == 1
    assert said.format(id=bulk.id) in str(refused.exception)


def refused_for(run: Run, wanted: str) -> str:
    refused = run(wanted)
    assert isinstance(refused.exception, CommandFailed), refused.output
    return str(refused.exception)


def test_a_record_whose_chunk_is_not_processed_yet_waits_for_what_runs(
    buckets: Buckets, machine: Telling, run: Run
) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    arn = machine.add(bulk.batch, "RUNNING")
    said = f"{bulk.id}.450 has no outcome yet: its chunk is not committed so far, and {arn} is RUNNING"
    assert refused_for(run, f"{bulk.id}.450") == said
    bulk.chunk(0)
    assert refused_for(run, f"{bulk.id}.450") == said


def test_a_record_whose_chunk_was_never_processed_is_led_to_the_end_of_its_execution(
    buckets: Buckets, machine: Telling, run: Run
) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    arn = machine.add(bulk.batch, "ABORTED")
    bulk.chunk(0)
    bulk.end("ExecutionAborted", "ProcessChunks")
    said = refused_for(run, f"{bulk.id}.450")
    assert f"its chunk was not processed; {arn} is ABORTED; custody dead-letters show" in said
    assert "object.0.ProcessChunks" in said


def test_a_record_whose_ledger_file_was_deleted_is_said_to_be_missing_there(bulk: Bulk, run: Run) -> None:
    bulk.buckets.s3.delete_object(Bucket="audit", Key=LedgerKey(bulk.id, 600, 0).key)
    assert "that of its chunk is missing, though the summary tells of it" in refused_for(run, f"{bulk.id}.609")


def discarded(bulk: Bulk, start: int) -> None:
    """Discard a chunk as an operator does."""
    audit = AuditReader(bulk.buckets.s3, "audit")
    (dead_letter,) = (dead_letter for dead_letter in audit.dead_letters_of(bulk.id) if dead_letter.start == start)
    Discarder(audit, "processed", audit.resolution(bulk.id), "sent by mistake", "arn:aws:iam::1:user/eve").discard(
        dead_letter
    )


def test_a_record_of_a_chunk_that_was_given_up_unread_says_who_did(bulk: Bulk, run: Run) -> None:
    discarded(bulk, 400)
    said = refused_for(run, f"{bulk.id}.450")
    assert "its chunk was never committed, and was discarded on" in said
    assert said.endswith("by arn:aws:iam::1:user/eve: sent by mistake")


def test_a_discard_tells_who_when_and_why(bulk: Bulk, run: Run) -> None:
    discarded(bulk, 200)
    header = AuditReader(bulk.buckets.s3, "audit").discard_header(LedgerKey(bulk.id, 200, 0, discards=True))
    said = f"on {header.recorded_at} by arn:aws:iam::1:user/eve: sent by mistake"
    assert f"discarded at attempt 0, {said}" in run(f"{bulk.id}.244").stdout
    assert json.loads(run(f"{bulk.id}.244", "--json").stdout)["discarded"]["at"] == header.recorded_at
    assert "sent by mistake" not in run(f"{bulk.id}.304").stdout, "its neighbour was delivered"

    shown = run(bulk.id).stdout
    assert f"discarded  the chunk at byte 200, {said}" in shown
    assert f"{bulk.id}.244 discarded: /confidence: maximum 1" in shown
    assert "discarded at byte 200, rejected records: 1" in shown


def test_the_first_rejected_records_of_an_object_are_listed(buckets: Buckets, run: Run) -> None:
    bulk = Bulk.upload(buckets, lines(20, bad=tuple(range(3, 15))))
    assert bulk.run() == "RecordsRejected"
    shown = run(bulk.id).stdout
    assert shown.count(" rejected: ") == 10
    assert f"{bulk.id}.183 rejected: " in shown
    assert "/confidence: maximum 1" in shown
    assert "and 2 more; the ledger has all" in shown


@pytest.mark.parametrize("status", ["RUNNING", "ABORTED"])
def test_an_object_without_any_commits_is_shown_by_its_execution(
    buckets: Buckets, machine: Telling, run: Run, status: str
) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    assert "no execution yet" in run(bulk.batch.object.key).stdout
    machine.add(bulk.batch, status)
    shown = run(bulk.id).stdout
    assert f"state      {status}\n" in shown
    assert "7 total, 0 committed" in shown


def test_whatever_custody_prints_leads_to_its_object(bulk: Bulk, machine: Telling, run: Run) -> None:
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
    assert "and 2 more dead letters; 22 of all 22 are open" in run(bulk.id).stdout


def test_who_may_not_ask_step_functions_is_told_all_else(
    bulk: Bulk, machine: Telling, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: Any) -> None:
        raise machine.error("AccessDeniedException")

    monkeypatch.setattr(machine, "describe_execution", refused)
    assert "state      not known" in run(bulk.id).stdout
    assert "written at attempt 0" in run(f"{bulk.id}.61").stdout


def test_an_object_is_shown_with_its_chunks_and_dead_letters(bulk: Bulk, run: Run) -> None:
    shown = run(bulk.id).stdout
    assert "17 received, 16 written, 1 rejected, at attempt 0" in shown
    assert "7 total, 6 committed, 1 failed" in shown
    assert "committed at byte 200, rejected records: 1" in shown
    assert "failed at byte 400" in shown
    assert "object.0.Summarize (open)" in shown

    told = json.loads(run(bulk.id, "--json").stdout)
    assert [chunk["start"] for chunk in told["chunks"]["not_written"]] == [200, 400]
    assert len(told["dead_letters"]) == 3


def test_a_bulk_object_in_the_making_is_shown_as_such(buckets: Buckets, run: Run) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    bulk.chunk(0)
    bulk.chunk(200)
    told = json.loads(run(bulk.id, "--json").stdout)
    assert (told["counts"], told["ledger"], told["execution"]) == (None, None, bulk.arn)
    assert told["chunks"] == {"total": 7, "committed": 2, "not_written": []}
    assert "its commits are not closed, at attempt 0" in run(bulk.id).stdout


def test_an_object_of_which_only_a_dead_letter_tells_is_shown_by_that(buckets: Buckets, run: Run) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    bulk.end("ExecutionAborted", "ProcessChunks")
    shown = run(bulk.id).stdout
    assert f"execution  {bulk.arn}" in shown
    assert "object.0.ProcessChunks (open)" in shown


def test_an_object_that_is_one_batch_is_shown_with_its_output(buckets: Buckets, run: Run) -> None:
    dead_letter = delivered_in_part(buckets)
    shown = run(dead_letter.object_id).stdout
    assert "2 received, 1 written, 1 rejected, at attempt 0" in shown
    assert "s3://processed/mission/" in shown
    assert "rejected at attempt 0" in run(f"{dead_letter.object_id}.1").stdout


def test_a_key_names_its_newest_version_and_says_which_others_there_are(buckets: Buckets, run: Run) -> None:
    dead_letter = delivered_in_part(buckets)
    assert run("mission/a.json").stdout == run("s3://raw/mission/a.json").stdout == run(dead_letter.object_id).stdout
    buckets.upload("mission/a.json.bak", GOOD)
    written(buckets, "mission/a.json", GOOD)
    assert f"another version of its key: {dead_letter.object_id}" in run("mission/a.json").stdout


def test_each_attempt_of_a_record_is_named(buckets: Buckets, run: Run) -> None:
    dead_letter = redriven_in_vain(buckets)
    told = json.loads(run(f"{dead_letter.object_id}.1", "--json").stdout)
    assert [each["attempt"] for each in told["attempts"]] == [0]
    assert [each["open"] for each in told["dead_letters"]] == [False, True]


def test_what_is_gone_is_said_to_be(bulk: Bulk, run: Run) -> None:
    for bucket in ("raw", "processed"):
        for version in bulk.buckets.s3.list_object_versions(Bucket=bucket)["Versions"]:
            bulk.buckets.s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
    shown = run(f"{bulk.id}.61").stdout
    assert "the raw version is gone" in shown
    assert "that version is gone: see `custody verify`" in shown


def section(shown: str, name: str) -> list[str]:
    """Give what is shown from a fact on, to the end."""
    lines = shown.splitlines()
    return [
        line.rstrip() for line in lines[next(at for at, line in enumerate(lines) if line.startswith(f"  {name}")) :]
    ]


def test_each_execution_of_an_object_is_told_step_by_step(buckets: Buckets, machine: Telling, run: Run) -> None:
    dead_letter = redriven_in_vain(buckets)
    raw = AuditReader(buckets.s3, "audit").read(dead_letter).raw
    ended = STARTED + timedelta(seconds=12)
    first = machine.add(Batch(raw), error="RecordsRejected", stopDate=ended)
    later = STARTED + timedelta(hours=1)
    second = machine.add(Batch(raw, attempt=1), "SUCCEEDED", redrives=1)
    machine.executions[second] |= {"startDate": later, "stopDate": later + timedelta(seconds=3)}
    machine.histories |= {first: "aws-rejected", second: "aws-retried"}

    console = "https://us-east-1.console.aws.amazon.com/states/home?region=us-east-1#/v2/executions/details"
    rejected = "RecordsRejected: 1 of 1 records rejected: mission-a-json-d30197dffcbe6648761405b7.0 at validate"
    throttled = "Lambda.TooManyRequestsException: Rate Exceeded. (Service: Lambda, Status Code: 429"
    told = section(run(dead_letter.object_id).stdout, "execution")
    assert [line.partition(", Request ID")[0].partition(": /confidence")[0] for line in told] == [
        f"  execution  {first}",
        "             FAILED at attempt 0, 2026-11-23 09:00:00.000 UTC, 12.0 s",
        f"             {console}/{first}",
        "    2026-03-01 10:00:00.134  Validate    caught     465 ms",
        f"      {rejected}",
        "    2026-03-01 10:00:00.620  DeadLetter  failed     456 ms",
        f"      {rejected}",
        f"  execution  {second}",
        "             SUCCEEDED at attempt 2 (1 redrive), 2026-11-23 10:00:00.000 UTC, 3.0 s",
        f"             {console}/{second}",
        "    2026-03-01 10:00:00.134  Validate   succeeded  465 ms",
        "    2026-03-01 10:00:00.620  Transform  succeeded  2.8 s",
        f"      try 1 at 10:00:00.622, 31 ms; {throttled}",
        f"      try 2 at 10:00:01.353, 31 ms; {throttled}",
        "      try 3 at 10:00:02.984, 454 ms: succeeded",
        "    2026-03-01 10:00:03.468  Write      succeeded  465 ms",
    ]


def test_a_redrive_stands_between_the_steps_and_a_map_with_its_runs(bulk: Bulk, machine: Telling, run: Run) -> None:
    machine.histories[bulk.arn] = "aws-bulk"
    assert section(run(bulk.id).stdout, "execution")[3:] == [
        "    2026-03-01 10:00:00.134  ProcessChunks  aborted    40.2 s",
        "    redrive 1",
        "    2026-03-01 11:00:40.634  ProcessChunks  succeeded  1 min 0 s",
        "      7 runs: 6 succeeded, 1 failed",
        "    2026-03-01 11:01:40.664  Summarize        succeeded  465 ms",
    ]
    told = json.loads(run(bulk.id, "--json").stdout)["executions"][0]
    assert (told["machine"], told["status"], told["seconds"]) == ("bulk", "FAILED", 90.0)
    assert [step["redrive"] for step in told["steps"]] == [0, 1, 1]
    aborted, redriven = (step["tries"][0]["map_run"] for step in told["steps"][:2])
    assert aborted["arn"] == redriven["arn"]
    assert aborted["items"] is None, "Step Functions counts a Map Run as it stands now, after the redrive"
    assert redriven["items"]["total"] == 7


def test_a_map_run_that_was_not_redriven_has_its_counts(bulk: Bulk, machine: Telling, run: Run) -> None:
    machine.histories[bulk.arn] = "embedded-bulk"
    counted = [
        one["map_run"]["items"]["total"]
        for step in json.loads(run(bulk.id, "--json").stdout)["executions"][0]["steps"]
        for one in step["tries"]
        if one["map_run"] and one["map_run"]["items"]
    ]
    assert counted == [7, 7], "the first run, and the one of the redrive"


def tried(*given: Any) -> list[str]:
    """Show the tries of a step, each given as its end, its outcome, its error and its cause."""
    at = "2026-03-01T10:00:01.000Z"
    tries = [
        {"started_at": at, "ended_at": ended and at, "seconds": ended, "map_run": None}
        | {"outcome": outcome, "error": error, "cause": cause}
        for ended, outcome, error, cause in given
    ]
    return [said for said, _ in trace.told_of(tries)]


def test_a_try_that_the_execution_did_not_wait_for_ended_as_the_execution_did() -> None:
    failed = (1.0, "failed", "Odd", None)
    assert tried(failed, (None, "timed_out", None, None))[1] == "try 2 at 10:00:01.000: timed out"
    assert tried(failed, (None, "aborted", None, None))[1] == "try 2 at 10:00:01.000: aborted"
    assert tried(failed, (None, "running", None, None))[1] == "try 2 at 10:00:01.000: running"
    assert tried(failed, (2.0, "succeeded", None, None))[1] == "try 2 at 10:00:01.000, 2.0 s: succeeded"


def test_an_error_without_a_cause_is_told_by_its_name_alone() -> None:
    assert tried((1.0, "timed_out", "States.Timeout", None)) == ["States.Timeout"]
    assert tried((1.0, "timed_out", "States.Timeout", "too slow")) == ["States.Timeout: too slow"]


def test_a_narrow_terminal_folds_each_error(
    bulk: Bulk, machine: Telling, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.histories[bulk.arn] = "aws-rejected"
    monkeypatch.setattr(terminal_console, "console", Console(highlight=False, width=80))
    steps = section(run(bulk.id).stdout, "execution")[3:]
    assert max(map(len, steps)) <= 80
    assert steps[1:4] == [
        "      RecordsRejected: 1 of 1 records rejected:",
        "        mission-a-json-d30197dffcbe6648761405b7.0 at validate: /confidence:",
        "        maximum 1",
    ]


def test_a_record_of_a_chunk_has_the_executions_of_that_chunk(bulk: Bulk, machine: Telling, run: Run) -> None:
    child = f"{bulk.arn.replace(':bulk:', ':bulk/ProcessChunks:')}-0"
    machine.executions[child] = machine.executions[bulk.arn] | {"executionArn": child, "status": "SUCCEEDED"}
    machine.histories[child] = "aws-good"
    told = json.loads(run(f"{bulk.id}.61", "--json").stdout)
    (one,) = told["executions"]
    assert (one["arn"], one["machine"], one["status"]) == (child, "chunk", "SUCCEEDED")
    assert [step["name"] for step in one["steps"]] == ["Validate", "Transform", "Write"]
    assert f"part of    {bulk.arn}" in run(f"{bulk.id}.61").stdout


def test_a_ledger_line_is_told_as_it_stands_in_the_file(bulk: Bulk, run: Run) -> None:
    told = json.loads(run(f"{bulk.id}.61", "--json").stdout)
    key = told["ledger"].removeprefix("s3://audit/")
    body = gzip.decompress(bulk.buckets.s3.get_object(Bucket="audit", Key=key)["Body"].read()).decode()
    assert told["ledger_line"] == body.splitlines()[2]
    assert f"its line   {told['ledger_line']}" in run(f"{bulk.id}.61").stdout


def test_an_execution_that_step_functions_has_forgotten_hides_nothing_else(
    bulk: Bulk, machine: Telling, run: Run
) -> None:
    machine.executions.clear()
    for wanted in (bulk.id, f"{bulk.id}.61"):
        (one,) = json.loads(run(wanted, "--json").stdout)["executions"]
        assert (one["status"], one["steps"]) == (None, None)
        assert one["untold"].startswith("Step Functions has forgotten it")
    assert "17 received, 16 written, 1 rejected, at attempt 0" in run(bulk.id).stdout
    assert "written at attempt 0" in run(f"{bulk.id}.61").stdout


def test_a_history_that_may_not_be_read_is_said_in_a_line(
    bulk: Bulk, machine: Telling, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: str) -> Iterator[Any]:
        raise machine.error("AccessDeniedException")

    monkeypatch.setattr(machine, "_history", refused)
    shown = section(run(bulk.id).stdout, "execution")
    assert shown[1].strip() == "FAILED at attempt 0, 2026-11-23 09:00:00.000 UTC, 1 min 30 s"
    assert shown[3].strip().startswith("Step Functions does not say: An error occurred (AccessDeniedException)")
    assert len(shown) == 4


def test_who_may_not_ask_step_functions_is_told_which_execution_it_is_not_told_of(
    bulk: Bulk, machine: Telling, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: Any) -> None:
        raise machine.error("AccessDeniedException")

    monkeypatch.setattr(machine, "describe_execution", refused)
    for wanted, arn in (
        (bulk.id, bulk.arn),
        (f"{bulk.id}.61", f"{bulk.arn.replace(':bulk:', ':bulk/ProcessChunks:')}-0"),
    ):
        (one,) = json.loads(run(wanted, "--json").stdout)["executions"]
        assert one["arn"] == arn
        assert "AccessDeniedException" in one["untold"]


def test_a_map_run_that_may_not_be_asked_for_is_shown_without_its_counts(
    bulk: Bulk, machine: Telling, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: Any) -> None:
        raise machine.error("AccessDeniedException")

    machine.histories[bulk.arn] = "aws-bulk"
    monkeypatch.setattr(machine, "describe_map_run", refused)
    told = json.loads(run(bulk.id, "--json").stdout)["executions"][0]["steps"]
    assert told[1]["tries"][0]["map_run"]["items"] is None
    assert " runs: " not in run(bulk.id).stdout


def test_what_is_on_aws_is_linked_to(bulk: Bulk, run: Run) -> None:
    version = bulk.batch.object.version_id
    console = "https://us-east-1.console.aws.amazon.com/s3/object"
    told = json.loads(run(f"{bulk.id}.61", "--json").stdout)
    raw = f"{console}/raw?region=us-east-1&prefix=mission%2Fmany.jsonl&versionId={version}"
    assert told["links"]["raw"] == raw
    assert told["links"]["output"].startswith(f"{console}/processed?region=us-east-1&prefix=mission%2F")
    ledger = f"{console}/audit?region=us-east-1&prefix=ledger%2F{bulk.id}%2F000000000000000.0.jsonl.gz"
    assert told["links"]["ledger"] == ledger
    shown = run(f"{bulk.id}.244").stdout
    assert raw in shown
    assert f"{console}/audit?region=us-east-1&prefix=dead-letters%2Fdt%3D2026-11-23%2F{bulk.id}%2F" in shown


def test_an_execution_that_was_started_by_another_name_is_told_of_too(
    buckets: Buckets, machine: Telling, run: Run
) -> None:
    dead_letter = posted(buckets, raw=buckets.upload("mission/b.json", GOOD).object, arn=arn_of("by-hand"))
    batch = Batch(AuditReader(buckets.s3, "audit").read(dead_letter).raw)
    machine.add(batch, name="by-hand")
    machine.add(batch, "ABORTED")
    machine.executions[arn_of("by-hand")]["startDate"] += timedelta(minutes=1)
    told = json.loads(run(dead_letter.object_id, "--json").stdout)
    assert [one["name"] for one in told["executions"]] == [dead_letter.object_id, "by-hand"]
    assert told["execution"] == arn_of("by-hand")
