"""The ledger and the letters: where they lie in the audit bucket, and what stands in them.

Both are append-only, and name a batch and an attempt, so that writing one twice is writing it once.
"""

import gzip
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

from functions.shared.documents import encode
from functions.shared.errors import BY_NAME, CustodyError, DataError, MessageRefused
from functions.shared.identity import record_id
from functions.shared.messages import FORMAT, Batch, Contents, Execution, Json, Span, Step

START_DIGITS = 15
"""Wide enough for any byte offset in the largest object that S3 holds, so that names sort as their starts do."""

REJECTED = "Rejected"
"""The name of the letter that stands beside a delivery: of the records that Write did not deliver."""

CAUSE_LIMIT = 8192
"""Characters of a cause that a letter keeps; the execution's history holds up to 32,768."""


@dataclass(frozen=True, slots=True)
class Written:
    """A record that was delivered: where it lay in the raw object, and where it lies in the processed object."""

    span: Span
    offset: int
    length: int
    sha256: str


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


def letters_prefix(batch: Batch, execution: Execution) -> str:
    """Say where the letters of a batch lie, of every attempt: under the day on which its execution started.

    The start of the execution is the one date that a retry and a redrive do not change.
    """
    return f"letters/dt={execution.started_at[:10]}/{batch.object.id}/{start_name(batch)}."


def letter_key(batch: Batch, name: str, execution: Execution) -> str:
    """Say where a letter lies. Its name is that of the step that failed, REJECTED, or how the execution ended."""
    return f"{letters_prefix(batch, execution)}{batch.attempt}.{name}.json"


def ledger_file(step: Step, contents: Contents, written: Iterable[Written] = (), output: Output | None = None) -> bytes:
    """Write the ledger file of a batch and attempt: a header, then a line a record, gzipped.

    A retry of the step writes the same bytes.
    """
    batch = step.batch
    lines = [_written_line(record) for record in written]
    header = {
        "format": FORMAT,
        "object": {"id": batch.object.id} | asdict(batch.object),
        "chunk": asdict(batch.chunk) if batch.chunk else None,
        "dataset": contents.dataset,
        "contract": contents.contract,
        "code": dict(contents.code),
        "execution": step.execution.arn,
        "redrive_of": batch.redrive_of,
        "parent": batch.parent,
        "attempt": batch.attempt,
        "recorded_at": step.entered_at,
        "counts": counts(len(lines), len(contents.rejected)),
        "output": asdict(output) if output else None,
    }
    lines += [record.encode() | {"outcome": "rejected"} for record in contents.rejected]
    lines.sort(key=lambda line: line["position"])
    return gzip.compress(b"".join(encode(line) + b"\n" for line in [header, *lines]), mtime=0)


def counts(written: int, rejected: int) -> Json:
    """Count the records of a batch: received = written + rejected."""
    return {"received": written + rejected, "written": written, "rejected": rejected}


def letter(
    step: Step,
    failure: Failure,
    dataset: str,
    contents: Contents | None,
    code: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """Write the letter of a batch, attempt and step.

    `contents` is None when the batch failed before it was read, or what was read of it is not known. `code` holds the
    code versions of the stages that failed to give any.
    """
    batch, execution = step.batch, step.execution
    rejected = contents.rejected if contents else ()
    error = BY_NAME.get(failure.error, CustodyError)
    return encode(
        {
            "format": FORMAT,
            "object": {"id": batch.object.id} | asdict(batch.object),
            "chunk": asdict(batch.chunk) if batch.chunk else None,
            "dataset": dataset,
            "contract": contents.contract if contents else None,
            "code": {**code, **(contents.code if contents else {})},
            "attempt": batch.attempt,
            "redrive_of": batch.redrive_of,
            "parent": batch.parent,
            "step": failure.step,
            "error": failure.error,
            "cause": failure.cause[:CAUSE_LIMIT],
            "advice": error.advice,
            "resumes_at": resumes_at(failure),
            "received": contents.received if contents else None,
            "rejected": [
                {"record": record_id(batch.object.id, record.span.position)} | record.encode() for record in rejected
            ],
            "execution": {
                "arn": execution.arn,
                "started_at": execution.started_at,
                "redrives": execution.redrives,
                "console": console_link(execution),
            },
            "recorded_at": step.entered_at,
        }
    )


def resumes_at(failure: Failure) -> str:
    """Name the step at which a redrive goes on: the one that failed, but Validate if what it was given was at fault.

    By then a new contract, or new code of a step, may find the same data good; and a message that a step did not
    understand is made anew.
    """
    begins_anew = issubclass(BY_NAME.get(failure.error, CustodyError), DataError | MessageRefused)
    return "Validate" if begins_anew else failure.step


def console_link(execution: Execution) -> str:
    """Link to an execution in the Step Functions console of its region and partition."""
    _, partition, _, region, *_ = execution.arn.split(":")
    domain = {"aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com"}.get(
        partition, f"{region}.console.aws.amazon.com"
    )
    return f"https://{domain}/states/home?region={region}#/v2/executions/details/{execution.arn}"


def _written_line(record: Written) -> dict[str, Any]:
    output = {"offset": record.offset, "length": record.length, "sha256": record.sha256}
    return record.span.encode() | {"outcome": "written", "output": output}


def parse_ledger_file(body: bytes) -> tuple[Json, list[Json]]:
    """Read a ledger file back: its header, and a line a record."""
    header, *lines = (json.loads(line) for line in gzip.decompress(body).splitlines())
    return header, lines


def same_claims(one: bytes, other: bytes) -> bool:
    """Say whether two ledger files tell the same of every record, whichever code and whichever output they name."""
    return parse_ledger_file(one)[1] == parse_ledger_file(other)[1]


def parse_header(body: bytes) -> Json:
    """Read only the header of a ledger file."""
    with gzip.open(io.BytesIO(body)) as lines:
        header: Json = json.loads(lines.readline())
    return header
