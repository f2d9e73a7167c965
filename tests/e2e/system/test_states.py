"""Step Functions' own TestState on each state of the deployed machines: what it calls, catches and retries.

https://docs.aws.amazon.com/step-functions/latest/dg/test-state-isolation.html
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.config import Config

from infra.constructs.bulk_definition import MAP
from tests.support import account
from tests.support.deployed import Cloud

INPUT = {"format": "1", "object": {"key": "mission/a.json"}}
CONTEXT = {"Execution": {"Id": "arn:aws:states:us-east-1:000000000000:execution:a:b", "Input": INPUT}, "State": {}}


def states(cloud: Cloud, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the deployed states of a type, those of chunks included."""
    client = cloud.client("stepfunctions")
    for arn in (cloud.deployment.pipeline_arn, cloud.deployment.bulk_arn):
        definition = json.loads(client.describe_state_machine(stateMachineArn=arn)["definition"])["States"]
        chunks = definition.get(MAP, {}).get("ItemProcessor", {}).get("States", {})
        yield from ((name, state) for name, state in (definition | chunks).items() if state["Type"] == kind)


def outcome(cloud: Cloud, state: dict[str, Any], **request: Any) -> Any:
    """Test a state alone, with a result or an error in the place of what it calls."""
    if mock := request.pop("mock", None):
        request["mock"] = {**mock, "fieldValidationMode": "NONE"}
    # AWS has a host of its own for this call, and a low quota.
    config = Config(inject_host_prefix=account.is_real_aws(), retries={"mode": "adaptive", "max_attempts": 10})
    client = cloud.target.session.client("stepfunctions", endpoint_url=cloud.target.endpoint, config=config)
    return client.test_state(
        definition=json.dumps(state),
        input=json.dumps(request.pop("input", INPUT)),
        context=json.dumps(CONTEXT),
        inspectionLevel="DEBUG",
        **request,
    )


def failure(error: str) -> dict[str, Any]:
    return {"errorOutput": {"error": error, "cause": "a cause"}}


@pytest.mark.aws
def test_each_task_sends_its_input_and_passes_the_payload_of_the_result_on(cloud: Cloud) -> None:
    for name, state in states(cloud, "Task"):
        done = outcome(cloud, state, mock={"result": json.dumps({"Payload": {"counts": 1}, "StatusCode": 200})})
        sent = json.loads(done["inspectionData"]["afterParameters"])

        assert done["status"] == "SUCCEEDED", (name, done)
        assert sent["Payload"]["batch"] == INPUT, name
        assert sent["Payload"]["execution"] == CONTEXT["Execution"], name
        assert json.loads(done["output"]) == ({} if name == "WriteChunk" else {"counts": 1}), name
        assert done.get("nextState") == state.get("Next"), name


@pytest.mark.aws
def test_an_error_that_no_retry_names_is_caught_with_the_input_of_the_step(cloud: Cloud) -> None:
    for name, state in states(cloud, "Task"):
        done = outcome(cloud, state, mock=failure("AccessRefused"))
        if name.startswith("DeadLetter"):
            assert (done["status"], done["error"]) == ("FAILED", "AccessRefused"), name
            continue
        caught = {name.removesuffix("Chunk"): {"Error": "AccessRefused", "Cause": "a cause"}}
        assert (done["status"], done["nextState"]) == ("CAUGHT_ERROR", state["Catch"][-1]["Next"]), name
        assert json.loads(done["output"]) == INPUT | {"failure": caught}, name


@pytest.mark.aws(only=True)  # embedded AWS catches an error before it looks at the retries
def test_each_retry_applies_until_its_attempts_are_used_up(cloud: Cloud) -> None:
    for name, state in states(cloud, "Task"):
        for index, retry in enumerate(state["Retry"]):
            mock = failure(retry["ErrorEquals"][0])
            first = outcome(cloud, state, mock=mock, stateConfiguration={"retrierRetryCount": 0})
            last = outcome(cloud, state, mock=mock, stateConfiguration={"retrierRetryCount": retry["MaxAttempts"]})

            assert first["status"] == "RETRIABLE", name
            assert first["inspectionData"]["errorDetails"]["retryIndex"] == index, name
            assert last["status"] == ("FAILED" if name.startswith("DeadLetter") else "CAUGHT_ERROR"), name


@pytest.mark.aws
def test_resume_continues_at_the_named_step_or_at_the_first(cloud: Cloud) -> None:
    for name, state in states(cloud, "Choice"):
        for resume, following in {
            **{each["Next"]: each["Next"] for each in state["Choices"]},
            "": state["Default"],
        }.items():
            done = outcome(cloud, state, input=INPUT | {"resume": resume})
            assert (done["status"], done["nextState"]) == ("SUCCEEDED", following), name
