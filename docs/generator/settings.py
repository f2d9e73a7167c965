"""The table of settings: names, defaults and ranges from the Struct, meanings from its docstrings."""

import ast
import inspect
from typing import Any

from docs.generator.markdown import table
from infra.settings import FUNCTIONS, SCHEMA, Settings, allowed

_OF_FUNCTIONS = {
    "memory_mb": "Memory of `{}`.",
    "timeout_seconds": "Timeout of `{}`.",
    "concurrency": "Concurrency reserved for `{}`; other functions of the account cannot use it.",
}


def settings() -> str:
    """Write a row for each setting."""
    meanings = _docstrings() | {
        f"{name}_{part}": meaning.format(name) for name in FUNCTIONS for part, meaning in _OF_FUNCTIONS.items()
    }
    return table(
        ("setting", "default", "allowed", "meaning"),
        [(f"`{name}`", _default(schema["default"]), allowed(name), meanings[name]) for name, schema in SCHEMA.items()],
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


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "none" if value in {None, ""} else f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
