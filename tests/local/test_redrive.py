"""Unsuccessful executions can be redriven.

https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html
https://docs.aws.amazon.com/step-functions/latest/apireference/API_RedriveExecution.html
"""

import json
import time
from typing import Any

import pytest

from tests.support.embedded_aws import EmbeddedAws, allow, until

OPTIMIZED = "arn:aws:states:::lambda:invoke"
# Fails until the bucket has a marker named by `need`; returns its event, and records each call.
FLAKY = """
    import time
    import boto3
    s3 = boto3.client("s3")

    class NotYet(Exception):
        pass

    def handler(event, context):
        s3.put_object(Bucket="calls", Key=f"{event['need']}/{context.aws_request_id}", Body=b"")
        if event.get("slow"):
            time.sleep(1)
        if not s3.list_objects_v2(Bucket="markers", Prefix=event["need"])["KeyCount"]:
            raise NotYet(event["need"])
        return event
"""


def flaky(function: str, **more: Any) -> dict[str, Any]:
    payload = {"need.$": "$.need", "execution.$": "$$.Execution", "state.$": "$$.State"}
    end = {} if "Next" in more else {"End": True}
    task = {"Type": "Task", "Resource": OPTIMIZED, "Parameters": {"FunctionName": function, "Payload": payload}}
    return {**task, "ResultSelector": {"seen.$": "$.Payload"}, "ResultPath": "$.done", **end, **more}


@pytest.fixture(scope="module")
def function(cloud: EmbeddedAws) -> str:
    return cloud.function("flaky", FLAKY, policy=allow("s3:*"))


def fix(cloud: EmbeddedAws, need: str) -> None:
    cloud.s3.put_object(Bucket="markers", Key=need, Body=b"")


def calls(cloud: EmbeddedAws, need: str) -> int:
    return cloud.s3.list_objects_v2(Bucket="calls", Prefix=f"{need}/")["KeyCount"]


def kinds(events: list[Any]) -> list[str]:
    return [event["type"] for event in events]


def redriven(cloud: EmbeddedAws, execution: str) -> dict[str, Any]:
    cloud.machines.redrive_execution(executionArn=execution)
    return cloud.ended(execution)


def test_a_task_is_rerun_with_its_input_and_a_new_context(cloud: EmbeddedAws, function: str) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html#redrive-retry-behavior."""
    retry = [{"ErrorEquals": ["NotYet"], "IntervalSeconds": 1, "BackoffRate": 1, "MaxAttempts": 1}]
    states = {
        "First": {"Type": "Pass", "Result": {"need": "task"}, "ResultPath": "$", "Next": "Do"},
        "Do": flaky(function, Retry=retry, Next="Last"),
        "Last": {"Type": "Pass", "End": True},
    }
    machine = cloud.machine("task", {"StartAt": "First", "States": states})
    failed = cloud.run(machine, {"of": "the execution"})
    arn = failed["executionArn"]
    assert (failed["status"], failed["redriveCount"], failed["redriveStatus"]) == ("FAILED", 0, "REDRIVABLE")
    assert not {"redriveDate", "redriveStatusReason"} & set(failed)
    before = cloud.history(arn)
    assert calls(cloud, "task") == 2

    again = redriven(cloud, arn)
    assert (again["status"], again["redriveCount"], again["error"]) == ("FAILED", 1, "NotYet")
    assert calls(cloud, "task") == 4, "the retries start anew"

    fix(cloud, "task")
    answer = cloud.machines.redrive_execution(executionArn=arn)
    running = cloud.machines.describe_execution(executionArn=arn)
    assert (running["status"], running["redriveDate"]) == ("RUNNING", answer["redriveDate"])
    assert not {"stopDate", "error", "cause", "output"} & set(running)
    ended = cloud.ended(arn)
    assert (ended["status"], ended["redriveCount"], ended["redriveStatus"]) == ("SUCCEEDED", 2, "NOT_REDRIVABLE")
    assert ended["redriveStatusReason"] == "Execution is SUCCEEDED and cannot be redriven"
    seen = ended["output"]["done"]["seen"]
    assert seen["execution"]["Input"] == {"of": "the execution"}
    assert seen["execution"]["RedriveCount"] == 2
    assert seen["execution"]["RoleArn"].endswith(":role/task-machine")
    assert seen["execution"]["RedriveTime"].endswith("Z")
    assert seen["state"]["RetryCount"] == 0

    events = cloud.history(arn)
    assert events[: len(before)] == before
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    counts = [event["executionRedrivenEventDetails"] for event in events if event["type"] == "ExecutionRedriven"]
    assert counts == [{"redriveCount": 1}, {"redriveCount": 2}]
    assert kinds(events).count("PassStateEntered") == 2, "a state that succeeded is not run again"
    assert kinds(events)[-1] == "ExecutionSucceeded"


