"""`custody trace` says of an execution what its history says: names, times, tries and errors, no more and no less."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.support.breaking import until, without
from tests.support.deployed import Cloud

GOOD = {"mission": "space", "source": "MASINT", "confidence": 0.95}
BAD = GOOD | {"source": "RUMINT"}
THROTTLED = "Lambda.TooManyRequestsException"
DEADLINE_SECONDS = 60
LINES, CHARACTERS = 2_100, 4_000
"""Of a bulk object, which has more than 8 MiB: few records, for it is about the chunks."""


def put(cloud: Cloud, file: Path, record: dict[str, Any]) -> str:
    """Put a record; give the ARN of its execution."""
    file.write_text(json.dumps(record), encoding="utf-8")
    ran = cloud.custody("put", file, "--no-wait", "--json")
    assert ran.code == 0, ran.err
    (sent,) = ran.json["objects"]
    return str(sent["execution"])


def history(cloud: Cloud, arn: str) -> list[Any]:
    pages = cloud.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=arn)
    return [event for page in pages for event in page["events"]]


def ended(cloud: Cloud, arn: str, status: str) -> None:
    """Wait until an execution has a status."""
    client = cloud.client("stepfunctions")

    def is_there() -> bool:
        listed = client.list_executions(stateMachineArn=cloud.deployment.pipeline_arn, statusFilter=status)
        return arn in {one["executionArn"] for one in listed["executions"]}

    until(is_there, DEADLINE_SECONDS, f"{arn} {status}")


def moment(event: Any) -> str:
    text: str = event["timestamp"].astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def by_history(cloud: Cloud, arn: str) -> list[Any]:
    """Tell each step as the raw events do: its name, when it was entered and left, and each try with its error."""
    found: list[Any] = []
    is_redriven = False
    for event in history(cloud, arn):
        kind, at = event["type"], moment(event)
        if kind.endswith("StateEntered"):
            found.append([event["stateEnteredEventDetails"]["name"], at, None, []])
        elif kind in {"TaskScheduled", "MapRunStarted"}:
            if is_redriven:
                found.append([found[-1][0], at, None, []])
            found[-1][3].append([at, None, None])
        elif kind in {"TaskSucceeded", "TaskFailed", "MapRunSucceeded"}:
            found[-1][3][-1][1:] = [at, event.get("taskFailedEventDetails", {}).get("error")]
        elif kind.endswith("StateExited") or kind == "ExecutionFailed":
            found[-1][2] = at
        is_redriven = kind == "ExecutionRedriven"
    return found


def by_trace(told: Any) -> list[Any]:
    def tries(step: Any) -> list[Any]:
        return [[one["started_at"], one["ended_at"], one["error"]] for one in step["tries"]]

    return [[step["name"], step["entered_at"], step["left_at"], tries(step)] for step in told["steps"]]


def traced(cloud: Cloud, wanted: str) -> Any:
    """Trace something of one execution; give that, when it says what the history and the description of it say."""
    ran = cloud.custody("trace", wanted, "--json")
    assert ran.code == 0, ran.err
    (told,) = ran.json["executions"]
    assert by_trace(told) == by_history(cloud, told["arn"])
    described = cloud.client("stepfunctions").describe_execution(executionArn=told["arn"])
    assert (told["status"], told["redrives"], told["started_at"], told["ended_at"]) == (
        described["status"],
        described["redriveCount"],
        moment({"timestamp": described["startDate"]}),
        moment({"timestamp": described["stopDate"]}),
    )
    assert (told["error"], told["cause"]) == (described.get("error"), described.get("cause"))
    assert told["console"] is None, "embedded AWS has no console"
    return told


def names(told: Any) -> list[str]:
    return [f"{step['name']} {step['outcome']}" for step in told["steps"]]


@contextmanager
def throttled(cloud: Cloud, function: str) -> Iterator[None]:
    """Let Lambda refuse all calls of a function for a while."""
    client, name = cloud.client("lambda"), f"custody-dev-{function}"
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    try:
        yield
    finally:
        client.delete_function_concurrency(FunctionName=name)


def test_a_good_and_a_rejected_record(cloud: Cloud, tmp_path: Path) -> None:
    since = datetime.now(UTC).isoformat()
    good = put(cloud, tmp_path / "trace-good.json", GOOD)
    ended(cloud, good, "SUCCEEDED")
    bad = put(cloud, tmp_path / "trace-bad.json", BAD)
    ended(cloud, bad, "FAILED")

    told = traced(cloud, f"{good.rpartition(':')[2]}.0")
    assert names(told) == ["Validate succeeded", "Transform succeeded", "Write succeeded"]
    told = traced(cloud, bad)
    assert names(told) == ["Validate caught", "DeadLetter failed"]
    assert told["error"] == "RecordsRejected"

    listed = cloud.custody("executions", "--since", since, "--json").json["executions"]
    assert [one["arn"] for one in listed] == [bad, good], "the newest first, and none that was there before"
    assert listed[0]["cause"] == told["cause"]


def test_a_step_that_was_retried(cloud: Cloud, tmp_path: Path) -> None:
    with throttled(cloud, "transform"):
        arn = put(cloud, tmp_path / "trace-retried.json", GOOD)
        client = cloud.client("stepfunctions")

        def is_refused() -> bool:
            try:
                return any(event["type"] == "TaskFailed" for event in history(cloud, arn))
            except client.exceptions.ExecutionDoesNotExist:
                return False

        until(is_refused, DEADLINE_SECONDS, "Transform is throttled")
    ended(cloud, arn, "SUCCEEDED")

    told = traced(cloud, f"{arn.rpartition(':')[2]}.0")
    assert names(told) == ["Validate succeeded", "Transform succeeded", "Write succeeded"]
    *refused, good = told["steps"][1]["tries"]
    assert {one["error"] for one in refused} == {THROTTLED}
    assert good["error"] is None
    shown = cloud.custody("trace", arn).out
    assert f"; {THROTTLED}: " in shown
    assert f"try {len(refused) + 1} at " in shown


def test_an_execution_that_was_redriven(cloud: Cloud, tmp_path: Path) -> None:
    with without(cloud, "write", "s3:PutObject"):
        arn = put(cloud, tmp_path / "trace-redriven.json", GOOD)
        ended(cloud, arn, "FAILED")
    cloud.client("stepfunctions").redrive_execution(executionArn=arn)
    ended(cloud, arn, "SUCCEEDED")

    told = traced(cloud, arn)
    assert (told["attempt"], told["redrives"]) == (1, 1)
    assert [(step["redrive"], step["name"], step["outcome"]) for step in told["steps"]] == [
        (0, "Validate", "succeeded"),
        (0, "Transform", "succeeded"),
        (0, "Write", "caught"),
        (0, "DeadLetter", "failed"),
        (1, "DeadLetter", "succeeded"),
        (1, "Resume", "succeeded"),
        (1, "Write", "succeeded"),
    ]


def test_a_bulk_object_and_a_record_of_it(buffered: Cloud, tmp_path: Path) -> None:
    good, bad = (json.dumps(record).encode() + b"\n" for record in (GOOD | {"note": "x" * CHARACTERS}, BAD))
    file = tmp_path / "trace-bulk.jsonl"
    file.write_bytes(bad + good * LINES)
    ran = buffered.custody("put", file, "--json")
    assert ran.code == 3, ran.err
    (put_in,) = ran.json["objects"]

    told = traced(buffered, put_in["object"]["id"])
    assert names(told) == ["ProcessChunks succeeded", "Summarize caught", "DeadLetter failed"]
    (run,) = told["steps"][0]["tries"]
    client = buffered.client("stepfunctions")
    (known,) = client.list_map_runs(executionArn=told["arn"])["mapRuns"]
    counted = client.describe_map_run(mapRunArn=known["mapRunArn"])["itemCounts"]
    assert run["map_run"]["arn"] == known["mapRunArn"]
    assert run["map_run"]["items"] == {name: counted[name] for name in run["map_run"]["items"]}
    assert counted["total"] == put_in["chunks"]["total"]

    child = traced(buffered, f"{put_in['object']['id']}.0")
    assert child["machine"] == "chunk"
    assert names(child) == ["ValidateChunk succeeded", "TransformChunk succeeded", "WriteChunk succeeded"]
    assert child["arn"] in {
        one["executionArn"] for one in client.list_executions(mapRunArn=known["mapRunArn"])["executions"]
    }
