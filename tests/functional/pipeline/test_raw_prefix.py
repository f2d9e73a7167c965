"""Where only some folders of a bucket are taken, each step finds the dataset behind them."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from functions.dead_letter import handler as dead_letter
from functions.shared.errors import UnknownDataset
from functions.summarize import handler as summarize
from functions.validate import handler as validate
from tests.support.buckets import Buckets, parse_ledger_file
from tests.support.bulk import Bulk, lines
from tests.support.stages import GOOD, validated, written


@pytest.fixture
def _below_incoming(monkeypatch: pytest.MonkeyPatch) -> None:
    modules: tuple[Any, ...] = (summarize, dead_letter, validate)
    for module in modules:
        monkeypatch.setattr(module, "ENVIRONMENT", replace(module.ENVIRONMENT, raw_prefix="incoming/"))


@pytest.mark.usefixtures("_below_incoming")
def test_the_dataset_ignores_the_prefix_and_the_id_does_not(buckets: Buckets) -> None:
    output = written(buckets, "incoming/mission/a.json", GOOD)["output"]

    assert output["key"].startswith("mission/dt=")
    assert "/incoming-mission-a-json-" in output["key"]


@pytest.mark.usefixtures("_below_incoming")
def test_dead_letters_and_summaries_name_the_dataset(buckets: Buckets) -> None:
    bulk = Bulk.upload(buckets, lines(9), key="incoming/mission/many.jsonl")
    bulk.run(failing=(200,))
    dead_letters = [json.loads(buckets.body("audit", key)) for key in buckets.keys("audit", "dead-letters/")]
    (summary,) = (key for key in buckets.keys("audit", "ledger/") if "/object." in key)

    assert [dead_letter["dataset"] for dead_letter in dead_letters] == ["mission"] * 2, "of the chunk and the object"
    assert parse_ledger_file(buckets.body("audit", summary))[0]["dataset"] == "mission"


def test_without_a_prefix_the_first_folder_is_the_dataset(buckets: Buckets) -> None:
    with pytest.raises(UnknownDataset, match="incoming"):
        validated(buckets, "incoming/mission/a.json", GOOD)
