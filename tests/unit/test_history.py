"""Histories are parsed into steps and tries: as AWS documents the events, and as embedded AWS returns them.

The files that begin with `aws` follow the documentation of each event and, for redrives, that of Task and Map states;
those that begin with `embedded` were recorded.
https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html
https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html#redrive-behavior-states
"""

import re
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import FrameType
from typing import Any

import pytest

from custody.executions.history import TimelineStep, Try, steps
from custody.terminal.times import stamp
from tests.support.executions import HISTORIES, events

THROTTLED = "Lambda.TooManyRequestsException"
DONE = ["Validate succeeded", "Transform succeeded", "Write succeeded"]
DENIED = ["Write caught: AccessRefused", "DeadLetter failed: AccessRefused"]
UNREAD = ["Validate caught: RecordsRejected", "DeadLetter failed: RecordsRejected"]
RETRIED = ["Validate succeeded", f"Transform succeeded: {THROTTLED}, {THROTTLED}, -", "Write succeeded"]
UNSUMMARIZED = ["Summarize caught: RecordsRejected", "DeadLetter failed: RecordsRejected"]

STEPS = {
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
        *UNSUMMARIZED,
        *["1 DeadLetter succeeded", "1 Resume succeeded", "1 ProcessChunks succeeded"],
        *(f"1 {step}" for step in UNSUMMARIZED),
    ],
}
"""Of each step its redrive, its outcome, and the errors of its tries, with `-` for a try without one."""


def summaries(parsed: list[TimelineStep]) -> list[str]:
    return [
        (f"{step.redrive} " if step.redrive else "")
        + f"{step.name} {step.outcome}"
        + (f": {', '.join(each.error or '-' for each in step.tries)}" if any(each.error for each in step.tries) else "")
        for step in parsed
    ]


@pytest.mark.parametrize("name", STEPS)
def test_a_history_is_parsed_into_consecutive_steps_of_which_only_a_running_one_has_no_end(name: str) -> None:
    parsed = steps(events(name))
    assert summaries(parsed) == STEPS[name]
    for before, after in pairwise(parsed):
        assert before.left_at
        assert before.entered_at <= before.left_at <= after.entered_at
    assert [step.left_at is None for step in parsed] == [step.outcome == "running" for step in parsed]
    for each in (each for step in parsed for each in step.tries):
        assert each.ended_at is None or each.started_at <= each.ended_at
    # AWS does not document which event is the predecessor of another after a redrive.
    unlinked: Any = [{key: value for key, value in event.items() if key != "previousEventId"} for event in events(name)]
    assert steps(unlinked) == parsed


def without_links(rounds: int) -> Any:
    """Return a history without predecessors: so many steps, a redrive, and as many again."""
    history: list[Any] = [{"type": "ExecutionStarted"}]
    for redrive in (0, 1):
        for number in range(rounds):
            name = {"name": f"Step{number}"}
            history += [{"type": "TaskStateEntered", "stateEnteredEventDetails": name}, {"type": "TaskScheduled"}]
            history += [{"type": "TaskSucceeded"}, {"type": "TaskStateExited", "stateExitedEventDetails": name}]
        name = {"name": "Last"}
        history += [] if redrive else [{"type": "TaskStateEntered", "stateEnteredEventDetails": name}]
        history += [{"type": "TaskScheduled"}, {"type": "TaskFailed"}, {"type": "ExecutionFailed"}]
        history += [] if redrive else [{"type": "ExecutionRedriven"}]
    moment = datetime(2026, 3, 1, 10, tzinfo=UTC)
    return [event | {"id": number, "timestamp": moment} for number, event in enumerate(history, start=1)]


def instructions_for(history: Any) -> int:
    """Count the instructions that parsing a history takes, which do not depend on the load of the machine."""
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


def test_parsing_takes_linear_time_and_a_redrive_resumes_at_the_step_that_failed() -> None:
    """Step Functions keeps 25,000 events: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html."""
    assert instructions_for(without_links(200)) < 11 * instructions_for(without_links(20))
    parsed = steps(without_links(3))
    assert summaries(parsed)[3:5] == ["Last failed", "1 Step0 succeeded"]
    assert summaries(parsed)[-1] == "1 Last failed"


