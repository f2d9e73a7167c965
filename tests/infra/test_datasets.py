"""A dataset that is not whole stops the synth, and the message says what to do."""

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
from infra.checks.datasets import CONTRACTS, TRANSFORMS, DatasetRefused, faults, require_whole
from tests.support.template import empty_app

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


def code(*lines: str) -> Change:
    return text(TRANSFORMS / "weather.py", "\n".join(lines))


def encoded(path: Path, encoding: str) -> Change:
    return lambda root: (root / path).write_bytes((root / path).read_text().encode(encoding))


def both(first: Change, second: Change) -> Change:
    return lambda root: (first(root), second(root))


def nested(levels: int) -> Any:
    return {"not": nested(levels - 1)} if levels else {"type": "string"}


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
        (station({"$ref": "#/nowhere"}), ['at /properties/station/$ref: "#/nowhere" leads to no schema in this file']),
        (station({"pattern": "("}), ['"(" is not a "regex"']),
        (contract(**{"$id": "7"}), ["its version, a whole number"]),
        (contract(**{"$id": "urn:custody:contract:weather:"}), ["its version, a whole number"]),
        (encoded(CONTRACTS / "weather.schema.json", "utf-8-sig"), ["it is no JSON: Unexpected UTF-8 BOM"]),
        (encoded(CONTRACTS / "weather.schema.json", "utf-16"), ["it is no JSON: 'utf-8' codec can't decode"]),
        (
            text(CONTRACTS / "weather.schema.json", '{"type": "object", "type": "array"}'),
            ["it is no JSON: an object has the key 'type' twice"],
        ),
        (text(CONTRACTS / "weather.schema.json", '{"minimum": NaN}'), ["it is no JSON: NaN is no number"]),
        (station(nested(300)), ["it is nested deeper than 100 levels"]),
        (
            both(
                renamed(CONTRACTS / "weather.schema.json", "a.b.schema.json"),
                renamed(TRANSFORMS / "weather.py", "a.b.py"),
            ),
            [
                'a.b.schema.json: its "$id" must be "urn:custody:contract:a.b:"',
                "the dataset a.b would never be found: its name must be 1 to 64 of 0-9, A-Z, a-z, _ and -; rename",
            ],
        ),
        (station({"items": [{"type": "string"}]}), ["at /properties/station/items: "]),
        (station({"$schema": "https://example.com/a"}), ["at /properties/station/$schema: $schema belongs at the top"]),
        (station({"contentEncoding": "base64"}), ["/contentEncoding: contentEncoding checks nothing, it only tells"]),
        (station({"contentMediaType": "a/b"}), ["/contentMediaType: contentMediaType checks nothing"]),
        (station({"contentSchema": True}), ["/contentSchema: contentSchema checks nothing"]),
        (station({"dependencies": {"a": ["b"]}}), ["use dependentRequired or dependentSchemas"]),
        (station({"$recursiveRef": "#"}), ["$recursiveRef checks nothing any more"]),
        (station({"$recursiveAnchor": True}), ["$recursiveAnchor names nothing any more", "is not of type"]),
        (station({"$ref": "#/x-owner"}), ['"#/x-owner" leads to no schema']),
        (station({"const": {}, "$ref": "#/properties/station/const"}), ["leads to no schema"]),
        (station({"enum": [{}], "$ref": "#/properties/station/enum/0"}), ["leads to no schema"]),
        (station({"examples": [{}], "$ref": "#/properties/station/examples/0"}), ["leads to no schema"]),
        (station({"default": {}, "$ref": "#/properties/station/default"}), ["leads to no schema"]),
        (station({"$ref": "#/properties"}), ["leads to no schema"]),
        (station({"$dynamicRef": "#elsewhere"}), ["leads to no schema"]),
        (station({"$ref": "urn:custody:contract:wether:1"}), ["leads to no schema"]),
        (text(TRANSFORMS / "weather.py", "def"), ["weather.py: it is no Python: invalid syntax, line 1"]),
        (text(TRANSFORMS / "weather.py", "def transfrom(r): ..."), ["it has no function `transform(record)`"]),
        (text(TRANSFORMS / "weather.py", "def transform(): ..."), ["it has no function `transform(record)`"]),
        (code("def transform(record, other): ..."), ["it has no function"]),
        (code("def transform(record, *, strict): ..."), ["it has no function"]),
        (code("def transform(*, record): ..."), ["it has no function"]),
        (code("transform = lambda: {}"), ["it has no function"]),
        (code("class transform: ..."), ["it has no function"]),
        (code(TRANSFORM, "transform = None"), ["it has no function"]),
        (code(TRANSFORM, "def transform(): ..."), ["it has no function"]),
        (code("def other(transform):", "    transform = len"), ["it has no function"]),
        (code("def transform(record):", "    yield record"), ["is a generator: it must return the new record"]),
        (code("async def transform(record): ..."), ["is a coroutine: without `async`"]),
        (code("a = '\0'"), ["it is no Python: source code string cannot contain null bytes"]),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, change: Change, said: list[str]) -> None:
    change(a_tree(tmp_path))
    found = list(faults(tmp_path))

    assert len(found) == len(said), found
    for fault, part in zip(found, said, strict=True):
        assert part in fault


