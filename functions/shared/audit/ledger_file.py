"""Write a ledger file, and read its header."""

import gzip
import io
import zlib
from collections.abc import Iterable
from hashlib import sha256
from itertools import chain
from shutil import copyfileobj
from typing import IO

from msgspec.json import Decoder

from functions.shared.model.decoding import decode
from functions.shared.model.ledger import AuditFile, ChunkLine, LedgerHeader, Output, SummaryHeader
from functions.shared.model.messages import FORMAT, Counts, Facts, Json, Step
from functions.shared.records import gzip_lines
from functions.shared.records.gzip_lines import Packed, pack, spool
from functions.shared.records.strict_json import encode_struct

HEADER_BYTES = 2**16
"""Always enough for the header of a ledger file, which is as large as the head of a message."""

UNREADABLE = (OSError, EOFError, zlib.error, ValueError)
"""What parsing raises for a file that is not gzip, or not of the expected shape."""

RESTORE = "restore its first version, then redrive"
"""What to do about a ledger file that is not as it was committed."""

_SUMMARY_HEADER = Decoder(SummaryHeader)
_CHUNK_LINE: Decoder[ChunkLine] = Decoder(ChunkLine)


def header_of(step: Step, facts: Facts, counts: Counts, output: Output | None = None) -> LedgerHeader:
    """Return the header of the ledger file of a batch and attempt."""
    return LedgerHeader(
        **batch_fields(step),
        dataset=facts.dataset,
        contract=facts.contract,
        code=dict(facts.code),
        execution=step.execution.arn,
        counts=counts,
        output=output,
    )


def batch_fields(step: Step) -> Json:
    """Return the fields of an audit file that identify its batch and attempt."""
    batch = step.batch
    return {
        "format": FORMAT,
        "object": batch.object,
        "chunk": batch.chunk,
        "redrive_of": batch.redrive_of,
        "parent": batch.parent,
        "attempt": batch.attempt,
        "recorded_at": step.entered_at,
    }


def ledger_file(header: AuditFile, lines: Packed) -> IO[bytes]:
    """Assemble a ledger file: a header, then a line a record, gzipped.

    The header is a gzip member of its own, so that it can be read without the rest.
    """
    file = spool()
    file.write(pack(encode_struct(header) + b"\n"))
    copyfileobj(lines.finished(), file)
    file.seek(0)
    return file


def header_line(beginning: bytes) -> bytes:
    """Return the header of a ledger file from its first HEADER_BYTES; raise one of UNREADABLE."""
    with gzip.open(io.BytesIO(beginning)) as lines:
        return lines.readline()


def parse_summary(body: bytes) -> tuple[SummaryHeader, list[ChunkLine]]:
    """Decode the summary of a bulk object: its header, and a line a chunk; raise one of UNREADABLE."""
    header, *lines = gzip.decompress(body).splitlines()
    return decode(header, _SUMMARY_HEADER), [decode(line, _CHUNK_LINE) for line in lines]


def hash_of_lines(pieces: Iterable[bytes]) -> str:
    """Hash the lines of a ledger file: what it says of its records, whatever code and output its header names."""
    digest = sha256()
    lines = chain.from_iterable(gzip_lines.lines(gzip_lines.unpacked(pieces)))
    next(lines)
    for line in lines:
        digest.update(line + b"\n")
    return digest.hexdigest()
