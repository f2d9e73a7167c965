"""Book an attempt of a batch in the ledger, once, and by one execution only."""

import zlib
from functools import partial
from typing import IO

from msgspec import MsgspecError

from functions.shared import aws
from functions.shared.audit import ledger_file
from functions.shared.errors import AttemptTaken, MessageRefused
from functions.shared.model.messages import Json, Step


def headers(bucket: str, step: Step) -> list[Json]:
    """Read the headers of the ledger files that the batch has up to this attempt; a first attempt has none.

    Raises what a list or a read raises.
    """
    if step.batch.attempt == 0:
        return []
    known = set(aws.keys(bucket, ledger_file.ledger_prefix(step.batch)))
    keys = [*ledger_file.earlier_keys(step.batch), ledger_file.ledger_key(step.batch)]
    return [header_at(bucket, key) for key in keys if key in known]


def require_free(step: Step, found: list[Json]) -> None:
    """Raise AttemptTaken if one of the headers is of this attempt and another execution."""
    for header in found:
        if header["attempt"] == step.batch.attempt and header["execution"] != step.execution.arn:
            raise _taken(step, f"by {header['execution']}")


def commit(bucket: str, step: Step, entry: IO[bytes]) -> None:
    """Put the ledger file of a batch and attempt into the audit bucket; one that this execution put before stays.

    Raises AttemptTaken if the one that is there is of another execution or tells otherwise of a record, and what a
    write or a read raises.
    """
    key = ledger_file.ledger_key(step.batch)
    if aws.write_once(bucket, key, entry, "application/gzip"):
        return
    require_free(step, [header_at(bucket, key)])
    entry.seek(0)
    with aws.streamed(bucket, key) as committed:
        if ledger_file.claims_of(committed.pieces) != ledger_file.claims_of(
            iter(partial(entry.read, aws.PIECE_BYTES), b"")
        ):
            raise _taken(step, "with other outcomes")


def header_at(bucket: str, key: str) -> Json:
    """Read the header of a ledger file; raise MessageRefused if it is none, or what a read raises."""
    beginning = aws.read_start(bucket, key, ledger_file.HEADER_BYTES)
    try:
        return ledger_file.parse_header(beginning)
    except (OSError, EOFError, ValueError, zlib.error, MsgspecError) as error:
        raise MessageRefused(f"the ledger file {key} cannot be read ({error}); {ledger_file.PUT_BACK}") from error


def _taken(step: Step, how: str) -> AttemptTaken:
    return AttemptTaken(
        f"attempt {step.batch.attempt} of {step.batch.object.id} was committed {how}, so this one cannot be; redrive "
        f"{step.execution.arn} once more"
    )
