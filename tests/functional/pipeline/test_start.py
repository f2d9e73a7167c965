"""Start: every record of an event, once, and nothing lost when AWS does not answer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from msgspec.structs import replace

from functions.shared import aws
from functions.shared.errors import MessageRefused, ServiceUnavailable
from functions.shared.model.messages import Batch, Plan
from functions.shared.records.strict_json import encode
from functions.start import handler
from tests.support import executions
from tests.support.buckets import Buckets

EVENTS = Path(__file__).parents[2] / "events"


def event(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))


def buffered(*events: Any) -> dict[str, Any]:
    """Return the events as messages of the buffer, each with its position as its id."""
    bodies = [each if isinstance(each, str) else json.dumps(each) for each in events]
    messages = enumerate(bodies)
    return {"Records": [{"messageId": str(at), "eventSource": "aws:sqs", "body": body} for at, body in messages]}


def of_key(key: str, size: int = 61) -> Any:
    created = event("object_created")
    created["Records"][0]["s3"]["object"] |= {"key": key, "size": size}
    return created


class Machine:
    """A client of Step Functions that keeps what was started and where, and can fail."""

    def __init__(self) -> None:
        self.started: dict[str, str] = {}
        self.arns: list[str] = []
        self.failing: set[str] = set()

    def start(self, arn: str, name: str, message: str) -> bool:
        self.arns.append(arn)
        if name.split("-", 1)[0] in self.failing:
            raise ServiceUnavailable("StartExecution was answered ThrottlingException")
        return self.started.setdefault(name, message) is message


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(aws, "start_execution", machine.start)
    return machine


@pytest.mark.parametrize("name", ["object_created", "eventbridge_object_created"])
@pytest.mark.parametrize("wrap", [lambda direct: direct, buffered], ids=["direct", "buffered"])
def test_an_event_becomes_the_golden_input(machine: Machine, name: str, wrap: Callable[[Any], Any]) -> None:
    handler.handle(wrap(event(name)), None)

    ((name, message),) = machine.started.items()
    assert json.loads(message) == event("start_input")
    assert name == "mission-2026-a-json-" + name[-24:]


@pytest.mark.parametrize("name", ["object_created", "object_created_odd_key"])
def test_eventbridge_and_s3_give_the_same_name_and_input(machine: Machine, name: str) -> None:
    """Golden events of one object: one that comes both ways, as after a change of settings, is started once."""
    first = handler.handle(event(name), None)
    second = handler.handle(event(f"eventbridge_{name}"), None)
    third = handler.handle(buffered(event(f"eventbridge_{name}")), None)

    assert (first["counts"]["started"], second["counts"]["started_before"]) == (1, 1)
    assert third == {"batchItemFailures": []}
    assert len(machine.started) == 1


def test_only_a_key_of_s3_is_form_encoded(machine: Machine) -> None:
    encoded = event("eventbridge_object_created")
    encoded["detail"]["object"]["key"] = "mission/100%25+1.json"
    handler.handle(encoded, None)
    handler.handle(event("object_created_odd_key"), None)

    keys = [json.loads(message)["object"]["key"] for message in machine.started.values()]
    assert keys == ["mission/100%25+1.json", "mission/Größe + naïve résumé (1).json"]


def records(*names: str) -> dict[str, Any]:
    return {"Records": [record for name in names for record in event(name)["Records"]]}


BOTH = ("object_created", "object_created_odd_key")


@pytest.mark.parametrize("both", [records(*BOTH), buffered(*map(event, BOTH))], ids=["direct", "buffered"])
def test_every_record_of_an_event_and_every_message_of_the_buffer_is_started(machine: Machine, both: Any) -> None:
    assert handler.handle(both, None).get("batchItemFailures", []) == []
    assert len(machine.started) == 2


@pytest.mark.parametrize("name", ["folder_marker", "s3_test_event", "eventbridge_folder_marker"])
def test_folder_markers_and_test_events_are_skipped_and_deleted_from_the_buffer(machine: Machine, name: str) -> None:
    handler.handle(event(name), None)
    assert handler.handle(buffered(event(name)), None) == {"batchItemFailures": []}
    assert machine.started == {}


@pytest.mark.parametrize(
    ("key", "is_skipped"),
    [
        ("mission/2026/_SUCCESS", True),
        ("_SUCCESS", True),
        ("mission/_temporary/0/part-00000.json", True),
        ("mission/_SUCCESS/a.json", False),
        ("mission/a_SUCCESS", False),
        ("mission/_SUCCESS\n", False),
    ],
)
def test_markers_are_skipped_and_counted_unless_a_setting_asks_for_them(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, key: str, is_skipped: bool
) -> None:
    arrived = of_key(quote_plus(key))
    assert handler.handle(arrived, None)["counts"]["skipped"] == is_skipped
    monkeypatch.setattr(handler, "ENVIRONMENT", replace(handler.ENVIRONMENT, skip_markers=False))
    assert handler.handle(arrived, None)["counts"]["skipped"] == 0
    assert len(machine.started) == 1


def test_one_failed_start_does_not_stop_the_others(machine: Machine) -> None:
    both = records(*BOTH)
    both["Records"][0]["s3"]["object"]["key"] = "busy/a.json"
    machine.failing = {"busy"}

    with pytest.raises(ServiceUnavailable):
        handler.handle(both, None)
    assert len(machine.started) == 1


NO_VERSION: list[dict[str, Any]] = [{}, *({"version": version} for version in ("null", "", None, 7, False, ["a"]))]
"""What an event may hold where the version id belongs, if anything."""


@pytest.mark.parametrize("version", NO_VERSION)
@pytest.mark.parametrize("name", ["object_created", "eventbridge_object_created"])
def test_an_object_without_a_version_is_refused(machine: Machine, name: str, version: dict[str, Any]) -> None:
    unversioned = event(name)
    entity = unversioned["detail"] if "detail" in unversioned else unversioned["Records"][0]["s3"]
    field = "version-id" if "detail" in unversioned else "versionId"
    del entity["object"][field]
    if version:
        entity["object"][field] = version["version"]

    with pytest.raises(MessageRefused, match="enable versioning"):
        handler.handle(unversioned, None)
    assert handler.handle(buffered(unversioned), None) == {"batchItemFailures": [{"itemIdentifier": "0"}]}
    assert machine.started == {}


def without(name: str) -> Any:
    incomplete = event("eventbridge_object_created")
    del incomplete["detail"]["object"][name]
    return incomplete


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({}, "not about a new object"),
        ({"detail": {}}, "not about a new object"),
        (event("eventbridge_object_created") | {"detail-type": "Object Deleted"}, "not about a new object"),
        ({"Records": [{}]}, "malformed: 's3'"),
        ({"Records": [{"s3": {"object": {}}}]}, "malformed: 'bucket'"),
        *((without(name), f"malformed: '{name}'") for name in ("key", "size", "etag")),
    ],
)
def test_an_incomplete_event_or_one_about_something_else_is_refused(machine: Machine, other: Any, why: str) -> None:
    with pytest.raises(MessageRefused, match=why):
        handler.handle(other, None)
    assert machine.started == {}


@pytest.mark.parametrize(
    ("key", "size", "machine_name"),
    [
        ("mission/a.jsonl", 8 * 2**20 + 1, "bulk"),
        ("mission/A.NDJSON", 5_000 * 64 * 2**20, "bulk"),
        ("mission/a.jsonl", 8 * 2**20, "pipeline"),
        ("mission/a.json", 2**40, "pipeline"),
        ("mission/a.jsonl.gz", 2**40, "pipeline"),
        pytest.param("mission/a.jsonl", 5_000 * 64 * 2**20 + 1, "pipeline", id="too large: Validate says so"),
    ],
)
def test_name_and_size_alone_choose_the_state_machine(machine: Machine, key: str, size: int, machine_name: str) -> None:
    handler.handle(of_key(key, size), None)

    assert [arn.rpartition(":")[2] for arn in machine.arns] == [machine_name]


def test_a_large_object_is_started_with_the_same_chunks_each_time(machine: Machine) -> None:
    large = of_key("mission/a.jsonl", 150 * 2**20)
    first = handler.handle(large, None)
    (message,) = machine.started.values()
    again = handler.handle(large, None)

    batch = Batch.decode(json.loads(message))
    assert batch.plan == Plan(64 * 2**20, (0, 64 * 2**20, 128 * 2**20))
    assert (first["counts"]["started"], again["counts"]["started_before"]) == (1, 1)
    assert list(machine.started.values()) == [message]


def test_only_failed_messages_are_returned_to_the_buffer_and_logged(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.failing = {"busy"}

    answer = handler.handle(buffered(of_key("a.json"), of_key("busy/b.json"), of_key("c.json")), None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert len(machine.started) == 2

    (entry,) = (record.__dict__ for record in caplog.records if record.levelname == "WARNING")
    assert (entry["message_id"], entry["error"]) == ("1", "ServiceUnavailable")
    assert "ThrottlingException" in entry["cause"]


@pytest.mark.parametrize(
    "body", ["", "not JSON", "[]", "null", "[" * 100_000, '{"detail": {}}', '{"Records": [{}]}', '{"Records": null}']
)
def test_a_message_that_is_not_an_event_stops_no_other(machine: Machine, body: str) -> None:
    answer = handler.handle(buffered(body, event("object_created")), None)

    assert answer == {"batchItemFailures": [{"itemIdentifier": "0"}]}
    assert len(machine.started) == 1


def test_start_execution_reports_a_duplicate_name(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    client = executions.Machine(buckets)
    monkeypatch.setattr(aws, "_stepfunctions", lambda: client)
    message = encode(buckets.upload("a.json", b"{}").encode()).decode()

    assert aws.start_execution(executions.MACHINE_ARN, "a", message)
    assert not aws.start_execution(executions.MACHINE_ARN, "a", message)