def test_a_fail_state_is_entered_again_and_fails_again(cloud: EmbeddedAws) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html#redrive-behavior-states."""
    arn = cloud.run(cloud.machine("fail", {"StartAt": "No", "States": {"No": {"Type": "Fail", "Error": "Own"}}}))[
        "executionArn"
    ]
    assert redriven(cloud, arn)["status"] == "FAILED"
    assert kinds(cloud.history(arn)) == [
        "ExecutionStarted",
        "FailStateEntered",
        "ExecutionFailed",
        "ExecutionRedriven",
        "FailStateEntered",
        "ExecutionFailed",
    ]


def test_a_redrive_uses_the_definition_and_the_role_of_the_start(cloud: EmbeddedAws, function: str) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/apireference/API_UpdateStateMachine.html."""
    definition = {"StartAt": "Do", "States": {"Do": flaky(function)}}
    machine = cloud.machine("updated", definition)
    arn = cloud.run(machine, {"need": "updated"})["executionArn"]
    other = json.dumps({"StartAt": "Other", "States": {"Other": {"Type": "Fail", "Error": "Other"}}})
    revision = cloud.machines.describe_state_machine(stateMachineArn=machine)["revisionId"]
    cloud.machines.update_state_machine(stateMachineArn=machine, definition=other, roleArn=cloud.role("powerless"))
    original = cloud.machines.describe_state_machine_for_execution(executionArn=arn)
    assert json.loads(original["definition"]) == definition
    assert original["roleArn"].endswith(":role/updated-machine")
    assert original["revisionId"] == revision
    fix(cloud, "updated")
    assert redriven(cloud, arn)["status"] == "SUCCEEDED"
    assert cloud.run(machine)["error"] == "Other"


def test_remains_of_a_stopped_attempt_do_not_affect_the_next(cloud: EmbeddedAws, function: str) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/apireference/API_StopExecution.html."""
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 9}]
    payload = {"need": "stopped", "slow": True}
    task = flaky(function, Retry=retry) | {"Parameters": {"FunctionName": function, "Payload": payload}}
    machine = cloud.machine("stopped", {"StartAt": "Do", "States": {"Do": task}})
    arn = cloud.machines.start_execution(stateMachineArn=machine)["executionArn"]
    until(lambda: calls(cloud, "stopped") == 1, "the first call")
    cloud.machines.stop_execution(executionArn=arn, error="Stopped")
    assert cloud.ended(arn)["redriveStatus"] == "REDRIVABLE"
    cloud.machines.redrive_execution(executionArn=arn)
    until(lambda: calls(cloud, "stopped") == 2, "the second call")
    time.sleep(1)  # until the first call has failed, and would be retried
    cloud.machines.stop_execution(executionArn=arn, error="Stopped again")
    fix(cloud, "stopped")
    ended = redriven(cloud, arn)
    assert (ended["status"], ended["redriveCount"]) == ("SUCCEEDED", 2)
    assert calls(cloud, "stopped") <= 4, "an attempt that was stopped went on"
    assert [kind for kind in kinds(cloud.history(arn)) if kind.startswith("Execution")] == [
        "ExecutionStarted",
        "ExecutionAborted",
        "ExecutionRedriven",
        "ExecutionAborted",
        "ExecutionRedriven",
        "ExecutionSucceeded",
    ]


