"""Transform the records of a batch, one by one, with the transform of their dataset."""

import traceback
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, cast

from functions.shared.errors import TransformFailed, UnknownDataset
from functions.shared.messages import Page, Record, Rejected
from functions.shared.parcels import NoJson
from functions.transform import datasets
from functions.transform.rejection import Rejection

STAGE = "transform"

Transform = Callable[[Any], Any]


def names() -> list[str]:
    """List the datasets that have a transform."""
    return sorted(module.name for module in iter_modules(datasets.__path__))


@cache
def load(dataset: str) -> Transform:
    """Import the transform of a dataset; raise UnknownDataset with the known ones if it has none."""
    if dataset not in names():
        raise UnknownDataset(f"the dataset {dataset!r} has no transform; there are {', '.join(names())}")
    return cast("Transform", import_module(f"{datasets.__name__}.{dataset}").transform)


def apply(transform: Transform, page: Page) -> Page:
    """Transform every record, and set aside those that the transform rejects; raise TransformFailed for its bugs."""
    records: list[Record] = []
    rejected = list(page.rejected)
    for record in page.records:
        span = record.span
        try:
            records.append(Record(span, transform(record.document)))
        except Rejection as rejection:
            rejected.append(Rejected(span, STAGE, (rejection.violation,)))
        except Exception as error:
            # The message of a foreign error may quote the record, and what is raised here is kept in the letter.
            where = traceback.extract_tb(error.__traceback__)[-1]
            raise TransformFailed(
                f"{type(error).__name__} at {where.filename}, line {where.lineno}, on the record at position "
                f"{span.position}"
            ) from error
    rejected.sort(key=lambda each: each.span.position)
    _require_own(records)
    return Page(records, rejected)


def _require_own(records: Sequence[Record]) -> None:
    """Raise TransformFailed if two records got one and the same object: what the last one put in, all would have."""
    documents = [record.document for record in records if isinstance(record.document, dict | list)]
    if len(set(map(id, documents))) != len(documents):
        raise TransformFailed(
            "it returned the same object for two records of a page that begins with the record at position "
            f"{records[0].span.position}; return a new one for each"
        )


def no_json(found: NoJson) -> TransformFailed:
    """Make the error for a transform that returned what is no JSON."""
    return TransformFailed(f"it returned what is no JSON ({found.why}) for the record at position {found.position}")
