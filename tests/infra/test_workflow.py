"""The state machines: their definitions keep their promises, and every name in them is real."""

import json
import re
from typing import Any

import pytest

from functions.shared.errors import BY_NAME
from functions.shared.model.chunking import MOST_CHUNKS
from infra.constructs.bulk_definition import MAP, placeholders
from tests.support.machines import BULK, FILES, OF_CHUNKS, PIPELINE
from tests.support.steps import STEPS
from tests.support.template import ACCOUNT, REGION, Deployment

SCOPES: dict[str, dict[str, Any]] = {"pipeline": PIPELINE, "bulk": BULK, "chunk": OF_CHUNKS}
"""Each set of states that lead to one another."""

STATES = {(scope, name): state for scope, found in SCOPES.items() for name, state in found["States"].items()}
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
def test_every_placeholder_is_filled_and_nothing_is_filled_that_is_none(deployment: Deployment, machine: str) -> None:
    found = set(re.findall(r"\$\{(\w+)\}", FILES["pipeline"].read_text() + FILES[machine].read_text()))

    assert set(deployment.machine(machine)["DefinitionSubstitutions"]) == found
    assert "${" not in deployment.definition(machine)


def test_the_placeholders_of_a_definition_are_found() -> None:
    assert placeholders('{"a": "${One}", "b": "arn:${Two}:${One}"}') == ["One", "Two"]


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


def test_the_definition_of_the_pipeline_is_the_file_word_for_word(deployment: Deployment) -> None:
    assert deployment.machine("pipeline")["DefinitionString"] == FILES["pipeline"].read_text()


def test_the_definition_of_the_bulk_machine_is_its_file_with_the_states_of_a_chunk(deployment: Deployment) -> None:
    definition = json.loads(deployment.machine("bulk")["DefinitionString"])

    assert definition == BULK
    for part in ("ItemProcessor", "MaxConcurrency"):
        definition["States"][MAP].pop(part)
    file = json.loads(FILES["bulk"].read_text())
    assert file["States"][MAP].pop("ItemProcessor") == {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    }
    assert definition == file


@pytest.mark.parametrize("machine", FILES)
def test_a_machine_is_traced_and_logged_without_its_data(deployment: Deployment, machine: str) -> None:
    log = f"/aws/vendedlogs/states/custody-{deployment.env}-{machine}"
    found = deployment.machine(machine)

    assert found["StateMachineType"] == "STANDARD"
    assert found["TracingConfiguration"] == {"Enabled": True}
    assert found["LoggingConfiguration"] == {
        "Level": "ALL",
        "IncludeExecutionData": False,
        "Destinations": [
            {"CloudWatchLogsLogGroup": {"LogGroupArn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{log}:*"}}
        ],
    }
    assert deployment.of_type("AWS::Logs::LogGroup")[log]["KmsKeyId"] == deployment.key


def test_the_start_function_knows_the_machines_that_there_are(deployment: Deployment) -> None:
    told = deployment.function("start")["Environment"]["Variables"]
    prefix = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:"

    assert told["PIPELINE_ARN"] == prefix + deployment.machine("pipeline")["StateMachineName"]
    assert told["BULK_ARN"] == prefix + deployment.machine("bulk")["StateMachineName"]


@pytest.mark.parametrize("definition", [PIPELINE, BULK], ids=FILES)
def test_a_machine_itself_has_an_end_to_its_patience(definition: dict[str, Any]) -> None:
    tasks = [state for state in definition["States"].values() if state["Type"] == "Task"]

    assert definition["TimeoutSeconds"] > max(state["TimeoutSeconds"] for state in tasks)


def test_the_most_chunks_have_time_enough_each_at_its_slowest() -> None:
    slowest = sum(OF_CHUNKS["States"][f"{name}Chunk"]["TimeoutSeconds"] for name in STEPS)

    assert MOST_CHUNKS / 100 * slowest < BULK["TimeoutSeconds"], "with as many at a time as by default"


@every(STATES)
def test_every_state_says_why_it_is_there(name: str, state: dict[str, Any]) -> None:
    assert state["Comment"], name


@every(TASKS)
def test_every_task_has_a_timeout_and_retries_that_say_what_they_are_for(name: str, state: dict[str, Any]) -> None:
    assert state["TimeoutSeconds"] > 0, name
    assert state["Retry"]
    assert all(retry["Comment"] for retry in state["Retry"])


