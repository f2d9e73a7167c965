"""Datasets: a contract and a transform each, found by their names alone; transforms are pure."""

import ast
import copy
import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from functions.shared import parcels
from functions.shared.documents import encode
from functions.shared.errors import TransformFailed, UnknownDataset
from functions.shared.messages import Page, Record, Span
from functions.transform import core
from functions.transform.datasets import mission
from functions.transform.rejection import Rejection
from functions.validate import contracts

ROOT = Path(__file__).parents[2]
SPAN = Span(0, 0, 1, "hash")


def page(*documents: Any) -> Page:
    return Page([Record(Span(at, at, 1, "hash"), document) for at, document in enumerate(documents)])


def test_each_dataset_has_a_contract_and_a_transform() -> None:
    assert contracts.names() == core.names(), "a dataset is one schema and one module of the same name"


@pytest.mark.parametrize("dataset", contracts.names())
def test_each_contract_is_a_valid_schema_that_names_its_dataset_and_version(dataset: str) -> None:
    schema = json.loads((ROOT / f"functions/validate/contracts/{dataset}.schema.json").read_text(encoding="utf-8"))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert re.fullmatch(rf"urn:custody:contract:{dataset}:\d+", schema["$id"])
    Draft202012Validator(schema)
    assert contracts.load(dataset).id == schema["$id"]


@pytest.mark.parametrize("dataset", core.names())
def test_a_transform_has_no_clock_no_chance_and_no_way_out(dataset: str) -> None:
    tree = ast.parse((ROOT / f"functions/transform/datasets/{dataset}.py").read_text(encoding="utf-8"))
    imported = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    imported |= {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not imported & {"time", "random", "secrets", "uuid", "os", "socket", "subprocess", "boto3", "urllib"}


def test_an_unknown_dataset_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownDataset, match="'weather' has no transform; there are mission"):
        core.load("weather")
    with pytest.raises(UnknownDataset):
        core.load("../core")


@given(
    st.fixed_dictionaries(
        {
            "mission": st.text(min_size=1).filter(str.strip),
            "source": st.sampled_from(["MASINT", "OSINT"]),
            "confidence": st.floats(0, 1) | st.sampled_from([0, 1]),
        },
        optional={"extra": st.integers()},
    )
)
def test_the_transform_of_mission_is_pure_total_and_idempotent(record: dict[str, Any]) -> None:
    before = copy.deepcopy(record)
    once = mission.transform(record)

    assert record == before, "the record that came in is left alone"
    assert mission.transform(record) == once
    assert mission.transform(once) == once
    assert {name: once[name] for name in record if name != "mission"} == {
        name: record[name] for name in record if name != "mission"
    }


@pytest.mark.parametrize(
    ("confidence", "band"),
    [(0, "low"), (0.39, "low"), (0.4, "moderate"), (0.74, "moderate"), (0.75, "high"), (1, "high")],
)
def test_the_bands_of_confidence(confidence: float, band: str) -> None:
    assert mission.band(confidence) == band


def test_the_name_of_a_mission_has_one_spelling() -> None:
    record = {"mission": "  Deep \t SPACE ", "source": "MASINT", "confidence": 0.95}
    assert mission.transform(record)["mission"] == "deep space"


def test_a_rejection_sets_one_record_aside_and_the_rest_go_on() -> None:
    def transform(record: Any) -> Any:
        if record == 1:
            raise Rejection("/a", "known", 3)
        return {"was": record}

    after = core.apply(transform, page(0, 1, 2))
    assert [record.document for record in after.records] == [{"was": 0}, {"was": 2}]
    assert [(one.span.position, one.stage, str(one.violations[0])) for one in after.rejected] == [
        (1, "transform", "/a: known 3")
    ]


@pytest.mark.parametrize(
    "returned",
    [object(), float("nan"), {"a": [float("inf")]}, {1, 2}, "\ud800", b"bytes", {1: "a"}, date(2026, 11, 23), [{1}]],
)
def test_a_transform_that_returns_what_is_no_json_is_a_bug_with_a_name(returned: Any) -> None:
    with pytest.raises(parcels.NoJson, match="position 1") as found:
        parcels.written(core.apply(lambda document: document or returned, page(1, None)))
    assert "position 1" in str(core.no_json(found.value))


def test_a_transform_that_crashes_is_a_bug_told_without_its_message() -> None:
    def transform(record: Any) -> Any:
        return record["secret"]

    with pytest.raises(TransformFailed, match=r"KeyError at .*test_datasets\.py, line \d+") as failed:
        core.apply(transform, page({}))
    assert "secret" not in str(failed.value)


def test_encoding_is_compact_and_keeps_order_and_letters() -> None:
    assert encode({"b": 1, "a": "ü"}) == '{"b":1,"a":"ü"}'.encode()
