"""A Distributed Map runs, counts, stops and is redriven as on AWS.

https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html
"""

import json
import re
from collections import Counter
from typing import Any

import pytest

from tests.local.test_execution_events import lets_in
from tests.local.test_redrive import OPTIMIZED, calls, fix, kinds, redriven
from tests.support.embedded_aws import EmbeddedAws, allow, until

# Fails for the `bad` items until there is a marker named by `need`; waits for a marker named by `hold`.
CHUNK = """
    import time
    import boto3
    s3 = boto3.client("s3")

    class BadChunk(Exception):
        pass

    def exists(marker):
        return s3.list_objects_v2(Bucket="markers", Prefix=marker)["KeyCount"]

    def handler(event, context):
        batch = event["batch"]
        s3.put_object(Bucket="calls", Key=f"{batch['need']}/{batch['chunk']['start']}/{context.aws_request_id}")
        while batch.get("hold") and not exists(batch["hold"]):
            time.sleep(0.05)
        if batch["chunk"]["start"] in batch["bad"] and not exists(batch["need"]):
            raise BadChunk(str(batch["chunk"]["start"]))
        return event
"""
SUMMARIZE = """
    import boto3
    s3 = boto3.client("s3")

    class ChunksFailed(Exception):
        pass

    def handler(event, context):
        batch = event["batch"]
        if not event["execution"]["RedriveCount"]:
            raise ChunksFailed("2")
        return {"resume": "Done"} if batch["chunks"] == [2] else batch | {"resume": "Chunks", "chunks": [2]}
"""
SELECTED = {
    "chunk": {"start.$": "$$.Map.Item.Value", "bytes.$": "$.bytes"},
    "parent.$": "$$.Execution.Id",
    "need.$": "$.need",
    "bad.$": "$.bad",
    "hold.$": "$.hold",
}


@pytest.fixture(scope="module")
def chunk(cloud: EmbeddedAws) -> str:
    return cloud.function("chunk", CHUNK, policy=allow("s3:*"))


def task(function: str, **more: Any) -> dict[str, Any]:
    payload = {"batch.$": "$", "execution.$": "$$.Execution", "state.$": "$$.State"}
    end = {} if "Next" in more else {"End": True}
    return {
        "Type": "Task",
        "Resource": OPTIMIZED,
        "Parameters": {"FunctionName": function, "Payload": payload},
        "OutputPath": "$.Payload",
        **end,
        **more,
    }


def mapping(child: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "Type": "Map",
        "Label": "Chunks",
        "ItemsPath": "$.chunks",
        "ItemSelector": SELECTED,
        "MaxConcurrency": 2,
        "ToleratedFailurePercentage": 100,
        "ResultPath": None,
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "Do",
            "States": child,
        },
        "End": True,
        **more,
    }


def machine_of(cloud: EmbeddedAws, name: str, child: dict[str, Any], policy: Any = None, **more: Any) -> str:
    return cloud.machine(name, {"StartAt": "Chunks", "States": {"Chunks": mapping(child)}, **more}, policy)


def given(need: str, chunks: list[int], bad: list[int], hold: str = "") -> dict[str, Any]:
    return {"need": need, "chunks": chunks, "bad": bad, "bytes": 9, "hold": hold}


def run_of(cloud: EmbeddedAws, execution: str) -> dict[str, Any]:
    (run,) = cloud.machines.list_map_runs(executionArn=execution)["mapRuns"]
    return dict(cloud.machines.describe_map_run(mapRunArn=run["mapRunArn"]))


def children(cloud: EmbeddedAws, run: str, **criteria: Any) -> list[dict[str, Any]]:
    pages = cloud.machines.get_paginator("list_executions").paginate(mapRunArn=run, **criteria)
    return [dict(child) for page in pages for child in page["executions"]]


