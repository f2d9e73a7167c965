"""Execute the real state machines, so that an execution can be interrupted at any point, stopped and redriven.

This implements only what statemachine/ uses, and refuses anything else. It skips waits, and runs the children of a Map
one after the other.
"""

import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

from tests.faults.injection import Killed, Stopped
from tests.faults.language import at, filled, matching, put

Invoke = Callable[[str, dict[str, Any]], Any]
PIPELINE = "arn:aws:states:us-east-1:123456789012:stateMachine:pipeline"
BULK = "arn:aws:states:us-east-1:123456789012:stateMachine:bulk"
UNSUCCESSFUL = ("FAILED", "ABORTED", "TIMED_OUT")
BEGINNING = datetime(2026, 11, 23, 9, tzinfo=UTC)
STATES_LIMIT = 200
"""States that an execution may enter before it counts as a loop."""


class ExecutionDoesNotExist(ClientError):
    """There is no execution with this name."""


class ExecutionAlreadyExists(ClientError):
    """There is already an execution with this name."""


class LambdaError(Exception):
    """An error of Lambda itself, such as a lost response; its text is its name."""


@dataclass
class Execution:
    """An execution: `state` is running, or was when it ended, and `data` is its input.

    `children` belong to the Map that is running; they are `is_child`, and READY until they run.
    """

    machine: str
    states: dict[str, dict[str, Any]]
    name: str
    input: dict[str, Any]
    started_at: str
    state: str
    data: dict[str, Any]
    entered_at: str
    status: str = "RUNNING"
    redrives: int = 0
    redriven_at: str | None = None
    stopped_at: str | None = None
    error: str | None = None
    cause: str | None = None
    output: Any = None
    entered: list[str] = field(default_factory=list)
    children: list["Execution"] = field(default_factory=list)
    is_child: bool = False

    @property
    def arn(self) -> str:
        return f"{self.machine.replace(':stateMachine:', ':execution:')}:{self.name}"