def test_the_timeout_of_the_machine_starts_anew(cloud: EmbeddedAws) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html."""
    states = {
        "First": {"Type": "Wait", "Seconds": 5, "Next": "Second"},
        "Second": {"Type": "Wait", "Seconds": 6, "Next": "Third"},
        "Third": {"Type": "Pass", "End": True},
    }
    ended = cloud.run(cloud.machine("timeout", {"StartAt": "First", "States": states, "TimeoutSeconds": 1}))
    assert (ended["status"], ended["redriveStatus"]) == ("TIMED_OUT", "REDRIVABLE")
    assert redriven(cloud, ended["executionArn"])["status"] == "SUCCEEDED"


def test_only_the_children_that_failed_are_run_again(cloud: EmbeddedAws, function: str) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/dg/redrive-map-run.html."""
    fix(cloud, "child-good")
    processor = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "Do",
        "States": {"Do": flaky(function)},
    }
    each = {"Type": "Map", "ItemProcessor": processor, "ItemsPath": "$.items", "End": True}
    machine = cloud.machine("each", {"StartAt": "Each", "States": {"Each": each}})
    failed = cloud.run(machine, {"items": [{"need": "child-good"}, {"need": "child-bad"}]})
    assert failed["status"] == "FAILED"
    fix(cloud, "child-bad")
    ended = redriven(cloud, failed["executionArn"])
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert [child["need"] for child in ended["output"]] == ["child-good", "child-bad"]
    assert (calls(cloud, "child-good"), calls(cloud, "child-bad")) == (1, 2)
    first, again = (child["done"]["seen"]["execution"] for child in ended["output"])
    assert (first["RedriveCount"], again["RedriveCount"]) == (0, 1)
    assert set(again) - set(first) == {"RedriveTime"}
    (run,) = cloud.machines.list_map_runs(executionArn=failed["executionArn"])["mapRuns"]
    map_run = cloud.machines.describe_map_run(mapRunArn=run["mapRunArn"])
    assert (map_run["status"], map_run["redriveCount"]) == ("SUCCEEDED", 1)
    counts = map_run["executionCounts"]
    assert (counts["succeeded"], counts["failed"], counts["pending"], counts["total"]) == (2, 0, 0, 2)


def test_a_repeated_token_returns_the_same_redrive(cloud: EmbeddedAws) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/apireference/API_RedriveExecution.html."""
    machine = cloud.machine("token", {"StartAt": "No", "States": {"No": {"Type": "Fail"}}})
    arn = cloud.run(machine)["executionArn"]
    first = cloud.machines.redrive_execution(executionArn=arn, clientToken="token")
    again = cloud.machines.redrive_execution(executionArn=arn, clientToken="token")
    cloud.ended(arn)
    later = cloud.machines.redrive_execution(executionArn=arn, clientToken="token")
    assert first["redriveDate"] == again["redriveDate"] == later["redriveDate"]
    assert cloud.ended(arn)["redriveCount"] == 1
    (listed,) = cloud.machines.list_executions(stateMachineArn=machine)["executions"]
    assert (listed["redriveCount"], listed["redriveDate"]) == (1, first["redriveDate"])


def test_an_execution_that_cannot_be_redriven_is_refused(cloud: EmbeddedAws) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/apireference/API_RedriveExecution.html#API_RedriveExecution_Errors."""
    refused = cloud.machines.exceptions
    waiting = cloud.machine("waiting", {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 3, "End": True}}})
    running = cloud.machines.start_execution(stateMachineArn=waiting)["executionArn"]
    with pytest.raises(refused.ExecutionNotRedrivable, match="Execution is RUNNING and cannot be redriven"):
        cloud.machines.redrive_execution(executionArn=running)
    cloud.ended(running)
    with pytest.raises(refused.ExecutionNotRedrivable, match="Execution is SUCCEEDED and cannot be redriven"):
        cloud.machines.redrive_execution(executionArn=running)
    with pytest.raises(refused.ExecutionDoesNotExist):
        cloud.machines.redrive_execution(executionArn=f"{running}-not")