def test_children_are_executions_and_the_parent_continues_when_some_fail(cloud: EmbeddedAws, chunk: str) -> None:
    child = {
        "Do": task(chunk, Catch=[{"ErrorEquals": ["BadChunk"], "ResultPath": "$.failure", "Next": "Lost"}]),
        "Lost": {"Type": "Fail", "Error": "Lost"},
    }
    machine = machine_of(cloud, "tolerant", child)
    items = given("tolerant", [0, 9, 18], [9])
    ended = cloud.run(machine, items)
    arn = ended["executionArn"]
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert ended["output"] == items, "ResultPath is null"
    listed = cloud.machines.list_executions(stateMachineArn=machine)["executions"]
    assert [execution["executionArn"] for execution in listed] == [arn]

    run = run_of(cloud, arn)
    assert re.fullmatch(r"arn:aws:states:us-east-1:0{12}:mapRun:tolerant/Chunks:[0-9a-f-]{36}", run["mapRunArn"])
    assert (run["status"], run["maxConcurrency"], run["toleratedFailurePercentage"]) == ("SUCCEEDED", 2, 100)
    assert (run["executionArn"], run["redriveCount"]) == (arn, 0)
    assert run["startDate"] <= run["stopDate"]
    for counts in (run["itemCounts"], run["executionCounts"]):
        assert {name: count for name, count in counts.items() if count} == {"total": 3, "succeeded": 2, "failed": 1}

    (failed,) = children(cloud, run["mapRunArn"], statusFilter="FAILED")
    assert re.fullmatch(
        r"arn:aws:states:us-east-1:0{12}:execution:tolerant/Chunks:[0-9a-f-]{36}", failed["executionArn"]
    )
    assert failed["stateMachineArn"] == f"{machine}/Chunks"
    described = cloud.machines.describe_execution(executionArn=failed["executionArn"])
    assert (described["status"], described["error"], described["mapRunArn"]) == ("FAILED", "Lost", run["mapRunArn"])
    assert json.loads(described["input"])["chunk"] == {"start": 9, "bytes": 9}
    assert json.loads(described["input"])["parent"] == arn


def test_parent_and_child_have_histories_and_the_context_of_a_child_is_its_own(cloud: EmbeddedAws, chunk: str) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html."""
    child = {"Do": task(chunk, Next="Done"), "Done": {"Type": "Succeed"}}
    arn = cloud.run(machine_of(cloud, "history", child), given("history", [0], []))["executionArn"]
    events = cloud.history(arn)
    assert kinds(events) == [
        "ExecutionStarted",
        "MapStateEntered",
        "MapStateStarted",
        "MapRunStarted",
        "MapRunSucceeded",
        "MapStateSucceeded",
        "MapStateExited",
        "ExecutionSucceeded",
    ]
    run = run_of(cloud, arn)["mapRunArn"]
    assert events[2]["mapStateStartedEventDetails"] == {"length": 1}
    assert events[3]["mapRunStartedEventDetails"] == {"mapRunArn": run}
    (described,) = children(cloud, run)
    events = cloud.history(described["executionArn"])
    assert kinds(events) == [
        "ExecutionStarted",
        "TaskStateEntered",
        "TaskScheduled",
        "TaskSucceeded",
        "TaskStateExited",
        "SucceedStateEntered",
        "SucceedStateExited",
        "ExecutionSucceeded",
    ]
    assert json.loads(events[1]["stateEnteredEventDetails"]["input"])["chunk"]["start"] == 0
    assert events[4]["stateExitedEventDetails"]["name"] == "Do"

    # https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html
    described_child = cloud.machines.describe_execution(executionArn=described["executionArn"])
    seen = json.loads(described_child["output"])
    assert seen["state"]["Name"] == "Do"
    own = seen["execution"]
    assert (own["Id"], own["Name"], own["RedriveCount"]) == (described["executionArn"], described["name"], 0)
    assert own["Input"] == json.loads(described_child["input"]) == seen["batch"]


def test_a_map_run_and_its_children_do_only_what_the_role_of_the_machine_allows(cloud: EmbeddedAws, chunk: str) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html."""
    unpermitted = machine_of(cloud, "unpermitted", {"Do": task(chunk)}, allow("lambda:InvokeFunction"))
    ended = cloud.run(unpermitted, given("unpermitted", [0], []))
    assert ended["status"] == "FAILED"
    assert f"states:StartExecution on resource: {unpermitted}" in ended["cause"]
    assert calls(cloud, "unpermitted") == 0

    weak = machine_of(cloud, "weak", {"Do": task(chunk)}, allow("states:StartExecution"))
    arn = cloud.run(weak, given("weak", [0], []))["executionArn"]
    (child,) = children(cloud, run_of(cloud, arn)["mapRunArn"])
    described = cloud.machines.describe_execution(executionArn=child["executionArn"])
    assert (described["status"], described["error"]) == ("FAILED", "Lambda.AWSLambdaException")


