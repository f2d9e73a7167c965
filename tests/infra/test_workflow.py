"""The state machines: their definitions keep their promises, and every name in them is real."""

import json
import re
from typing import Any

import pytest

from functions.shared.errors import BY_NAME
from functions.shared.model.chunking import MOST_CHUNKS
from infra.constructs.bulk_definition import MAP
from tests.support.steps import BULK, FILES, OF_CHUNKS, PIPELINE, STEPS
from tests.support.template import ACCOUNT, REGION, Deployment

SCOPES: dict[str, dict[str, Any]] = {"pipeline": PIPELINE, "bulk": BULK, "chunk": OF_CHUNKS}
"""Each set of states that lead to one another."""

STATES = {(scope, name): state for scope, each in SCOPES.items() for name, state in each["States"].items()}
TASKS = {key: state for key, state in STATES.items() if state["Type"] == "Task"}
CATCHING = {
    key: state
    for key, state in STATES.items()
    if state["Type"] in {"Task", "Map"} and not key[1].startswith("DeadLetter")
}


def every(states: dict[tuple[str, str], dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("name", "state"), [pytest.param(key[1], state, id=f"{key[0]}-{key[1]}") for key, state in states.items()]
    )


@pytest.mark.parametrize("machine", FILES)
def test_every_placeholder_is_filled_and_no_other(deployment: Deployment, machine: str) -> None:
    names = set(re.findall(r"\$\{(\w+)\}", FILES["pipeline"].read_text() + FILES[machine].read_text()))

    assert set(deployment.machine(machine)["DefinitionSubstitutions"]) == names
    assert "${" not in deployment.definition(machine)


def functions_of(states: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: state["Parameters"]["FunctionName"] for name, state in states.items() if state["Type"] == "Task"}


def test_each_task_calls_the_function_of_its_name(deployment: Deployment) -> None:
    prefix = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:custody-{deployment.env}"
    pipeline = json.loads(deployment.definition("pipeline"))["States"]
    bulk = json.loads(deployment.definition("bulk"))["States"]
    of_a_batch = {step: f"{prefix}-{step.lower()}" for step in STEPS} | {"DeadLetter": f"{prefix}-dead-letter"}

    assert functions_of(pipeline) == of_a_batch
    assert functions_of(bulk) == {"Summarize": f"{prefix}-summarize", "DeadLetter": f"{prefix}-dead-letter"}
    assert functions_of(bulk[MAP]["ItemProcessor"]["States"]) == {
        f"{name}Chunk": function for name, function in of_a_batch.items()
    }


def test_the_definitions_are_their_files_and_the_map_has_the_states_of_chunks(deployment: Deployment) -> None:
    bulk = json.loads(deployment.machine("bulk")["DefinitionString"])

    assert deployment.machine("pipeline")["DefinitionString"] == FILES["pipeline"].read_text()
    assert bulk == BULK
    for part in ("ItemProcessor", "MaxConcurrency"):
        bulk["States"][MAP].pop(part)
    file = json.loads(FILES["bulk"].read_text())
    assert file["States"][MAP].pop("ItemProcessor") == {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    }
    assert bulk == file


@pytest.mark.parametrize("machine", FILES)
def test_a_machine_is_traced_and_logged_without_its_data(deployment: Deployment, machine: str) -> None:
    log = f"/aws/vendedlogs/states/custody-{deployment.env}-{machine}"
    properties = deployment.machine(machine)

    assert properties["StateMachineType"] == "STANDARD"
    assert properties["TracingConfiguration"] == {"Enabled": True}
    assert properties["LoggingConfiguration"] == {
        "Level": "ALL",
        "IncludeExecutionData": False,
        "Destinations": [
            {"CloudWatchLogsLogGroup": {"LogGroupArn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{log}:*"}}
        ],
    }
    assert deployment.of_type("AWS::Logs::LogGroup")[log]["KmsKeyId"] == deployment.key


def test_a_machine_has_time_for_its_longest_task_and_the_maximum_number_of_chunks() -> None:
    for definition in (PIPELINE, BULK):
        tasks = [state for state in definition["States"].values() if state["Type"] == "Task"]
        assert definition["TimeoutSeconds"] > max(state["TimeoutSeconds"] for state in tasks)
    slowest = sum(OF_CHUNKS["States"][f"{name}Chunk"]["TimeoutSeconds"] for name in STEPS)
    assert MOST_CHUNKS / 100 * slowest < BULK["TimeoutSeconds"], "with as many at a time as by default"


@every(TASKS)
def test_a_task_has_a_timeout_which_is_retried_once_and_retries_faults_of_lambda(
    name: str, state: dict[str, Any]
) -> None:
    retried = {error for retry in state["Retry"] for error in retry["ErrorEquals"]}
    (of_timeouts,) = (each for each in state["Retry"] if "States.Timeout" in each["ErrorEquals"])

    assert state["TimeoutSeconds"] > 0, name
    assert set(of_timeouts["ErrorEquals"]) == {"States.Timeout", "Sandbox.Timedout"}
    assert of_timeouts["MaxAttempts"] == 1
    # https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html#bp-lambda-serviceexception
    assert {
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.ClientExecutionTimeoutException",
        "Lambda.TooManyRequestsException",
    } <= retried


def test_every_state_and_every_retry_has_a_comment() -> None:
    for (_, name), state in STATES.items():
        assert state["Comment"], name
        assert all(retry["Comment"] for retry in state.get("Retry", [])), name


@every(CATCHING)
def test_every_error_of_a_step_leads_to_dead_letter_with_the_input_of_the_step(
    name: str, state: dict[str, Any]
) -> None:
    step = name.removesuffix("Chunk")
    catches = state["Catch"]

    assert catches[-1]["ErrorEquals"] == ["States.ALL"]
    # States.ALL does not match this one (https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html).
    assert ["States.DataLimitExceeded"] in [catch["ErrorEquals"] for catch in catches]
    dead_letter = f"DeadLetter{name.removeprefix(step)}"
    led = {(catch["Next"], catch["ResultPath"]) for catch in catches}
    if name == MAP:
        # The chunks have ended by then, and their answers are not asked for: the ledger is.
        assert [(catch["Next"], catch["ResultPath"]) for catch in catches[:-1]] == [("Summarize", None)]
        led = {(catches[-1]["Next"], catches[-1]["ResultPath"])}
    assert led == {(dead_letter, f"$.failure.{step}")}


@pytest.mark.parametrize("definition", SCOPES.values(), ids=SCOPES)
def test_every_state_is_reachable_and_leads_to_an_existing_one_and_dead_letter_fails_by_itself(
    definition: dict[str, Any],
) -> None:
    states = definition["States"]
    led_to = {definition["StartAt"]}
    for state in states.values():
        led_to |= {handler["Next"] for handler in (*state.get("Catch", []), *state.get("Choices", []))}
        led_to |= {state[way] for way in ("Next", "Default") if way in state}

    assert led_to == set(states)
    (dead_letter,) = (state for name, state in states.items() if name.startswith("DeadLetter"))

    assert "Catch" not in dead_letter
    assert "Fail" not in {state["Type"] for state in states.values()}, "such a state cannot be redriven"


@pytest.mark.parametrize(("definition", "steps"), [(PIPELINE, STEPS), (BULK, (MAP, "Summarize"))], ids=FILES)
def test_a_redrive_continues_at_any_step_and_by_default_at_the_first(
    definition: dict[str, Any], steps: tuple[str, ...]
) -> None:
    resume = definition["States"]["Resume"]
    targets = {choice["StringEquals"]: choice["Next"] for choice in resume["Choices"]}

    assert definition["States"]["DeadLetter"]["Next"] == "Resume"
    assert {choice["Variable"] for choice in resume["Choices"]} == {"$.resume"}
    assert targets | {resume["Default"]: resume["Default"]} == {step: step for step in steps}
    assert resume["Default"] == definition["StartAt"]


def test_a_payload_has_the_batch_the_execution_and_the_state() -> None:
    for (_, name), state in TASKS.items():
        payload = dict(state["Parameters"]["Payload"])
        assert payload.pop("resumable", False) is (name == "DeadLetter"), "only DeadLetter may be followed by Resume"
        assert payload == {"batch.$": "$", "execution.$": "$$.Execution", "state.$": "$$.State"}


@pytest.mark.parametrize("scope", SCOPES)
def test_every_named_error_is_raised_by_the_functions(scope: str) -> None:
    named = {
        error
        for state in SCOPES[scope]["States"].values()
        for handler in (*state.get("Retry", []), *state.get("Catch", []))
        for error in handler["ErrorEquals"]
        if "." not in error
    }

    assert named <= set(BY_NAME)
    assert named
