"""Reading: every byte of a record accounted for, and every malformed document a named rejection."""

import bz2
import gzip
import hashlib
import json
import lzma
import zlib
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.shared.errors import ObjectTooLarge
from functions.shared.records import reader
from functions.shared.records.strict_json import NESTING_LIMIT

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


def read(body: bytes, key: str, limit: int = 2**20) -> tuple[reader.Raw, ...]:
    return tuple(chain.from_iterable(reader.of_object([body], key, reader.Limits(limit, limit, (".jsonl", ".ndjson")))))


def rule(body: bytes) -> str:
    (raw,) = read(body, "a.json")
    assert raw.document is None or raw.violations
    return raw.violations[0].rule


@given(NO_ARRAY, SPACE, SPACE, st.booleans(), st.booleans())
def test_a_document_is_one_record_despite_white_space_and_bom(
    document: Any, before: str, after: str, bom: bool, ascii_only: bool
) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only)
    body = (("\ufeff" if bom else "") + before + text + after).encode()

    (raw,) = read(body, "a.json")

    assert (raw.document, raw.violations, raw.span.position) == (document, (), 0)
    assert body[raw.span.offset : raw.span.offset + raw.span.length] == text.encode()
    assert raw.span.sha256 == hashlib.sha256(text.encode()).hexdigest()


@given(st.lists(JSON, max_size=6), st.sampled_from([None, 0, 2]))
def test_each_element_of_an_array_is_a_record_with_its_span(documents: list[Any], indent: int | None) -> None:
    body = json.dumps(documents, ensure_ascii=False, indent=indent).encode()

    raws = read(body, "a.json")

    assert [raw.document for raw in raws] == documents
    assert [raw.span.position for raw in raws] == list(range(len(documents)))
    for raw in raws:
        cut = body[raw.span.offset : raw.span.offset + raw.span.length]
        assert json.loads(cut) == raw.document
        assert raw.span.sha256 == hashlib.sha256(cut).hexdigest()


@given(st.binary(max_size=40) | st.text('[]{},:"\\u0eE+-.1ntf ', max_size=30).map(str.encode))
def test_any_bytes_are_accounted_for(body: bytes) -> None:
    raws = read(body, "a.json")
    assert raws or json.loads(body) == [], "only an empty array is no record"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "json"),
        (b"  \n", "json"),
        (b"no JSON", "json"),
        (b'{"a": 1', "json"),
        (b"[1, 2", "json"),
        (b"[1 2]", "json"),
        (b"[1, ]", "json"),
        (b'{"a": "\xff"}', "utf-8"),
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
def test_a_malformed_document_is_one_record_with_a_violation(body: bytes, expected: str) -> None:
    assert rule(body) == expected


def test_nesting_up_to_the_limit_and_a_pair_of_surrogates_are_accepted() -> None:
    (raw,) = read(b'{"a":' * NESTING_LIMIT + b'"\\ud83d\\ude00"' + b"}" * NESTING_LIMIT, "a.json")
    assert raw.violations == ()
    assert "😀" in str(raw.document)


def test_a_violation_never_quotes_the_document() -> None:
    for body in (b'{"secret" 1}', b'{"secret": NaN}', b'"secret\xff"', b'{"secret": 1, "secret": 2}'):
        (raw,) = read(body, "a.json")
        assert "secret" not in str(raw.violations)


# JSON Lines


@st.composite
def lines(draw: st.DrawFn) -> tuple[bytes, list[Any]]:
    """Return an object of JSON Lines with unusual white space, and the documents in it."""
    documents = draw(st.lists(JSON, min_size=1, max_size=6))
    parts = ["\ufeff" if draw(st.booleans()) else ""]
    for document in documents:
        blank = draw(st.sampled_from(["", "", "\n", " \t\r\n", "\r\n"]))
        parts.append(f"{blank}{draw(st.sampled_from(['', ' ']))}{json.dumps(document, ensure_ascii=False)}")
        parts.append(draw(st.sampled_from(["\n", "\r\n", " \n"])))
    if draw(st.booleans()):
        parts[-1] = ""
    return "".join(parts).encode(), documents


@given(lines())
def test_each_line_is_a_record_with_its_span(given: tuple[bytes, list[Any]]) -> None:
    body, documents = given
    raws = read(body, "mission/a.jsonl")

    assert [raw.document for raw in raws] == documents
    for raw in raws:
        assert raw.span.position == 0 or body[raw.span.position - 1 : raw.span.position] == b"\n"
        cut = body[raw.span.offset : raw.span.offset + raw.span.length]
        assert b"\n" not in cut
        assert raw.span.sha256 == hashlib.sha256(cut).hexdigest()


