"""The real state machines with the real handlers, in memory: moto runs the ASL and calls the Python functions."""

import json
import threading
import time
import traceback
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from moto.awslambda_simple.models import LambdaSimpleBackend
from moto.stepfunctions.parser.asl.antlr.runtime.ASLParser import ASLParser
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_lambda
from msgspec.structs import replace

from functions.shared.errors import ServiceUnavailable
from functions.shared.model.messages import Plan
from infra.constructs.bulk_definition import compose
from tests.support import stages
from tests.support.buckets import Buckets, session
from tests.support.steps import CALLED, FILE_OF_BULK, PIPELINE, handler

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

HANDLERS = {state: handler(state) for state in CALLED}
BULK = compose(FILE_OF_BULK, PIPELINE, chunk_concurrency=1)
"""The bulk machine as it is deployed, for one chunk at a time."""

ROLE = "arn:aws:iam::123456789012:role/machine"
DEADLINE_SECONDS = 60
GOOD = json.loads(stages.GOOD)
BAD = json.loads(stages.BAD)
LINE = len(json.dumps(GOOD)) + 1
"""The bytes of each of `lines`."""


def lines(*records: Any) -> bytes:
    """Lay records out as JSON Lines, all as long as the longest."""
    return b"".join(json.dumps(record).encode().ljust(LINE - 1) + b"\n" for record in records)


class EngineError(Exception):
    """An error that Lambda or Step Functions itself would report, such as `Lambda.TooManyRequestsException`."""


def named(error: str) -> BaseException:
    """Return the error that a Retry knows by this name."""
    return ServiceUnavailable("by AWS") if error == "ServiceUnavailable" else EngineError(error)


@dataclass(frozen=True)
class Run:
    """An execution that has ended: how, and the states it entered, in order."""

    status: str
    states: list[str]
    error: str | None
    cause: str
    output: Any


@dataclass
class Workflow:
    """The state machines, each deployed when it is first run.

    `faults` are raised, one a call, before the handler of a state is called; `waits` are the seconds that each retry
    would have waited.
    """

    buckets: Buckets
    client: "SFNClient"
    calls: Counter[str] = field(default_factory=Counter)
    faults: dict[str, deque[BaseException]] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, state: str, *errors: BaseException) -> None:
        """Let the next calls of a state's function fail, one with each error."""
        self.faults[state] = deque(errors)

    def invoke(self, state: str, payload: dict[str, Any]) -> tuple[Any, bool]:
        """Call the handler of a state as Lambda would; return its result, and whether it failed."""
        with self.lock:
            self.calls[state] += 1
        try:
            return self._answer(state, payload), False
        except EngineError as error:
            return {"errorType": str(error), "errorMessage": "by the engine"}, True
        except Exception as error:  # noqa: BLE001 - Lambda answers for whatever a function raises
            trace = traceback.format_list(traceback.extract_tb(error.__traceback__))
            return {"errorType": type(error).__name__, "errorMessage": str(error), "stackTrace": trace}, True

    def _answer(self, state: str, payload: dict[str, Any]) -> Any:
        if faults := self.faults.get(state):
            raise faults.popleft()
        return HANDLERS[state](payload, None)

    def run(self, key: str, body: bytes, *, chunk_bytes: int | None = None) -> Run:
        """Upload an object, start its execution as `start` does, and wait until it has ended."""
        batch = self.buckets.upload(key, body)
        if chunk_bytes:
            batch = replace(batch, plan=Plan(chunk_bytes, tuple(range(0, len(body), chunk_bytes))))
        name, definition = ("bulk", BULK) if chunk_bytes else ("pipeline", PIPELINE)
        machine = self.client.create_state_machine(name=name, definition=filled(definition), roleArn=ROLE)
        started = self.client.start_execution(
            stateMachineArn=machine["stateMachineArn"], name=batch.object.id, input=json.dumps(batch.encode())
        )
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (ended := self.client.describe_execution(executionArn=started["executionArn"]))["status"] == "RUNNING":
            assert time.monotonic() < deadline, f"the execution of {key} has not ended; calls: {self.calls}"
            time.sleep(0.01)
        events = self.client.get_execution_history(executionArn=started["executionArn"])["events"]
        return Run(
            status=ended["status"],
            states=[
                event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event
            ],
            error=ended.get("error"),
            cause=ended.get("cause", ""),
            output=json.loads(ended["output"]) if "output" in ended else None,
        )


_parse: Any = ASLParser.state_machine
_SYNTAX_TREES: dict[str, Any] = {}


def parse_once(parser: ASLParser) -> Any:
    """Return the syntax tree of a definition, which moto parses anew whenever it creates or starts a state machine."""
    definition = str(parser.getTokenStream().tokenSource.inputStream)
    if definition not in _SYNTAX_TREES:
        _SYNTAX_TREES[definition] = _parse(parser)
    return _SYNTAX_TREES[definition]


@pytest.fixture
def workflow(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> Workflow:
    """Provide the state machines; their retries do not wait."""
    monkeypatch.setattr(ASLParser, "state_machine", parse_once)
    workflow = Workflow(buckets, step_functions())

    def invoke(
        _: LambdaSimpleBackend, function_name: str, __: Any, body: Any, ___: Any, response_headers: dict[str, str]
    ) -> bytes:
        answer, failed = workflow.invoke(function_name.rpartition(":")[2], json.loads(body))
        if failed:
            response_headers["x-amz-function-error"] = "Unhandled"
        return json.dumps(answer).encode()

    monkeypatch.setattr(LambdaSimpleBackend, "invoke", invoke)
    monkeypatch.setattr(retrier_decl, "time", SimpleNamespace(sleep=workflow.waits.append))
    monkeypatch.setattr(state_task_service_lambda, "CustomErrorName", error_named)
    return workflow


@cache
def step_functions() -> "SFNClient":
    """Create one client for all tests."""
    return session().client("stepfunctions")


def error_named(name: str) -> ErrorName:
    """Let a function's answer stand for an error of the engine too: moto keeps those names to itself."""
    return StatesErrorName.from_name(name) if name.startswith("States.") else CustomErrorName(name)


def filled(definition: dict[str, Any]) -> str:
    """Fill in the placeholders of a definition."""
    text = json.dumps(definition).replace("${Partition}", "aws")
    for state in HANDLERS:
        text = text.replace(f"${{{state}FunctionArn}}", f"arn:aws:lambda:us-east-1:123456789012:function:{state}")
    return text
