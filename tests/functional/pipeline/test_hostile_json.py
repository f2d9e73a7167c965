"""Hostile JSON: whatever bytes come, each record is written as it was or rejected with a name, and the rest goes on.

The kinds are those of the public suites for JSON parsers: what must be accepted, what must be rejected, and what each
implementation decides for itself.
"""

import json
import random
from contextlib import suppress
from decimal import Decimal
from itertools import accumulate
from typing import Any

import pytest

from functions.shared.errors import RecordsRejected
from tests.support.buckets import Buckets
from tests.support.stages import GOOD, written

ACCEPTED = [
    *["null", "true", "false", "0", "-0", "-1", "1.5", "-0.0", "1e5", "1E+2", "123e-10"],
    *('""', '" "', '"\\u0000"', '"\\u0061\\u30af\\u30EA"', '"\\"\\\\\\/\\b\\f\\n\\r\\t"'),
    *('"\\ud83d\\ude00"', '"\u007f"', '"\u2028\u2029"', '"€𝄞"'),
    *("[]", "[ ]", "[[]]", "{}", '{"":0}', '{"a":{}}', '[null,1,"1",{}]', '{"a":[]}', '{"\\u0000":1}', '" \\u00A0"'),
    *("9007199254740993", "123456789012345678901234567890", "0.1234567890123456789012345", "-1e-300", "1e308"),
    *("[" * 90 + "]" * 90, '{"a":' * 80 + "1" + "}" * 80, '"' + "x" * 10_000 + '"', "[" + ",".join("1" * 500) + "]"),
]
REJECTED = [
    *("", " ", "1 1", "[1 2]", '{"a" 1}', "# 1", "/* 1 */ 1", "1 // 1", '"\t"', '"\x00"', '"\x1f"', "\u00a01", "1\x0b"),
    *["[1,]", "[,1]", "[1", "1]", "[1]]", "[1][2]", "{", "}", '{"a"}', '{"a":}', '{"a":1,}', "{a:1}"],
    *["{'a':1}", "'a'", "\ufeff1", "<a/>"],
    *("01", "-", "-01", "+1", ".5", "1.", "1e", "1e+", "0x1", "1_000", "--1", "1,5"),
    *("NaN", "-Infinity", "Infinity", "nan"),
    *["tru", "True", "nul", "undefined", '"', '"a', '"\\x41"', '"\\u12"', '"\\u123g"', '"\\"', "\\u0061"],
    *('{"a":1,"a":1}', '{"a":{"b":1,"b":2}}', '{"a":1,"\\u0061":2}', '[{"":1,"":2}]'),
]
DECIDED_HERE = {
    **dict.fromkeys(["1e400", "-1e400", "1e-400", "[1e9999]", "9" * 5_000], "number"),
    **dict.fromkeys(['"\\ud800"', '"\\udc00"', '"\\ud800\\u0041"', '{"\\udead":1}'], "unicode"),
    **dict.fromkeys(["[" * 101 + "]" * 101, "[" * 100_000, '{"a":' * 100_000], "nesting"),
}
NOT_UTF_8 = [
    b'"\xff"',
    b'"\xc3"',
    b'"\xed\xa0\x80"',
    b'"\xf4\x90\x80\x80"',
    b'"\xc0\xaf"',
    b"\xff\xfe1\x00",
    b'{"\xe9":1}',
]
RULES = {"json", "number", "unicode", "nesting", "utf-8", "unique-keys", "type", "required", "line-length"}


def holding(text: str) -> bytes:
    """Make a record of the example dataset that holds a JSON text in a field of its own."""
    return GOOD[:-1] + b', "held": ' + text.encode() + b"}"