@given(st.binary(max_size=60) | st.text('[]{},:"\\u0eE+-.1ntf \n\r', max_size=40).map(str.encode))
def test_every_nonblank_line_is_accounted_for(body: bytes) -> None:
    raws = read(body, "a.ndjson")
    filled = [line for line in body.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip(b" \t\r")]
    assert len(raws) == max(1, len(filled)), "an object with nothing in it is one rejected record"


@pytest.mark.parametrize(
    ("key", "body", "expected"),
    [
        ("a.json", b'[{"a": 1}, {"a": 1, "a": 2}, NaN, {"a": 3}]', [1, "unique-keys", "number", 3]),
        (
            "a.jsonl",
            b'{"a": 1}\n{"a": \n\xff\n{"a": 1, "a": 2}\n{"a": NaN}\n{"a": 1} {"b": 2}\n{"a": 3}',
            [1, "json", "utf-8", "unique-keys", "number", "json", 3],
        ),
    ],
)
def test_a_malformed_element_or_line_does_not_affect_the_others(key: str, body: bytes, expected: list[Any]) -> None:
    assert [raw.violations[0].rule if raw.violations else raw.document["a"] for raw in read(body, key)] == expected


@pytest.mark.parametrize("key", ["a.jsonl", "a.ndjson", "a.json", "a.txt", "a"])
@pytest.mark.parametrize("body", [b"", b" \r\n\t", b"\xef\xbb\xbf"])
def test_an_empty_object_is_one_rejected_record(key: str, body: bytes) -> None:
    (raw,) = read(body, key)
    assert (raw.position, raw.offset, raw.body) == (0, 0, b"")
    assert raw.violations


# Decided by the bytes


def what(raw: reader.Raw) -> Any:
    """Return why a record is rejected, or else its member `a`, if it has members."""
    if raw.violations:
        return raw.violations[0].limit
    return raw.document["a"] if isinstance(raw.document, dict) else None


@pytest.mark.parametrize("key", ["a.json", "part-00000", "a.json.gz", "a.gz"])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a": 1}\n{"a": 2}\n', [(0, 1), (9, 2)]),
        (b'{"a": 1}\nnonsense\n', [(0, 1), (9, "Expecting value at character 0")]),
        (b'{"a": 1}\n{"a": 2} {"a": 3}', [(0, 1), (9, "Extra data at character 9")]),
        (b'{\n"a": 1\n}\n', [(0, 1)]),
        (b'\xef\xbb\xbf {"a": 1} \n', [(0, 1)]),
        (b'[{"a": 1},\n{"a": 2}]', [(0, 1), (1, 2)]),
        (b'{"a": 1}{"a": 2} {"a":\n3}', [(0, 1), (8, 2), (17, 3)]),
        (b'{\n"a": 1}\n{\n"a": "\xc3\xa9"}{"a": 3}', [(0, 1), (10, "\xe9"), (22, 3)]),
        (b'{"a": 1}{"a": "\xff"}{"a": 3}', [(0, 1), (8, "invalid start byte at byte 7"), (18, 3)]),
        (
            b'{"a": 1}{"a": 2} "\xc3\xa9", {"a": 3}',
            [(0, 1), (8, 2), (17, None), (21, "Expecting value at character 0")],
        ),
        (b'{"a": 1}{"a": "\xc3\xa9" 2}{"a": 3}', [(0, 1), (8, "Expecting ',' delimiter at character 10")]),
        (b'{"a": 1}{"a": "x', [(0, 1), (8, "Unterminated string starting at character 6")]),
        (b"nonsense\n{}\n", [(0, "Expecting value at character 0")]),
        (b'[{"a": 1}] 2', [(0, None), (11, None)]),
    ],
)
def test_the_bytes_decide_the_format(key: str, body: bytes, expected: list[Any]) -> None:
    raws = read(gzip.compress(body) if key == "a.json.gz" else body, key)
    assert [(raw.position, what(raw)) for raw in raws] == expected
    for raw in raws:
        assert body[raw.offset :].startswith(raw.body)


@pytest.mark.parametrize("limit", [9, 40, 1_000])
def test_a_sequence_is_streamed_however_long_it_is(limit: int) -> None:
    documents = [{"a": 1}, [], "\u20ac", 12, 3] * 20
    body = b'{"a": 1}[] "\xe2\x82\xac" 12 3' * 20
    raws = [*chain.from_iterable(reader.of_object(pieces_of(body, 7), "a", reader.Limits(limit, limit)))]
    assert [raw.document for raw in raws] == documents
    assert all(body[raw.position :].startswith(raw.body) for raw in raws)