@pytest.mark.parametrize(
    "lines",
    [
        ["def transform(record, /): ..."],
        ["def transform(record, strict=True): ..."],
        ["def transform(record, *, strict=True): ..."],
        ["def transform(*records): ..."],
        ["def transform(record):", "    return dict(each for each in (lambda: (yield))())"],
        ["from functions.transform.datasets.other import transform"],
        ["from functions.transform.datasets.other import change as transform"],
        ["transform = dict"],
        ["transform: object = lambda record: {**record}"],
        ["if True:", "    def transform(record): ..."],
        ["try:", "    from fast import transform", "except ImportError:", "    def transform(record): ..."],
        ["def transform(): ...", "def transform(record): ..."],
        ["@with_defaults", "def transform(record, table): ..."],
    ],
)
def test_what_can_be_called_with_a_record_is_a_transform(tmp_path: Path, lines: list[str]) -> None:
    code(*lines)(a_tree(tmp_path))

    assert list(faults(tmp_path)) == []


OWN = "urn:custody:contract:weather:1"


@pytest.mark.parametrize(
    "reference",
    [
        "#",
        "#/properties/station",
        "#/%24defs/a~1b",
        "#named",
        "#any",
        OWN,
        f"{OWN}#/$defs/a~1b",
        f"{OWN}#named",
        "urn:custody:shape",
        "urn:custody:shape#/properties/x",
        "#/$defs/shape/properties/x",
    ],
)
@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef"])
def test_a_reference_may_lead_to_any_schema_of_the_file(tmp_path: Path, keyword: str, reference: str) -> None:
    parts = {
        "a/b": {"$anchor": "named", "type": "string"},
        "any": {"$dynamicAnchor": "any", "type": "string"},
        "shape": {"$id": "urn:custody:shape", "properties": {"x": {"type": "string"}, "y": {"$ref": "#/properties/x"}}},
    }
    properties = {"station": {"type": "string"}, "other": {keyword: reference}}
    contract(**{"$defs": parts, "properties": properties})(a_tree(tmp_path))

    assert list(faults(tmp_path)) == []


@pytest.mark.parametrize("place", [{"$schema": "URL"}, {"$id": "urn:x", "$schema": "URL"}, {"$ref": "URL"}])
def test_nothing_is_fetched_when_a_contract_is_looked_at_or_read(
    tmp_path: Path, place: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a"
        asks = {name: said.replace("URL", url) for name, said in place.items()}
        station(asks)(a_tree(tmp_path))
        assert list(faults(tmp_path))

        # Even if it came through, neither would ask for it.
        monkeypatch.setattr(contracts, "_PERMITTED", Draft202012Validator({}))
        monkeypatch.setattr(contracts, "_lost", lambda _: [])
        list(faults(tmp_path))
        monkeypatch.setattr(deployed, "_FOLDER", tmp_path / CONTRACTS)
        with suppress(ValidationError):
            deployed.load.__wrapped__("weather")
        with pytest.raises(BlockingIOError):
            server.accept()


def test_the_same_is_said_once(tmp_path: Path) -> None:
    station({"items": [{"type": "string"}]})(a_tree(tmp_path))
    found = list(faults(tmp_path))

    assert len(found) == len(set(found)) == 1


def test_the_dataset_of_objects_without_a_folder_must_be_there(tmp_path: Path) -> None:
    root = a_tree(tmp_path)
    require_whole(root, "weather")
    with pytest.raises(DatasetRefused, match="default_dataset names 'nope', which is none of them: weather"):
        require_whole(root, "nope")
    with pytest.raises(DatasetRefused, match="default_dataset names 'nope', which is none of them: mission"):
        build(empty_app({"default_dataset": "nope"}, tmp_path / "out"))


def test_what_is_wrong_with_a_dataset_stops_the_synth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "faults", lambda _: iter(["one thing", "another"]))
    with pytest.raises(DatasetRefused, match="one thing\nanother"):
        build(empty_app({}, tmp_path))


def test_every_format_that_a_contract_may_name_is_checked() -> None:
    permitted = json.loads((ROOT / "infra" / "contract.schema.json").read_text(encoding="utf-8"))
    for name in permitted["properties"]["format"]["enum"]:
        validator = Draft202012Validator({"format": name}, validate_formats=True, ignore_unknown_formats=False)
        assert not validator.is_valid("\\ no such thing {"), name
