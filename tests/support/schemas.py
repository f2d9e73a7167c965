"""The schemas of the documents that `--json` prints, and a check of each document that a test lets a command print."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft202012Validator, Registry

FOLDER = Path(__file__).parents[2] / "docs/cli"
PARTS = "parts"
"""What several schemas have in common stands in one file, which is of no command."""

_BASE = "json-schema:///"
_SUFFIX = ".schema.json"


def names() -> set[str]:
    """Name the commands that have a schema, such as `trace` or `dead letters-show`."""
    return {path.name.removesuffix(_SUFFIX) for path in FOLDER.glob(f"*{_SUFFIX}")} - {PARTS}


def schema(name: str) -> Any:
    """Read a schema."""
    return json.loads((FOLDER / f"{name}{_SUFFIX}").read_text(encoding="utf-8"))


def require_valid(arguments: Sequence[str | Path], out: str) -> None:
    """Fail the test if a command was asked for JSON, and has printed what its schema does not allow."""
    words = [str(each) for each in arguments]
    if "--json" not in words or not out.strip():
        return
    name = "-".join(words[: 2 if "-".join(words[:2]) in names() else 1])
    errors = [f"{error.instance_path}: {error.message}" for error in _validator(name).iter_errors(json.loads(out))]
    assert not errors, f"custody {' '.join(words)} prints what docs/cli/{name}{_SUFFIX} does not allow: {errors[:5]}"


@cache
def _validator(name: str) -> Draft202012Validator:
    registry = Registry([(f"{_BASE}{PARTS}{_SUFFIX}", schema(PARTS))])
    return Draft202012Validator(schema(name), registry=registry, validate_formats=True)
