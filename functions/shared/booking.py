"""Book an attempt of a batch in the ledger, once, and by one execution only."""

from functions.shared import ledger, store
from functions.shared.errors import AttemptTaken
from functions.shared.messages import Step


def book(bucket: str, step: Step, entry: bytes) -> None:
    """Put the ledger file of a batch and attempt into the audit bucket; one that this execution put before stays.

    Raises AttemptTaken if the one that is there is of another execution, and what a write or a read raises.
    """
    key = ledger.ledger_key(step.batch)
    if store.write_once(bucket, key, entry, "application/gzip"):
        return
    owner = ledger.parse_header(store.read(bucket, key).body)["execution"]
    if owner != step.execution.arn:
        raise AttemptTaken(f"attempt {step.batch.attempt} of {step.batch.object.id} was booked by {owner}")
