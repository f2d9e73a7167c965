"""What failures leave behind: dead letters and ledger files as the handlers write them, and executions in memory.

There are two state machines: the pipeline, and the bulk state machine.
"""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError
from msgspec.structs import replace

from custody.executions.pipeline import Pipeline
from functions.shared.audit.dead_letter import Failure, dead_letter
from functions.shared.audit.ledger_file import header_of, ledger_file
from functions.shared.model.keys import DeadLetterKey, LedgerKey
from functions.shared.model.ledger import OutputSpan, RejectedLine, WrittenLine
from functions.shared.model.messages import Batch, Chunk, Counts, Execution, Facts, Step
from functions.shared.records.gzip_lines import Packed
from functions.shared.records.strict_json import encode_struct
from tests.support.buckets import EXECUTION_ARN, Buckets

MACHINE_ARN = "arn:aws:states:us-east-1:123456789012:stateMachine:pipeline"
BULK_ARN = "arn:aws:states:us-east-1:123456789012:stateMachine:bulk"
STARTED = datetime(2026, 11, 23, 9, tzinfo=UTC)
HISTORIES = Path(__file__).parent / "histories"


def events(name: str) -> list[Any]:
    """Read the events of a history in `HISTORIES`, as boto3 returns them."""
    history = json.loads((HISTORIES / f"{name}.json").read_text(encoding="utf-8"))["events"]
    return [event | {"timestamp": datetime.fromisoformat(event["timestamp"])} for event in history]


def arn_of(name: str, machine: str = MACHINE_ARN) -> str:
    return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"


def step_of(batch: Batch, state: str = "Write", arn: str | None = None) -> Step:
    execution = Execution(arn or arn_of(batch.object.id), "2026-11-23T09:00:00.000Z")
    return Step(state, batch.encode(), batch, execution, "2026-11-23T09:00:01.000Z")


def post(buckets: Buckets, batch: Batch, *, name: str = "Write", error: str = "AccessRefused", arn: str = "") -> str:
    """Write the dead letter of a batch and attempt; return its id."""
    step = step_of(batch, arn=arn or None)
    body = dead_letter(step, Failure("Write", error, "caused by a test"), "mission", None)
    key = DeadLetterKey.of(batch, name, step.execution)
    buckets.put("audit", key.key, body)
    return key.id


def commit(buckets: Buckets, batch: Batch, *, written: int = 1, rejected: int = 0, arn: str = "") -> str:
    """Write the ledger file of a batch and attempt; return its key."""
    first = batch.start
    spans = [(position, 0, 1, "0") for position in range(first, first + written + rejected)]
    facts = Facts("mission", "2026-11-23T09:00:00Z", "urn:contract")
    key = LedgerKey.of(batch).key
    header = header_of(step_of(batch, arn=arn or None), facts, Counts(written + rejected, written, rejected))
    with Packed() as lines:
        for span in spans[:written]:
            lines.add(encode_struct(WrittenLine(*span, OutputSpan(0, 1, "0"))) + b"\n")
        for span in spans[written:]:
            lines.add(encode_struct(RejectedLine(*span, "validate", (), 0)) + b"\n")
        with ledger_file(header, lines) as file:
            buckets.put("audit", key, file.read())
    return key


def discard(buckets: Buckets, batch: Batch) -> None:
    """Discard the records of a batch and attempt, as an operator does."""
    key = replace(LedgerKey.of(batch), discards=True).key
    buckets.put("audit", key, b"")


def chunk_of(batch: Batch, start: int, attempt: int = 0) -> Batch:
    """Return the batch of a chunk of a bulk object."""
    assert batch.plan is not None
    chunk = Chunk(start, batch.plan.chunk_bytes)
    return replace(batch, plan=None, chunk=chunk, attempt=attempt, parent=EXECUTION_ARN)


@cache
def _exceptions() -> Any:
    return boto3.client("stepfunctions").exceptions


