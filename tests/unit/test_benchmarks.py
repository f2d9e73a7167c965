"""The sides of the benchmark do the same work, so that their times can be compared."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks import records, stages, with_parser
from benchmarks.buckets import Buckets, empty_buckets
from benchmarks.records import Input
from datasets.mission.transform import transform

RECORDS = 3000
INVALID = [500, 1500, 2500]
"""One breaks a rule, one breaks two rules, one is truncated."""


@pytest.fixture(scope="module")
def data() -> Input:
    return records.generate(RECORDS)


@pytest.fixture(scope="module")
def custody(data: Input) -> Iterator[Buckets]:
    with empty_buckets() as buckets:
        stages.run(records.KEY, data.body, buckets)
        yield buckets


@pytest.fixture(scope="module")
def parser(data: Input) -> Iterator[Buckets]:
    with empty_buckets() as buckets:
        with_parser.run(records.KEY, data.body, buckets)
        yield buckets


def the_only(buckets: Buckets, bucket: str, prefix: str = "") -> bytes:
    (key,) = buckets.keys(bucket, prefix)
    return buckets.body(bucket, key)


def outcomes(buckets: Buckets) -> dict[int, Any]:
    """Read the ledger: input and output of each record, by position."""
    lines = map(json.loads, gzip.decompress(the_only(buckets, "audit", "ledger/")).splitlines())
    return {
        line["position"]: (line["length"], line["sha256"], line["outcome"], line.get("output"))
        for line in lines
        if "position" in line
    }


def test_the_input_is_the_same_in_every_run_with_records_of_64_bytes_and_a_chunk_has_whole_ones(data: Input) -> None:
    assert records.generate(RECORDS) == data
    assert len(data.lines) == RECORDS
    assert len(data.body) / RECORDS == pytest.approx(64, abs=0.5)
    chunk = records.fill(2**17)
    assert 2**17 - 128 < len(chunk) <= 2**17
    assert chunk.endswith(b"}\n")


def test_custody_stages_and_delivers_the_transform_of_every_valid_record(data: Input, custody: Buckets) -> None:
    valid = [line for number, line in enumerate(data.lines) if number not in INVALID]
    delivered = [json.loads(line) for line in the_only(custody, "processed").splitlines()]
    assert delivered == [transform(json.loads(line)) for line in valid]
    assert [key.rpartition(".0.")[2] for key in custody.keys("staging")] == ["Transform.jsonl.gz", "Validate.jsonl.gz"]


def test_both_deliver_the_same_bytes_and_record_the_same_outcomes(custody: Buckets, parser: Buckets) -> None:
    assert the_only(parser, "processed") == the_only(custody, "processed")
    assert len(outcomes(custody)) == RECORDS
    assert outcomes(parser) == outcomes(custody)


def test_both_reject_the_invalid_records_with_all_violations(data: Input, custody: Buckets, parser: Buckets) -> None:
    positions = [sum(len(line) + 1 for line in data.lines[:number]) for number in INVALID]
    of_custody = json.loads(the_only(custody, "audit", "dead-letters/"))["rejected"]
    of_parser = json.loads(the_only(parser, "audit", "dead-letters/"))
    for rejected in (of_custody, of_parser):
        assert [record["position"] for record in rejected] == positions
        assert [len(record["violations"]) for record in rejected] == [1, 2, 1]


@pytest.mark.parametrize("library", stages.FLOORS)
def test_the_floor_encodes_every_document_as_it_was(data: Input, library: str) -> None:
    assert len(data.documents) == RECORDS - 1, "the truncated one is not JSON"
    assert tuple(stages.FLOORS[library](data.documents)) == data.documents


def test_the_command_prints_one_document() -> None:
    command = [sys.executable, "-m", "benchmarks", "--records=2000", "--rounds=1", "--chunk-bytes=131072", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ))  # noqa: S603 - our own
    report = json.loads(done.stdout)
    assert report["records"] == 2000
    assert report["machine"]
    limits = {
        each["name"]: each["at_least"] or each["at_most"] for each in report["measures"] if each["met"] is not None
    }
    assert limits == {
        "speed, x the floor": 0.3,
        "speed, x Powertools' parser": 4,
        "peak memory of Validate, x its chunk": 3,
        "peak memory of Transform, x its chunk": 3,
        "peak memory of Write, x its chunk": 3,
        **{f"peak memory of {step}, x the largest document": 50 for step in ("Validate", "Transform", "Write")},
        "ledger, bytes per record": 100,
    }
