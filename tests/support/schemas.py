"""The generated schemas, and a check of each document that a test has a command print or a function write."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft202012Validator

DOCS = Path(__file__).parents[2] / "docs"
FOLDER = DOCS / "cli"
_SUFFIX = ".schema.json"


def names() -> set[str]:
    """List the commands that have a schema, such as `trace` or `dead-letters-show`."""
    return {path.name.removesuffix(_SUFFIX) for path in FOLDER.glob(f"*{_SUFFIX}")}


def schema(path: str) -> Any:
    """Read a schema by its path in docs/, such as `cli/trace`."""
    return json.loads((DOCS / f"{path}{_SUFFIX}").read_text(encoding="utf-8"))


def require_valid(arguments: Sequence[str | Path], out: str) -> None:
    """Fail the test if a command with `--json` printed a document that its schema does not allow."""
    words = [str(each) for each in arguments]
    if "--json" not in words or not out.strip():
        return
    name = "-".join(words[: 2 if "-".join(words[:2]) in names() else 1])
    require_allowed(f"cli/{name}", json.loads(out))


def require_allowed(path: str, document: Any) -> None:
    """Fail the test if a schema does not allow a document."""
    errors = [f"{error.instance_path}: {error.message}" for error in _validator(path).iter_errors(document)]
    assert not errors, f"docs/{path}{_SUFFIX} does not allow: {errors[:5]}"


@cache
def _validator(path: str) -> Draft202012Validator:
    return Draft202012Validator(schema(path), validate_formats=True)
