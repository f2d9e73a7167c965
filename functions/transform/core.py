"""The transform of each dataset, by its name."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import cast

from functions.shared.errors import UnknownDataset
from functions.shared.staging.map_records import Change
from functions.transform import datasets

STAGE = "transform"


def names() -> list[str]:
    """List the datasets that have a transform."""
    return sorted(module.name for module in iter_modules(datasets.__path__))


@cache
def load(dataset: str) -> Change:
    """Import the transform of a dataset; raise UnknownDataset with the known ones if it has none."""
    if dataset not in names():
        raise UnknownDataset(f"the dataset {dataset!r} has no transform; there are {', '.join(names())}")
    return cast("Change", import_module(f"{datasets.__name__}.{dataset}").transform)
