"""The pictures of the documents are those that `custody graph` draws now; and it draws what an execution did."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from custody.target import ROOT
from tests.e2e.conftest import Cloud

KEYS = {
    "samples/objects/good.json": "mission/drawn.json",
    "samples/objects/two-violations.json": "mission/rejected.json",
}
PICTURES = {
    "docs/pipeline.svg": ["graph"],
    "docs/bulk.svg": ["graph", "--machine", "bulk"],
    "docs/pipeline-rejected.svg": ["graph", "mission/rejected.json", "--no-times"],
}


@pytest.fixture(scope="module")
def sent(cloud: Cloud) -> Iterator[Cloud]:
    """Send a good object and one that is rejected; afterwards no letter of them is open."""
    puts = [cloud.custody("put", ROOT / path, "--key", key, "--json") for path, key in KEYS.items()]
    assert [put.code for put in puts] == [0, 3]
    yield cloud
    (rejected,) = puts[-1].json["objects"]
    given_up = cloud.custody("letters", "discard", rejected["object"]["object_id"], "--reason", "its test is done")
    assert given_up.code == 0, given_up.err


@pytest.mark.parametrize("picture", PICTURES)
def test_a_picture_of_the_documents_is_what_is_drawn_now(sent: Cloud, picture: str) -> None:
    drawn = sent.custody(*PICTURES[picture], "--svg", "-")
    assert drawn.code == 0, drawn.err
    command = " ".join(["custody", *PICTURES[picture], "--svg", picture])
    puts = " && ".join(f"custody put {path} --key {key}" for path, key in KEYS.items() if key in command)
    anew = " && ".join(filter(None, [puts, command]))
    assert drawn.out == (ROOT / picture).read_text(encoding="utf-8"), f"{picture} is of before; make it anew by: {anew}"


def test_the_way_of_a_good_object_leads_past_every_step_to_the_end(sent: Cloud) -> None:
    shown = sent.custody("graph", "mission/drawn.json").out
    assert "mission/drawn.json: SUCCEEDED, " in shown
    for sign, name in (("✓", "Validate"), ("✓", "Transform"), ("✓", "Write"), ("○", "DeadLetter"), ("○", "Resume")):
        assert f"│ {sign} {name}" in shown


def test_the_way_of_a_rejected_object_leads_to_its_letter(sent: Cloud) -> None:
    shown = sent.custody("graph", "mission/rejected.json", "--no-times").out
    for told in ("✗ Validate  caught: RecordsRejected ", "○ Write ", "✗ DeadLetter  failed: RecordsRejected "):
        assert told in shown


def test_a_picture_is_written_where_one_says(sent: Cloud, tmp_path: Path) -> None:
    ran = sent.custody("graph", "mission/drawn.json", "--svg", "drawn.svg", cwd=tmp_path)
    assert (ran.code, ran.out) == (0, ""), ran.err
    assert (tmp_path / "drawn.svg").read_text(encoding="utf-8").startswith("<svg ")
