"""A change of an execution's status is published to the targets of rules.

https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
"""

import json
from functools import partial
from typing import Any

import pytest

from tests.support.embedded_aws import EmbeddedAws, allow, until

FAILING = "def handler(event, context): raise ValueError('always fails')\n"
TELLING = """
    import json
    def handler(event, context):
        print(json.dumps({"received": event["detail"]["name"]}))
        raise ValueError("always fails")
"""
STATUS_CHANGE = "Step Functions Execution Status Change"


def lets_in(queue: str) -> dict[str, Any]:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": {"Fn::GetAtt": [queue, "Arn"]},
    }
    return {
        "Type": "AWS::SQS::QueuePolicy",
        "Properties": {"Queues": [{"Ref": queue}], "PolicyDocument": {"Statement": [statement]}},
    }


def rule(name: str, machine: str, statuses: list[str], *targets: dict[str, Any]) -> dict[str, Any]:
    pattern = {
        "source": ["aws.states"],
        "detail-type": [STATUS_CHANGE],
        "detail": {"status": statuses, "stateMachineArn": [machine]},
    }
    return {"Type": "AWS::Events::Rule", "Properties": {"Name": name, "EventPattern": pattern, "Targets": targets}}


@pytest.fixture(scope="module")
def machine(cloud: EmbeddedAws) -> str:
    states = {
        "Which": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.do", "StringEquals": "fail", "Next": "Fail"},
                {"Variable": "$.do", "StringEquals": "wait", "Next": "Wait"},
            ],
            "Default": "Succeed",
        },
        "Fail": {"Type": "Fail", "Error": "Own", "Cause": "asked for"},
        "Wait": {"Type": "Wait", "Seconds": 30, "Next": "Succeed"},
        "Succeed": {"Type": "Succeed"},
    }
    return cloud.machine("telling", {"StartAt": "Which", "States": states, "TimeoutSeconds": 1})


