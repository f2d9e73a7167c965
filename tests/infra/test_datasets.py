"""A dataset that is not whole stops the synth, and the message says what to do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from infra import datasets
from infra.app import ROOT, build
from infra.datasets import CONTRACTS, TRANSFORMS, DatasetRefused, faults
from tests.infra.deployment import empty_app

CONTRACT: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "urn:custody:contract:weather:1",
    "type": "object",
    "properties": {"station": {"type": "string"}},
    "x-owner": "the weather desk",
}
TRANSFORM = "def transform(record):\n    return dict(record)\n"
Change = Callable[[Path], object]


def a_tree(root: Path) -> Path:
    for folder in (CONTRACTS, TRANSFORMS):
        (root / folder).mkdir(parents=True)
        (root / folder / "__init__.py").touch()
    (root / CONTRACTS / "weather.schema.json").write_text(json.dumps(CONTRACT))
    (root / TRANSFORMS / "weather.py").write_text(TRANSFORM)
    return root


def contract(**changes: Any) -> Change:
    return lambda root: (root / CONTRACTS / "weather.schema.json").write_text(json.dumps(CONTRACT | changes))


def station(schema: Any) -> Change:
    return contract(properties={"station": schema})


def text(path: Path, body: str) -> Change:
    return lambda root: (root / path).write_text(body)


def renamed(path: Path, name: str) -> Change:
    return lambda root: (root / path).rename(root / path.with_name(name))


def test_the_datasets_that_there_are_are_whole() -> None:
    assert list(faults(ROOT)) == []


def test_a_contract_and_a_transform_are_a_dataset(tmp_path: Path) -> None:
    assert list(faults(a_tree(tmp_path))) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda root: (root / TRANSFORMS / "weather.py").unlink(),
            ["the dataset weather has a contract and no transform: add functions/transform/datasets/weather.py"],
        ),
        (
            lambda root: (root / CONTRACTS / "weather.schema.json").unlink(),
            [f"the dataset weather has a transform and no contract: add {CONTRACTS}/weather.schema.json"],
        ),
        (
            renamed(TRANSFORMS / "weather.py", "wether.py"),
            [
                "the dataset weather has a contract and no transform: add functions/transform/datasets/weather.py",
                f"the dataset wether has a transform and no contract: add {CONTRACTS}/wether.schema.json",
            ],
        ),
        (
            renamed(CONTRACTS / "weather.schema.json", "weather.json"),
            [f"{CONTRACTS}/weather.json is read by nobody: call it weather.schema.json", "no contract: add"],
        ),
        (text(CONTRACTS / "weather.schema.json", "{"), ["weather.schema.json: it is no JSON: Expecting property name"]),
        (text(CONTRACTS / "weather.schema.json", "[]"), ['it must be an object with "$schema": "https://json-schema']),
        (contract(**{"$schema": "http://json-schema.org/draft-07/schema#"}), ["it must be an object with"]),
        (contract(**{"$id": "urn:custody:contract:wether:1"}), ['must be "urn:custody:contract:weather:" and its ver']),
        (contract(**{"$id": "urn:custody:contract:weather:1.1"}), ["its version, a whole number"]),
        (contract(require=["station"]), ["at /: JSON Schema has no keyword require; an annotation of your own begins"]),
        (station({"minLenght": 4}), ["at /properties/station: JSON Schema has no keyword minLenght"]),
        (station({"type": "text", "minLenght": 4}), ['at /properties/station/type: "text" is not valid']),
        (station({"format": "date-tme"}), ['at /properties/station/format: "date-tme" is none of date, date-time,']),
        (station({"$ref": "https://example.com/a"}), ["at /properties/station/$ref: "]),
        (station({"$ref": "#/nowhere"}), ["Pointer '/nowhere' does not exist"]),
        (station({"pattern": "("}), ['"(" is not a "regex"']),
        (text(TRANSFORMS / "weather.py", "def"), ["weather.py: it is no Python: invalid syntax, line 1"]),
        (text(TRANSFORMS / "weather.py", "def transfrom(r): ..."), ["it has no function `transform(record)`"]),
        (text(TRANSFORMS / "weather.py", "def transform(): ..."), ["it has no function `transform(record)`"]),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, change: Change, said: list[str]) -> None:
    change(a_tree(tmp_path))
    found = list(faults(tmp_path))

    assert len(found) == len(said), found
    for fault, part in zip(found, said, strict=True):
        assert part in fault


def test_what_is_wrong_with_a_dataset_stops_the_synth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "faults", lambda _: iter(["one thing", "another"]))
    with pytest.raises(DatasetRefused, match="one thing\nanother"):
        build(empty_app({}, tmp_path))


def test_every_format_that_a_contract_may_name_is_checked() -> None:
    permitted = json.loads((ROOT / "infra" / "contract.schema.json").read_text(encoding="utf-8"))
    for name in permitted["properties"]["format"]["enum"]:
        validator = Draft202012Validator({"format": name}, validate_formats=True, ignore_unknown_formats=False)
        assert not validator.is_valid("\\ no such thing {"), name