@every(TASKS)
def test_every_task_retries_each_fault_of_lambda_itself(name: str, state: dict[str, Any]) -> None:
    retried = {error for retry in state["Retry"] for error in retry["ErrorEquals"]}

    # https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html#bp-lambda-serviceexception
    assert {
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.ClientExecutionTimeoutException",
        "Lambda.TooManyRequestsException",
    } <= retried, name


@every(TASKS)
def test_a_timeout_is_retried_once(name: str, state: dict[str, Any]) -> None:
    (retry,) = (found for found in state["Retry"] if "States.Timeout" in found["ErrorEquals"])

    assert set(retry["ErrorEquals"]) == {"States.Timeout", "Sandbox.Timedout"}, name
    assert retry["MaxAttempts"] == 1


@every(CATCHING)
def test_every_error_of_a_step_leads_to_the_dead_letter_beside_the_step_s_own_input(
    name: str, state: dict[str, Any]
) -> None:
    step = name.removesuffix("Chunk")
    catches = state["Catch"]

    assert catches[-1]["ErrorEquals"] == ["States.ALL"]
    # States.ALL does not match this one (https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html).
    assert ["States.DataLimitExceeded"] in [catch["ErrorEquals"] for catch in catches]
    told = f"DeadLetter{name.removeprefix(step)}"
    led = {(catch["Next"], catch["ResultPath"]) for catch in catches}
    if name == MAP:
        # The chunks have ended by then, and their answers are not asked for: the ledger is.
        assert [(catch["Next"], catch["ResultPath"]) for catch in catches[:-1]] == [("Summarize", None)]
        led = {(catches[-1]["Next"], catches[-1]["ResultPath"])}
    assert led == {(told, f"$.failure.{step}")}


def test_every_state_that_can_fail_but_the_dead_letter_catches() -> None:
    assert {name for _, name in CATCHING} == {*STEPS, *(f"{step}Chunk" for step in STEPS), MAP, "Summarize"}


@pytest.mark.parametrize("scope", SCOPES)
def test_every_state_is_reached_and_leads_to_one_that_there_is(scope: str) -> None:
    definition = SCOPES[scope]
    states = definition["States"]
    led_to = {definition["StartAt"]}
    for state in states.values():
        led_to |= {handler["Next"] for handler in (*state.get("Catch", []), *state.get("Choices", []))}
        led_to |= {state[way] for way in ("Next", "Default") if way in state}

    assert led_to == set(states)


@pytest.mark.parametrize("scope", SCOPES)
def test_the_dead_letter_fails_by_itself_for_a_fail_state_cannot_be_redriven(scope: str) -> None:
    states = SCOPES[scope]["States"]
    (dead_letter,) = (state for name, state in states.items() if name.startswith("DeadLetter"))

    assert "Catch" not in dead_letter
    assert "Fail" not in {state["Type"] for state in states.values()}


@pytest.mark.parametrize(("definition", "steps"), [(PIPELINE, STEPS), (BULK, (MAP, "Summarize"))], ids=FILES)
def test_a_redrive_can_go_on_at_every_step_and_begins_at_the_beginning_if_it_is_not_told_where(
    definition: dict[str, Any], steps: tuple[str, ...]
) -> None:
    resume = definition["States"]["Resume"]
    told = {choice["StringEquals"]: choice["Next"] for choice in resume["Choices"]}

    assert definition["States"]["DeadLetter"]["Next"] == "Resume"
    assert {choice["Variable"] for choice in resume["Choices"]} == {"$.resume"}
    assert told | {resume["Default"]: resume["Default"]} == {step: step for step in steps}
    assert resume["Default"] == definition["StartAt"]


def test_a_message_keeps_its_input_and_the_execution_beside_it_for_attempts_are_counted_by_it() -> None:
    for (_, name), state in TASKS.items():
        payload = dict(state["Parameters"]["Payload"])
        assert payload.pop("resumable", False) is (name == "DeadLetter"), "DeadLetter is told that there is a Resume"
        assert payload == {"batch.$": "$", "execution.$": "$$.Execution", "state.$": "$$.State"}


@pytest.mark.parametrize("scope", SCOPES)
def test_every_error_that_is_named_is_one_that_the_functions_raise(scope: str) -> None:
    named = {
        error
        for state in SCOPES[scope]["States"].values()
        for handler in (*state.get("Retry", []), *state.get("Catch", []))
        for error in handler["ErrorEquals"]
        if "." not in error
    }

    assert named <= set(BY_NAME)
    assert named
