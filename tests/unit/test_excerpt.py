"""The place of a violation in the bytes of a record, and the line that shows it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.views.excerpt import Excerpt, excerpt, locate, place
from functions.shared.model.records import Violation
from functions.validate.rules import pointer

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
KEYS = st.text(alphabet=st.sampled_from('ab0~/"\\ é\n')) | st.text()
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


def places(document: Any, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Any]]:
    """List every value in a document with its path."""
    inner: Any = ()
    if isinstance(document, dict):
        inner = document.items()
    elif isinstance(document, list):
        inner = enumerate(document)
    return [(path, document), *(found for key, value in inner for found in places(value, (*path, key)))]


@given(st.data(), DOCUMENTS, st.booleans(), st.sampled_from([None, 0, 2, "\t"]))
def test_a_pointer_locates_its_value(data: st.DataObject, document: Any, ascii_only: bool, indent: Any) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    path, value = data.draw(st.sampled_from(places(document)))

    start, end = locate(text, pointer(path))

    assert json.loads(text[start:end]) == value


@given(st.text() | DOCUMENTS.map(json.dumps), st.text(alphabet="/~01ab") | st.text())
def test_any_pointer_locates_a_place_in_any_text(text: str, anything: str) -> None:
    start, end = locate(text, anything)
    assert 0 <= start <= end <= len(text)


@pytest.mark.parametrize(
    ("text", "pointer", "located"),
    [
        ('{"a": 1, "b": [10, 20]}', "/b/1", "20"),
        ('{"a": 1}', "", '{"a": 1}'),
        ('  {"a": 1}\n', "", '{"a": 1}'),
        ('{"a/b": {"~": "x"}}', "/a~1b/~0", '"x"'),
        ('{"": 7}', "/", "7"),
        (r'{"\u0061": 7}', "/a", "7"),
        ('{"a": 1, "a": 2}', "/a", "2"),
        ('[[1, 2], {"0": 3}]', "/1/0", "3"),
        (f'[{"9" * 5000}, NaN, "x"]', "/2", '"x"'),
    ],
)
def test_a_pointer_locates_a_value_in(text: str, pointer: str, located: str) -> None:
    start, end = locate(text, pointer)
    assert text[start:end] == located


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ('{"a": 1}', "/b"),
        ("[1]", "/1"),
        ("[]", "/0"),
        ("[1]", "/01"),
        ("[1]", "/-"),
        ("[1]", "/²"),
        ("{}", "/a"),
        ('"text"', "/0"),
        ('{"a": ', "/a"),
        ("", "/a"),
        ("[" * 100_000, "/0"),
    ],
)
def test_a_pointer_without_a_value_locates_the_whole_text(text: str, pointer: str) -> None:
    assert locate(text, pointer) == (0, len(text))


@pytest.mark.parametrize(
    ("body", "rule", "limit", "marked"),
    [
        (b'{"a": x}', "json", "Expecting value at character 6", "x"),
        ("{é: 1}".encode(), "json", "Expecting property name enclosed in double quotes at character 1", "é"),
        ("\ufeff{} x".encode(), "json", "Extra data at character 4", "x"),
        (b'{"a": 1', "json", "Expecting ',' delimiter at character 7", ""),
        (b"", "json", "a document; the object is empty", ""),
        (b'{"\xc3\xa9": "\xff"}', "utf-8", "invalid start byte at byte 8", "\\xff"),
        (b'{"a": "b"}', "nesting", "at most 100 levels", '{"a": "b"}'),
        (b'"due at byte 3"', "pattern", "at byte 3", '"due at byte 3"'),
    ],
)
def test_a_record_that_is_not_json_is_marked_where_it_breaks(body: bytes, rule: str, limit: str, marked: str) -> None:
    text, start, end = place(body, Violation("", rule, limit))
    assert text[start:end] == marked


def test_a_violation_marks_its_value() -> None:
    text, start, end = place('{"ü": "é", "confidence": 1.7}'.encode(), Violation("/confidence", "maximum", 1))
    assert text[start:end] == "1.7"


@pytest.mark.parametrize(
    ("text", "start", "end", "cut"),
    [
        pytest.param('{"a": 1, "b": 2}', 6, 7, Excerpt('{"a": ', "1", ', "b": 2}'), id="short: whole"),
        pytest.param(f"{'a' * 99}HERE{'b' * 99}", 99, 103, Excerpt("…aaaaaa", "HERE", "bbbbbbbbbb…"), id="around"),
        pytest.param("x" * 100, 0, 1, Excerpt("", "x", "x" * 19 + "…"), id="near the start"),
        pytest.param("x" * 100, 99, 100, Excerpt("…" + "x" * 19, "x", ""), id="near the end"),
        pytest.param(f"({'x' * 100})", 1, 101, Excerpt("…", "x" * 20 + "…", ""), id="a long place"),
        pytest.param('{\n\t"a": "\x1b[31m"}', 3, 6, Excerpt("{␊␉", '"a"', ': "␛[31m"}'), id="control characters"),
    ],
)
def test_a_record_is_shown_around_the_place(text: str, start: int, end: int, cut: Excerpt) -> None:
    assert excerpt(text, start, end, width=20) == cut


@given(st.text(), st.data(), st.integers(1, 30))
def test_an_excerpt_is_one_line_of_visible_characters(text: str, data: st.DataObject, width: int) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))

    cut = excerpt(text, start, end, width)

    assert (cut.before + cut.marked + cut.after).isprintable()
    assert len(cut.marked.rstrip("…")) <= width
    assert len(cut.before + cut.marked + cut.after) <= width + 3