@pytest.fixture(scope="module")
def queue(cloud: EmbeddedAws, machine: str) -> str:
    """Return a queue that receives every status change of the machine's executions."""
    every = ["RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]
    target = {"Id": "queue", "Arn": {"Fn::GetAtt": ["Queue", "Arn"]}}
    return cloud.stack(
        "all-events",
        {"Queue": {"Type": "AWS::SQS::Queue"}, "May": lets_in("Queue"), "Rule": rule("all", machine, every, target)},
    )["Queue"]


@pytest.mark.parametrize(
    ("do", "ended"),
    [
        ("succeed", {"status": "SUCCEEDED", "output": '{"do": "succeed"}', "outputDetails": {"included": True}}),
        ("fail", {"status": "FAILED", "error": "Own", "cause": "asked for"}),
        ("wait", {"status": "TIMED_OUT", "error": "States.Timeout"}),
        ("stop", {"status": "ABORTED", "error": "Stopped", "cause": "by hand"}),
    ],
)
def test_the_detail_is_the_description_with_dates_in_milliseconds(
    cloud: EmbeddedAws, machine: str, queue: str, do: str, ended: dict[str, Any]
) -> None:
    given = json.dumps({"do": do.replace("stop", "wait")})
    arn = cloud.machines.start_execution(stateMachineArn=machine, name=do, input=given)["executionArn"]
    if do == "stop":
        cloud.machines.stop_execution(executionArn=arn, error="Stopped", cause="by hand")
    described = cloud.ended(arn)
    first, last = cloud.received(queue, 2)
    milliseconds = {name: int(described[name].timestamp() * 1000) for name in ("startDate", "stopDate")}
    usual = {
        "executionArn": arn,
        "stateMachineArn": machine,
        "name": do,
        "status": "RUNNING",
        "startDate": milliseconds["startDate"],
        "stopDate": None,
        "input": given,
        "inputDetails": {"included": True},
        "output": None,
        "outputDetails": None,
        "error": None,
        "cause": None,
        "redriveCount": 0,
        "redriveDate": None,
        "redriveStatus": "NOT_REDRIVABLE",
        "redriveStatusReason": "Execution is RUNNING and cannot be redriven",
        "stateMachineVersionArn": None,
        "stateMachineAliasArn": None,
    }
    assert first["detail"] == usual
    redrive = {"redriveStatus": described["redriveStatus"], "redriveStatusReason": described.get("redriveStatusReason")}
    assert described["redriveStatus"] == ("NOT_REDRIVABLE" if do == "succeed" else "REDRIVABLE")
    assert last["detail"] == usual | milliseconds | ended | redrive
    assert (last["source"], last["detail-type"], last["resources"]) == ("aws.states", STATUS_CHANGE, [arn])


def test_a_redrive_is_published_as_running(cloud: EmbeddedAws, machine: str, queue: str) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html."""
    arn = cloud.run(machine, {"do": "fail"})["executionArn"]
    cloud.received(queue, 2)
    date = cloud.machines.redrive_execution(executionArn=arn)["redriveDate"]
    running, failed = (event["detail"] for event in cloud.received(queue, 2))
    milliseconds = int(date.timestamp() * 1000)
    assert (running["status"], running["redriveCount"], running["redriveDate"]) == ("RUNNING", 1, milliseconds)
    assert (running["stopDate"], running["error"]) == (None, None)
    assert (failed["status"], failed["redriveCount"], failed["redriveStatus"]) == ("FAILED", 1, "REDRIVABLE")


def target_of(cloud: EmbeddedAws, name: str, machine: str, function: str, *, permitted: bool = True) -> dict[str, str]:
    target = {
        "Id": "function",
        "Arn": function,
        "RetryPolicy": {"MaximumRetryAttempts": 4, "MaximumEventAgeInSeconds": 600},
        "DeadLetterConfig": {"Arn": {"Fn::GetAtt": ["Queue", "Arn"]}},
    }
    permission = {
        "FunctionName": function,
        "Action": "lambda:InvokeFunction",
        "Principal": "events.amazonaws.com",
        "SourceArn": {"Fn::GetAtt": ["Rule", "Arn"]},
    }
    resources = {
        "Queue": {"Type": "AWS::SQS::Queue"},
        "May": lets_in("Queue"),
        "Rule": rule(name, machine, ["FAILED", "TIMED_OUT", "ABORTED"], target),
        "Permission": {"Type": "AWS::Lambda::Permission", "Properties": permission},
    }
    if not permitted:
        del resources["Permission"]
    return cloud.stack(name, resources)


def test_a_function_is_invoked_asynchronously_with_its_retries_and_destination(
    cloud: EmbeddedAws, machine: str
) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html."""
    lost, arn = cloud.queue("lost")
    function = cloud.function("notified", TELLING, policy=allow("sqs:SendMessage", arn))
    cloud.functions.put_function_event_invoke_config(
        FunctionName="notified", MaximumRetryAttempts=1, DestinationConfig={"OnFailure": {"Destination": arn}}
    )
    ids = target_of(cloud, "to-function", machine, function)
    target = cloud.events.list_targets_by_rule(Rule="to-function")["Targets"][0]
    assert target["RetryPolicy"] == {"MaximumRetryAttempts": 4, "MaximumEventAgeInSeconds": 600}
    assert ":sqs:" in target["DeadLetterConfig"]["Arn"]

    cloud.run(machine, {"do": "succeed"})
    failed = cloud.run(machine, {"do": "fail"})
    (message,) = until(partial(cloud.messages, lost), "the record")
    record = json.loads(message["Body"])
    assert record["requestPayload"]["detail"]["executionArn"] == failed["executionArn"]
    lines = cloud.logs.filter_log_events(logGroupName="/aws/lambda/notified")["events"]
    assert len([line for line in lines if failed["name"] in line["message"]]) == 2, "a single event, tried twice"
    assert cloud.messages(ids["Queue"]) == []


def test_a_failed_event_is_lost_if_the_role_may_not_send_it(cloud: EmbeddedAws) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html."""
    kept, arn = cloud.queue("kept-failures")
    for name, policy in (("may-not-send", None), ("may-send", allow("sqs:SendMessage", arn))):
        cloud.function(name, FAILING, policy=policy)
        cloud.functions.put_function_event_invoke_config(
            FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": arn}}
        )
        cloud.functions.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(name))
    (message,) = until(partial(cloud.messages, kept), "the record")
    assert json.loads(message["Body"])["requestPayload"] == "may-send"
    assert cloud.messages(kept) == []


@pytest.mark.parametrize(("name", "code"), [("no-permission", "NO_PERMISSIONS"), ("no-function", "NO_RESOURCE")])
def test_an_undeliverable_event_is_dead_lettered(cloud: EmbeddedAws, machine: str, name: str, code: str) -> None:
    """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html."""
    function = cloud.function(name, FAILING)
    queue = target_of(cloud, name, machine, function, permitted=name == "no-function")["Queue"]
    if name == "no-function":
        cloud.functions.delete_function(FunctionName=name)
    failed = cloud.run(machine, {"do": "fail"})
    (message,) = until(partial(cloud.messages, queue), "the event")
    event = json.loads(message["Body"])
    assert (event["source"], event["detail"]["executionArn"]) == ("aws.states", failed["executionArn"])
    attributes = {key: value["StringValue"] for key, value in message["MessageAttributes"].items()}
    assert function in attributes.pop("ERROR_MESSAGE")
    assert attributes == {
        "RULE_ARN": cloud.events.describe_rule(Name=name)["Arn"],
        "TARGET_ARN": function,
        "ERROR_CODE": code,
        "RETRY_ATTEMPTS": "0",
    }