def test_no_more_children_run_than_there_are_workers(cloud: EmbeddedAws, chunk: str) -> None:
    """A Task that waits for a worker uses up its own TimeoutSeconds."""
    wide = mapping({"Do": task(chunk, TimeoutSeconds=30)}, MaxConcurrency=40)
    machine = cloud.machine("wide", {"StartAt": "Chunks", "States": {"Chunks": wide}})
    items = json.dumps(given("wide", list(range(9)), [], hold="hold-wide"))
    arn = cloud.machines.start_execution(stateMachineArn=machine, input=items)["executionArn"]
    until(lambda: calls(cloud, "wide") == 3, "a call of every worker")
    run = run_of(cloud, arn)
    assert run["maxConcurrency"] == 40
    assert (run["executionCounts"]["running"], run["executionCounts"]["pending"]) == (3, 6)
    fix(cloud, "hold-wide")
    assert cloud.ended(arn)["status"] == "SUCCEEDED"
    assert run_of(cloud, arn)["executionCounts"]["succeeded"] == 9


@pytest.mark.parametrize("end", ["ABORTED", "TIMED_OUT"])
def test_children_end_with_their_parent_and_only_they_are_redriven(cloud: EmbeddedAws, chunk: str, end: str) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/dg/redrive-map-run.html."""
    need = end.lower().replace("_", "-")
    limit = {"TimeoutSeconds": 2} if end == "TIMED_OUT" else {}
    machine = machine_of(cloud, f"{need}-parent", {"Do": task(chunk)}, **limit)
    items = given(need, [0, 1, 2, 3], [], hold=f"hold-{need}")
    arn = cloud.machines.start_execution(stateMachineArn=machine, input=json.dumps(items))["executionArn"]
    until(lambda: calls(cloud, need) == 2, "the first two children")
    if end == "ABORTED":
        cloud.machines.stop_execution(executionArn=arn, error="Stopped")
    assert cloud.ended(arn)["status"] == end
    run = run_of(cloud, arn)
    assert run["status"] == "ABORTED"
    counts = run["executionCounts"]
    assert (counts["aborted"], counts["running"], counts["pending"], counts["total"]) == (2, 0, 2, 4)
    described = children(cloud, run["mapRunArn"], statusFilter="ABORTED")
    assert len(described) == 2
    assert kinds(cloud.history(described[0]["executionArn"]))[-1] == "ExecutionAborted"

    fix(cloud, f"hold-{need}")
    ended = redriven(cloud, arn)
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    again = run_of(cloud, arn)
    assert (again["mapRunArn"], again["status"], again["redriveCount"]) == (run["mapRunArn"], "SUCCEEDED", 1)
    assert {n: count for n, count in again["executionCounts"].items() if count} == {"total": 4, "succeeded": 4}
    redrives = Counter(child["redriveCount"] for child in children(cloud, run["mapRunArn"]))
    assert redrives == {1: 2, 0: 2}
    assert "MapRunRedriven" in kinds(cloud.history(arn))
    assert calls(cloud, need) == 6


def test_a_redrive_that_returns_to_the_map_starts_a_new_map_run(cloud: EmbeddedAws, chunk: str) -> None:
    summarize = cloud.function("summarize", SUMMARIZE)
    choice = {"Variable": "$.resume", "StringEquals": "Chunks", "Next": "Chunks"}
    states = {
        "Chunks": {key: value for key, value in mapping({"Do": task(chunk)}).items() if key != "End"}
        | {"Next": "Summarize"},
        "Summarize": task(summarize, Next="Resume"),
        "Resume": {"Type": "Choice", "Choices": [choice], "Default": "Done"},
        "Done": {"Type": "Succeed"},
    }
    machine = cloud.machine("back", {"StartAt": "Chunks", "States": states})
    failed = cloud.run(machine, given("back", [1, 2], [2]))
    assert failed["error"] == "ChunksFailed"
    first = run_of(cloud, failed["executionArn"])["mapRunArn"]
    fix(cloud, "back")
    assert redriven(cloud, failed["executionArn"])["status"] == "SUCCEEDED"
    runs = [run["mapRunArn"] for run in cloud.machines.list_map_runs(executionArn=failed["executionArn"])["mapRuns"]]
    assert len(runs) == 2
    (second,) = set(runs) - {first}
    (child,) = children(cloud, second)
    described = cloud.machines.describe_execution(executionArn=child["executionArn"])
    assert json.loads(described["input"])["chunk"]["start"] == 2, "the list that the redrive narrowed"
    assert (described["status"], described["redriveCount"]) == ("SUCCEEDED", 0)
    assert len(children(cloud, first)) == 2
    assert kinds(cloud.history(failed["executionArn"])).count("MapRunStarted") == 2


def test_a_stopped_child_stays_aborted(cloud: EmbeddedAws, chunk: str) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/apireference/API_StopExecution.html."""
    items = json.dumps(given("stopped-child", [0], [], hold="hold-stopped-child"))
    machine = machine_of(cloud, "stopped-child", {"Do": task(chunk)})
    arn = cloud.machines.start_execution(stateMachineArn=machine, input=items)["executionArn"]
    until(lambda: calls(cloud, "stopped-child") == 1, "the child")
    run = run_of(cloud, arn)
    assert run["executionCounts"]["running"] == 1
    (child,) = children(cloud, run["mapRunArn"], statusFilter="RUNNING")
    cloud.machines.stop_execution(executionArn=child["executionArn"])
    fix(cloud, "hold-stopped-child")
    assert cloud.ended(arn)["status"] == "SUCCEEDED", "a failure of every child is tolerated"
    assert cloud.ended(child["executionArn"])["status"] == "ABORTED"
    assert run_of(cloud, arn)["executionCounts"]["aborted"] == 1


