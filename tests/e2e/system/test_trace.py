"""`custody trace` shows what the history of an execution has: steps, times, tries and errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.support.breaking import until, wait_for_status, without
from tests.support.deployed import GOOD, Cloud, json_file, large_file

BAD = GOOD | {"source": "RUMINT"}
THROTTLED = "Lambda.TooManyRequestsException"
DEADLINE_SECONDS = 60


def put(cloud: Cloud, file: Path, record: dict[str, Any]) -> str:
    """Put a record; return the ARN of its execution."""
    return str(cloud.put(json_file(file, record), "--no-wait")["execution"])


def history(cloud: Cloud, arn: str) -> list[Any]:
    pages = cloud.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=arn)
    return [event for page in pages for event in page["events"]]


def format_time(time: datetime) -> str:
    text: str = time.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def steps_of_history(cloud: Cloud, arn: str) -> list[Any]:
    """Return the steps in the raw events: name, times of entry and exit, and each try with its error."""
    steps: list[Any] = []
    is_redriven = False
    for event in history(cloud, arn):
        kind, at = event["type"], format_time(event["timestamp"])
        if kind.endswith("StateEntered"):
            steps.append([event["stateEnteredEventDetails"]["name"], at, None, []])
        elif kind in {"TaskScheduled", "MapRunStarted"}:
            if is_redriven:
                steps.append([steps[-1][0], at, None, []])
            steps[-1][3].append([at, None, None])
        elif kind in {"TaskSucceeded", "TaskFailed", "MapRunSucceeded"}:
            steps[-1][3][-1][1:] = [at, event.get("taskFailedEventDetails", {}).get("error")]
        elif kind.endswith("StateExited") or kind == "ExecutionFailed":
            steps[-1][2] = at
        is_redriven = kind == "ExecutionRedriven"
    return steps


def steps_of_trace(execution: Any) -> list[Any]:
    def tries(step: Any) -> list[Any]:
        return [[each["started_at"], each["ended_at"], each["error"]] for each in step["tries"]]

    return [[step["name"], step["entered_at"], step["left_at"], tries(step)] for step in execution["steps"]]


def trace(cloud: Cloud, identifier: str) -> Any:
    """Trace a record, object or execution; return its execution, which must agree with history and description."""
    ran = cloud.custody("trace", identifier, "--json")
    assert ran.code == 0, ran.err
    (execution,) = ran.json["executions"]
    assert steps_of_trace(execution) == steps_of_history(cloud, execution["arn"])
    described = cloud.client("stepfunctions").describe_execution(executionArn=execution["arn"])
    assert (execution["status"], execution["redrives"], execution["started_at"], execution["ended_at"]) == (
        described["status"],
        described["redriveCount"],
        format_time(described["startDate"]),
        format_time(described["stopDate"]),
    )
    assert (execution["error"], execution["cause"]) == (described.get("error"), described.get("cause"))
    assert execution["console"] is None, "embedded AWS has no console"
    return execution


def outcomes(execution: Any) -> list[str]:
    return [f"{step['name']} {step['outcome']}" for step in execution["steps"]]


@contextmanager
def throttled(cloud: Cloud, function: str) -> Iterator[None]:
    """Let Lambda throttle all calls of a function."""
    client, name = cloud.client("lambda"), f"custody-dev-{function}"
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    try:
        yield
    finally:
        client.delete_function_concurrency(FunctionName=name)


def test_a_written_and_a_rejected_record(cloud: Cloud, tmp_path: Path) -> None:
    since = datetime.now(UTC).isoformat()
    good = put(cloud, tmp_path / "trace-good.json", GOOD)
    wait_for_status(cloud, good, "SUCCEEDED")
    bad = put(cloud, tmp_path / "trace-bad.json", BAD)
    wait_for_status(cloud, bad, "FAILED")

    execution = trace(cloud, f"{good.rpartition(':')[2]}.0")
    assert outcomes(execution) == ["Validate succeeded", "Transform succeeded", "Write succeeded"]
    execution = trace(cloud, bad)
    assert outcomes(execution) == ["Validate caught", "DeadLetter failed"]
    assert execution["error"] == "RecordsRejected"

    listed = cloud.custody("executions", "--since", since, "--json").json["executions"]
    assert [each["arn"] for each in listed] == [bad, good], "newest first, and none that is older"
    assert listed[0]["cause"] == execution["cause"]


def test_a_step_that_was_retried(cloud: Cloud, tmp_path: Path) -> None:
    with throttled(cloud, "transform"):
        arn = put(cloud, tmp_path / "trace-retried.json", GOOD)
        client = cloud.client("stepfunctions")

        def is_throttled() -> bool:
            try:
                return any(event["type"] == "TaskFailed" for event in history(cloud, arn))
            except client.exceptions.ExecutionDoesNotExist:
                return False

        until(is_throttled, DEADLINE_SECONDS, "Transform is throttled")
    wait_for_status(cloud, arn, "SUCCEEDED")

    execution = trace(cloud, f"{arn.rpartition(':')[2]}.0")
    assert outcomes(execution) == ["Validate succeeded", "Transform succeeded", "Write succeeded"]
    *throttled_tries, last = execution["steps"][1]["tries"]
    assert {each["error"] for each in throttled_tries} == {THROTTLED}
    assert last["error"] is None
    shown = cloud.custody("trace", arn).out
    assert f"; {THROTTLED}: " in shown
    assert f"try {len(throttled_tries) + 1} at " in shown


def test_an_execution_that_was_redriven(cloud: Cloud, tmp_path: Path) -> None:
    with without(cloud, "write", "s3:PutObject"):
        arn = put(cloud, tmp_path / "trace-redriven.json", GOOD)
        wait_for_status(cloud, arn, "FAILED")
    cloud.client("stepfunctions").redrive_execution(executionArn=arn)
    wait_for_status(cloud, arn, "SUCCEEDED")

    execution = trace(cloud, arn)
    assert (execution["attempt"], execution["redrives"]) == (1, 1)
    assert [(step["redrive"], step["name"], step["outcome"]) for step in execution["steps"]] == [
        (0, "Validate", "succeeded"),
        (0, "Transform", "succeeded"),
        (0, "Write", "caught"),
        (0, "DeadLetter", "failed"),
        (1, "DeadLetter", "succeeded"),
        (1, "Resume", "succeeded"),
        (1, "Write", "succeeded"),
    ]


def test_a_bulk_object_and_a_record_of_it(buffered: Cloud, tmp_path: Path) -> None:
    outcome = buffered.put(large_file(tmp_path / "trace-bulk.jsonl", BAD), code=3)

    execution = trace(buffered, outcome["object"]["id"])
    assert outcomes(execution) == ["ProcessChunks succeeded", "Summarize caught", "DeadLetter failed"]
    (run,) = execution["steps"][0]["tries"]
    client = buffered.client("stepfunctions")
    (map_run,) = client.list_map_runs(executionArn=execution["arn"])["mapRuns"]
    counts = client.describe_map_run(mapRunArn=map_run["mapRunArn"])["itemCounts"]
    assert run["map_run"]["arn"] == map_run["mapRunArn"]
    assert run["map_run"]["items"] == {name: counts[name] for name in run["map_run"]["items"]}
    assert counts["total"] == outcome["chunks"]["total"]

    child = trace(buffered, f"{outcome['object']['id']}.0")
    assert child["machine"] == "chunk"
    assert outcomes(child) == ["ValidateChunk succeeded", "TransformChunk succeeded", "WriteChunk succeeded"]
    assert child["arn"] in {
        each["executionArn"] for each in client.list_executions(mapRunArn=map_run["mapRunArn"])["executions"]
    }
