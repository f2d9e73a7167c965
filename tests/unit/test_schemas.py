"""Each document of the command line has a schema in docs/cli, and each schema is of a command."""

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema_rs import meta

from custody.app import COMMANDS, load
from tests.support.schemas import FOLDER, PARTS, names, require_valid, schema


def with_json(command: Any, *path: str) -> Iterator[str]:
    """Name the commands that have an option --json, a subcommand with its group before it."""
    if any("--json" in parameter.opts for parameter in command.params):
        yield "-".join(path)
    for name, each in getattr(command, "commands", {}).items():
        yield from with_json(each, *path, name)


def parts(found: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Give each part of a schema that describes an object, with its place."""
    if isinstance(found, dict):
        if "properties" in found:
            yield place, found
        for name, each in found.items():
            yield from parts(each, f"{place}/{name}")
    elif isinstance(found, list):
        for number, each in enumerate(found):
            yield from parts(each, f"{place}/{number}")


def test_every_command_with_a_document_has_a_schema_and_the_other_way_round() -> None:
    commands = {document for name in COMMANDS for document in with_json(load(name), name)}
    # `dead-letters` alone lists, too.
    assert names() == {name.removesuffix("-list") for name in commands}


def test_the_readme_beside_them_names_each_once() -> None:
    lines = (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    linked = [line.partition("](")[2].partition(".schema.json)")[0] for line in lines if ".schema.json)" in line]
    assert sorted(linked) == sorted(names() | {PARTS})


@pytest.mark.parametrize("name", sorted(names() | {PARTS}))
def test_a_schema_is_valid_and_describes_all_that_it_allows(name: str) -> None:
    found = schema(name)
    meta.validate(found)
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert found["title"]
    assert found["description"]
    for place, part in parts(found):
        assert part["additionalProperties"] is False, place
        assert set(part["required"]) <= part["properties"].keys(), place
        undescribed = [each for each, said in part["properties"].items() if not said.get("description", "").strip()]
        assert undescribed == [], place


def test_a_document_that_no_schema_allows_fails_its_test() -> None:
    require_valid(["executions", "--json"], '{"executions": [], "more": false}')
    require_valid(["executions"], "no execution")
    with pytest.raises(AssertionError, match=r"docs/cli/executions\.schema\.json does not allow"):
        require_valid(["executions", "--json"], '{"executions": []}')
    with pytest.raises(AssertionError, match="trace"):
        require_valid(["trace", "a", "--json"], "{}")


def test_every_part_is_used() -> None:
    text = "".join((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8") for name in names() | {PARTS})
    unused = [name for name in schema(PARTS)["$defs"] if f'#/$defs/{name}"' not in text]
    assert unused == []
