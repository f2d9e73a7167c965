"""An incomplete or invalid dataset stops synth, and the message says what to fix."""

import json
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator, ValidationError

from functions.validate import contracts as deployed
from infra.app import ROOT, build
from infra.checks import contracts, datasets
from infra.checks.datasets import CONTRACT, DatasetRefused, check, faults
from tests.support.template import empty_app

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "urn:custody:contract:weather:1",
    "type": "object",
    "properties": {"station": {"type": "string"}},
    "x-owner": "the weather desk",
}
Change = Callable[[Path], object]


def a_tree(root: Path) -> Path:
    """Create one dataset, `weather`, and return its folder."""
    folder = root / "datasets" / "weather"
    folder.mkdir(parents=True)
    (folder / CONTRACT).write_text(json.dumps(SCHEMA))
    (folder / "transform.py").touch()
    (folder / "dataset.json").write_text('{"description": "Weather."}')
    return folder


def contract(**changes: Any) -> Change:
    return written(CONTRACT, json.dumps(SCHEMA | changes))


def station(schema: Any) -> Change:
    return contract(properties={"station": schema})


def written(name: str, body: str, encoding: str = "utf-8") -> Change:
    return lambda folder: (folder / name).write_text(body, encoding)


def deleted(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def nested(levels: int) -> Any:
    return {"not": nested(levels - 1)} if levels else {"type": "string"}


def test_the_datasets_of_the_project_have_no_faults() -> None:
    assert list(faults(ROOT)) == []


def test_a_contract_a_transform_and_settings_make_a_dataset(tmp_path: Path) -> None:
    folder = a_tree(tmp_path)
    assert list(faults(tmp_path)) == []

    contract(**{"$id": "urn:custody:contract:weather-2:1"})(folder)
    folder.rename(folder.with_name("weather-2"))
    assert list(faults(tmp_path)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (deleted("transform.py"), "the dataset weather has no transform.py: add datasets/weather/transform.py"),
        (deleted(CONTRACT), f"the dataset weather has no {CONTRACT}: add datasets/weather/{CONTRACT}"),
        (deleted("dataset.json"), "the dataset weather has no dataset.json: add datasets/weather/dataset.json"),
        (written("dataset.json", "{"), "weather/dataset.json: it is not JSON"),
        (written("dataset.json", "{}"), 'weather/dataset.json: at /: "description" is a required property'),
        (written("dataset.json", '{"description": ""}'), "weather/dataset.json: at /description: "),
        (lambda folder: folder.rename(folder.with_name("a.b")), "rename the folder"),
        (written(CONTRACT, "{"), f"datasets/weather/{CONTRACT}: it is not JSON: Expecting property name"),
        (written(CONTRACT, "[]"), 'it must be an object with "$schema": "https://json-schema'),
        (contract(**{"$schema": "http://json-schema.org/draft-07/schema#"}), "it must be an object with"),
        (contract(**{"$id": "urn:custody:contract:wether:1"}), 'must be "urn:custody:contract:weather:" followed by'),
        (contract(**{"$id": "urn:custody:contract:weather:1.1"}), "its version, a whole number"),
        (contract(**{"$id": "urn:custody:contract:weather:"}), "its version, a whole number"),
        (contract(**{"$id": "7"}), "its version, a whole number"),
        (contract(require=["station"]), "at /: JSON Schema has no keyword require; an annotation of your own starts"),
        (station({"minLenght": 4}), "at /properties/station: JSON Schema has no keyword minLenght"),
        (station({"type": "text", "minLenght": 4}), 'at /properties/station/type: "text" is not valid'),
        (station({"format": "date-tme"}), 'at /properties/station/format: "date-tme" is not one of date, date-time,'),
        (station({"items": [{"type": "string"}]}), "at /properties/station/items: "),
        (station({"pattern": "("}), "at /properties/station/pattern: ( is not a regular expression of ECMA-262"),
        *(
            (station({"pattern": pattern}), f"{pattern} is not a regular expression of ECMA-262")
            for pattern in (r"a\z", "(?x)a", "[[:alpha:]]", "(?P<n>a)", "a++")
        ),
        (station({"patternProperties": {r"\z": True}}), r"\z is not a regular expression of ECMA-262"),
        (station({"pattern": "(a{1000}){1000}"}), "the pattern (a{1000}){1000} cannot be compiled: it is too large"),
        (written(CONTRACT, json.dumps(SCHEMA), "utf-8-sig"), "it is not JSON: Unexpected UTF-8 BOM"),
        (written(CONTRACT, json.dumps(SCHEMA), "utf-16"), "it is not JSON: 'utf-8' codec can't decode"),
        (written(CONTRACT, '{"type": 1, "type": 2}'), "it is not JSON: an object has the key 'type' twice"),
        (written(CONTRACT, '{"minimum": NaN}'), "it is not JSON: NaN is not a number"),
        (station(nested(300)), "it is nested too deeply"),
        (written(CONTRACT, "[" * 100_000), "it is nested too deeply"),
        (station({"$schema": "https://example.com/a"}), "at /properties/station/$schema: $schema is allowed only at"),
        (station({"contentEncoding": "base64"}), "/contentEncoding: contentEncoding is only an annotation"),
        (station({"contentMediaType": "a/b"}), "/contentMediaType: contentMediaType is only an annotation"),
        (station({"contentSchema": True}), "/contentSchema: contentSchema is only an annotation"),
        (station({"dependencies": {"a": ["b"]}}), "use dependentRequired or dependentSchemas"),
        (station({"$recursiveRef": "#"}), "$recursiveRef is ignored"),
        (station({"$ref": "https://example.com/a"}), "'https://example.com/a' is not present"),
        (station({"$ref": "#/nowhere"}), "Pointer '/nowhere' does not exist"),
        (station({"$ref": "#nowhere"}), "Anchor 'nowhere' does not exist"),
        (station({"$dynamicRef": "#elsewhere"}), "Anchor 'elsewhere' does not exist"),
        (station({"$ref": "urn:custody:contract:wether:1"}), "'urn:custody:contract:wether:1' is not present"),
    ],
)
def test_a_fault_is_reported_with_its_place(tmp_path: Path, change: Change, message: str) -> None:
    change(a_tree(tmp_path))

    assert any(message in fault for fault in faults(tmp_path)), list(faults(tmp_path))


