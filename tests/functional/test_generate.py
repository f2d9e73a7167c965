"""Sample data: as many records as are asked for, always the same, and the wrong ones spread evenly."""

import gzip
import io
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from custody import show
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


def generate(out: Path, *options: str, records: int = 30) -> Result:
    return CliRunner().invoke(app, ["generate", "--records", str(records), "--out", str(out), *options])


def test_a_name_that_says_gzip_is_gzipped(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"
    assert (generate(plain).exit_code, generate(packed).exit_code) == (0, 0)
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()


def test_a_name_that_says_plain_is_refused_with_gzip(tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    refused = generate(out, "--gzip").exception
    assert isinstance(refused, CommandFailed)
    assert refused.code == 2
    assert f"Say --out {out}.gz, or leave --gzip out." in str(refused)
    assert list(tmp_path.iterdir()) == []


def test_one_record_is_no_records(tmp_path: Path) -> None:
    assert "a.jsonl: 1 record, 0 bad" in generate(tmp_path / "a.jsonl", records=1).stderr
    assert "a.jsonl: 1,200 records, 0 bad" in generate(tmp_path / "a.jsonl", records=1200).stderr


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nonexistent/a.jsonl", "No such file or directory"),
        (".", "Is a directory"),
        ("file/a.jsonl", "Not a directory"),
        ("/dev/full", "No space left on device"),
    ],
)
def test_a_file_that_cannot_be_written_is_named_with_what_to_do(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").touch()
    failed = generate(tmp_path / name).exception
    assert isinstance(failed, CommandFailed)
    assert failed.code == 1
    assert str(failed).startswith(f"{tmp_path / name} was not written: {why}. Name a file in a folder that is there")


@pytest.mark.parametrize("ended", [OSError(28, "No space left on device"), KeyboardInterrupt(), SystemExit(143)])
@pytest.mark.parametrize("options", [[], ["--gzip"]])
def test_what_is_not_whole_is_not_left_behind_and_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: BaseException, options: list[str]
) -> None:
    def broken(_: Sample) -> Iterator[bytes]:
        yield b"{}\n" * 100_000
        raise ended

    monkeypatch.setattr(Sample, "lines", broken)
    old = tmp_path / "old"
    old.write_bytes(b"as it was")
    for out in (old, tmp_path / "new"):
        assert generate(out, *options).exit_code != 0
    assert list(tmp_path.iterdir()) == [old]
    assert old.read_bytes() == b"as it was"


def test_what_a_link_points_to_is_written_and_the_link_stays(tmp_path: Path) -> None:
    file, link = tmp_path / "a.jsonl", tmp_path / "link"
    link.symlink_to(file)
    assert generate(link).exit_code == 0
    assert link.is_symlink()
    assert len(file.read_bytes().splitlines()) == 30


def test_a_terminal_is_told_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr(show, "stderr", terminal)
    assert generate(tmp_path / "a.jsonl", records=1500).exit_code == 0
    assert isinstance(terminal.file, io.StringIO)
    assert "of 1,500 records" in terminal.file.getvalue()
