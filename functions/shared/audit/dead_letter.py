"""Write a dead letter: what failed, where and why, and where a redrive resumes."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import asdict

from functions.shared.audit.ledger_file import batch_fields
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
from functions.shared.model.ledger import DeadLetter, FailedExecution, ListedRecord
from functions.shared.model.messages import Counts, Facts, Step
from functions.shared.model.records import Rejected
from functions.shared.records.strict_json import encode_struct

LISTED = 1000
"""The most rejected records that a dead letter lists; the ledger file of the batch lists each."""
LISTED_BYTES = 900_000
"""The most that they take; with all the rest, a dead letter stays below a megabyte."""

CAUSE_LIMIT = 8192
"""Characters of a cause that a dead letter keeps; the execution's history holds up to 32,768."""

VALIDATE, WRITE = "Validate", "Write"
"""The first and the last step of a batch; a step between them is treated like any other."""

PROCESS_CHUNKS, SUMMARIZE = "ProcessChunks", "Summarize"
"""The states of a bulk execution."""


class Failure(Struct, frozen=True):
    """What ended an attempt: the step, the name of the error, and its cause."""

    step: str
    error: str
    cause: str


class Contents(Struct, frozen=True):
    """What is known of the records of a failed batch; `first` are the rejected records to list."""

    facts: Facts
    counts: Counts
    first: Sequence[Rejected] = ()


def dead_letter(
    step: Step,
    failure: Failure,
    dataset: str,
    contents: Contents | None,
    code: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """Return the dead letter of a batch, attempt and step.

    `contents` is None if the batch failed before it was read, or its records cannot be read. `code` holds the code
    versions of the stages that failed before they could report theirs.
    """
    object_id, execution = step.batch.object.id, step.execution
    letter = DeadLetter(
        **batch_fields(step),
        dataset=dataset,
        contract=contents.facts.contract if contents else None,
        code={**code, **(contents.facts.code if contents else {})},
        step=failure.step,
        error=failure.error,
        cause=failure.cause[:CAUSE_LIMIT],
        advice=BY_NAME.get(failure.error, CustodyError).advice,
        resumes_at=resumes_at(failure),
        received=contents.counts.received if contents else None,
        rejected_count=contents.counts.rejected if contents else None,
        rejected=tuple(_listed(contents.first, object_id) if contents else ()),
        execution=FailedExecution(execution.arn, execution.started_at, execution.redrives, console_link(execution.arn)),
    )
    return encode_struct(letter)


def _listed(rejected: Sequence[Rejected], object_id: str) -> Iterator[ListedRecord]:
    """List rejected records until there are too many, or they take too much."""
    size = 0
    for each in rejected[:LISTED]:
        listed = ListedRecord(**asdict(each), record=record_id(object_id, each.position))
        size += len(encode_struct(listed))
        if size > LISTED_BYTES:
            return
        yield listed


def resumes_at(failure: Failure) -> str:
    """Return the step at which a redrive resumes: the one that failed, or the first if its input may be at fault.

    By then a new contract, or new code of a step, may accept the same data; and a message that a step did not
    understand is made anew. So are records that broke the code of a step: the fault may lie in that code, in the code
    of a step before it, or in a contract that lets them through, and whichever is fixed must be run.
    A data error at Summarize is fixed by processing chunks again; Summarize itself makes no messages.
    """
    error = BY_NAME.get(failure.error, CustodyError)
    if failure.step in (PROCESS_CHUNKS, SUMMARIZE):
        return PROCESS_CHUNKS if issubclass(error, RecordsRejected | ChunksFailed) else failure.step
    return VALIDATE if issubclass(error, DataError | MessageRefused | TransformFailed) else failure.step


def console_domain(arn: str) -> str | None:
    """Return the domain of the console of a region and partition; None for a partition whose console is not known."""
    _, partition, _, region, *_ = arn.split(":")
    return {
        "aws": f"{region}.console.aws.amazon.com",
        "aws-cn": "console.amazonaws.cn",
        "aws-us-gov": "console.amazonaws-us-gov.com",
    }.get(partition)


def console_link(arn: str) -> str | None:
    """Return the URL of an execution in the Step Functions console, if that is known."""
    domain, region = console_domain(arn), arn.split(":")[3]
    return domain and f"https://{domain}/states/home?region={region}#/v2/executions/details/{arn}"