OWN = "urn:custody:contract:weather:1"


@pytest.mark.parametrize(
    "reference",
    ["#", "#/%24defs/a~1b", "#named", "#any", OWN, f"{OWN}#/$defs/a~1b", f"{OWN}#named", "urn:custody:shape"],
)
@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef"])
def test_a_contract_may_refer_to_any_of_its_schemas(tmp_path: Path, keyword: str, reference: str) -> None:
    parts = {
        "a/b": {"$anchor": "named", "type": "string"},
        "any": {"$dynamicAnchor": "any", "type": "string"},
        "shape": {"$id": "urn:custody:shape", "properties": {"x": {"type": "string"}, "y": {"$ref": "#/properties/x"}}},
    }
    properties = {"station": {"type": "string"}, "other": {keyword: reference}}
    contract(**{"$defs": parts, "properties": properties})(a_tree(tmp_path))

    assert list(faults(tmp_path)) == []


@pytest.mark.parametrize("schema", [{"$schema": "URL"}, {"$id": "urn:x", "$schema": "URL"}, {"$ref": "URL"}])
def test_nothing_is_fetched_when_a_contract_is_checked_or_loaded(
    tmp_path: Path, schema: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a"
        station({name: value.replace("URL", url) for name, value in schema.items()})(a_tree(tmp_path))
        assert list(faults(tmp_path))

        # Even if our meta-schema allowed it, neither would fetch it.
        monkeypatch.setattr(contracts, "_META_SCHEMA", Draft202012Validator({}))
        list(faults(tmp_path))
        monkeypatch.setattr(deployed, "DATASETS", tmp_path / "datasets")
        with suppress(ValidationError):
            deployed.load.__wrapped__("weather")
        with pytest.raises(BlockingIOError):
            server.accept()


def test_the_default_dataset_must_exist_and_a_fault_stops_synth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_tree(tmp_path)
    check(tmp_path, "weather")
    with pytest.raises(DatasetRefused, match="default_dataset is 'nope', which is not a dataset; there are weather"):
        check(tmp_path, "nope")
    with pytest.raises(DatasetRefused, match="default_dataset is 'nope', which is not a dataset; there are mission"):
        build(empty_app({"default_dataset": "nope"}, tmp_path / "out"))
    monkeypatch.setattr(datasets, "faults", lambda _: iter(["one fault", "another"]))
    with pytest.raises(DatasetRefused, match="one fault\nanother"):
        build(empty_app({}, tmp_path / "out"))


def test_every_format_that_a_contract_may_name_is_checked() -> None:
    rules = json.loads((ROOT / "infra/checks/contract.schema.json").read_text(encoding="utf-8"))
    for name in rules["properties"]["format"]["enum"]:
        validator = Draft202012Validator({"format": name}, validate_formats=True, ignore_unknown_formats=False)
        assert not validator.is_valid("\\ no such thing {"), name
