"""Names: the same at every delivery, different for everything else, and valid where they are used."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.shared.model.ids import RawObject, dataset_of, record_id

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=1024)


@given(bucket=TEXT, key=TEXT, version=TEXT)
def test_an_object_id_is_a_valid_execution_name_even_with_a_redrive_suffix(bucket: str, key: str, version: str) -> None:
    name = RawObject(bucket, key, version, 1, "e").id
    assert re.fullmatch(r"[0-9A-Za-z_-]+-[0-9a-f]{24}", name)
    assert len(name + "-r99999999999999") <= 80


@given(key=TEXT, other=TEXT)
def test_another_key_or_version_has_another_id(key: str, other: str) -> None:
    raw = RawObject("raw", key, "v", 1, "e")
    assert raw.id == RawObject("raw", key, "v", 2, "f").id, "size and etag do not name an object"
    assert raw.id != RawObject("raw", key, "w", 1, "e").id
    assert (raw.id == RawObject("raw", other, "v", 1, "e").id) == (key == other)


def test_the_parts_of_an_id_are_separated_and_it_begins_with_a_readable_key() -> None:
    assert RawObject("a", "b/c", "v", 1, "e").id != RawObject("a/b", "c", "v", 1, "e").id
    assert RawObject("raw", "mission/2026/a b+ü.json", "v", 1, "e").id.startswith("mission-2026-a-b-json-")
    assert RawObject("raw", "日本", "v", 1, "e").id.startswith("object-")


@pytest.mark.parametrize(
    ("key", "prefix", "dataset"),
    [
        ("mission/2026/a.json", "", "mission"),
        ("a.json", "", "default"),
        ("/a.json", "", ""),
        ("incoming/x/mission/2026/a.json", "incoming/x/", "mission"),
        ("incoming/x/a.json", "incoming/x/", "default"),
        ("weather/a.json", "incoming/x/", "weather"),  # it came before the prefix was set
    ],
)
def test_the_dataset_is_the_first_folder_after_the_prefix(key: str, prefix: str, dataset: str) -> None:
    assert dataset_of(key, "default", prefix) == dataset


def test_a_record_is_named_by_its_object_and_position_and_a_uri_names_the_version() -> None:
    assert record_id("mission-a-json-0123", 7) == "mission-a-json-0123.7"
    assert RawObject("raw", "a b.json", "v+1", 1, "e").uri == "s3://raw/a b.json?versionId=v%2B1"
