"""The claim check: contents travel inline while they are small, and lie in the staging bucket when they are not.

The steps do not know the difference. https://www.enterpriseintegrationpatterns.com/patterns/messaging/StoreInLibrary.html
"""

import gzip

from functions.shared import outcomes, store
from functions.shared.documents import decode, encode, is_exact_elsewhere
from functions.shared.errors import MessageRefused
from functions.shared.ledger import batch_name, counts
from functions.shared.messages import Batch, Contents, Json, Step


def staged_key(batch: Batch, step: str) -> str:
    """Say where the contents of a batch lie in the staging bucket, as a step left them."""
    return f"batches/{batch.object.id}/{batch_name(batch)}.{step}.json.gz"


def hand_on(step: Step, contents: Contents, *, bucket: str, inline_limit: int) -> Json:
    """Make the message for the next step; `inline_limit` is in bytes of JSON, and 0 stages everything.

    What has a number that a double does not hold is staged too: the state machine would round it.

    Raises RecordsRejected, with the contents left in the staging bucket for DeadLetter, if no record is left, and
    whatever a write raises. At a later attempt the batch goes on without records, for an earlier one may have delivered
    some, and Write must then take their place.
    """
    facts = contents.encode()
    body = encode(facts)
    if contents.rejected and not contents.records and step.batch.attempt == 0:
        _stage(bucket, step, body)
        raise outcomes.rejection(step.batch, contents)
    if len(body) <= inline_limit and is_exact_elsewhere(body):
        return step.batch.encode() | facts
    del facts["records"], facts["rejected"]
    counted = {"counts": counts(len(contents.records), len(contents.rejected))}
    return step.batch.encode() | facts | counted | {"claim": _stage(bucket, step, body)}


def has_contents(message: Json) -> bool:
    """Say whether a message comes from a step that had read the batch."""
    return "claim" in message or "records" in message


def unpack(message: Json) -> Contents:
    """Read the contents of a message, wherever they are; raise MessageRefused or what a read raises."""
    if "claim" not in message:
        return Contents.decode(message)
    try:
        claim = message["claim"]
        where = claim["bucket"], claim["key"], claim["version_id"]
    except (KeyError, TypeError) as error:
        raise MessageRefused(f"a claim came without a part that it must have: {error}") from error
    return _read(*where)


def left_by(step: str, batch: Batch, *, bucket: str) -> Contents:
    """Read the contents that a step left when it raised RecordsRejected; raise what a read raises."""
    return _read(bucket, staged_key(batch, step), None)


def _stage(bucket: str, step: Step, body: bytes) -> Json:
    key = staged_key(step.batch, step.name)
    version_id = store.write(bucket, key, gzip.compress(body, mtime=0), "application/gzip")
    return {"bucket": bucket, "key": key, "version_id": version_id}


def _read(bucket: str, key: str, version_id: str | None) -> Contents:
    return Contents.decode(decode(gzip.decompress(store.read(bucket, key, version_id).body)))
