"""Who may know whom: the buckets of the project, held by their imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.app import ROOT
from infra.settings import FUNCTIONS

PROJECT = ("custody", "functions", "infra", "local", "tests")
DOOR = Path("functions/shared/aws.py")


def modules(folder: str) -> list[Path]:
    found = sorted(path.relative_to(ROOT) for path in (ROOT / folder).rglob("*.py"))
    assert found, folder
    return found


def imported(path: Path) -> Iterator[str]:
    """Name what a file imports; a relative import counts as one of its own package."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(path.parts[: -node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def strangers(folder: str, *known: str) -> list[str]:
    """List the imports of a folder from within the project that are none of what it may know."""
    return [
        f"{path} imports {name}"
        for path in modules(folder)
        for name in imported(path)
        if name.partition(".")[0] in PROJECT and not _is_of(name, known)
    ]


def _is_of(name: str, known: tuple[str, ...]) -> bool:
    # `from functions.shared import runtime` yields both `functions.shared` and `functions.shared.runtime`
    return any(name == one or name.startswith(f"{one}.") for one in known)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_stage_knows_itself_and_what_is_shared(name: str) -> None:
    assert strangers(f"functions/{name}", f"functions.{name}", "functions.shared") == []


def test_what_is_shared_knows_no_stage() -> None:
    assert strangers("functions/shared", "functions.shared") == []


def test_infra_knows_itself_alone() -> None:
    assert strangers("infra", "infra") == []


def test_embedded_aws_knows_nothing_of_the_pipeline() -> None:
    assert strangers("local", "local") == []


def test_the_command_line_knows_neither_the_stages_nor_infra() -> None:
    assert strangers("custody", "custody", "functions.shared", "local") == []


def test_one_module_is_the_door_to_aws() -> None:
    through = {
        path for path in modules("functions") for name in imported(path) if name.split(".")[0] in {"boto3", "botocore"}
    }

    assert through == {DOOR}


def test_the_check_can_see_a_stranger() -> None:
    assert strangers("tests/infra", "tests") != []
