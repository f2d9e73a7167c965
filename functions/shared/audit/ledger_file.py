"""The ledger and the dead letters: where they lie in the audit bucket, and what stands in them.

Both are append-only, and name a batch and an attempt, so that writing one twice is writing it once.
"""

import gzip
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from itertools import chain
from shutil import copyfileobj
from types import MappingProxyType
from typing import IO, Any

from functions.shared.errors import (
    BY_NAME,
    ChunksFailed,
    CustodyError,
    DataError,
    MessageRefused,
    RecordsRejected,
    TransformFailed,
)
from functions.shared.model.ids import record_id
from functions.shared.model.messages import FORMAT, Batch, Counts, Execution, Facts, Json, Rejected, Step
from functions.shared.records import gzip_lines
from functions.shared.records.gzip_lines import Packed, pack, spool
from functions.shared.records.strict_json import decode, encode

START_DIGITS = 15
"""Wide enough for any byte offset in the largest object that S3 holds, so that names sort as their starts do."""

REJECTED = "Rejected"
"""The name of the dead letter that stands beside a delivery: of the records that Write did not deliver."""

ENDS = MappingProxyType({"FAILED": "Failed", "TIMED_OUT": "TimedOut", "ABORTED": "Aborted"})
"""The name of the dead letter of an execution that ended where no Catch saw it, by its status."""

LISTED = 1000
"""How many rejected records a dead letter lists; the ledger file of the batch lists each."""

HEADER_BYTES = 2**16
"""The header of a ledger file never takes more, for it is of the size of a message's head."""

CAUSE_LIMIT = 8192
"""Characters of a cause that a dead letter keeps; the execution's history holds up to 32,768."""


@dataclass(frozen=True, slots=True)
class Output:
    """The processed object that holds the written records of a batch."""

    bucket: str
    key: str
    version_id: str


@dataclass(frozen=True, slots=True)
class Failure:
    """What ended an attempt: the step, the name of the error and what it says."""

    step: str
    error: str
    cause: str


PUT_BACK = "put the version back that was committed first, then redrive"
"""What to do about a ledger file that is not as it was committed."""

OBJECT = "object"
"""What stands for the start of a batch in the names of what tells of all the chunks of an object."""


def start_name(batch: Batch) -> str:
    """Name a batch within its object: by the byte at which it begins, or OBJECT for all the chunks of a bulk object."""
    return OBJECT if batch.plan else f"{batch.start:0{START_DIGITS}d}"


def batch_name(batch: Batch) -> str:
    """Name a batch and an attempt within its object, such as `000000000000000.0`."""
    return f"{start_name(batch)}.{batch.attempt}"


def processed_key(batch: Batch, dataset: str, last_modified: str) -> str:
    """Say where the records of a batch are delivered: by dataset, and by the day on which the raw version came."""
    chunk = "" if batch.chunk is None else f".{start_name(batch)}"
    return f"{dataset}/dt={last_modified[:10]}/{batch.object.id}{chunk}.jsonl"


def ledger_key(batch: Batch) -> str:
    """Say where the ledger file of a batch and attempt lies."""
    return f"ledger/{batch.object.id}/{batch_name(batch)}.jsonl.gz"


def earlier_keys(batch: Batch) -> list[str]:
    """Say where the ledger files of the attempts before this one lie, if there are any."""
    return [ledger_key(replace(batch, attempt=attempt)) for attempt in range(batch.attempt)]


def ledger_prefix(batch: Batch) -> str:
    """Say what the keys of all ledger files of a batch begin with."""
    return f"ledger/{batch.object.id}/{start_name(batch)}."


def dead_letters_prefix(batch: Batch, execution: Execution) -> str:
    """Say where the dead letters of a batch lie, of every attempt: under the day on which its execution started.

    The start of the execution is the one date that a retry and a redrive do not change.
    """
    return f"dead-letters/dt={execution.started_at[:10]}/{batch.object.id}/{start_name(batch)}."


def dead_letter_key(batch: Batch, name: str, execution: Execution) -> str:
    """Say where a dead letter lies. Its name is that of the step that failed, REJECTED, or how the execution ended."""
    return f"{dead_letters_prefix(batch, execution)}{batch.attempt}.{name}.json"


def header(step: Step, facts: Facts, counts: Counts, output: Output | None = None, **more: Any) -> dict[str, Any]:
    """Make the first line of the ledger file of a batch and attempt: all that is the same for its records."""
    batch = step.batch
    return {
        "format": FORMAT,
        "object": {"id": batch.object.id} | asdict(batch.object),
        "chunk": asdict(batch.chunk) if batch.chunk else None,
        "dataset": facts.dataset,
        "contract": facts.contract,
        "code": dict(facts.code),
        "execution": step.execution.arn,
        "redrive_of": batch.redrive_of,
        "parent": batch.parent,
        "attempt": batch.attempt,
        "recorded_at": step.entered_at,
        "counts": counts.encode(),
        "output": asdict(output) if output else None,
    } | more