def outcomes(buckets: Buckets, lines: list[bytes]) -> list[Any]:
    """Send lines as one object; return for each the delivered bytes, or the names of the rules that it breaks."""
    body = b"\n".join([*lines, GOOD])
    with suppress(RecordsRejected):
        written(buckets, "mission/a.jsonl", body)
    header, *lines_read = buckets.ledger()
    delivered = buckets.body("processed", header["output"]["key"]) if header["output"] else b""
    positions = accumulate((len(line) + 1 for line in lines[:-1]), initial=0)
    by_position = {line["position"]: line for line in lines_read}
    assert header["counts"]["received"] == len(lines_read) == len(by_position)

    def outcome_of(line: Any) -> Any:
        if line is None:
            return None
        if line["outcome"] == "written":
            return delivered[line["output"]["offset"] :][: line["output"]["length"]]
        return {violation["rule"] for violation in line["violations"]}

    return [outcome_of(by_position.get(position)) for position in positions]


def exactly(text: str | bytes) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def test_valid_json_is_delivered_unchanged(buckets: Buckets) -> None:
    for text, outcome in zip(ACCEPTED, outcomes(buckets, list(map(holding, ACCEPTED))), strict=True):
        assert isinstance(outcome, bytes), f"{text[:60]} was rejected: {outcome}"
        assert exactly(outcome)["held"] == exactly(text), text[:60]


def test_invalid_json_is_rejected_by_name_and_the_rest_is_delivered(buckets: Buckets) -> None:
    lines = [holding("1")] + [holding(text) for text in REJECTED] + [holding("2")]
    first, *others, last = outcomes(buckets, lines)
    assert isinstance(first, bytes)
    assert isinstance(last, bytes)
    for text, outcome in zip(REJECTED, others, strict=True):
        assert isinstance(outcome, set), f"{text!r} was accepted: {outcome!r}"
        assert outcome <= RULES, text


def test_implementation_defined_json_has_one_named_outcome(buckets: Buckets) -> None:
    for (text, rule), outcome in zip(
        DECIDED_HERE.items(), outcomes(buckets, list(map(holding, DECIDED_HERE))), strict=True
    ):
        assert outcome == {rule}, text[:60]


def test_invalid_utf_8_is_rejected_by_name(buckets: Buckets) -> None:
    for line, outcome in zip(NOT_UTF_8, outcomes(buckets, NOT_UTF_8), strict=True):
        assert outcome == {"utf-8"}, line


def test_each_case_inside_a_document_has_an_outcome(buckets: Buckets) -> None:
    for text in [*ACCEPTED, *REJECTED, *DECIDED_HERE]:
        with pytest.raises(RecordsRejected, match=r"(\d+) of \1 records rejected"):
            written(buckets, "mission/a.json", b"[" + text.encode() + b',"end"]')


def test_each_line_of_mutated_records_has_one_outcome(buckets: Buckets) -> None:
    """Break records at random, as often as this test says, and the same way each time."""
    chance = random.Random(2_026)  # noqa: S311 - no secret
    lines = [mutilated(chance, holding(chance.choice(ACCEPTED[:50]))) for _ in range(6_000)]
    results = outcomes(buckets, lines)
    for line, outcome in zip(lines, results, strict=True):
        if outcome is None:
            assert not line.strip(b" \t\r"), f"no outcome for {line!r}"
        elif isinstance(outcome, bytes):
            document = exactly(outcome)
            del document["confidence_band"]
            before = exactly(line)
            before["mission"] = " ".join(before["mission"].split()).lower()
            assert document == before, "what is delivered is what came, with the fields that the transform changes"
        else:
            assert outcome <= RULES | {"enum", "minLength", "maximum", "minimum", "pattern", "maxLength"}, line
    assert sum(isinstance(outcome, bytes) for outcome in results) > 100, (
        "some must have survived, or this tests nothing"
    )


def mutilated(chance: random.Random, record: bytes) -> bytes:
    body = bytearray(record)
    for _ in range(chance.randrange(0, 4)):
        at = chance.randrange(len(body))
        kind = chance.randrange(4)
        if kind == 0:
            body[at] = chance.randrange(256)
        elif kind == 1:
            del body[at : at + chance.randrange(1, 4)]
        elif kind == 2:
            body[at:at] = chance.choice([b'"', b"\\", b"{", b"[", b",", b":", b"0", b"e9", b"\x00", b"\xff", b"null"])
        else:
            body[at:at] = body[chance.randrange(len(body)) :][:8]
        if not body:
            break
    return bytes(body).replace(b"\n", b" ")