def test_only_the_parent_has_status_events(cloud: EmbeddedAws, chunk: str) -> None:
    machine = machine_of(cloud, "quiet", {"Do": task(chunk)})
    pattern = {"source": ["aws.states"], "detail": {"stateMachineArn": [{"prefix": machine}]}}
    targets = [{"Id": "queue", "Arn": {"Fn::GetAtt": ["Queue", "Arn"]}}]
    rule = {"Type": "AWS::Events::Rule", "Properties": {"EventPattern": pattern, "Targets": targets}}
    resources = {"Queue": {"Type": "AWS::SQS::Queue"}, "Policy": lets_in("Queue"), "Rule": rule}
    queue = cloud.stack("quiet", resources)["Queue"]
    arn = cloud.run(machine, given("quiet", [0, 1], [1]))["executionArn"]
    published = cloud.received(queue, 2)
    assert [event["detail"]["executionArn"] for event in published] == [arn, arn]


def test_results_of_more_than_256_kib_in_total_fail_the_map(cloud: EmbeddedAws) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html."""
    large = {"Do": {"Type": "Pass", "Result": "x" * 1000, "End": True}}
    ended = cloud.run(machine_of(cloud, "results", large), given("results", list(range(300)), []))
    assert (ended["status"], ended.get("error")) == ("FAILED", "States.DataLimitExceeded")
