"""Rules: all that a record breaks, in one order, and never the record's own values."""

import json
from typing import Any

import pytest
from msgspec import structs

from functions.shared.model.records import Violation
from functions.shared.records import reader
from functions.shared.records.reader import Limits, Raw
from functions.validate import contracts, rules
from functions.validate.contracts import Contract


def read(body: bytes) -> list[Raw]:
    (page,) = reader.of_object([body], "a.json", Limits(2**23, 2**23))
    return page


MISSION = contracts.load("mission")


def contract(schema: dict[str, Any]) -> Contract:
    return contracts.parse(json.dumps({"$id": "urn:test"} | schema).encode())


def violations(document: Any, contract: Contract) -> list[str]:
    _, rejected = rules.check(read(json.dumps([document]).encode()), contract)
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
    broken = violations(document, contract(schema))
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
    records, rejected = rules.check(raws, contract({}))
    assert [record.position for record in records] == [0, 2]
    assert [record.position for record in rejected] == [1]


@pytest.mark.parametrize(
    ("schema", "accepted", "refused"),
    [
        # JSON Schema compares numbers, not doubles.
        ('{"maximum": 9999999999999999.99}', "9999999999999999.99", "10000000000000000"),
        ('{"const": 1234567890.123456789}', "1234567890.123456789", "1234567890.1234567"),
        ('{"multipleOf": 0.1}', "0.3", "0.30000000000000004"),
        # ECMA-262: patterns mean the same as in a browser.
        (r'{"pattern": "^\\<[a-z]+\\>$"}', '"<order>"', '"order"'),
        (r'{"pattern": "^.+$"}', '"one"', r'"one\rtwo"'),
        (r'{"pattern": "^.+$"}', '"é😀"', r'"one\u2028two"'),
        (r'{"pattern": "^[.]\\.$"}', '".."', '"a."'),
        (r'{"pattern": "a\\bé"}', '"aé"', '"a"'),
        (r'{"pattern": "^\\Bé\\B$"}', '"é"', '"eé"'),
        (r'{"patternProperties": {"^.$": false}}', r'{"\u2029": 1}', '{"a": 1}'),
        (r'{"properties": {"pattern": {"const": "."}}}', '{"pattern": "."}', '{"pattern": "a"}'),
        # RFC 5321, Mailbox; RFC 6531
        ('{"format": "email"}', '"ada@example.org"', '"Ada <ada@example.org>"'),
        ('{"format": "idn-email"}', '"ada@exämple.org"', '"Ada <ada@example.org>"'),
    ],
)
def test_a_contract_means_what_its_standards_say(schema: str, accepted: str, refused: str) -> None:
    parsed = contracts.parse(b'{"$id": "urn:test",' + schema[1:].encode())
    records, rejected = rules.check(read(f"[{accepted}, {refused}]".encode()), parsed)
    assert [record.position for record in records] == [0]
    assert [record.position for record in rejected] == [1]


def test_a_violation_shows_the_limit_as_the_contract_has_it() -> None:
    assert violations("ab", contract({"pattern": r"^.\b.$"})) == [r"/: pattern ^.\b.$"]
    body = b'{"$id": "urn:test", "maximum": 0.12345678901234567890}'
    assert violations(1, contracts.parse(body)) == ["/: maximum 0.12345678901234567890"]


@pytest.mark.parametrize(
    ("schema", "document", "expected"),
    [
        ({}, {"by": {"": "x"}}, ["/by/: type integer"]),
        ({}, {"": {"": "x", "a": 1}}, ["//: type integer"]),
        ({"anyOf": [{"required": ["a"]}, {"minProperties": 2}]}, {"": {"": 1}}, ["/: anyOf"]),
        ({}, {"by": {"a/b": "x", "c~d": "x"}}, ["/by/a~1b: type integer", "/by/c~0d: type integer"]),
        ({}, {"by": {"a" * 500: "x"}}, ["/by: type integer"]),
    ],
)
def test_a_pointer_leads_to_the_value(schema: dict[str, Any], document: Any, expected: list[str]) -> None:
    numbers = {"additionalProperties": {"additionalProperties": {"type": "integer"}}}
    assert violations(document, contract(numbers | schema)) == expected


def test_what_is_kept_of_a_record_is_bounded() -> None:
    codes = contract({"items": {"enum": [f"code {number}" for number in range(70_000)]}})
    _, (many,) = rules.check(read(json.dumps([["none"] * 100]).encode()), codes)
    assert many.described()[0] == "/0: enum of 70,000 values"
    assert many.described()[-1] == "and 80 more"
    assert (len(many.violations), many.violations_total) == (20, 100)

    _, (huge,) = rules.check(read(json.dumps([["none"] * 30_000]).encode()), codes)
    assert huge.described() == [
        "/0: enum of 70,000 values",
        "perhaps more: the record has too many values to look for all",
    ]

    _, (largest,) = rules.check(read(json.dumps([["none"] * 600_000]).encode()), codes)
    assert largest.described()[0] == "/: contract not kept; the rule is not named"
