"""The work of a step that changes records one by one: Transform is one, and so is what is put behind it."""

import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from functions.shared.errors import TransformFailed
from functions.shared.model.messages import Facts, Json, Page, Record, Rejected, Step
from functions.shared.model.rejection import Rejection
from functions.shared.staging import claim_check
from functions.shared.staging.staged_batch import NoJson

Change = Callable[[Any], Any]
"""Takes the document of a record, which it leaves as it is, and gives a new one; or raises Rejection."""


def forward(  # noqa: PLR0913 - what is forwarded, and where it is kept
    step: Step, facts: Facts, pages: Iterable[Page], change: Change, *, stage: str, bucket: str, inline_limit: int
) -> Json:
    """Make the message for the next step, of the records as `change` gives them.

    Raises TransformFailed for a bug of `change`, and what `claims.hand_on` raises.
    """
    changed = (apply(stage, change, page) for page in pages)
    try:
        return claim_check.forward(step, facts, changed, bucket=bucket, inline_limit=inline_limit)
    except NoJson as found:
        raise no_json(found) from found


def apply(stage: str, change: Change, page: Page) -> Page:
    """Change every record, and set aside those that are rejected; raise TransformFailed for a bug."""
    records: list[Record] = []
    rejected = list(page.rejected)
    for record in page.records:
        span = record.span
        try:
            records.append(Record(span, change(record.document)))
        except Rejection as rejection:
            rejected.append(Rejected(span, stage, (rejection.violation,)))
        except Exception as error:
            # The message of a foreign error may quote the record, and what is raised here is kept in the dead letter.
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
    """Make the error for code that returned what is no JSON."""
    return TransformFailed(f"it returned what is no JSON ({found.why}) for the record at position {found.position}")
