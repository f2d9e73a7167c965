"""A history becomes steps and tries: as AWS documents its events, and as embedded AWS has given them.

The files that begin with `aws` are built after the documentation of each event, for a redrive after what it says of
Task and Map states; those that begin with `embedded` were recorded.
https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html
https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html#redrive-behavior-states
"""

import re
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from custody.executions.history import Step, Try, steps
from tests.support.histories import FOLDER, events

THROTTLED = "Lambda.TooManyRequestsException"
DONE = ["Validate succeeded", "Transform succeeded", "Write succeeded"]
DENIED = ["Write caught: AccessRefused", "DeadLetter failed: AccessRefused"]
UNREAD = ["Validate caught: RecordsRejected", "DeadLetter failed: RecordsRejected"]
RETRIED = ["Validate succeeded", f"Transform succeeded: {THROTTLED}, {THROTTLED}, -", "Write succeeded"]
UNBOOKED = ["Summarize caught: RecordsRejected", "DeadLetter failed: RecordsRejected"]

TOLD = {
    "aws-good": DONE,
    "aws-retried": RETRIED,
    "aws-rejected": UNREAD,
    "aws-step-timed-out": [
        "Validate succeeded",
        "Transform caught: States.Timeout, States.Timeout",
        "DeadLetter failed: StepFailed",
    ],
    "aws-timed-out": ["Validate succeeded", "Transform timed_out"],
    "aws-aborted": ["Validate succeeded", "Transform aborted"],
    "aws-running": ["Validate succeeded", "Transform running"],
    "aws-redriven": [
        *DONE[:2],
        *DENIED,
        *["1 DeadLetter succeeded", "1 Resume succeeded", *(f"1 {step}" for step in DENIED)],
        *["2 DeadLetter succeeded", "2 Resume succeeded", "2 Write succeeded"],
    ],
    "aws-bulk": ["ProcessChunks aborted", "1 ProcessChunks succeeded", "1 Summarize succeeded"],
    "embedded-good": DONE,
    "embedded-retried": RETRIED,
    "embedded-rejected": UNREAD,
    "embedded-timed-out": ["Pause timed_out"],
    "embedded-aborted": ["Pause aborted"],
    "embedded-redriven": [
        *DONE[:2],
        *DENIED,
        *["1 DeadLetter succeeded", "1 Resume succeeded", "1 Write succeeded"],
    ],
    "embedded-bulk": [
        "ProcessChunks succeeded",
        *UNBOOKED,
        *["1 DeadLetter succeeded", "1 Resume succeeded", "1 ProcessChunks succeeded"],
        *(f"1 {step}" for step in UNBOOKED),
    ],
}
"""Of each step the redrive that entered it, its outcome, and the errors of its tries; `-` for a good one of several."""


def summed_up(found: tuple[Step, ...]) -> list[str]:
    return [
        (f"{step.redrive} " if step.redrive else "")
        + f"{step.name} {step.outcome}"
        + (f": {', '.join(one.error or '-' for one in step.tries)}" if any(one.error for one in step.tries) else "")
        for step in found
    ]


def test_every_history_is_told_of() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == TOLD.keys()


@pytest.mark.parametrize("name", TOLD)
def test_a_history_becomes_its_steps(name: str) -> None:
    assert summed_up(steps(events(name))) == TOLD[name]


@pytest.mark.parametrize("name", TOLD)
def test_steps_follow_one_another_and_only_what_runs_has_no_end(name: str) -> None:
    found = steps(events(name))
    for before, after in pairwise(found):
        assert before.left_at
        assert before.entered_at <= before.left_at <= after.entered_at
    assert [step.left_at is None for step in found] == [step.outcome == "running" for step in found]
    for one in (one for step in found for one in step.tries):
        assert one.ended_at is None or one.started_at <= one.ended_at


@pytest.mark.parametrize("name", TOLD)
def test_no_event_needs_to_name_the_one_before_it(name: str) -> None:
    """It tells branches apart; what it is after a redrive AWS does not document."""
    unlinked = [{key: value for key, value in event.items() if key != "previousEventId"} for event in events(name)]
    told: Any = unlinked
    assert steps(told) == steps(events(name))


def without_links(rounds: int) -> Any:
    """Give a history that names no event before another: so many steps, a redrive, and as many again."""
    told: list[Any] = [{"type": "ExecutionStarted"}]
    for redrive in (0, 1):
        for number in range(rounds):
            name = {"name": f"Step{number}"}
            told += [{"type": "TaskStateEntered", "stateEnteredEventDetails": name}, {"type": "TaskScheduled"}]
            told += [{"type": "TaskSucceeded"}, {"type": "TaskStateExited", "stateExitedEventDetails": name}]
        name = {"name": "Last"}
        told += [] if redrive else [{"type": "TaskStateEntered", "stateEnteredEventDetails": name}]
        told += [{"type": "TaskScheduled"}, {"type": "TaskFailed"}, {"type": "ExecutionFailed"}]
        told += [] if redrive else [{"type": "ExecutionRedriven"}]
    moment = datetime(2026, 3, 1, 10, tzinfo=UTC)
    return [event | {"id": number, "timestamp": moment} for number, event in enumerate(told, start=1)]