def ledger_file(first: Mapping[str, Any], lines: Packed) -> IO[bytes]:
    """Put a ledger file together: a header, then a line a record, gzipped.

    The header is a gzip member of its own, so that it can be read without the rest.
    """
    file = spool()
    file.write(pack(encode(first) + b"\n"))
    copyfileobj(lines.finished(), file)
    file.seek(0)
    return file


@dataclass(frozen=True, slots=True)
class Known:
    """What a dead letter can tell of the records of its batch; `first` are those of the rejected that it lists."""

    facts: Facts
    counts: Counts
    first: Sequence[Rejected] = ()


def dead_letter(
    step: Step,
    failure: Failure,
    dataset: str,
    known: Known | None,
    code: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """Write the dead letter of a batch, attempt and step.

    `known` is None when the batch failed before it was read, or what was read of it is not known. `code` holds the
    code versions of the stages that failed to give any. It lists no more than LISTED of the rejected records.
    """
    batch, execution = step.batch, step.execution
    rejected = known.first[:LISTED] if known else ()
    error = BY_NAME.get(failure.error, CustodyError)
    return encode(
        {
            "format": FORMAT,
            "object": {"id": batch.object.id} | asdict(batch.object),
            "chunk": asdict(batch.chunk) if batch.chunk else None,
            "dataset": dataset,
            "contract": known.facts.contract if known else None,
            "code": {**code, **(known.facts.code if known else {})},
            "attempt": batch.attempt,
            "redrive_of": batch.redrive_of,
            "parent": batch.parent,
            "step": failure.step,
            "error": failure.error,
            "cause": failure.cause[:CAUSE_LIMIT],
            "advice": error.advice,
            "resumes_at": resumes_at(failure),
            "received": known.counts.received if known else None,
            "rejected_count": known.counts.rejected if known else None,
            "rejected": [
                {"record": record_id(batch.object.id, record.span.position)} | record.encode() for record in rejected
            ],
            "execution": {
                "arn": execution.arn,
                "started_at": execution.started_at,
                "redrives": execution.redrives,
                "console": console_link(execution.arn),
            },
            "recorded_at": step.entered_at,
        }
    )


VALIDATE, WRITE = "Validate", "Write"
"""The steps at which a batch begins and ends; to the ledger, any between them is like any other."""

PROCESS_CHUNKS, SUMMARIZE = "ProcessChunks", "Summarize"
"""The states of a bulk execution: its chunks, and the closing of its commits."""


def resumes_at(failure: Failure) -> str:
    """Name the step at which a redrive goes on: the one that failed, or the first if what it was given may be at fault.

    By then a new contract, or new code of a step, may find the same data good; and a message that a step did not
    understand is made anew. So are records that broke the code of a step: its own code may be at fault, that of a step
    before it, or a contract that lets them through; whichever is fixed, it must be run.
    What Summarize finds wrong with the data, the chunks must fix; it makes nothing of messages.
    """
    error = BY_NAME.get(failure.error, CustodyError)
    if failure.step in (PROCESS_CHUNKS, SUMMARIZE):
        return PROCESS_CHUNKS if issubclass(error, RecordsRejected | ChunksFailed) else failure.step
    return VALIDATE if issubclass(error, DataError | MessageRefused | TransformFailed) else failure.step


def console_link(arn: str) -> str:
    """Link to an execution in the Step Functions console of its region and partition."""
    _, partition, _, region, *_ = arn.split(":")
    domain = {"aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com"}.get(
        partition, f"{region}.console.aws.amazon.com"
    )
    return f"https://{domain}/states/home?region={region}#/v2/executions/details/{arn}"


def parse_ledger_file(body: bytes) -> tuple[Json, list[Json]]:
    """Read a small ledger file back whole: its header, and a line a record."""
    header, *lines = (decode(line) for line in gzip.decompress(body).splitlines())
    return header, lines


def parse_header(body: bytes) -> Json:
    """Read only the header of a ledger file, of which the first HEADER_BYTES are enough."""
    with gzip.open(io.BytesIO(body)) as lines:
        header: Json = decode(lines.readline())
    return header


def claims_of(pieces: Iterable[bytes]) -> str:
    """Hash what a ledger file tells of its records, whichever code and whichever output its header names."""
    told = sha256()
    lines = chain.from_iterable(gzip_lines.lines(gzip_lines.unpacked(pieces)))
    next(lines)
    for line in lines:
        told.update(line + b"\n")
    return told.hexdigest()
