"""What the outcome of its records means for a batch."""

from collections.abc import Sequence

from functions.shared.errors import RecordsRejected
from functions.shared.model.ids import record_id
from functions.shared.model.messages import Batch, Counts, Rejected

TOLD = 10
"""How many rejected records an error message tells of; the ledger tells of all."""

TOLD_CHARACTERS = 400
"""How much an error message says of each of them."""


def is_tolerable(counts: Counts, tolerated_percent: float) -> bool:
    """Say whether so small a share of the records was rejected that it still counts as a success.

    If no record at all is good, it never does.
    """
    wholly = counts.rejected and not counts.accepted
    return not wholly and counts.rejected * 100 <= counts.received * tolerated_percent


def rejection(batch: Batch, counts: Counts, first: Sequence[Rejected]) -> RecordsRejected:
    """Make the error that a batch with rejected records ends with: how many, which first, and what they break."""
    told = [_tell(batch, rejected) for rejected in first[:TOLD]]
    more = counts.rejected - len(told)
    rest = [f"and {more} more, in the ledger"] if more else []
    return RecordsRejected(f"{counts.rejected} of {counts.received} records rejected: " + " | ".join([*told, *rest]))


def _tell(batch: Batch, rejected: Rejected) -> str:
    violations = "; ".join(str(violation) for violation in rejected.violations)
    if len(violations) > TOLD_CHARACTERS:
        violations = violations[:TOLD_CHARACTERS] + "…"
    return f"{record_id(batch.object.id, rejected.span.position)} at {rejected.stage}: {violations}"
