"""Cutting: chunks cover an object without a gap or an overlap, and a plan always fits into an execution's input."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.shared.model.chunking import BULK_FROM, MOST_CHUNKS, divide, has_suffix, suffixes, whole
from functions.shared.model.ids import RawObject
from functions.shared.model.messages import Batch, Plan
from functions.shared.records.strict_json import encode

LARGEST_CHUNK = 2**30
"""As `chunk_bytes` allows."""

SUFFIXES = suffixes(".jsonl,.ndjson")

LARGEST_INPUT = 256 * 2**10
"""https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"""


def raw(size: int, key: str = "mission/a.jsonl") -> RawObject:
    return RawObject("raw", key, "v1", size, "etag")


@given(st.integers(1, LARGEST_CHUNK), st.integers(1, MOST_CHUNKS), st.integers(0, LARGEST_CHUNK))
@example(chunk_bytes=1, number=1, more=1)
@example(chunk_bytes=LARGEST_CHUNK, number=MOST_CHUNKS - 1, more=LARGEST_CHUNK)
def test_chunks_cover_an_object_exactly(chunk_bytes: int, number: int, more: int) -> None:
    size = chunk_bytes * number + more % (chunk_bytes + 1)
    plan = whole(raw(size), chunk_bytes)

    ends = [*plan.chunks[1:], size]
    lengths = [end - start for start, end in zip(plan.chunks, ends, strict=True)]
    assert plan.chunks[0] == 0
    assert {*lengths[:-1], plan.chunk_bytes} == {chunk_bytes}
    assert 0 < lengths[-1] <= chunk_bytes
    if size > BULK_FROM:
        assert divide(raw(size), chunk_bytes, SUFFIXES) == (plan if len(plan.chunks) <= MOST_CHUNKS else None)


@pytest.mark.parametrize("key", ["a.jsonl", "a.ndjson", "mission/A.JSONL", "mission/2026/a.b.NdJson"])
def test_plain_json_lines_are_divided(key: str) -> None:
    assert has_suffix(key, SUFFIXES)
    assert divide(raw(BULK_FROM + 1, key), BULK_FROM, SUFFIXES) == Plan(BULK_FROM, (0, BULK_FROM))


@pytest.mark.parametrize("key", ["a.json", "a.jsonl.gz", "a.NDJSON.GZ", "jsonl", "a", "a.jsonl/b", "a.jsonl.bak"])
def test_any_other_object_is_one_batch(key: str) -> None:
    assert not has_suffix(key, SUFFIXES)
    assert divide(raw(10**9, key), 10, SUFFIXES) is None


def test_a_setting_names_the_suffixes() -> None:
    assert divide(raw(BULK_FROM + 1, "mission/a.LOG"), BULK_FROM, suffixes(".log,.txt"))
    assert divide(raw(BULK_FROM + 1), BULK_FROM, suffixes(".log,.txt")) is None
    assert suffixes("") == ()


@given(st.integers(0, 2 * BULK_FROM), st.integers(2**20, LARGEST_CHUNK), st.integers(2**20, LARGEST_CHUNK))
@example(size=BULK_FROM, size_before=2**20, size_after=LARGEST_CHUNK)
@example(size=BULK_FROM + 1, size_before=2**20, size_after=LARGEST_CHUNK)
def test_no_setting_changes_the_state_machine_of_an_object(size: int, size_before: int, size_after: int) -> None:
    is_divided = {divide(raw(size), chunk, SUFFIXES) is not None for chunk in (size_before, size_after)}
    assert is_divided == {size > BULK_FROM}


def test_an_object_of_too_many_chunks_is_one_batch() -> None:
    assert divide(raw(BULK_FROM * MOST_CHUNKS), BULK_FROM, SUFFIXES)
    assert divide(raw(BULK_FROM * MOST_CHUNKS + 1), BULK_FROM, SUFFIXES) is None


def test_the_longest_plan_fits_the_input_of_an_execution() -> None:
    longest = RawObject("b" * 63, "k" * 1_018 + ".jsonl", "v" * 1_024, LARGEST_CHUNK * MOST_CHUNKS, "e" * 64)
    redriven = Batch(longest, attempt=9_999, redrive_of="a" * 256, plan=divide(longest, LARGEST_CHUNK, SUFFIXES))

    assert redriven.plan
    assert len(redriven.plan.chunks) == MOST_CHUNKS
    assert len(encode(redriven.encode())) < LARGEST_INPUT / 2, "the dead letter's cause and the resume stand beside it"
