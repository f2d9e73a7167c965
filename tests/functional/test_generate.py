"""Sample data: as many records as are asked for, always the same, and the wrong ones spread evenly."""

import gzip
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from custody.failure import CommandFailed
from custody.generating import Sample
from custody.main import app
from functions.validate import contracts


def parsed(line: bytes) -> Any:
    """Read a line as JSON; None if it is none, as NaN is not."""
    try:
        return json.loads(line, parse_constant=lambda _: 1 / 0)
    except (ValueError, ZeroDivisionError):
        return None


@pytest.mark.parametrize(
    ("records", "bad", "malformed"), [(1, 0, 0), (1, 1, 0), (1, 0, 1), (1000, 10, 3), (999, 500, 499), (2500, 7, 0)]
)
def test_just_as_many_are_wrong_as_were_asked_for(records: int, bad: int, malformed: int) -> None:
    lines = b"".join(Sample(records, bad, malformed).lines()).splitlines()
    documents = [parsed(line) for line in lines]
    validator = contracts.load("mission").validator
    good = [document for document in documents if document is not None and validator.is_valid(document)]
    assert len(lines) == records
    assert documents.count(None) == malformed
    assert len(good) == records - bad - malformed


def test_the_wrong_ones_are_spread_evenly() -> None:
    lines = b"".join(Sample(1000, bad=10).lines()).splitlines()
    validator = contracts.load("mission").validator
    wrong = [number for number, line in enumerate(lines) if not validator.is_valid(parsed(line))]
    assert {after - before for before, after in pairwise(wrong)} == {100}


def test_the_same_seed_gives_the_same_data_and_another_one_other_data() -> None:
    def made(seed: int) -> bytes:
        return b"".join(Sample(2000, 20, 3, seed).lines())

    assert made(1) == made(1) != made(2)


def test_the_command_writes_a_file_or_to_standard_output_gzipped_or_not(tmp_path: Path) -> None:
    file, packed = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"
    run = CliRunner().invoke
    assert run(app, ["generate", "--records", "30", "--bad", "3", "--out", str(file)]).exit_code == 0
    assert run(app, ["generate", "--records", "30", "--bad", "3", "--out", str(packed), "--gzip"]).exit_code == 0
    printed = run(app, ["generate", "--records", "30", "--bad", "3"]).stdout_bytes
    assert file.read_bytes() == gzip.decompress(packed.read_bytes()) == printed
    again = tmp_path / "b.jsonl.gz"
    run(app, ["generate", "--records", "30", "--bad", "3", "--out", str(again), "--gzip"])
    assert again.read_bytes() == packed.read_bytes()


@pytest.mark.parametrize("wrong", [("--bad", "4"), ("--malformed", "4"), ("--bad", "2", "--malformed", "2")])
def test_more_wrong_records_than_records_are_refused(wrong: tuple[str, ...]) -> None:
    refused = CliRunner().invoke(app, ["generate", "--records", "3", *wrong])
    assert isinstance(refused.exception, CommandFailed)
    assert refused.exception.code == 2
