"""Whether a batch with rejected records is a success, and the error if it is not."""

from collections.abc import Sequence

from functions.shared.errors import RecordsRejected
from functions.shared.model.ids import record_id
from functions.shared.model.messages import Batch, Counts
from functions.shared.model.records import Rejected

LISTED = 10
"""How many rejected records an error message lists; the ledger lists all."""

LISTED_CHARACTERS = 400
"""How many characters an error message spends on each of them."""


def is_tolerable(counts: Counts, tolerated_percent: float) -> bool:
    """Return whether the share of rejected records still counts as a success; it never does if all were rejected."""
    if counts.rejected and not counts.accepted:
        return False
    return counts.rejected * 100 <= counts.received * tolerated_percent


def rejection(batch: Batch, counts: Counts, first: Sequence[Rejected]) -> RecordsRejected:
    """Return the error of a batch with rejected records: how many, and what the first of them violate."""
    listed = [_line(batch, rejected) for rejected in first[:LISTED]]
    more = counts.rejected - len(listed)
    rest = [f"and {more} more, in the ledger"] if more else []
    return RecordsRejected(f"{counts.rejected} of {counts.received} records rejected: " + " | ".join([*listed, *rest]))


def _line(batch: Batch, rejected: Rejected) -> str:
    violations = "; ".join(rejected.described())
    if len(violations) > LISTED_CHARACTERS:
        violations = violations[:LISTED_CHARACTERS] + "…"
    return f"{record_id(batch.object.id, rejected.position)} at {rejected.stage}: {violations}"
