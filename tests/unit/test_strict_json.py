"""Numbers: what comes in goes out, however many digits it has."""

import json
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.shared.model.records import Page, Rejected, Violation
from functions.shared.records.strict_json import UNSURE, Reader, decode, decode_quickly, encode, is_exact_elsewhere
from functions.shared.staging import staged_batch

DIGITS = st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)


def read(text: str) -> Any:
    document, _, violations = Reader().read(text, 0)
    assert not violations, violations
    return document


@given(DIGITS)
@example("1.2345678e-320")
@example("5e-324")
@example("2.2250738585072e-308")
def test_a_number_survives_reading_and_writing(digits: str) -> None:
    written = encode(read(digits))
    assert Decimal(written.decode()) == Decimal(digits)
    assert decode(written) == read(digits)


@given(st.lists(DIGITS, max_size=5), st.text(max_size=5))
def test_numbers_survive_beside_text_that_looks_like_them(digits: list[str], text: str) -> None:
    document = f'{{"n":[{",".join(digits)}],"t":{json.dumps(text)}}}'
    written = encode(read(document))
    again = json.loads(written, parse_float=Decimal, parse_int=Decimal)
    assert again == {"n": [Decimal(each) for each in digits], "t": text}


def test_a_number_beyond_a_double_is_rejected_and_zero_with_any_exponent_is_zero() -> None:
    for digits in ("1e400", "-1e400", "1e-400", "0.0000001e-999999999"):
        _, _, violations = Reader().read(digits, 0)
        assert [violation.rule for violation in violations] == ["number"]
    for digits in ("0", "0.0", "-0.0", "0e400", "0.000e-400"):
        assert read(digits) == 0


def test_a_document_of_many_decimals_is_written() -> None:
    digits = [f"1.{number:025d}" for number in range(1, 20_001)]
    text = f"[{','.join(digits)}]"
    assert encode(read(text)).decode() == text


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity"), float("nan"), float("inf"), object(), {1}])
def test_values_that_are_not_json_are_refused_and_others_encoded_compactly_in_order(value: Any) -> None:
    assert encode({"b": 1, "a": "ü"}) == '{"b":1,"a":"ü"}'.encode()
    with pytest.raises((TypeError, ValueError)):
        encode({"a": value})


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("[0.1, 1.5, -3, 9007199254740992]", True),
        ("9007199254740993", False),
        ("[0.12345678901234567890]", False),
        ('"0.12345678901234567890"', True),
    ],
)
def test_numbers_that_a_double_cannot_hold_are_recognized(text: str, *, exact: bool) -> None:
    assert is_exact_elsewhere(text.encode()) is exact


TOKENS = st.sampled_from(
    [
        *"{}[],:",
        *[r'"a"', r'"b"', r'"a":', r'"\u0061":', r'":"', r'"a:b"', r'"\"":', r'"\ud800"', r'"\ud83d\ude00"', r'"ü"'],
        *["1", "-0", "1.5", "1e5", "1E400", "1e-400", "0.12345678901234567890", "12345678901234567890123", "01", "1."],
        *("true", "null", "NaN", "Infinity", "tru", "//", "'a'", '"b" :'),
        *(" ", "\t", "\r", "\x00", "\x0b", "\ufeff", "é"),
    ]
)
TEXTS = st.one_of(
    st.lists(TOKENS, max_size=12).map("".join),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | DIGITS.map(Decimal) | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=8,
    ).map(lambda document: json.dumps(document, default=str)),
)


@given(st.lists(TEXTS.filter(lambda text: "\n" not in text), min_size=1, max_size=4))
@example(['{"a":1,"\\u0061":2}'])
@example(['{"a":1,"a":2}', "{}", '{"b":":"}'])
@example(['{"a":{"b":1,"b":2}}'])
@example(['{"a:b":1,"a" :2,"a":3}'])
@example(["[" * 101 + "]" * 101])
@example(['{"a":' * 101 + "1" + "}" * 101])
@example(['{"a":' + "[" * 100 + "]" * 100 + "}"])
@example(["0.1234567890123456", "1.00000000000000001", "1e23", "1E+2", "100000000000000000000.5"])
def test_the_fast_decoder_agrees_with_the_strict_reader(texts: list[str]) -> None:
    try:
        decoded = decode_quickly([text.encode() for text in texts])
    except UNSURE:
        return
    for text, quick in zip(texts, decoded, strict=True):
        start = len(text) - len(text.lstrip(" \t\r\n"))
        document, end, violations = Reader().read(text, start)
        assert not violations, f"the fast decoder accepted what the strict reader does not: {violations}"
        assert not text[end:].strip(" \t\r\n")
        assert (quick, repr(quick)) == (document, repr(document)), "other values, types or order"


@pytest.mark.parametrize("line", ['{"a": 1, "b": "2026-11-23T09:00:00Z"}', '{"a": {"b": [1.5, null]}}', "[]", "1"])
def test_ordinary_documents_are_decoded_quickly(line: str) -> None:
    assert decode_quickly([line.encode()]) == [json.loads(line)]


@given(st.binary(max_size=20))
def test_any_bytes_raise_only_expected_errors(line: bytes) -> None:
    with suppress(*UNSURE):
        decode_quickly([line])


def test_a_limit_keeps_its_digits_in_a_staged_batch() -> None:
    limit = Decimal("0.12345678901234567890123")
    rejected = Rejected(0, 0, 2, "hash", "enrich", (Violation("/a", "maximum", limit),), 1)
    lines = staged_batch.write(Page((), [rejected])).splitlines()
    assert staged_batch.read(lines).rejected[0].violations[0].limit == limit
