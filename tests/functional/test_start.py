"""Start: every record of an event, once, and nothing lost when AWS does not answer."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from functions.shared import store
from functions.shared.errors import MessageRefused, ServiceUnavailable
from functions.start import handler
from tests.rooms import Rooms

EVENTS = Path(__file__).parents[1] / "events"


def event(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))


class Machine:
    """Stands for the state machine: keeps what was started, and fails when told to."""

    def __init__(self) -> None:
        self.started: dict[str, str] = {}
        self.failing: set[str] = set()

    def start(self, _: str, name: str, message: str) -> bool:
        if name.split("-", 1)[0] in self.failing:
            raise ServiceUnavailable("StartExecution was answered ThrottlingException")
        return self.started.setdefault(name, message) is message


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(store, "start_execution", machine.start)
    return machine


def test_an_event_becomes_exactly_the_input_that_stands_beside_it(machine: Machine) -> None:
    handler.handle(event("object_created"), None)

    ((name, message),) = machine.started.items()
    assert json.loads(message) == event("start_input")
    assert name == "mission-2026-a-json-" + name[-24:]


def test_the_same_event_twice_is_one_execution_and_no_error(machine: Machine) -> None:
    first = handler.handle(event("object_created"), None)
    second = handler.handle(event("object_created"), None)

    assert len(machine.started) == 1
    assert (first["counts"]["started"], second["counts"]["started_before"]) == (1, 1)


def test_a_key_with_spaces_plus_and_letters_is_decoded(machine: Machine) -> None:
    handler.handle(event("object_created_odd_key"), None)

    (message,) = machine.started.values()
    assert json.loads(message)["object"]["key"] == "mission/Größe + naïve résumé (1).json"


def test_every_record_of_an_event_is_started(machine: Machine) -> None:
    both = {"Records": event("object_created")["Records"] + event("object_created_odd_key")["Records"]}
    handler.handle(both, None)
    assert len(machine.started) == 2


def test_folder_markers_and_test_events_are_passed_over(machine: Machine) -> None:
    handler.handle(event("folder_marker"), None)
    handler.handle(event("s3_test_event"), None)
    assert machine.started == {}


def test_when_one_cannot_be_started_the_others_are_and_the_event_comes_again(machine: Machine) -> None:
    first, second = event("object_created")["Records"][0], event("object_created_odd_key")["Records"][0]
    first["s3"]["object"]["key"] = "busy/a.json"
    machine.failing = {"busy"}

    with pytest.raises(ServiceUnavailable):
        handler.handle({"Records": [first, second]}, None)
    assert len(machine.started) == 1


@pytest.mark.parametrize("version", ["null", None])
def test_an_object_without_a_version_is_refused_for_it_could_change(machine: Machine, version: str | None) -> None:
    unversioned = event("object_created")
    if version is None:
        del unversioned["Records"][0]["s3"]["object"]["versionId"]
    else:
        unversioned["Records"][0]["s3"]["object"]["versionId"] = version

    with pytest.raises(MessageRefused, match="enable versioning"):
        handler.handle(unversioned, None)
    assert machine.started == {}


@pytest.mark.parametrize("odd", [{}, {"detail": {}}, {"Records": [{}]}, {"Records": [{"s3": {"object": {}}}]}])
def test_an_event_that_is_not_from_s3_is_refused(machine: Machine, odd: dict[str, Any]) -> None:
    with pytest.raises(MessageRefused):
        handler.handle(odd, None)
    assert machine.started == {}


def test_the_store_says_whether_an_execution_was_there_before(rooms: Rooms) -> None:  # noqa: ARG001 - AWS in memory
    client = boto3.client("stepfunctions")
    definition = json.dumps({"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 60, "End": True}}})
    role = boto3.client("iam").create_role(RoleName="machine", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    arn = client.create_state_machine(name="pipeline", definition=definition, roleArn=role)["stateMachineArn"]

    assert store.start_execution(arn, "a", "{}")
    assert not store.start_execution(arn, "a", '{"other": "input"}')
