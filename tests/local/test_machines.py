"""State machines catch, retry, end and start as on AWS."""

import json
import time
from typing import Any

import pytest

from local.patches.step_functions import tasks
from tests.support.embedded_aws import EmbeddedAws, allow, until

REJECTING = "class RecordsRejected(Exception): pass\ndef handler(event, context): raise RecordsRejected('bad')\n"
THROTTLED = "Lambda.TooManyRequestsException"
OPTIMIZED = "arn:aws:states:::lambda:invoke"


def task(function: str, **more: Any) -> dict[str, Any]:
    parameters = {"FunctionName": function, "Payload.$": "$"}
    end = {} if "Next" in more else {"End": True}
    return {"Type": "Task", "Resource": OPTIMIZED, "Parameters": parameters, "OutputPath": "$.Payload", **end, **more}


def only(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"StartAt": "Do", "States": {"Do": state}, **more}


@pytest.fixture(scope="module")
def echo(cloud: EmbeddedAws) -> str:
    return cloud.function("echo", "def handler(event, context): return event\n")


@pytest.fixture(scope="module")
def rejecting(cloud: EmbeddedAws) -> str:
    return cloud.function("rejecting-task", REJECTING)


# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html


def test_a_failed_execution_carries_class_name_and_report(cloud: EmbeddedAws, rejecting: str) -> None:
    ended = cloud.run(cloud.machine("failing", only(task(rejecting))))
    assert (ended["status"], ended["error"], ended["output"]) == ("FAILED", "RecordsRejected", None)
    cause = json.loads(ended["cause"])
    assert (cause["errorType"], cause["errorMessage"]) == ("RecordsRejected", "bad")
    assert "index.py" in cause["stackTrace"][0]
    history = cloud.history(ended["executionArn"])
    assert [e["taskFailedEventDetails"]["error"] for e in history if e["type"] == "TaskFailed"] == ["RecordsRejected"]


def test_catch_matches_the_class_and_creates_its_result_path(cloud: EmbeddedAws, rejecting: str, echo: str) -> None:
    catch = [
        {"ErrorEquals": ["Exception"], "ResultPath": "$.wrong", "Next": "DeadLetter"},
        {"ErrorEquals": ["RecordsRejected"], "ResultPath": "$.failure.Do", "Next": "DeadLetter"},
    ]
    dead_letter = task(echo) | {
        "Parameters": {
            "FunctionName": echo,
            "Payload": {"failure.$": "$.failure", "execution.$": "$$.Execution", "state.$": "$$.State", "in.$": "$.in"},
        }
    }
    definition = only(task(rejecting, Catch=catch, Next="DeadLetter"))
    definition["States"]["DeadLetter"] = dead_letter
    ended = cloud.run(cloud.machine("catching", definition), {"in": 1})
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    given = ended["output"]
    assert given["in"] == 1
    assert given["failure"]["Do"]["Error"] == "RecordsRejected"
    assert given["execution"]["Id"] == ended["executionArn"]
    assert {"Name", "StartTime", "Input"} <= set(given["execution"])
    assert given["state"]["Name"] == "DeadLetter"
    assert given["state"]["EnteredTime"].endswith("Z")


def test_retry_matches_the_class_and_honours_the_maximum_delay(cloud: EmbeddedAws, rejecting: str) -> None:
    retry = {
        "ErrorEquals": ["RecordsRejected"],
        "IntervalSeconds": 1,
        "BackoffRate": 60,
        "MaxAttempts": 3,
        "MaxDelaySeconds": 2,
        "JitterStrategy": "FULL",
    }
    before = time.monotonic()
    ended = cloud.run(cloud.machine("retrying", only(task(rejecting, Retry=[retry]))))
    assert time.monotonic() - before < 4, "waits are scaled to a tenth: at most 0.5 s of them were asked for"
    history = cloud.history(ended["executionArn"])
    assert len([event for event in history if event["type"] == "TaskFailed"]) == 4