class Machine:
    """A client of Step Functions with both state machines; executions end as a test says. moto cannot redrive.

    `calls` counts the calls that describe and list executions, and `listed` has the ARNs of those that were listed.
    """

    def __init__(self, buckets: Buckets) -> None:
        self.buckets = buckets
        self.exceptions = _exceptions()
        self.definition, self.revision = "now", "r2"
        self.executions: dict[str, dict[str, Any]] = {}
        self.definitions: dict[str, tuple[str, str]] = {}
        self.refusals: dict[str, str] = {}
        self.ends: dict[str, Any] = {"status": "SUCCEEDED"}
        self.tokens: list[str] = []
        self.asked = 0
        self.calls = Counter[str]()
        self.listed: list[str] = []
        self.histories: dict[str, str] = {}
        self.map_run: dict[str, int] | None = {"total": 7, "succeeded": 6, "failed": 1}

    def pipeline(self, chunk_bytes: int = 0) -> Pipeline:
        """Return the pipeline on this client."""
        client: Any = self
        return Pipeline(client, MACHINE_ARN, BULK_ARN, chunk_bytes, (".jsonl", ".ndjson"))

    def add(self, batch: Batch, status: str = "FAILED", *, name: str = "", redrives: int = 0, **more: Any) -> str:
        """Add an execution of a batch; give its ARN."""
        name = name or (f"{batch.object.id}-r{batch.attempt}" if batch.attempt else batch.object.id)
        arn = arn_of(name, BULK_ARN if batch.plan else MACHINE_ARN)
        status_of = {
            "redriveStatus": "REDRIVABLE" if status in {"FAILED", "TIMED_OUT", "ABORTED"} else "NOT_REDRIVABLE"
        }
        described = {"executionArn": arn, "status": status, "startDate": STARTED, "redriveCount": redrives}
        self.executions[arn] = described | {"input": json.dumps(batch.encode())} | status_of | more
        self.definitions.setdefault(arn, (self.definition, self.revision))
        return arn

    def describe_execution(self, *, executionArn: str) -> Any:  # noqa: N803 - as boto3 has it
        self.calls["DescribeExecution"] += 1
        if executionArn not in self.executions:
            raise self.error("ExecutionDoesNotExist")
        return self.executions[executionArn]

    def redrive_execution(self, *, executionArn: str, clientToken: str) -> Any:  # noqa: N803 - as boto3 has it
        if executionArn in self.refusals:
            raise self.error(self.refusals[executionArn])
        self.tokens.append(clientToken)
        execution = self.executions[executionArn]
        execution.update({"redriveCount": execution["redriveCount"] + 1} | self.ends)

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> Any:  # noqa: A002, N803 - as boto3 has it
        batch = Batch.decode(json.loads(input))
        assert stateMachineArn == (BULK_ARN if batch.plan else MACHINE_ARN)
        if arn_of(name, stateMachineArn) in self.executions:
            raise self.error("ExecutionAlreadyExists")
        arn = self.add(batch, name=name, **({"startDate": datetime.now(UTC)} | self.ends))
        self.executions[arn]["input"] = input
        return {"executionArn": arn}

    def describe_state_machine(self, *, stateMachineArn: str) -> Any:  # noqa: N803 - as boto3 has it
        assert stateMachineArn in {MACHINE_ARN, BULK_ARN}
        return {"definition": self.definition}

    def describe_state_machine_for_execution(self, *, executionArn: str) -> Any:  # noqa: N803 - as boto3 has it
        self.asked += 1
        definition, revision = self.definitions[executionArn]
        return {"definition": definition, "revisionId": revision}

    def get_paginator(self, name: str) -> Any:
        assert name in {"list_executions", "get_execution_history"}
        self.calls[name] += 1
        return self

    def paginate(
        self,
        *,
        stateMachineArn: str = "",  # noqa: N803 - as boto3 has it
        statusFilter: str | None = None,  # noqa: N803 - as boto3 has it
        executionArn: str = "",  # noqa: N803 - as boto3 has it
        **_: Any,
    ) -> Iterator[Any]:
        if executionArn:
            yield from self.history(executionArn)
            return
        of_machine = [each for arn, each in self.executions.items() if arn.startswith(arn_of("", stateMachineArn))]
        for execution in sorted(of_machine, key=lambda each: each["startDate"], reverse=True):
            if statusFilter in {None, execution["status"]}:
                self.listed.append(execution["executionArn"])
                yield {"executions": [execution]}

    def history(self, arn: str) -> Iterator[Any]:
        """Yield the pages of a history: from a file in tests/support/histories, or empty."""
        if arn not in self.executions:
            raise self.error("ExecutionDoesNotExist")
        history = events(self.histories[arn]) if arn in self.histories else []
        yield {"events": history[:3]}
        yield {"events": history[3:]}

    def list_map_runs(self, *, executionArn: str) -> Any:  # noqa: N803 - as boto3 has it
        if self.map_run is None:
            raise self.error("UnknownOperationException")
        return {"mapRuns": [{"mapRunArn": f"{executionArn}:mapRun", "startDate": STARTED}] if self.map_run else []}

    def describe_map_run(self, *, mapRunArn: str) -> Any:  # noqa: N803 - as boto3 has it
        assert ":mapRun" in mapRunArn
        return {"itemCounts": dict.fromkeys(("aborted", "timedOut", "running", "pending"), 0) | (self.map_run or {})}

    def error(self, code: str) -> ClientError:
        """Make the error that boto3 raises for an answer."""
        answer: Any = {"Error": {"Code": code, "Message": "caused by a test"}}
        named = getattr(self.exceptions, code) if code.startswith("Execution") else ClientError
        made: ClientError = named(answer, "Called")
        return made
