"""Inputs like those in public reports of people who do this work: what becomes of each record of them."""

import gzip
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from functions.shared.errors import RecordsRejected
from functions.shared.model.records import Rejection
from functions.transform import core
from functions.validate import contracts
from tests.support.buckets import Buckets
from tests.support.stages import through

EXTENDING = (Path(__file__).parents[3] / "docs/extending.md").read_text(encoding="utf-8")
EVENT = '{"id": "%d", "type": "PushEvent", "created_at": "2015-01-01T15:00:00Z"}'
EVENTS = [EVENT % number for number in range(3)]
LINES = "\n".join(EVENTS) + "\n"
MANY = "".join(EVENT % number + "\n" for number in range(300))
MISSION = '{"mission": "%s", "source": "MASINT", "confidence": 0.5}\n'
WEATHER = '{"station": "EDDF", "observed_at": "2026-01-17T06:50:00%s", "temperature_c": 1}\n'

WRITTEN = "written"
CODES = [f"{number:05d}.{part}" for number in range(7_000) for part in range(10)]
PROPERTIES = {
    "free": "{}",
    "money": '{"amount": {"maximum": 9999999999999999.99}, "fixed": {"const": 1234567890.123456789}}',
    "regexes": r'{"tag": {"pattern": "^\\<[a-z]+\\>$"}, "line": {"pattern": "^.+$"}}',
    "mails": '{"email": {"format": "email"}}',
    "maps": '{"by": {"additionalProperties": {"type": "integer"}}}',
    "icd": json.dumps({"code": {"enum": CODES}}),
    "embed": '{"embedding": {"items": {"anyOf": [{"type": "number"}, {"type": "null"}]}}}',
}
"""The properties in the contract of each dataset."""


def documented(name: str) -> str:
    """Return a file of the tutorial."""
    return EXTENDING.split(f"`datasets/weather/{name}`:\n\n```", 1)[1].split("\n", 1)[1].split("\n```", 1)[0]


@pytest.fixture(autouse=True)
def datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a dataset of each contract, whose records are kept as they are, and that of the tutorial."""
    load_contract, load_transform = contracts.load, core.load
    weather: dict[str, Any] = {"Rejection": Rejection}
    exec(documented("transform.py"), weather)  # noqa: S102 - our own tutorial

    def contract(dataset: str) -> contracts.Contract:
        if dataset == "weather":
            return contracts.parse(documented("contract.schema.json").encode())
        if dataset not in PROPERTIES:
            return load_contract(dataset)
        return contracts.parse(f'{{"$id": "urn:test", "type": "object", "properties": {PROPERTIES[dataset]}}}'.encode())

    def transform(dataset: str) -> Any:
        if dataset == "weather":
            return weather["transform"]
        return dict if dataset in PROPERTIES else load_transform(dataset)

    monkeypatch.setattr(contracts, "load", contract)
    monkeypatch.setattr(core, "load", transform)


def outcomes(buckets: Buckets, key: str, body: bytes) -> list[str]:
    """Process an object in an attempt that ends in the ledger whatever is rejected; describe each record's outcome."""
    with suppress(RecordsRejected):
        through(replace(buckets.upload(key, body), attempt=1))
    described = []
    for line in buckets.ledger()[1:]:
        violations = [f"{each['pointer']}: {each['rule']} {each['limit']}" for each in line.get("violations", [])]
        described.append("; ".join(violations) or line["outcome"])
    return described


@pytest.mark.parametrize(
    ("key", "body", "expected"),
    [
        (
            "money/a.jsonl",
            (
                '{"amount": 9999999999999999.99}\n{"amount": 10000000000000000}\n'
                '{"fixed": 1234567890.123456789}\n{"fixed": 1234567890.1234567}\n'
            ),
            [WRITTEN, "/amount: maximum ", WRITTEN, "/fixed: const "],
        ),
        (
            "regexes/a.jsonl",
            '{"tag": "<order>"}\n{"tag": "order"}\n{"line": "one"}\n{"line": "one\\rtwo"}\n',
            [WRITTEN, r"/tag: pattern ^\<[a-z]+\>$", WRITTEN, "/line: pattern ^.+$"],
        ),
        (
            "mails/a.jsonl",
            '{"email": "jo@example.com"}\n{"email": "Jo Doe <jo@example.com>"}\n',
            [WRITTEN, "/email: format email"],
        ),
        (
            "maps/a.jsonl",
            '{"by": {"\\u001b[31mRED\\u0007": "x"}}\n{"by": {":key:": "x"}}\n',
            ["/by/\x1b[31mRED\x07: type integer", "/by/:key:: type integer"],
        ),
        ("maps/b.jsonl", '{"by": {"": "x"}}\n{"by": {"a": "x"}}\n', ["/by/: type integer", "/by/a: type integer"]),
        ("mission/a.jsonl", MISSION % r"\u001c\u001f" + MISSION % r"\u0085", ["/mission: "] * 2),
        ("weather/a.jsonl", WEATHER % "z" + WEATHER % ".123456789Z", [WRITTEN] * 2),
        ("free/part-00000.json", LINES, [WRITTEN] * 3),
        ("free/2015-01-01-15.json.gz", gzip.compress(LINES.encode()), [WRITTEN] * 3),
        ("free/firehose-2015-01-01", "".join(EVENTS), [WRITTEN] * 3),
        ("free/a.jsonl", gzip.compress(MANY.encode()), [WRITTEN] * 300),
        ("free/a.jsonl.gz", gzip.compress(LINES.encode()) + b"garbage", ["other bytes follow it"]),
        ("free/b.jsonl", '{"a": "x', ["Unterminated string starting at character 6"]),
        ("mission/a\nb.json", MISSION % "space", [WRITTEN]),
        ("mission/arn:aws:iam:key:1.json", MISSION % "space", [WRITTEN]),
        ("icd/a.jsonl", '{"code": "none"}\n' * 300, ["/code: enum of 70,000 values"] * 300),
        (
            "embed/a.jsonl",
            '{"embedding": [0.5]}\n{"embedding": [' + '"a",' * 300_000 + '"a"]}\n{"embedding": [1]}\n',
            [WRITTEN, "/embedding/", WRITTEN],
        ),
    ],
)
def test_each_record_of_an_input_from_the_field_has_the_expected_outcome(
    buckets: Buckets, key: str, body: str | bytes, expected: list[str]
) -> None:
    actual = outcomes(buckets, key, body if isinstance(body, bytes) else body.encode())
    assert len(actual) == len(expected)
    assert all(part in outcome for outcome, part in zip(actual, expected, strict=True)), actual[:5]
    assert all(len(buckets.body("audit", name)) < 10**6 for name in buckets.keys("audit"))


def test_what_is_delivered_keeps_every_digit(buckets: Buckets) -> None:
    outcomes(buckets, "weather/a.jsonl", (WEATHER % ".123456789Z").encode())
    assert b'"observed_at":"2026-01-17T06:50:00.123456789Z"' in buckets.the_only("processed")