@pytest.mark.parametrize(("earlier", "most"), [(0, 2.0), (1, 6.0), (2, 7.0), (9, 7.0)])
@pytest.mark.parametrize("jitter", ["NONE", "FULL"])
def test_a_delay_grows_up_to_the_maximum_and_jitter_spreads_it(earlier: int, most: float, jitter: str) -> None:
    retrier = {"IntervalSeconds": 2, "BackoffRate": 3, "MaxDelaySeconds": 7, "JitterStrategy": jitter}
    delays = [tasks.delay(retrier, earlier) for _ in range(200)]
    assert (0 if jitter == "FULL" else most) <= min(delays) <= max(delays) <= most
    assert (max(delays) - min(delays) > most / 2) == (jitter == "FULL")


def test_a_result_over_256_kib_fails_and_is_not_caught_by_states_all(cloud: EmbeddedAws) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html."""
    function = cloud.function("large", "def handler(event, context): return 'x' * event['size']\n")
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
    definition = only(task(function, Catch=catch))
    definition["States"]["Caught"] = {"Type": "Succeed"}
    machine = cloud.machine("large", definition)
    assert cloud.run(machine, {"size": 256 * 1024 - 2})["status"] == "SUCCEEDED"
    ended = cloud.run(machine, {"size": 256 * 1024 - 1})
    assert (ended["status"], ended.get("error")) == ("FAILED", "States.DataLimitExceeded")


def test_a_throttled_task_fails_as_a_throttle_and_is_retried(cloud: EmbeddedAws) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html#bp-lambda-serviceexception."""
    function = cloud.function("throttled", "def handler(event, context): return event\n")
    cloud.functions.put_function_concurrency(FunctionName="throttled", ReservedConcurrentExecutions=0)
    retry = [{"ErrorEquals": [THROTTLED], "IntervalSeconds": 1, "MaxAttempts": 1, "MaxDelaySeconds": 1}]
    ended = cloud.run(cloud.machine("throttling", only(task(function, Retry=retry))))
    assert (ended["status"], ended["error"]) == ("FAILED", THROTTLED)
    assert "ReservedFunctionConcurrentInvocationLimitExceeded" in ended["cause"]
    history = cloud.history(ended["executionArn"])
    assert [e["taskFailedEventDetails"]["error"] for e in history if e["type"] == "TaskFailed"] == [THROTTLED] * 2


# https://docs.aws.amazon.com/step-functions/latest/dg/statemachine-structure.html


def test_a_machine_that_exceeds_its_timeout_stays_timed_out(cloud: EmbeddedAws) -> None:
    function = cloud.function(
        "late", "import time\ndef handler(event, context): time.sleep(1.5); raise ValueError\n", Timeout=9
    )
    machine = cloud.machine("late", only(task(function), TimeoutSeconds=1))
    ended = cloud.run(machine)
    assert (ended["status"], ended.get("error")) == ("TIMED_OUT", "States.Timeout")
    time.sleep(1)  # until the function has failed
    assert cloud.ended(ended["executionArn"])["status"] == "TIMED_OUT"
    history = cloud.history(ended["executionArn"])
    assert history[-1]["type"] == "ExecutionTimedOut"


# https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html


def test_a_repeated_start_returns_the_running_execution(cloud: EmbeddedAws) -> None:
    machine = cloud.machine("paused", only({"Type": "Wait", "Seconds": 20, "End": True}))
    first = cloud.machines.start_execution(stateMachineArn=machine, name="same", input='{"a": 1}')
    again = cloud.machines.start_execution(stateMachineArn=machine, name="same", input='{"a": 1}')
    assert (again["executionArn"], again["startDate"]) == (first["executionArn"], first["startDate"])
    with pytest.raises(cloud.machines.exceptions.ExecutionAlreadyExists):
        cloud.machines.start_execution(stateMachineArn=machine, name="same", input='{"a": 2}')
    cloud.ended(first["executionArn"])
    with pytest.raises(cloud.machines.exceptions.ExecutionAlreadyExists):
        cloud.machines.start_execution(stateMachineArn=machine, name="same", input='{"a": 1}')


