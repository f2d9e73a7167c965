"""Datasets: every one is complete, and its transform is pure; samples show what it does."""

import ast
import copy
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.mission import transform as mission
from functions.shared.errors import TransformFailed, UnknownDataset
from functions.shared.model.records import Page, Record, Rejection, Span
from functions.shared.records.reader import Limits, of_object
from functions.shared.staging import map_records, staged_batch
from functions.transform import core
from functions.validate import contracts
from tests.support.samples import FOLDER, datasets, samples

LIMITS = Limits(2**24, 2**26)


def page(*documents: Any) -> Page:
    return Page([Record(Span(at, at, 1, "hash"), document) for at, document in enumerate(documents)])


def test_every_dataset_has_a_contract_a_transform_and_samples() -> None:
    assert contracts.names() == core.names() == datasets()


@pytest.mark.parametrize("dataset", datasets())
def test_samples_show_a_record_written_and_one_rejected_and_each_belongs_to_an_object(dataset: str) -> None:
    expected = {beside for sample in samples(dataset) for beside in (sample.written, sample.rejected)}
    for outcome in ("written", "rejected"):
        shown = set((FOLDER / dataset / "samples" / outcome).glob("*"))
        assert shown, f"no sample of {dataset} has a record {outcome}"
        assert shown <= expected, f"no object for {shown - expected}"


@pytest.mark.parametrize("dataset", core.names())
def test_a_transform_has_no_clock_no_randomness_and_no_io(dataset: str) -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (FOLDER / dataset).glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    imported = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {(node.module or "").split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not imported & {"time", "random", "secrets", "uuid", "os", "socket", "subprocess", "boto3", "urllib"}
    assert not {node.attr for node in nodes if isinstance(node, ast.Attribute)} & {"now", "today", "utcnow"}


@pytest.mark.parametrize("dataset", core.names())
def test_a_transform_leaves_its_input_unchanged_and_is_deterministic(dataset: str) -> None:
    records = valid_records(dataset)
    assert records, f"no sample of {dataset} keeps its contract"
    for record in records:
        before = copy.deepcopy(record)
        first = outcome(dataset, record)

        assert record == before, "a retry would see the change"
        assert outcome(dataset, record) == first


def valid_records(dataset: str) -> list[Any]:
    """Read the records of the samples that keep the contract."""
    validator = contracts.load(dataset).validator
    return [
        raw.document
        for sample in samples(dataset)
        for page in of_object([sample.object.read_bytes()], sample.key, LIMITS)
        for raw in page
        if not raw.violations and validator.is_valid(raw.document)
    ]


def outcome(dataset: str, record: Any) -> str:
    try:
        return repr(core.load(dataset)(record))
    except Rejection as rejection:
        return str(rejection.violation)


def test_an_unknown_dataset_is_reported_with_the_known_ones() -> None:
    with pytest.raises(UnknownDataset, match=r"'unknown' has no transform; known datasets: mission"):
        core.load("unknown")
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

    assert record == before
    assert mission.transform(record) == once
    assert mission.transform(once) == once
    assert {**record, "mission": None} == {name: once[name] for name in record} | {"mission": None}


@pytest.mark.parametrize(
    ("confidence", "band"),
    [(0, "low"), (0.39, "low"), (0.4, "moderate"), (0.74, "moderate"), (0.75, "high"), (1, "high")],
)
def test_the_bands_of_confidence(confidence: float, band: str) -> None:
    assert mission.band(confidence) == band


def test_a_rejection_sets_one_record_aside_and_the_rest_go_on() -> None:
    def transform(record: Any) -> Any:
        if record == 1:
            raise Rejection("/a", "known", 3)
        return {"was": record}

    after = map_records.apply(core.STAGE, transform, page(0, 1, 2))
    assert [record.document for record in after.records] == [{"was": 0}, {"was": 2}]
    assert [(rejected.position, rejected.stage, str(rejected.violations[0])) for rejected in after.rejected] == [
        (1, "transform", "/a: known 3")
    ]


@pytest.mark.parametrize(
    "returned",
    [object(), float("nan"), {"a": [float("inf")]}, {1, 2}, "\ud800", b"bytes", {1: "a"}, date(2026, 11, 23), [{1}]],
)
def test_a_result_that_is_not_json_is_reported_with_its_position(returned: Any) -> None:
    with pytest.raises(staged_batch.NotJson, match="position 1"):
        staged_batch.write(map_records.apply(core.STAGE, lambda document: document or returned, page(1, None)))


def test_a_crash_of_a_transform_is_reported_without_its_message() -> None:
    def transform(record: Any) -> Any:
        return record["secret"]

    with pytest.raises(TransformFailed, match=r"KeyError at .*test_datasets\.py, line \d+") as failed:
        map_records.apply(core.STAGE, transform, page({}))
    assert "secret" not in str(failed.value)


@pytest.mark.parametrize("rejection", [("/a", 5), (None, "known"), (["a"], "known")])
def test_a_rejection_whose_pointer_or_rule_is_not_text_is_a_bug(rejection: tuple[Any, Any]) -> None:
    def transform(_: Any) -> Any:
        raise Rejection(*rejection)

    with pytest.raises(TransformFailed, match=r"position 0 .* with a pointer or rule that is not text"):
        map_records.apply(core.STAGE, transform, page({}))
