"""Rules: all that a record breaks, in one order, and never the record's own values."""

import json
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator
from msgspec import structs

from functions.shared.model.records import Violation
from functions.shared.records import reader
from functions.shared.records.reader import Limits, Raw
from functions.validate import contracts, rules


def read(body: bytes) -> list[Raw]:
    (page,) = reader.of_object([body], "a.json", Limits(2**20, 2**20))
    return page


MISSION = contracts.load("mission").validator


def violations(document: Any, validator: Draft202012Validator) -> list[str]:
    _, rejected = rules.check(read(json.dumps([document]).encode()), validator)
    return [str(violation) for violation in rejected[0].violations] if rejected else []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        *(({"confidence": confidence}, []) for confidence in (0, 1, 0.0, 1.0, 0.5)),
        *(({"source": source}, []) for source in ("GEOINT", "HUMINT", "IMINT", "MASINT", "OSINT", "SIGINT")),
        ({"confidence": 1.01}, ["/confidence: maximum 1"]),
        ({"confidence": -0.01}, ["/confidence: minimum 0"]),
        ({"confidence": "0.9"}, ["/confidence: type number"]),
        ({"confidence": True}, ["/confidence: type number"]),
        ({"confidence": None}, ["/confidence: type number"]),
        ({"source": "masint"}, ['/source: enum ["GEOINT", "HUMINT", "IMINT", "MASINT", "OSINT", "SIGINT"]']),
        ({"mission": "  "}, [r"/mission: pattern \S"]),
        ({"mission": 7}, ["/mission: type string"]),
        ({"mission": ...}, ["/: required mission"]),
        ({"mission": ..., "confidence": ...}, ["/: required confidence", "/: required mission"]),
        ({"anything": {"else": [1]}}, []),
    ],
)
def test_the_contract_of_mission(fields: dict[str, Any], expected: list[str]) -> None:
    document = {"mission": "space", "source": "MASINT", "confidence": 0.95} | fields
    given = {name: value for name, value in document.items() if value is not ...}
    assert violations(given, MISSION) == expected


@pytest.mark.parametrize("document", [None, 1, "text", []])
def test_a_record_of_mission_is_an_object(document: Any) -> None:
    assert violations(document, MISSION) == ["/: type object"]


@pytest.mark.parametrize(
    ("schema", "document"),
    [
        ({"additionalProperties": False}, {"secret": 1}),
        ({"unevaluatedProperties": False}, {"secret": 1}),
        ({"propertyNames": {"maxLength": 3}}, {"secret": 1}),
        ({"properties": {"a": {"const": 1}}}, {"a": "secret"}),
        ({"properties": {"a": {"format": "date"}}}, {"a": "secret"}),
        ({"properties": {"a": {"pattern": "^x"}}}, {"a": "secret"}),
        ({"properties": {"a": {"anyOf": [{"type": "null"}, {"const": 2}]}}}, {"a": "secret"}),
        ({"properties": {"a": {"not": {"type": "string"}}}}, {"a": "secret"}),
        ({"properties": {"a": {"uniqueItems": True}}}, {"a": ["secret", "secret"]}),
        ({"properties": {"a": {"contains": {"const": 1}}}}, {"a": ["secret"]}),
    ],
)
def test_a_violation_never_quotes_the_record(schema: dict[str, Any], document: Any) -> None:
    broken = violations(document, Draft202012Validator(schema, validate_formats=True))
    assert broken, "the record breaks the schema"
    assert "secret" not in " ".join(broken)


def test_malformed_json_is_not_validated_and_a_pointer_is_escaped() -> None:
    _, (rejected,) = rules.check(read(b"no JSON"), MISSION)
    assert [violation.rule for violation in rejected.violations] == ["json"]
    assert rules.pointer(["a/b", "c~d", 0]) == "/a~1b/c~0d/0"


def test_accepted_and_rejected_records_keep_their_positions() -> None:
    raws = [
        structs.replace(raw, violations=(Violation("", "json"),) if raw.position % 2 else ())
        for raw in read(b"[{},{},{}]")
    ]
    records, rejected = rules.check(raws, Draft202012Validator({}))
    assert [record.position for record in records] == [0, 2]
    assert [record.position for record in rejected] == [1]