def test_a_machine_invokes_only_what_its_role_allows(cloud: EmbeddedAws, echo: str) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/dg/lambda-iam.html."""
    ended = cloud.run(cloud.machine("powerless", only(task(echo)), allow("lambda:InvokeFunction", f"{echo}-other")))
    assert (ended["status"], ended.get("error")) == ("FAILED", "Lambda.AWSLambdaException")
    assert f"not authorized to perform: lambda:InvokeFunction on resource: {echo}" in ended["cause"]


def test_a_child_of_a_distributed_map_sees_itself_as_the_execution(cloud: EmbeddedAws, echo: str) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html."""
    inner = task(echo) | {"Parameters": {"FunctionName": echo, "Payload": {"execution.$": "$$.Execution"}}}
    processor = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, **only(inner)}
    each = {"Type": "Map", "ItemProcessor": processor, "ItemsPath": "$.items", "Label": "Chunks", "End": True}
    ended = cloud.run(cloud.machine("mapping", only(each)), {"items": [0, 7]})
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    children = [child["execution"] for child in ended["output"]]
    assert [child["Input"] for child in children] == [0, 7]
    assert all(":execution:mapping/Chunks:" in child["Id"] for child in children)


def previous(cloud: EmbeddedAws, execution: str) -> list[tuple[str, str | None]]:
    """Return the type of each event and of its previous event, None if it has none."""
    events = cloud.history(execution)
    kinds: dict[int, str] = {event["id"]: event["type"] for event in events}
    return [(event["type"], kinds[event["previousEventId"]] if event["previousEventId"] else None) for event in events]


# https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html


def test_each_event_names_the_previous_one(cloud: EmbeddedAws, echo: str) -> None:
    definition = {"StartAt": "Do", "States": {"Do": task(echo, Next="Done"), "Done": {"Type": "Succeed"}}}
    execution = cloud.run(cloud.machine("linked", definition))["executionArn"]
    assert previous(cloud, execution) == [
        ("ExecutionStarted", None),
        ("TaskStateEntered", None),
        ("TaskScheduled", "TaskStateEntered"),
        ("TaskSucceeded", "TaskScheduled"),
        ("TaskStateExited", "TaskSucceeded"),
        ("SucceedStateEntered", "TaskStateExited"),
        ("SucceedStateExited", "SucceedStateEntered"),
        ("ExecutionSucceeded", "SucceedStateExited"),
    ]


def test_an_end_and_a_redrive_follow_every_earlier_event(cloud: EmbeddedAws) -> None:
    definition = {"StartAt": "Pause", "States": {"Pause": {"Type": "Wait", "Seconds": 600, "End": True}}}
    machine = cloud.machine("stopped-in-a-state", definition)
    execution = cloud.machines.start_execution(stateMachineArn=machine)["executionArn"]
    until(lambda: len(previous(cloud, execution)) > 1, "the state is entered")
    cloud.machines.stop_execution(executionArn=execution)
    cloud.machines.redrive_execution(executionArn=execution)
    cloud.machines.stop_execution(executionArn=execution)
    assert previous(cloud, execution)[1:] == [
        ("WaitStateEntered", None),
        ("ExecutionAborted", "WaitStateEntered"),
        ("ExecutionRedriven", "ExecutionAborted"),
        ("ExecutionAborted", "ExecutionRedriven"),
    ]


def test_executions_are_listed_by_their_start_not_their_end(cloud: EmbeddedAws) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/apireference/API_ListExecutions.html."""
    pause = {"Type": "Wait", "SecondsPath": "$.seconds", "End": True}
    machine = cloud.machine("listed", only(pause))
    names = ["long", "short", "shorter"]
    started = []
    for name, seconds in zip(names, (10, 3, 0), strict=True):
        given = json.dumps({"seconds": seconds})
        answer = cloud.machines.start_execution(stateMachineArn=machine, name=name, input=given)
        started.append(answer["executionArn"])
    for execution in started:
        cloud.ended(execution)
    pages = cloud.machines.get_paginator("list_executions").paginate(
        stateMachineArn=machine, PaginationConfig={"PageSize": 1}
    )
    assert [execution["name"] for page in pages for execution in page["executions"]] == names[::-1]
