"""The Amazon States Language, as far as statemachine/ uses it: paths, templates, and which handler takes an error.

https://states-language.net/spec.html
"""

import json
from collections.abc import Iterator
from typing import Any


def matching(handlers: list[dict[str, Any]], error: str) -> int | None:
    """Return the index of the handler that takes an error; None if none does."""
    for at, handler in enumerate(handlers):
        named = handler["ErrorEquals"]
        if error in named or (named == ["States.ALL"] and error not in {"States.DataLimitExceeded", "States.Runtime"}):
            return at
    return None


def _steps(path: str) -> Iterator[str]:
    assert path.startswith("$"), path
    yield from (part for part in path[1:].split(".") if part)


def at(document: Any, path: str) -> Any:
    """Return the value at a path of a document."""
    for part in _steps(path):
        document = document[part]
    return document


def filled(template: dict[str, Any], context: dict[str, Any], data: Any) -> dict[str, Any]:
    """Fill in the paths of a template, from the context object (`$$`) or the data of the state (`$`)."""

    def value(name: str, given: Any) -> Any:
        if isinstance(given, dict):
            return filled(given, context, data)
        if not name.endswith(".$"):
            return given
        return at(context, given[1:]) if given.startswith("$$") else at(data, given)

    return {name.removesuffix(".$"): value(name, given) for name, given in template.items()}


def put(document: Any, path: str, value: Any) -> Any:
    """Return a copy of a document with a value at a path."""
    *parents, last = _steps(path)
    copied = json.loads(json.dumps(document))
    inner = copied
    for parent in parents:
        inner = inner.setdefault(parent, {})
    inner[last] = value
    return copied
