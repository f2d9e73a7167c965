"""The state machine: its definition keeps its promises, and every name in it is real."""

import json
import re
from typing import Any

import pytest

from functions.shared.errors import BY_NAME
from infra.app import ROOT
from tests.infra.deployment import ACCOUNT, REGION, Deployment

FILE = ROOT / "statemachine" / "pipeline.asl.json"
DEFINITION: dict[str, Any] = json.loads(FILE.read_text())
STATES: dict[str, dict[str, Any]] = DEFINITION["States"]
TASKS = [name for name, state in STATES.items() if state["Type"] == "Task"]
STEPS = ("Validate", "Transform", "Write")


def test_every_placeholder_is_filled_and_nothing_is_filled_that_is_none(deployment: Deployment) -> None:
    placeholders = set(re.findall(r"\$\{(\w+)\}", FILE.read_text()))

    assert set(deployment.machine["DefinitionSubstitutions"]) == placeholders
    assert "${" not in deployment.definition()


def test_each_task_calls_the_function_of_its_name(deployment: Deployment) -> None:
    called = {
        name: state["Parameters"]["FunctionName"]
        for name, state in json.loads(deployment.definition())["States"].items()
        if state["Type"] == "Task"
    }
    prefix = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:custody-{deployment.env}"

    assert called == {
        "Validate": f"{prefix}-validate",
        "Transform": f"{prefix}-transform",
        "Write": f"{prefix}-write",
        "DeadLetter": f"{prefix}-dead-letter",
    }


def test_the_definition_is_the_file_word_for_word(deployment: Deployment) -> None:
    assert deployment.machine["DefinitionString"] == FILE.read_text()


def test_the_machine_is_traced_and_logged_without_its_data(deployment: Deployment) -> None:
    log = f"/aws/vendedlogs/states/custody-{deployment.env}-pipeline"

    assert deployment.machine["StateMachineType"] == "STANDARD"
    assert deployment.machine["TracingConfiguration"] == {"Enabled": True}
    assert deployment.machine["LoggingConfiguration"] == {
        "Level": "ALL",
        "IncludeExecutionData": False,
        "Destinations": [
            {"CloudWatchLogsLogGroup": {"LogGroupArn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{log}:*"}}
        ],
    }
    assert deployment.of_type("AWS::Logs::LogGroup")[log]["KmsKeyId"] == deployment.key


def test_the_start_function_knows_the_machine_that_there_is(deployment: Deployment) -> None:
    assert deployment.function("start")["Environment"]["Variables"]["PIPELINE_ARN"] == (
        f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{deployment.machine['StateMachineName']}"
    )


def test_the_machine_itself_has_an_end_to_its_patience() -> None:
    assert DEFINITION["TimeoutSeconds"] > max(STATES[name]["TimeoutSeconds"] for name in TASKS)


@pytest.mark.parametrize("name", STATES)
def test_every_state_says_why_it_is_there(name: str) -> None:
    assert STATES[name]["Comment"]


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_timeout_and_retries_that_say_what_they_are_for(name: str) -> None:
    assert STATES[name]["TimeoutSeconds"] > 0
    assert STATES[name]["Retry"]
    assert all(retry["Comment"] for retry in STATES[name]["Retry"])


@pytest.mark.parametrize("name", TASKS)
def test_every_task_retries_each_fault_of_lambda_itself(name: str) -> None:
    retried = {error for retry in STATES[name]["Retry"] for error in retry["ErrorEquals"]}

    # https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html#bp-lambda-serviceexception
    assert {
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.ClientExecutionTimeoutException",
        "Lambda.TooManyRequestsException",
    } <= retried


@pytest.mark.parametrize("name", TASKS)
def test_a_timeout_is_retried_once(name: str) -> None:
    (retry,) = (found for found in STATES[name]["Retry"] if "States.Timeout" in found["ErrorEquals"])

    assert set(retry["ErrorEquals"]) == {"States.Timeout", "Sandbox.Timedout"}
    assert retry["MaxAttempts"] == 1


@pytest.mark.parametrize("name", STEPS)
def test_every_error_of_a_step_leads_to_the_dead_letter_beside_the_step_s_own_input(name: str) -> None:
    catches = STATES[name]["Catch"]

    assert catches[-1]["ErrorEquals"] == ["States.ALL"]
    # States.ALL does not match this one (https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html).
    assert ["States.DataLimitExceeded"] in [catch["ErrorEquals"] for catch in catches]
    assert {(catch["Next"], catch["ResultPath"]) for catch in catches} == {("DeadLetter", f"$.failure.{name}")}


def test_the_dead_letter_fails_by_itself_for_a_fail_state_cannot_be_redriven() -> None:
    assert "Catch" not in STATES["DeadLetter"]
    assert "Fail" not in {state["Type"] for state in STATES.values()}


def test_a_redrive_can_go_on_at_every_step_and_begins_at_the_beginning_if_it_is_not_told_where() -> None:
    resume = STATES["Resume"]
    told = {choice["StringEquals"]: choice["Next"] for choice in resume["Choices"]}

    assert STATES["DeadLetter"]["Next"] == "Resume"
    assert {choice["Variable"] for choice in resume["Choices"]} == {"$.resume"}
    assert told | {resume["Default"]: resume["Default"]} == {step: step for step in STEPS}
    assert resume["Default"] == DEFINITION["StartAt"]


def test_a_message_keeps_its_input_and_the_execution_beside_it_for_attempts_are_counted_by_it() -> None:
    for name in TASKS:
        payload = dict(STATES[name]["Parameters"]["Payload"])
        assert payload.pop("resumable", False) is (name == "DeadLetter"), "DeadLetter is told that there is a Resume"
        assert payload == {"batch.$": "$", "execution.$": "$$.Execution", "state.$": "$$.State"}


def test_every_error_that_is_named_is_one_that_the_functions_raise() -> None:
    named = {
        error
        for state in STATES.values()
        for handler in (*state.get("Retry", []), *state.get("Catch", []))
        for error in handler["ErrorEquals"]
        if "." not in error
    }

    assert named <= set(BY_NAME)
    assert named
