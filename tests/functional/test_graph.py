"""`custody graph`: the machine as it is deployed, or the way that the latest execution of an object took."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import boto3
import pytest
from botocore.exceptions import ClientError
from rich.console import Console
from typer.testing import CliRunner

from custody import show
from custody.commands import graph as graph_command
from custody.executions import Pipeline
from custody.failure import CommandFailed
from custody.main import app
from custody.target import Target
from functions.shared.messages import Batch
from infra.composition import compose
from tests.functional.bulk import CHUNK_BYTES, Bulk, lines
from tests.functional.desk import Run, a_deployment
from tests.functional.failures import BULK_ARN, MACHINE_ARN, post
from tests.functional.test_trace import Telling
from tests.rooms import Rooms
from tests.steps import BULK, PIPELINE

KEY = "mission/a.json"
COMPOSED = compose(BULK, PIPELINE, chunk_concurrency=5)


class Drawn(Telling):
    """A machine that tells the definitions of both: as they are deployed, and as an execution ran on them."""

    def describe_state_machine(self, *, stateMachineArn: str) -> Any:  # noqa: N803 - as boto3 has it
        return {"definition": json.dumps(COMPOSED if stateMachineArn == BULK_ARN else PIPELINE)}

    def describe_state_machine_for_execution(self, *, executionArn: str) -> Any:  # noqa: N803 - as boto3 has it
        definition, _ = self.definitions[executionArn]
        return {"definition": definition}


@pytest.fixture
def machine(rooms: Rooms) -> Drawn:  # noqa: ARG001 - the client of a machine stands on moto
    machine = Drawn()
    machine.definition = json.dumps(PIPELINE)
    return machine


@pytest.fixture
def run(machine: Drawn, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give the command line, on buckets in memory."""
    client: Any = machine
    pipeline = Pipeline(client, MACHINE_ARN, BULK_ARN, CHUNK_BYTES)
    monkeypatch.setattr(Pipeline, "of", lambda *_: pipeline)
    target, deployment = Target("buckets in memory", boto3.Session(), None), a_deployment()
    monkeypatch.setattr(graph_command, "target_of", lambda *_, **__: target)
    monkeypatch.setattr(graph_command, "find", lambda *_: deployment)
    return lambda *arguments: CliRunner().invoke(app, ["graph", *arguments])


@pytest.fixture
def batch(rooms: Rooms) -> Batch:
    return rooms.upload(KEY, b"{}")


def refused(run: Run, *arguments: str) -> CommandFailed:
    """Give what the command says in its line, when it draws nothing."""
    ran = run(*arguments)
    assert isinstance(ran.exception, CommandFailed), ran.output
    assert ran.stdout == ""
    assert "\n" not in str(ran.exception)
    return ran.exception


def test_without_an_id_the_deployed_machine_is_drawn(run: Run) -> None:
    shown = run().stdout
    assert "│ Validate" in shown
    assert shown.endswith("on an error\n")
    assert "not reached" not in shown
    assert "\x1b" not in shown, "no colours for what is no terminal"
    assert "│ ValidateChunk" in run("--machine", "bulk").stdout


def test_a_machine_that_is_none_is_wrong_usage(run: Run) -> None:
    assert run("--machine", "other").exit_code == 2


@pytest.mark.parametrize("kind", ["key", "object", "record", "execution", "letter"])
def test_an_object_is_named_by_all_that_custody_prints(
    run: Run, machine: Drawn, rooms: Rooms, batch: Batch, kind: str
) -> None:
    arn = machine.add(batch, error="RecordsRejected")
    machine.histories[arn] = "aws-rejected"
    names = {"key": KEY, "object": batch.object.id, "record": f"{batch.object.id}.0", "execution": arn}
    shown = run(names.get(kind) or post(rooms, batch, name="Validate")).stdout
    assert f"{KEY}: FAILED, RecordsRejected" in shown
    assert "✗ Validate  caught: RecordsRejected" in shown
    assert "○ Write" in shown


def test_of_several_executions_the_latest_is_drawn(run: Run, machine: Drawn, rooms: Rooms, batch: Batch) -> None:
    machine.histories[machine.add(batch, error="AccessRefused")] = "aws-rejected"
    post(rooms, batch)
    again = machine.add(replace(batch, attempt=1), "SUCCEEDED", redrives=2)
    machine.histories[again] = "aws-redriven"
    shown = run(KEY).stdout
    assert f"{KEY}: SUCCEEDED, redriven 2 times" in shown
    assert "✓ DeadLetter  4 times" in shown


def test_the_machine_is_drawn_as_the_execution_ran_on_it(run: Run, machine: Drawn, batch: Batch) -> None:
    before = {"Pause": {"Type": "Wait", "Seconds": 1, "Next": "Validate"}, **PIPELINE["States"]}
    machine.definition = json.dumps(PIPELINE | {"StartAt": "Pause", "States": before})
    machine.histories[machine.add(batch, "SUCCEEDED")] = "aws-good"
    assert "○ Pause  Wait" in run(KEY).stdout


