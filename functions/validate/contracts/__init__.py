"""The contract of each dataset: `<dataset>.schema.json` in this folder (JSON Schema 2020-12)."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jsonschema_rs import Draft202012Validator

from functions.shared.errors import UnknownDataset

_FOLDER = Path(__file__).parent
_ENDING = ".schema.json"


@dataclass(frozen=True, slots=True)
class Contract:
    """What a valid record of a dataset is; `id` is the `$id` of the schema and ends in its version."""

    id: str
    validator: Draft202012Validator


def names() -> list[str]:
    """List the datasets that have a contract."""
    return sorted(path.name.removesuffix(_ENDING) for path in _FOLDER.glob(f"*{_ENDING}"))


@cache
def load(dataset: str) -> Contract:
    """Read the contract of a dataset; raise UnknownDataset with the known ones if it has none."""
    if not dataset:
        raise UnknownDataset("the key begins with a slash, so that its first folder has no name; upload it without")
    if dataset not in names():
        raise UnknownDataset(f"the dataset {dataset!r} has no contract; there are {', '.join(names())}")
    schema = json.loads((_FOLDER / f"{dataset}{_ENDING}").read_text(encoding="utf-8"))
    return Contract(schema["$id"], Draft202012Validator(schema, validate_formats=True, offline=True))
