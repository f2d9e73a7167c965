"""Commit an attempt of a batch: put its ledger file, once, and by one execution only."""

from functools import partial
from typing import IO

from msgspec.json import Decoder

from functions.shared import aws
from functions.shared.audit.ledger_file import HEADER_BYTES, RESTORE, UNREADABLE, hash_of_lines, header_line
from functions.shared.errors import AttemptTaken, MessageRefused
from functions.shared.model.decoding import decode
from functions.shared.model.keys import LedgerKey, ledger_prefix, object_prefix
from functions.shared.model.ledger import LedgerHeader
from functions.shared.model.messages import Step

_HEADER = Decoder(LedgerHeader)


def keys(bucket: str, step: Step) -> list[LedgerKey]:
    """List the ledger files of an object: those of its chunks, and its summaries."""
    return [*filter(None, map(LedgerKey.parse, aws.keys(bucket, object_prefix(step.batch))))]


def headers(bucket: str, step: Step) -> list[LedgerHeader]:
    """Read the headers of the ledger files of a batch up to this attempt; a first attempt has none.

    Raises what a list or a read raises.
    """
    if step.batch.attempt == 0:
        return []
    listed = filter(None, map(LedgerKey.parse, aws.keys(bucket, ledger_prefix(step.batch))))
    return [header_at(bucket, key) for key in listed if not key.discards and key.attempt <= step.batch.attempt]


def require_free(step: Step, committed: list[LedgerHeader]) -> None:
    """Raise AttemptTaken if another execution has committed this attempt."""
    for header in committed:
        if header.attempt == step.batch.attempt and header.execution != step.execution.arn:
            raise _taken(step, f"by {header.execution}")


def commit(bucket: str, step: Step, file: IO[bytes]) -> None:
    """Put the ledger file of a batch and attempt into the audit bucket, unless this execution has put it before.

    Raises AttemptTaken if there is one of another execution, or with other lines, and what a write or a read raises.
    """
    key = LedgerKey.of(step.batch)
    if aws.write_once(bucket, key.key, file, "application/gzip"):
        return
    require_free(step, [header_at(bucket, key)])
    file.seek(0)
    with aws.streamed(bucket, key.key) as committed:
        if hash_of_lines(committed.pieces) != hash_of_lines(iter(partial(file.read, aws.PIECE_BYTES), b"")):
            raise _taken(step, "with other outcomes")


def header_at(bucket: str, key: LedgerKey) -> LedgerHeader:
    """Read the header of a ledger file; raise MessageRefused if it cannot be parsed, or what a read raises."""
    beginning = aws.read(bucket, key.key, HEADER_BYTES)
    try:
        return decode(header_line(beginning), _HEADER)
    except UNREADABLE as error:
        raise MessageRefused(f"the ledger file {key.key} cannot be read ({error}); {RESTORE}") from error


def _taken(step: Step, how: str) -> AttemptTaken:
    return AttemptTaken(
        f"attempt {step.batch.attempt} of {step.batch.object.id} was committed {how}; redrive "
        f"{step.execution.arn} once more"
    )
