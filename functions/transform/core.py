"""Transform the records of a batch, one by one, with the transform of their dataset."""

import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, cast

from functions.shared.documents import encode
from functions.shared.errors import TransformFailed, UnknownDataset
from functions.shared.messages import Contents, Record, Rejected
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


def apply(transform: Transform, contents: Contents) -> Contents:
    """Transform every record, and set aside those that the transform rejects; raise TransformFailed for its bugs."""
    records: list[Record] = []
    rejected = list(contents.rejected)
    for record in contents.records:
        try:
            records.append(_transformed(transform, record))
        except Rejection as rejection:
            rejected.append(Rejected(record.span, STAGE, (rejection.violation,)))
    rejected.sort(key=lambda each: each.span.position)
    return replace(contents, records=tuple(records), rejected=tuple(rejected))


def _transformed(transform: Transform, record: Record) -> Record:
    try:
        document = transform(record.document)
        encode(document)
    except Rejection:
        raise
    except Exception as error:
        # The message of a foreign error may quote the record, and what is raised here ends up in the letter, for good.
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise TransformFailed(
            f"{type(error).__name__} at {where.filename}, line {where.lineno}, on the record at position "
            f"{record.span.position}"
        ) from error
    return Record(record.span, document)
