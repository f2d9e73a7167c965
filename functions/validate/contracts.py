"""The contract of each dataset: `datasets/<name>/contract.schema.json` (JSON Schema 2020-12)."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jsonschema_rs import Draft202012Validator

from functions.shared.errors import UnknownDataset

DATASETS = Path(__file__).parents[2] / "datasets"
CONTRACT = "contract.schema.json"


@dataclass(frozen=True, slots=True)
class Contract:
    """What a valid record of a dataset is; `id` is the `$id` of the schema and ends in its version."""

    id: str
    validator: Draft202012Validator


def names() -> list[str]:
    """List the datasets that have a contract."""
    return sorted(path.parent.name for path in DATASETS.glob(f"*/{CONTRACT}"))


@cache
def load(dataset: str) -> Contract:
    """Read the contract of a dataset; raise UnknownDataset with the known ones if it has none."""
    if not dataset:
        raise UnknownDataset(
            "the key starts with a slash, so its first folder has no name; upload it without the slash"
        )
    if dataset not in names():
        raise UnknownDataset(f"the dataset {dataset!r} has no contract; known datasets: {', '.join(names())}")
    schema = json.loads((DATASETS / dataset / CONTRACT).read_text(encoding="utf-8"))
    return Contract(schema["$id"], Draft202012Validator(schema, validate_formats=True, offline=True))
