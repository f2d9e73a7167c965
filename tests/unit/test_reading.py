"""Reading: every byte of a record accounted for, and every odd document a named rejection."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.shared import reading
from functions.shared.documents import NESTING_LIMIT

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcü", max_size=3), inner, max_size=4),
    max_leaves=12,
)
NO_ARRAY = JSON.filter(lambda document: not isinstance(document, list))
SPACE = st.text(" \t\r\n", max_size=3)


def rule(body: bytes) -> str:
    (raw,) = reading.read(body)
    assert raw.document is None or raw.violations
    return raw.violations[0].rule


@given(NO_ARRAY, SPACE, SPACE, st.booleans(), st.booleans())
def test_a_document_is_one_record_whatever_stands_around_it(
    document: Any, before: str, after: str, bom: bool, ascii_only: bool
) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only)
    body = (("\ufeff" if bom else "") + before + text + after).encode()

    (raw,) = reading.read(body)

    assert (raw.document, raw.violations, raw.span.position) == (document, (), 0)
    assert body[raw.span.offset : raw.span.offset + raw.span.length] == text.encode()
    assert raw.span.sha256 == hashlib.sha256(text.encode()).hexdigest()


@given(st.lists(JSON, max_size=6), st.sampled_from([None, 0, 2]))
def test_each_element_of_an_array_is_a_record_found_again_by_its_bytes(
    documents: list[Any], indent: int | None
) -> None:
    body = json.dumps(documents, ensure_ascii=False, indent=indent).encode()

    raws = reading.read(body)

    assert [raw.document for raw in raws] == documents
    assert [raw.span.position for raw in raws] == list(range(len(documents)))
    for raw in raws:
        cut = body[raw.span.offset : raw.span.offset + raw.span.length]
        assert json.loads(cut) == raw.document
        assert raw.span.sha256 == hashlib.sha256(cut).hexdigest()


@given(st.binary(max_size=40) | st.text('[]{},:"\\u0eE+-.1ntf ', max_size=30).map(str.encode))
def test_no_bytes_at_all_make_it_crash_and_none_are_lost(body: bytes) -> None:
    raws = reading.read(body)
    assert raws or json.loads(body) == [], "only an empty array is no record"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "json"),
        (b"  \n", "json"),
        (b"no JSON", "json"),
        (b'{"a": 1', "json"),
        (b'{"a": 1} {"b": 2}', "json"),
        (b"[1, 2", "json"),
        (b"[1 2]", "json"),
        (b"[1, ]", "json"),
        (b"[1] 2", "json"),
        (b"[] []", "json"),
        (b"\xff\xfe\x00", "utf-8"),
        (b'{"a": NaN}', "number"),
        (b'{"a": -Infinity}', "number"),
        (b'{"a": 1e400}', "number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "number"),
        (b'{"a": 1, "a": 2}', "unique-keys"),
        (b'{"a": "\\ud800"}', "unicode"),
        (b'{"a":' * 101 + b"1" + b"}" * 101, "nesting"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nesting"),
    ],
)
def test_what_is_no_good_document_is_one_record_with_a_named_violation(body: bytes, expected: str) -> None:
    assert rule(body) == expected


def test_one_bad_element_does_not_spoil_the_others() -> None:
    raws = reading.read(b'[{"a": 1}, {"a": 1, "a": 2}, NaN, {"a": 3}]')
    assert [bool(raw.violations) for raw in raws] == [False, True, True, False]


def test_nesting_up_to_the_limit_is_accepted() -> None:
    (raw,) = reading.read(b'{"a":' * NESTING_LIMIT + b"1" + b"}" * NESTING_LIMIT)
    assert raw.violations == ()


def test_a_pair_of_surrogates_is_a_character() -> None:
    (raw,) = reading.read(b'"\\ud83d\\ude00"')
    assert (raw.document, raw.violations) == ("😀", ())


def test_a_violation_never_quotes_the_document() -> None:
    for body in (b'{"secret" 1}', b'{"secret": NaN}', b'"secret\xff"', b'{"secret": 1, "secret": 2}'):
        (raw,) = reading.read(body)
        assert "secret" not in str(raw.violations)
