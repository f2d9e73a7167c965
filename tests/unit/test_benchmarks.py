"""The sides of the benchmark do the same work, so that their times can be compared. Nothing here is about time."""

import gzip
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from benchmarks import compression, floor, parts, peaks, records, stages, with_parser
from benchmarks.buckets import InMemory
from benchmarks.records import Input
from datasets.mission.transform import transform

RECORDS = 3000
BAD = [500, 1500, 2500]
"""The records that are bad: one breaks a rule, one two rules, one is cut off."""


@pytest.fixture(scope="module")
def given() -> Input:
    return records.made(RECORDS)


@pytest.fixture(scope="module")
def custody(given: Input) -> InMemory:
    shelf = InMemory()
    stages.run(records.KEY, given.body, shelf)
    return shelf


@pytest.fixture(scope="module")
def parser(given: Input) -> InMemory:
    shelf = InMemory()
    with_parser.run(records.KEY, given.body, shelf)
    return shelf


def the_only(shelf: InMemory, bucket: str, prefix: str = "") -> bytes:
    (key,) = (key for key in shelf.keys(bucket) if key.startswith(prefix))
    with shelf.opened(bucket, key) as body:
        return body.read()


def outcomes(shelf: InMemory) -> dict[int, Any]:
    """Read what a ledger tells of each record, by position: what came, and what was delivered."""
    lines = map(json.loads, gzip.decompress(the_only(shelf, "audit", "ledger/")).splitlines())
    return {
        line["position"]: (line["length"], line["sha256"], line["outcome"], line.get("output"))
        for line in lines
        if "position" in line
    }


def positions(given: Input, numbers: list[int]) -> list[int]:
    return [sum(len(line) + 1 for line in given.lines[:number]) for number in numbers]


def test_the_input_is_the_same_every_time_and_has_records_of_64_bytes(given: Input) -> None:
    assert records.made(RECORDS) == given
    assert len(given.lines) == RECORDS
    assert len(given.body) / RECORDS == pytest.approx(64, abs=0.5)


def test_custody_delivers_what_the_transform_makes_of_every_good_record(given: Input, custody: InMemory) -> None:
    good = [line for number, line in enumerate(given.lines) if number not in BAD]
    delivered = [json.loads(line) for line in the_only(custody, "processed").splitlines()]
    assert delivered == [transform(json.loads(line)) for line in good]


def test_the_parser_delivers_the_same_bytes(custody: InMemory, parser: InMemory) -> None:
    assert the_only(parser, "processed") == the_only(custody, "processed")


def test_both_commit_the_same_outcome_of_every_record(custody: InMemory, parser: InMemory) -> None:
    assert len(outcomes(custody)) == RECORDS
    assert outcomes(parser) == outcomes(custody)


def test_both_reject_the_bad_records_with_all_that_they_break(
    given: Input, custody: InMemory, parser: InMemory
) -> None:
    of_custody = json.loads(the_only(custody, "audit", "dead-letters/"))["rejected"]
    of_parser = json.loads(the_only(parser, "audit", "dead-letters/"))
    for rejected in (of_custody, of_parser):
        assert [record["position"] for record in rejected] == positions(given, BAD)
        assert [len(record["violations"]) for record in rejected] == [1, 2, 1]


def test_records_are_staged_as_those_of_a_chunk_are(custody: InMemory) -> None:
    assert [key.rpartition(".0.")[2] for key in custody.keys("staging")] == ["Transform.jsonl.gz", "Validate.jsonl.gz"]


@pytest.mark.parametrize("library", floor.LIBRARIES)
def test_the_floor_writes_every_document_as_it_was_read(given: Input, library: str) -> None:
    documents = given.documents
    assert len(documents) == RECORDS - 1  # one of the bad ones is no document at all
    assert tuple(floor.LIBRARIES[library](documents)) == documents


def test_the_parts_are_of_all_stages_and_what_they_do_not_explain_is_named(given: Input) -> None:
    times = parts.measured(given, rounds=1)
    assert [*times] == [*(part.name for part in parts.PARTS), parts.COLLECTOR, parts.REST]
    assert {stage for part in parts.PARTS for stage in part.stages} == set(stages.HANDLERS)


def test_every_choice_of_gzip_keeps_the_ledger(given: Input, custody: InMemory) -> None:
    ledger = parts.ledger_of(given)
    assert b"".join(ledger) == gzip.decompress(the_only(custody, "audit", "ledger/"))
    for _, size in compression.measured(ledger, rounds=1).values():
        assert 0 < size < len(b"".join(ledger))


def test_a_peak_is_measured_of_each_stage() -> None:
    assert list(peaks.measured(2**17)) == list(stages.HANDLERS)


def test_what_fills_a_chunk_is_whole_lines() -> None:
    body = records.filling(2**17)
    assert 2**17 - 128 < len(body) <= 2**17
    assert body.endswith(b"}\n")


def test_the_command_prints_one_document() -> None:
    command = [sys.executable, "-m", "benchmarks", "--records=2000", "--rounds=1", "--chunk-bytes=131072", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ))  # noqa: S603 - our own
    told = json.loads(done.stdout)
    assert told["records"] == 2000
    assert set(told["sides"]) == {"floor: msgspec", "floor: orjson", "Custody", "Powertools' parser"}
    assert {aim["name"]: aim["limit"] for aim in told["aims"]} == {
        "speed, of the floor": 0.3,
        "speed, x Powertools' parser": 4,
        "peak memory of Validate, x its chunk": 3,
        "peak memory of Transform, x its chunk": 3,
        "peak memory of Write, x its chunk": 3,
        "ledger, bytes a record": 100,
    }