class Engine:
    """Runs executions to their end, one after the other, and is a client of Step Functions.

    `machines` has the definitions by ARN; `invoke` calls the function of a state with a payload, as Lambda does.
    """

    exceptions = SimpleNamespace(
        ExecutionDoesNotExist=ExecutionDoesNotExist, ExecutionAlreadyExists=ExecutionAlreadyExists
    )

    def __init__(self, machines: dict[str, dict[str, Any]], invoke: Invoke) -> None:
        self._machines = machines
        self._invoke = invoke
        self._seconds = count()
        self.executions: dict[str, Execution] = {}
        self.ends: list[dict[str, Any]] = []

    def run(self) -> None:
        """Run every execution that has not ended."""
        for execution in [each for each in self.executions.values() if each.status == "RUNNING"]:
            self._run(execution)

    def redrive(self, execution: Execution) -> None:
        """Redrive an execution: https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html.

        It resumes at the state that did not succeed, with the input of that state and without entering it again. If
        that is a Map, its children that did not succeed are redriven in the same way.
        """
        self._redriven(execution)
        self.run()

    def named(self, name: str) -> Execution:
        """Return the execution with this name, of whichever machine."""
        (execution,) = (each for each in self.executions.values() if each.name == name)
        return execution

    def _redriven(self, execution: Execution) -> None:
        assert execution.status in UNSUCCESSFUL, f"{execution.name} is {execution.status}"
        execution.redrives += 1
        execution.redriven_at = self._now()
        execution.status = "RUNNING"
        execution.stopped_at = execution.error = execution.cause = None

    # The API

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, Any]:  # noqa: A002, N803 - as the API names them
        begun = self._begun(stateMachineArn, self._machines[stateMachineArn], name, json.loads(input))
        if known := self.executions.get(begun.arn):
            if known.status == "RUNNING" and known.input == begun.input:
                return {"executionArn": known.arn}
            raise _refusal(ExecutionAlreadyExists)
        self.executions[begun.arn] = begun
        return {"executionArn": begun.arn}

    def _begun(self, machine: str, definition: dict[str, Any], name: str, given: Any) -> Execution:
        started, state = self._now(), definition["StartAt"]
        return Execution(machine, definition["States"], name, given, started, state, given, started, entered=[state])

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803 - as the API names it
        execution = self._existing(executionArn)
        described = self._description(execution) | {
            "name": execution.name,
            "startDate": datetime.fromisoformat(execution.started_at),
            "redriveStatus": "REDRIVABLE" if execution.status in UNSUCCESSFUL else "NOT_REDRIVABLE",
        }
        return {name: value for name, value in described.items() if value is not None}

    @staticmethod
    def _description(execution: Execution) -> dict[str, Any]:
        """Return what the API and the events of EventBridge have in common."""
        return {
            "executionArn": execution.arn,
            "status": execution.status,
            "input": json.dumps(execution.input),
            "redriveCount": execution.redrives,
            "error": execution.error,
            "cause": execution.cause,
        }

    def get_execution_history(self, *, executionArn: str, **_: Any) -> dict[str, Any]:  # noqa: N803 - as the API names it
        entered = reversed(self._existing(executionArn).entered)
        return {
            "events": [
                {"type": "TaskStateEntered", "timestamp": BEGINNING, "stateEnteredEventDetails": {"name": state}}
                for state in entered
            ]
        }

    def _existing(self, arn: str) -> Execution:
        if execution := self.executions.get(arn):
            return execution
        raise _refusal(ExecutionDoesNotExist)

    # The states

    def _run(self, execution: Execution) -> None:
        for _ in range(STATES_LIMIT):
            state = execution.states[execution.state]
            try:
                following = self._step(state, execution)
            except Stopped:
                self._end(execution, "ABORTED", None, "stopped by an operator")
                if execution.is_child:
                    raise
                return None
            except _Failed as failed:
                return self._end(execution, "FAILED", failed.error, failed.cause)
            if following is None:
                execution.output = execution.data
                execution.status = "SUCCEEDED"
                return None
            execution.state, execution.entered_at = following, self._now()
            execution.entered.append(following)
        raise AssertionError(f"{execution.name} loops: {execution.entered[-12:]}")

    def _step(self, state: dict[str, Any], execution: Execution) -> str | None:
        match state["Type"]:
            case "Choice":
                return self._choose(state, execution)
            case "Map":
                return self._map(state, execution)
            case _:
                return self._task(state, execution)

    def _map(self, state: dict[str, Any], execution: Execution) -> str:
        """Run a child for each item, or after a redrive those that have not succeeded; any may fail.

        Where a child is stopped, so is the execution, because operators stop the execution.
        """
        assert state["ToleratedFailurePercentage"] == 100.0
        assert state["ResultPath"] is None
        assert state["ItemProcessor"]["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
        execution.children = execution.children or [
            self._child(state, execution, number, item)
            for number, item in enumerate(at(execution.data, state["ItemsPath"]))
        ]
        for child in execution.children:
            if child.status in UNSUCCESSFUL:
                self._redriven(child)
            if child.status in {"READY", "RUNNING"}:
                child.status = "RUNNING"
                self._run(child)
        answers = [child.output for child in execution.children if child.status == "SUCCEEDED"]
        assert answers == [{}] * len(answers), "the output of a child becomes part of the output of the Map"
        execution.children = []
        return str(state["Next"])

    def _child(self, state: dict[str, Any], execution: Execution, number: int, item: Any) -> Execution:
        context = self._context(execution, 0) | {"Map": {"Item": {"Index": number, "Value": item}}}
        given = filled(state["ItemSelector"], context, execution.data)
        name = f"{execution.name}-{next(self._seconds)}"
        child = self._begun(f"{execution.machine}/{state['Label']}", state["ItemProcessor"], name, given)
        child.status, child.is_child = "READY", True
        self.executions[child.arn] = child
        return child

    def _choose(self, state: dict[str, Any], execution: Execution) -> str:
        for choice in state["Choices"]:
            if at(execution.data, choice["Variable"]) == choice["StringEquals"]:
                return str(choice["Next"])
        return str(state["Default"])

    def _task(self, state: dict[str, Any], execution: Execution) -> str | None:
        """Call a function with its retries; leave the result, or the caught error, in the data."""
        assert state["Type"] == "Task", state["Type"]
        retried: dict[int, int] = {}
        while True:
            try:
                answer = self._call(state, execution, sum(retried.values()))
            except Stopped:
                raise
            except (Exception, Killed) as raised:
                error, cause = _error_of(raised)
                retrier = matching(state.get("Retry", []), error)
                if retrier is not None and retried.get(retrier, 0) < state["Retry"][retrier]["MaxAttempts"]:
                    retried[retrier] = retried.get(retrier, 0) + 1
                    continue
                catcher = matching(state.get("Catch", []), error)
                if catcher is None:
                    raise _Failed(error, cause) from raised
                chosen = state["Catch"][catcher]
                execution.data = put(execution.data, chosen["ResultPath"], {"Error": error, "Cause": cause})
                return str(chosen["Next"])
            execution.data = {} if state["OutputPath"] is None else at({"Payload": answer}, state["OutputPath"])
            return None if state.get("End") else str(state["Next"])

    def _call(self, state: dict[str, Any], execution: Execution, retries: int) -> Any:
        payload = filled(state["Parameters"]["Payload"], self._context(execution, retries), execution.data)
        answer = self._invoke(execution.state, json.loads(json.dumps(payload)))
        return json.loads(json.dumps(answer))

    @staticmethod
    def _context(execution: Execution, retries: int) -> dict[str, Any]:
        context: dict[str, Any] = {
            "Execution": {
                "Id": execution.arn,
                "Name": execution.name,
                "Input": execution.input,
                "StartTime": execution.started_at,
                "RedriveCount": execution.redrives,
            },
            "State": {"Name": execution.state, "EnteredTime": execution.entered_at, "RetryCount": retries},
        }
        if execution.redriven_at:
            context["Execution"]["RedriveTime"] = execution.redriven_at
        return context

    def _end(self, execution: Execution, status: str, error: str | None, cause: str | None) -> None:
        execution.status, execution.error, execution.cause = status, error, cause
        execution.stopped_at = self._now()
        if not execution.is_child:  # the rule matches only the machines themselves
            self.ends.append(self._event(execution))

    def _event(self, execution: Execution) -> dict[str, Any]:
        """Return the event that EventBridge delivers."""
        times = {"startDate": execution.started_at, "stopDate": execution.stopped_at or ""}
        return {
            "source": "aws.states",
            "detail": self._description(execution) | {name: _milliseconds(time) for name, time in times.items()},
        }

    def _now(self) -> str:
        return f"{BEGINNING + timedelta(seconds=next(self._seconds)):%Y-%m-%dT%H:%M:%S.000Z}"


class _Failed(Exception):
    """A state failed, and none of its Catches applies."""

    def __init__(self, error: str, cause: str) -> None:
        super().__init__(error)
        self.error = error
        self.cause = cause


def _error_of(raised: BaseException) -> tuple[str, str]:
    """Return an error as Step Functions sees it: its name, and the cause that Lambda reports."""
    if isinstance(raised, LambdaError):
        return str(raised), ""
    if isinstance(raised, Killed):
        return "Runtime.ExitError", json.dumps({"errorType": "Runtime.ExitError", "errorMessage": "signal: killed"})
    trace = traceback.format_list(traceback.extract_tb(raised.__traceback__))
    return type(raised).__name__, json.dumps(
        {"errorType": type(raised).__name__, "errorMessage": str(raised), "stackTrace": trace}
    )


def _milliseconds(iso: str) -> int:
    return round(datetime.fromisoformat(iso).timestamp() * 1000)


def _refusal(error: type[ClientError]) -> ClientError:
    answer: Any = {"Error": {"Code": error.__name__, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    return error(answer, "any")
