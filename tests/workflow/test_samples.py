"""What becomes of the samples of each dataset, from the raw bucket to the processed one and the ledger."""

import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from functions.shared.model.records import Violation
from tests.support.samples import Sample, datasets, samples
from tests.support.steps import ROOT
from tests.workflow.conftest import Workflow

SAMPLES = [sample for dataset in datasets() for sample in samples(dataset)]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.key)
def test_what_becomes_of_a_sample_is_what_stands_beside_it(workflow: Workflow, sample: Sample) -> None:
    workflow.run(sample.key, sample.object.read_bytes())

    require(sample.written, delivered(workflow, sample.dataset), parsed)
    require(sample.rejected, rejections(workflow), str.splitlines)


def parsed(lines: str) -> list[Any]:
    return [json.loads(line, parse_float=Decimal) for line in lines.splitlines()]


def delivered(workflow: Workflow, dataset: str) -> str:
    return "".join(
        workflow.buckets.body("processed", key).decode() for key in workflow.buckets.keys("processed", dataset)
    )


def rejections(workflow: Workflow) -> str:
    """Say of each rejected record where it lies, which stage rejected it, and what it breaks."""
    _, *lines = [
        json.loads(line) for line in gzip.decompress(workflow.buckets.the_only("audit", "ledger/")).splitlines()
    ]
    return "".join(
        f"{line['position']} {line['stage']} {'; '.join(str(Violation(**each)) for each in line['violations'])}\n"
        for line in lines
        if line["outcome"] == "rejected"
    )


def require(beside: Path, found: str, read: Callable[[str], list[Any]]) -> None:
    expected = beside.read_text(encoding="utf-8") if beside.is_file() else ""
    assert read(found) == read(expected), f"{beside.relative_to(ROOT)} should be this, if it is right:\n{found}"