def test_of_a_large_object_the_chunks_are_counted(run: Run, machine: Drawn, rooms: Rooms) -> None:
    machine.definition = json.dumps(COMPOSED)
    bulk = Bulk.upload(rooms, lines(20))
    machine.histories[machine.add(bulk.batch, "SUCCEEDED")] = "aws-bulk"
    shown = run(bulk.id).stdout
    assert "✓ ProcessChunks" in shown
    assert "7 chunks: 6 succeeded, 1 failed" in shown


def test_a_run_of_chunks_that_cannot_be_asked_for_hides_nothing_else(
    run: Run, machine: Drawn, rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": ""}}, "DescribeMapRun")

    monkeypatch.setattr(machine, "describe_map_run", denied)
    machine.definition = json.dumps(COMPOSED)
    bulk = Bulk.upload(rooms, lines(20))
    machine.histories[machine.add(bulk.batch, "SUCCEEDED")] = "aws-bulk"
    shown = run(bulk.id).stdout
    assert "✓ ProcessChunks" in shown
    assert "chunks:" not in shown


def test_without_times_the_same_way_is_the_same_picture(run: Run, machine: Drawn, batch: Batch) -> None:
    arn = machine.add(batch, "SUCCEEDED")
    machine.histories[arn] = "aws-good"
    timed, untimed = run(KEY, "--svg", "-").stdout, run(KEY, "--no-times", "--svg", "-").stdout
    machine.histories[arn] = "embedded-good"
    assert run(KEY, "--svg", "-").stdout != timed
    assert run(KEY, "--no-times", "--svg", "-").stdout == untimed


def test_an_svg_goes_to_a_file_or_to_standard_output(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.svg"
    ran = run("--svg", str(file))
    assert ran.stdout == ""
    assert f"{file}: the picture is written" in ran.stderr.replace("\n", "")
    assert file.read_text(encoding="utf-8") == run("--svg", "-").stdout
    assert ET.parse(file).getroot().tag.endswith("svg")  # noqa: S314 - it is our own


def test_a_file_that_cannot_be_written_is_told_with_what_to_do(run: Run, tmp_path: Path) -> None:
    said = str(refused(run, "--svg", str(tmp_path / "no" / "a.svg")))
    assert "a.svg was not written: No such file or directory. Name a file in a folder that is there" in said


def test_a_terminal_without_unicode_is_given_ascii(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Old(Console):
        encoding = "latin-1"

    monkeypatch.setattr(show, "console", Old(highlight=False, width=80))
    shown = run().stdout
    assert shown.isascii()
    assert "| Validate" in shown


def test_a_terminal_is_given_colours(run: Run, monkeypatch: pytest.MonkeyPatch, machine: Drawn, batch: Batch) -> None:
    machine.histories[machine.add(batch, error="RecordsRejected")] = "aws-rejected"
    colours = Console(highlight=False, width=80, force_terminal=True, color_system="standard")
    monkeypatch.setattr(show, "console", colours)
    shown = run(KEY).stdout
    assert "\x1b[1;31mValidate\x1b[0m" in shown
    assert "\x1b[2mWrite\x1b[0m" in shown


def test_a_narrow_terminal_is_given_a_narrow_picture(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "console", Console(highlight=False, width=50))
    shown = run().stdout.splitlines()
    assert max(map(len, shown)) <= 50


def test_what_names_nothing_is_refused(run: Run) -> None:
    assert "Nothing tells of 'mission/none.json'" in str(refused(run, "mission/none.json"))
    assert "Nothing tells of" in str(refused(run, "mission-none-json-0123456789abcdef01234567"))


def test_an_object_that_was_not_started_has_nothing_to_be_drawn(run: Run, batch: Batch) -> None:
    assert batch.attempt == 0
    said = refused(run, KEY)
    assert "has no execution yet: its event is under way, or lost. See what became of it: custody reconcile" in str(
        said
    )
    assert said.code == 1


def test_an_execution_that_step_functions_has_forgotten_is_not_drawn_as_if_nothing_had_run(
    run: Run, rooms: Rooms, batch: Batch
) -> None:
    post(rooms, batch)
    said = str(refused(run, KEY))
    assert "Step Functions has forgotten it, as it does 90 days after" in said
    assert "`custody graph` without an ID" in said


def test_a_refusal_of_step_functions_is_told(
    run: Run, machine: Drawn, rooms: Rooms, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not you"}}, "DescribeExecution")

    monkeypatch.setattr(machine, "describe_execution", denied)
    post(rooms, batch)
    assert "Step Functions does not say: " in (said := str(refused(run, KEY)))
    assert "not you" in said


def test_an_id_says_which_machine_it_is(run: Run) -> None:
    said = refused(run, KEY, "--machine", "bulk")
    assert said.code == 2
