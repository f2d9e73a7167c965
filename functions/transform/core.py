"""The transform of each dataset: `transform(record)` in `datasets/<name>/transform.py`."""

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import cast

from functions.shared.errors import UnknownDataset
from functions.shared.staging.map_records import Transform

STAGE = "transform"
DATASETS = Path(__file__).parents[2] / "datasets"


def names() -> list[str]:
    """List the datasets that have a transform."""
    return sorted(path.parent.name for path in DATASETS.glob("*/transform.py"))


@cache
def load(dataset: str) -> Transform:
    """Import the transform of a dataset; raise UnknownDataset with the known ones if it has none."""
    if dataset not in names():
        raise UnknownDataset(f"the dataset {dataset!r} has no transform; known datasets: {', '.join(names())}")
    return cast("Transform", import_module(f"datasets.{dataset}.transform").transform)