def pieces_of(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


@pytest.mark.parametrize("body", [b'"' + b"x" * 60 + b'"', b'{"a": 1}["' + b"x" * 60 + b'"] 2', b'{"a": ' * 60])
def test_a_document_beyond_the_limit_is_refused_while_it_is_read(body: bytes) -> None:
    with pytest.raises(ObjectTooLarge, match=r"at byte [08] has more than 50 bytes, .*\(document_limit_bytes"):
        list(chain.from_iterable(reader.of_object(pieces_of(body, 7), "a", reader.Limits(50, 500))))


@pytest.mark.parametrize("key", ["a.json", "a.jsonl", "a", "a.parquet.gz"])
@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"\x28\xb5\x2f\xfd$\n", "Zstandard"),
        (bz2.compress(b"{}"), "bzip2"),
        (lzma.compress(b"{}"), "xz"),
        (zlib.compress(b"{}"), "zlib"),
        (b"PK\x03\x04\n\n", "zip"),
        (b"PAR1\x15\n", "Parquet"),
        (b"Obj\x01\n\n", "Avro"),
        (b"ORC\x11\n", "ORC"),
        ('{"a": 1}\n'.encode("utf-16"), "UTF-16"),
        ('{"a": 1}\n'.encode("utf-16-be"), "UTF-16"),
        ('{"a": 1}\n'.encode("utf-32"), "UTF-32"),
        (gzip.compress(gzip.compress(b"{}")), "gzip"),
    ],
)
def test_another_format_is_one_rejected_record_that_names_it(key: str, body: bytes, name: str) -> None:
    (raw,) = read(gzip.compress(body) if key.endswith(".gz") and name != "gzip" else body, key)
    assert [str(violation) for violation in raw.violations] == [f"/: format JSON in UTF-8; this is {name}"]


# gzip


@given(lines(), st.integers(0, 60), st.sampled_from(["a.jsonl.gz", "a.NDJSON.GZ"]))
def test_a_gzipped_object_reads_the_same_in_any_number_of_members(
    given: tuple[bytes, list[Any]], cut: int, key: str
) -> None:
    body, _ = given
    members = gzip.compress(body[:cut]) + gzip.compress(body[cut:])
    assert read(members, key) == read(body, "a.jsonl")


def test_gzip_is_detected_by_its_first_bytes_and_may_be_padded() -> None:
    body = b'{"a": 1}'
    for key in ("a.json.gz", "a.gz", "mission/a", "a.json", "a.jsonl"):
        (raw,) = read(gzip.compress(body) + bytes(9), key)
        assert (raw.document, raw.span.offset, raw.span.length) == ({"a": 1}, 0, 8), key


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (gzip.compress(b"{}" * 99)[:-9], "this one is truncated"),
        (gzip.compress(b"{}") + b"rubbish" * 9, "other bytes follow it"),
        (gzip.compress(b"{}" * 99)[:9] + b"rubbish" * 9, "this one is damaged"),
        (b"\x1f\x8b", "this one is truncated"),
    ],
)
def test_a_damaged_gzip_is_one_rejected_record(body: bytes, why: str) -> None:
    limits = reader.Limits(2**20, 2**20)
    (raw,) = chain.from_iterable(reader.of_object(pieces_of(body, 1), "a.json.gz", limits))
    assert [str(violation) for violation in raw.violations] == [f"/: gzip a whole gzip stream; {why}"]
    assert (raw.span.length, raw.span.sha256) == (len(body), hashlib.sha256(body).hexdigest())


def test_a_gzip_bomb_is_refused() -> None:
    with pytest.raises(ObjectTooLarge, match=r"a\.json\.gz has more than 1,000 bytes when decompressed"):
        read(gzip.compress(b" " * 10**8), "a.json.gz", 1000)


@pytest.mark.parametrize("word", [b"SEQ,NAME", b"ORCHARD", b"BZh", b"PAR1", b"PARENTS", b"ARROW1"])
def test_a_first_line_of_text_that_begins_like_another_format_hides_no_other_line(word: bytes) -> None:
    first, second = read(word + b"\n" + b'{"a": 1, "b": 2, "c": 3}\n', "a.jsonl")
    assert [violation.rule for violation in first.violations] == ["json"]
    assert second.document == {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize(
    "body", [b"[[NaN, NaN, -Infinity]]", b'[[{"a": 1, "a": 2}, {"a": 1, "a": 2}]]', b"[[1e999, 1e999]]"]
)
def test_what_is_wrong_with_a_whole_record_is_said_once(body: bytes) -> None:
    (raw,) = read(body, "a.json")
    assert len(raw.violations) == 1