def work_of(history: Any) -> int:
    """Count the instructions that reading a history takes, which no other load of the machine changes."""
    number = 0

    def count(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal number
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        number += event == "opcode"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        steps(history)
    finally:
        sys.settrace(before)
    return number


def test_the_work_to_read_a_history_grows_as_its_length_does() -> None:
    """Step Functions keeps 25,000 events: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html."""
    assert work_of(without_links(200)) < 11 * work_of(without_links(20))


def test_a_redrive_goes_on_at_the_step_that_failed_however_many_are_entered_before_it_is_found() -> None:
    told = steps(without_links(3))
    assert summed_up(told)[3:5] == ["Last failed", "1 Step0 succeeded"]
    assert summed_up(told)[-1] == "1 Last failed"


def test_a_step_is_told_to_the_thousandth_of_a_second_with_each_try() -> None:
    entered = datetime(2026, 3, 1, 10, 0, 0, 620_000, tzinfo=UTC)
    cause = "Rate Exceeded. (Service: Lambda, Status Code: 429, Request ID: 6b1d4c6e-7f6a-4f0e-9d7b-0c1f7a9e2b31)"

    def after(milliseconds: int) -> datetime:
        return entered + timedelta(milliseconds=milliseconds)

    tries = (
        Try(after(2), after(33), THROTTLED, cause, "failed"),
        Try(after(733), after(764), THROTTLED, cause, "failed"),
        Try(after(2364), after(2818), None, None, "succeeded"),
    )
    _, transform, _ = steps(events("aws-retried"))
    assert transform == Step("Transform", "Task", entered, after(2827), tries, "succeeded", 0)


@pytest.mark.parametrize("named", ["ExecutionRedriven", "TaskStateEntered", "TaskFailed"])
def test_a_redriven_task_is_a_step_of_its_own_whichever_event_it_names_before_it(named: str) -> None:
    """AWS documents that it is scheduled again, and not from which event on."""
    history = events("aws-redriven")
    (redriven, *_) = (at for at, event in enumerate(history) if event["type"] == "ExecutionRedriven")
    scheduled = history[redriven + 1]
    assert scheduled["type"] == "TaskScheduled"
    scheduled["previousEventId"] = next(one["id"] for one in history[redriven::-1] if one["type"] == named)
    again = steps(history)[4]
    assert (again.name, again.redrive, again.entered_at) == ("DeadLetter", 1, scheduled["timestamp"])


def test_a_call_that_an_execution_did_not_wait_for_ends_as_the_execution_did() -> None:
    (*_, transform) = steps(events("aws-timed-out"))
    (one,) = transform.tries
    assert (one.outcome, one.ended_at, one.error) == ("timed_out", None, None)
    assert transform.left_at == events("aws-timed-out")[-1]["timestamp"]


def test_a_run_of_a_map_is_named_and_redriven_under_its_name() -> None:
    first, again, _ = steps(events("aws-bulk"))
    (aborted,), (redriven,) = first.tries, again.tries
    assert (aborted.outcome, redriven.outcome) == ("aborted", "succeeded")
    assert aborted.map_run == redriven.map_run
    assert again.kind == "Map"


def test_events_of_a_function_called_by_its_own_arn_are_tries_too() -> None:
    def event(number: int, kind: str, **details: Any) -> Any:
        moment = datetime(2026, 3, 1, 10, 0, number, tzinfo=UTC)
        return {"id": number, "previousEventId": number - 1, "timestamp": moment, "type": kind} | details

    told = [
        event(1, "ExecutionStarted"),
        event(2, "TaskStateEntered", stateEnteredEventDetails={"name": "Enrich"}),
        event(3, "LambdaFunctionScheduled"),
        event(4, "LambdaFunctionScheduleFailed", lambdaFunctionScheduleFailedEventDetails={"error": "Lambda.Unknown"}),
        event(5, "LambdaFunctionScheduled"),
        event(6, "LambdaFunctionStarted"),
        event(7, "LambdaFunctionTimedOut", lambdaFunctionTimedOutEventDetails={"error": "States.Timeout"}),
        event(8, "LambdaFunctionScheduled"),
        event(9, "LambdaFunctionSucceeded"),
        event(10, "TaskStateExited", stateExitedEventDetails={"name": "Enrich"}),
    ]
    (enrich,) = steps(told)
    assert [one.outcome for one in enrich.tries] == ["failed", "timed_out", "succeeded"]
    assert enrich.outcome == "succeeded"


def test_branches_that_run_beside_one_another_keep_their_own_tries() -> None:
    def event(number: int, before: int, kind: str, **details: Any) -> Any:
        moment = datetime(2026, 3, 1, 10, 0, number, tzinfo=UTC)
        return {"id": number, "previousEventId": before, "timestamp": moment, "type": kind} | details

    def named(name: str) -> Any:
        return {"name": name}

    told = [
        event(1, 0, "ExecutionStarted"),
        event(2, 0, "ParallelStateEntered", stateEnteredEventDetails=named("Both")),
        event(3, 2, "ParallelStateStarted"),
        event(4, 3, "TaskStateEntered", stateEnteredEventDetails=named("Left")),
        event(5, 3, "TaskStateEntered", stateEnteredEventDetails=named("Right")),
        event(6, 4, "TaskScheduled"),
        event(7, 5, "TaskScheduled"),
        event(8, 6, "TaskFailed", taskFailedEventDetails={"error": "Odd"}),
        event(9, 7, "TaskSucceeded"),
        event(10, 9, "TaskStateExited", stateExitedEventDetails=named("Right")),
        event(11, 8, "ParallelStateFailed"),
        event(12, 11, "ExecutionFailed"),
    ]
    assert summed_up(steps(told)) == ["Both failed", "Left failed: Odd", "Right succeeded"]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_a_recorded_history_tells_of_no_machine_but_that_of_lambda(path: Path) -> None:
    frames = re.findall(r'File \\+"(/[^"\\]+)', path.read_text(encoding="utf-8"))
    assert [frame for frame in frames if not frame.startswith(("/var/task/", "/var/lang/"))] == []
