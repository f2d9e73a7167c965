"""The samples of each dataset have their expected outcomes, and audit files conform to their schemas."""

import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from functions.shared.model.records import Violation
from tests.support.samples import Sample, datasets, samples
from tests.support.schemas import require_allowed
from tests.support.steps import ROOT
from tests.workflow.conftest import Workflow

SAMPLES = [sample for dataset in datasets() for sample in samples(dataset)]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.key)
def test_a_sample_has_its_expected_outcomes(workflow: Workflow, sample: Sample) -> None:
    workflow.run(sample.key, sample.object.read_bytes())

    require(sample.written, delivered(workflow, sample.dataset), parsed)
    require(sample.rejected, rejections(workflow), str.splitlines)
    for line in ledger(workflow):
        require_allowed("audit/ledger-line", line)
    for key in workflow.buckets.keys("audit", "dead-letters/"):
        require_allowed("audit/dead-letter", json.loads(workflow.buckets.body("audit", key)))


def parsed(lines: str) -> list[Any]:
    return [json.loads(line, parse_float=Decimal) for line in lines.splitlines()]


def delivered(workflow: Workflow, dataset: str) -> str:
    return "".join(
        workflow.buckets.body("processed", key).decode() for key in workflow.buckets.keys("processed", dataset)
    )


def ledger(workflow: Workflow) -> list[Any]:
    return [json.loads(line) for line in gzip.decompress(workflow.buckets.the_only("audit", "ledger/")).splitlines()]


def rejections(workflow: Workflow) -> str:
    """Describe each rejected record: its position, stage and violations."""
    _, *lines = ledger(workflow)
    return "".join(
        f"{line['position']} {line['stage']} {'; '.join(str(Violation(**each)) for each in line['violations'])}\n"
        for line in lines
        if line["outcome"] == "rejected"
    )


def require(beside: Path, actual: str, read: Callable[[str], list[Any]]) -> None:
    expected = beside.read_text(encoding="utf-8") if beside.is_file() else ""
    assert read(actual) == read(expected), f"{beside.relative_to(ROOT)} should be this, if it is right:\n{actual}"
