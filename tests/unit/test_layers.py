"""Dependencies run one way: the imports of each package, its size, and the names of its classes."""

import ast
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from custody.deployment.target import ROOT
from infra.settings import FUNCTIONS

PRODUCT = ("benchmarks", "custody", "datasets", "docs", "functions", "infra", "local", "samples")
MAX_MODULES = 12
MANY_MODULES = {"custody/commands"}

DOMAIN = ("custody.recovery", "custody.assurance", "custody.ingest")
DATA = ("custody.audit", "custody.executions", "custody.deployment")
BASE = ("custody.terminal", "custody.errors", "custody.concurrency", "functions.shared")
ALLOWED = {
    "custody/commands": ("custody", "functions.shared", "local"),
    "custody/views": ("custody.views", *DOMAIN, *DATA, *BASE),
    **{name.replace(".", "/"): (*DOMAIN, "custody.session", *DATA, *BASE) for name in DOMAIN},
    **{name.replace(".", "/"): (*DATA, *BASE, *(["local"] if name.endswith("deployment") else [])) for name in DATA},
    "custody/terminal": ("custody.terminal", "custody.errors", "local.LocalAwsError"),
    "datasets": ("datasets", "functions.shared"),
    **{f"functions/{name}": (f"functions.{name}", "functions.shared") for name in FUNCTIONS},
    "functions/shared": ("functions.shared",),
    "infra": ("infra",),
    "local": ("local",),
}
"""What each folder may import of the project, beside itself."""


def modules(folder: str) -> list[Path]:
    return sorted(path.relative_to(ROOT) for path in (ROOT / folder).rglob("*.py"))


@cache
def nodes(path: Path) -> list[ast.Import | ast.ImportFrom | ast.ClassDef]:
    """Parse the imports and the classes of a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom | ast.ClassDef)]


@cache
def imports(path: Path) -> list[str]:
    """Return the names that a file imports, relative imports resolved."""
    names: list[str] = []
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(path.parts[: -node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            names += [f"{module}.{alias.name}" for alias in node.names]
    return names


def own_imports(path: Path) -> list[str]:
    return [name for name in imports(path) if name.partition(".")[0] in (*PRODUCT, "tests")]


def forbidden(folder: str, allowed: tuple[str, ...]) -> list[str]:
    return [
        f"{path} imports {name}"
        for path in modules(folder)
        for name in own_imports(path)
        if not any(f"{name}.".startswith(f"{known}.") for known in allowed)
    ]


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_package_imports_only_what_is_below_it(folder: str) -> None:
    assert modules(folder)
    assert forbidden(folder, ALLOWED[folder]) == []


def test_every_package_of_the_command_line_has_its_place() -> None:
    folders = {f"custody/{path.name}" for path in (ROOT / "custody").iterdir() if list(path.glob("*.py"))}

    assert folders <= ALLOWED.keys()


@cache
def package(name: str) -> str:
    """Return the package of an imported name; a module beside packages, such as custody/session.py, is its own."""
    parts = name.split(".")
    folder = ROOT
    for depth, part in enumerate(parts):
        if not any((folder / part).glob("*.py")):  # an old checkout may have a folder of byte code there
            beside_packages = (folder / f"{part}.py").is_file() and any(folder.glob("*/*.py"))
            return ".".join(parts[: depth + 1] if beside_packages else parts[:depth])
        folder /= part
    return name


def test_packages_have_no_cycles() -> None:
    graph: dict[str, set[str]] = {}
    for path in (path for folder in PRODUCT for path in modules(folder)):
        own = package(".".join(path.with_suffix("").parts))
        graph.setdefault(own, set()).update({package(name) for name in own_imports(path)} - {own})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_no_folder_has_too_many_modules() -> None:
    counts = Counter(
        path.parent.as_posix()
        for folder in PRODUCT
        for path in modules(folder)
        if path.name not in {"__init__.py", "__main__.py"}
    )

    assert {folder: count for folder, count in counts.items() if count > MAX_MODULES}.keys() <= MANY_MODULES


def test_a_class_name_appears_once() -> None:
    names = Counter(
        node.name
        for folder in PRODUCT
        for path in modules(folder)
        for node in nodes(path)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )

    assert [name for name, count in names.items() if count > 1 and name != "Environment"] == []


def test_one_module_of_the_functions_calls_aws() -> None:
    callers = {
        path.as_posix()
        for path in modules("functions")
        if {name.partition(".")[0] for name in imports(path)} & {"boto3", "botocore"}
    }

    assert callers == {"functions/shared/aws.py"}


@pytest.mark.parametrize("folder", ["custody", "samples"])
def test_only_the_terminal_renders(folder: str) -> None:
    """What others wrote is escaped there."""
    allowed = "rich.cells.", "rich.filesize."
    others = [path for path in modules(folder) if path.parts[:2] != ("custody", "terminal")]
    assert [
        f"{path}: {name}"
        for path in others
        for name in imports(path)
        if name.startswith("rich") and not name.startswith(allowed)
    ] == []
