"""The work of a step that maps each record to a new one: Transform, and any step added after it."""

import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from functions.shared.errors import TransformFailed
from functions.shared.model.messages import Facts, Json, Step
from functions.shared.model.records import LONGEST, Page, Record, Rejected, Rejection, Span, Violation
from functions.shared.runtime import Environment
from functions.shared.staging import claim_check
from functions.shared.staging.staged_batch import NotJson

Transform = Callable[[Any], Any]
"""Takes the document of a record, leaves it unchanged, and returns a new one; or raises Rejection."""


def forward(  # noqa: PLR0913, PLR0917 - what is forwarded, and where
    step: Step, facts: Facts, pages: Iterable[Page], transform: Transform, stage: str, environment: Environment
) -> Json:
    """Return the message for the next step, with the transformed records.

    Raises TransformFailed for a bug in `transform`, and what `claim_check.forward` raises.
    """
    transformed = map(partial(apply, stage, transform), pages)
    try:
        return claim_check.forward(step, facts, transformed, environment)
    except NotJson as error:
        raise TransformFailed(
            f"it returned a value that is not JSON ({error.why}) for the record at position {error.position}"
        ) from error


def apply(stage: str, transform: Transform, page: Page) -> Page:
    """Transform every record, and set aside those that are rejected; raise TransformFailed for a bug."""
    records: list[Record] = []
    rejected = list(page.rejected)
    for record in page.records:
        span = record.span
        try:
            records.append(Record(span, transform(record.document)))
        except Rejection as rejection:
            if not all(isinstance(part, str) for part in rejection.args):
                # No later step could read it.
                raise TransformFailed(
                    f"it rejected {_named(span)} with a pointer or rule that is not text"
                ) from rejection
            rejected.append(Rejected.at(span, stage, [_short(rejection.violation)]))
        except Exception as error:
            # The message of a foreign error may quote the record, and the dead letter would keep it.
            where = traceback.extract_tb(error.__traceback__)[-1]
            raise TransformFailed(
                f"{type(error).__name__} at {where.filename}, line {where.lineno}, on {_named(span)}"
            ) from error
    rejected.sort(key=lambda each: each.position)
    _require_distinct(records)
    return Page(records, rejected)


def _named(span: Span) -> str:
    """Name a record, and say where its bytes are: commands show them."""
    return f"the record at position {span.position} ({span.length} bytes at byte {span.offset} of the object)"


def _short(violation: Violation) -> Violation:
    with suppress(TypeError, ValueError):  # a limit that is not JSON is refused with the place of its record
        return Violation.short(violation.pointer, violation.rule[:LONGEST], violation.limit)
    return violation


def _require_distinct(records: Sequence[Record]) -> None:
    """Raise TransformFailed if two records share one document: both would have what was put in for the last."""
    documents = [record.document for record in records if isinstance(record.document, dict | list)]
    if len(set(map(id, documents))) != len(documents):
        raise TransformFailed(
            "it returned the same object for two records of a page that begins with the record at position "
            f"{records[0].span.position}; return a new one for each"
        )
