"""The table of settings: names, defaults and ranges from the Struct, meanings from its docstrings."""

import ast
import inspect
from typing import Any

from docs.generator.markdown import table
from infra.settings import FUNCTIONS, SCHEMA, Settings, allowed

_OF_FUNCTIONS = {
    "memory_mb": "Memory of the function.",
    "timeout_seconds": "Timeout of the function.",
    "concurrency": "Concurrency reserved for the function; other functions of the account cannot use it.",
}


def settings() -> str:
    """Write a row for each setting; functions with the same default share one."""
    meanings = _docstrings()
    rows = {(name, _default(name), _range(name)): meaning for name, meaning in meanings.items()}
    for part, meaning in _OF_FUNCTIONS.items():
        alike: dict[tuple[str, str], list[str]] = {}
        for name in (f"{function}_{part}" for function in FUNCTIONS):
            alike.setdefault((_default(name), _range(name)), []).append(name)
        rows |= {("`, `".join(names), *cells): meaning for cells, names in alike.items()}
    return table(
        ("setting", "default", "allowed", "meaning"),
        [(f"`{names}`", default, limits, meaning) for (names, default, limits), meaning in rows.items()],
    )


def _docstrings() -> dict[str, str]:
    """Return the docstring below each attribute of Settings, by its name."""
    (definition,) = ast.parse(inspect.getsource(Settings)).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 - for mypy
    pairs = zip(definition.body, definition.body[1:], strict=False)
    return {
        attribute.target.id: " ".join(docstring.value.value.split())
        for attribute, docstring in pairs
        if isinstance(attribute, ast.AnnAssign)
        and isinstance(attribute.target, ast.Name)
        and isinstance(docstring, ast.Expr)
        and isinstance(docstring.value, ast.Constant)
        and isinstance(docstring.value.value, str)
    }


def _default(name: str) -> str:
    value: Any = SCHEMA[name]["default"]
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "none" if value in {None, ""} else f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _range(name: str) -> str:
    return allowed(name).removeprefix("a whole number from ").removeprefix("a number from ")
