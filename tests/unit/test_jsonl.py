"""Lines: whatever bytes, whatever pieces, however cut, each line is read once, and the same."""

from itertools import chain, repeat

from hypothesis import example, given
from hypothesis import strategies as st

from functions.shared.records import jsonl, reader
from functions.shared.records.jsonl import BOM, Line
from functions.shared.records.reader import Limits, Raw

BODIES = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", b" ", b"{}", b'{"a": 1}', b'{"a": 1, "a": 2}', b"ab", b"\xff", BOM]),
    max_size=30,
).map(b"".join)
WORDS = st.one_of(BODIES, BODIES.map(lambda body: BOM + body), st.binary(max_size=60))


def by_hand(body: bytes, limit: int) -> list[Line]:
    expected, position = [], 0
    for whole in body.split(b"\n"):
        if len(whole) > limit:
            expected.append(Line(position, position, whole[:limit], is_too_long=True))
        else:
            begins = len(BOM) if position == 0 and whole.startswith(BOM) else 0
            line = whole[begins:].removesuffix(b"\r")
            if line.strip(b" \t\r"):
                expected.append(Line(position, position + begins, line))
        position += len(whole) + 1
    return expected


def seen(body: bytes, start: int, end: int, limit: int, piece: int) -> list[bytes]:
    """Return the bytes of a ranged read for a chunk, in pieces."""
    first, after = jsonl.reach(start, end, limit)
    ranged = body[first:after]
    return [ranged[at : at + piece] for at in range(0, len(ranged), piece)]


@given(WORDS, st.integers(1, 70), st.integers(1, 70), st.integers(1, 70))
@example(b"{}\n{}\n", 3, 1, 70).via("a chunk begins with a line")
@example(b"abcdefgh", 2, 1, 3).via("a chunk inside a line that is too long")
def test_any_division_reads_each_line_once(body: bytes, size: int, piece: int, limit: int) -> None:
    chunks = [(start, min(start + size, len(body))) for start in range(0, len(body), size)]
    read = [
        line
        for start, end in chunks
        for line in chain.from_iterable(jsonl.lines(seen(body, start, end, limit, piece), start, end, limit))
    ]
    assert read == by_hand(body, limit)


@given(WORDS, st.integers(1, 70), st.integers(1, 70))
def test_any_division_gives_the_same_records(body: bytes, size: int, piece: int) -> None:
    limits = Limits(50, 50)
    whole = list(chain.from_iterable(reader.of_chunk([body], 0, len(body), limits)))
    cut: list[Raw] = []
    for start in range(0, len(body), size):
        end = min(start + size, len(body))
        cut += chain.from_iterable(reader.of_chunk(seen(body, start, end, 50, piece), start, end, limits))
    assert cut == whole, "positions, bytes, documents and violations do not depend on where the object is cut"
    assert [raw.position for raw in cut] == sorted({raw.position for raw in cut}), "no record is read twice"


def test_a_chunk_reads_no_further_than_its_longest_last_line_and_holds_no_more_of_an_endless_one() -> None:
    assert jsonl.reach(100, 200, 50) == (99, 251)
    assert jsonl.reach(0, 200, 50) == (0, 251)
    (line,) = chain.from_iterable(jsonl.lines(repeat(b"x" * 1000), 0, 5_000, 1_500))
    assert line == Line(0, 0, b"x" * 1_500, is_too_long=True)


def test_a_line_that_is_too_long_is_marked() -> None:
    (long, short) = chain.from_iterable(reader.of_chunk([b'"' + b"x" * 60 + b'"\n{}\n'], 0, 70, Limits(50, 50)))
    (violation,) = long.violations
    assert str(violation) == "/: line-length at most 50 bytes (document_limit_bytes)"
    assert (long.position, long.span.length) == (0, 50)
    assert (short.position, short.document) == (63, {})
