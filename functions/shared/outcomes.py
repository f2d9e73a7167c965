"""What the outcome of its records means for a batch."""

from functions.shared.errors import RecordsRejected
from functions.shared.identity import record_id
from functions.shared.messages import Batch, Contents, Rejected

TOLD = 10
"""How many rejected records an error message tells of; the letter and the ledger tell of all."""

TOLD_CHARACTERS = 400
"""How much an error message says of each of them."""


def is_tolerable(contents: Contents, tolerated_percent: float) -> bool:
    """Say whether so small a share of the batch was rejected that it still counts as a success.

    A batch of which no record is good never does.
    """
    wholly = contents.rejected and not contents.records
    return not wholly and len(contents.rejected) * 100 <= contents.received * tolerated_percent


def rejection(batch: Batch, contents: Contents) -> RecordsRejected:
    """Make the error that a batch with rejected records ends with: how many, which first, and what they break."""
    told = [_tell(batch, rejected) for rejected in contents.rejected[:TOLD]]
    more = len(contents.rejected) - len(told)
    rest = [f"and {more} more, in the letter"] if more else []
    return RecordsRejected(
        f"{len(contents.rejected)} of {contents.received} records rejected: " + " | ".join([*told, *rest])
    )


def _tell(batch: Batch, rejected: Rejected) -> str:
    violations = "; ".join(str(violation) for violation in rejected.violations)
    if len(violations) > TOLD_CHARACTERS:
        violations = violations[:TOLD_CHARACTERS] + "…"
    return f"{record_id(batch.object.id, rejected.span.position)} at {rejected.stage}: {violations}"
