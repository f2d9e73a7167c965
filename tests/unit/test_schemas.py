"""Every command with JSON output has a schema in docs/cli."""

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema_rs import meta

from custody.app import COMMANDS, load
from tests.support.schemas import FOLDER, names, require_valid, schema


def with_json(command: Any, *path: str) -> Iterator[str]:
    """Yield the names of the commands with an option --json, such as `dead-letters-show`."""
    if any("--json" in parameter.opts for parameter in command.params):
        yield "-".join(path)
    for name, each in getattr(command, "commands", {}).items():
        yield from with_json(each, *path, name)


def parts(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each part of a schema that describes an object, with its place."""
    if isinstance(value, dict):
        if "properties" in value:
            yield place, value
        for name, each in value.items():
            yield from parts(each, f"{place}/{name}")
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from parts(each, f"{place}/{number}")


def test_the_commands_with_json_output_are_those_with_a_schema() -> None:
    commands = {document for name in COMMANDS for document in with_json(load(name), name)}
    # `dead-letters` alone lists, too.
    assert names() == {name.removesuffix("-list") for name in commands}


def test_the_readme_lists_each_schema_once() -> None:
    lines = (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    linked = [line.partition("](")[2].partition(".schema.json)")[0] for line in lines if ".schema.json)" in line]
    assert sorted(linked) == sorted(names())


@pytest.mark.parametrize(
    "path", [*(f"cli/{name}" for name in sorted(names())), "audit/dead-letter", "audit/ledger-line"]
)
def test_a_schema_is_valid_and_closed(path: str) -> None:
    document = schema(path)
    meta.validate(document)
    assert document["title"]
    for place, part in parts(document):
        assert part["additionalProperties"] is False, place
        assert set(part["required"]) <= part["properties"].keys(), place


def test_a_document_that_its_schema_does_not_allow_fails_the_test() -> None:
    require_valid(["executions", "--json"], '{"executions": [], "more": false}')
    require_valid(["executions"], "no execution")
    with pytest.raises(AssertionError, match=r"docs/cli/executions\.schema\.json does not allow"):
        require_valid(["executions", "--json"], '{"executions": []}')
    with pytest.raises(AssertionError, match="trace"):
        require_valid(["trace", "a", "--json"], "{}")