def test_a_step_has_each_try_with_times_in_milliseconds() -> None:
    entered = datetime(2026, 3, 1, 10, 0, 0, 620_000, tzinfo=UTC)
    cause = "Rate Exceeded. (Service: Lambda, Status Code: 429, Request ID: 6b1d4c6e-7f6a-4f0e-9d7b-0c1f7a9e2b31)"

    def after(milliseconds: int) -> str:
        return stamp(entered + timedelta(milliseconds=milliseconds))

    tries = [
        Try(after(2), after(33), 0.031, "failed", THROTTLED, cause),
        Try(after(733), after(764), 0.031, "failed", THROTTLED, cause),
        Try(after(2364), after(2818), 0.454, "succeeded"),
    ]
    _, transform, _ = steps(events("aws-retried"))
    assert transform == TimelineStep("Transform", "Task", "succeeded", 0, after(0), after(2827), 2.827, tries)


@pytest.mark.parametrize("named", ["ExecutionRedriven", "TaskStateEntered", "TaskFailed"])
def test_a_redriven_task_is_a_step_of_its_own_whatever_its_predecessor(named: str) -> None:
    """AWS documents that it is scheduled again, but not after which event."""
    history = events("aws-redriven")
    (redriven, *_) = (at for at, event in enumerate(history) if event["type"] == "ExecutionRedriven")
    scheduled = history[redriven + 1]
    assert scheduled["type"] == "TaskScheduled"
    scheduled["previousEventId"] = next(each["id"] for each in history[redriven::-1] if each["type"] == named)
    again = steps(history)[4]
    assert (again.name, again.redrive, again.entered_at) == ("DeadLetter", 1, stamp(scheduled["timestamp"]))


def test_a_call_without_an_end_ends_like_its_execution() -> None:
    (*_, transform) = steps(events("aws-timed-out"))
    (call,) = transform.tries
    assert (call.outcome, call.ended_at, call.error) == ("timed_out", None, None)
    assert transform.left_at == stamp(events("aws-timed-out")[-1]["timestamp"])


def test_a_redriven_map_run_keeps_its_arn() -> None:
    first, again, _ = steps(events("aws-bulk"))
    (aborted,), (redriven,) = first.tries, again.tries
    assert (aborted.outcome, redriven.outcome) == ("aborted", "succeeded")
    assert aborted.map_run == redriven.map_run
    assert again.kind == "Map"


def event(number: int, before: int, kind: str, **details: Any) -> Any:
    moment = datetime(2026, 3, 1, 10, 0, number, tzinfo=UTC)
    return {"id": number, "previousEventId": before, "timestamp": moment, "type": kind} | details


def named(name: str) -> Any:
    return {"name": name}


def test_calls_of_a_function_by_its_arn_are_tries() -> None:
    unknown = {"error": "Lambda.Unknown"}
    history = [
        event(1, 0, "ExecutionStarted"),
        event(2, 1, "TaskStateEntered", stateEnteredEventDetails=named("Enrich")),
        event(3, 2, "LambdaFunctionScheduled"),
        event(4, 3, "LambdaFunctionScheduleFailed", lambdaFunctionScheduleFailedEventDetails=unknown),
        event(5, 4, "LambdaFunctionScheduled"),
        event(6, 5, "LambdaFunctionStarted"),
        event(7, 6, "LambdaFunctionTimedOut", lambdaFunctionTimedOutEventDetails={"error": "States.Timeout"}),
        event(8, 7, "LambdaFunctionScheduled"),
        event(9, 8, "LambdaFunctionSucceeded"),
        event(10, 9, "TaskStateExited", stateExitedEventDetails=named("Enrich")),
    ]
    (enrich,) = steps(history)
    assert [each.outcome for each in enrich.tries] == ["failed", "timed_out", "succeeded"]
    assert enrich.outcome == "succeeded"


def test_parallel_branches_have_their_own_tries() -> None:
    history = [
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
    assert summaries(steps(history)) == ["Both failed", "Left failed: Odd", "Right succeeded"]


def test_every_history_has_expected_steps_and_only_paths_of_lambda() -> None:
    texts = {path.stem: path.read_text(encoding="utf-8") for path in HISTORIES.glob("*.json")}
    frames = re.findall(r'File \\+"(/[^"\\]+)', "".join(texts.values()))
    assert texts.keys() == STEPS.keys()
    assert [frame for frame in frames if not frame.startswith(("/var/task/", "/var/lang/"))] == []
