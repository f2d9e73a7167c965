"""Every example of `custody … --help` works as it stands."""

import shlex
import shutil
from pathlib import Path

import pytest

from custody.deployment.target import ROOT
from tests.support.deployed import Cloud
from tests.support.manual import commands, examples

ELSEWHERE = frozenset({"up", "down"})
"""Tested elsewhere: they would disturb the embedded AWS that tests share."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the samples, in which a command may leave files."""
    shutil.copytree(ROOT / "samples" / "objects", tmp_path / "samples" / "objects")
    return tmp_path


def test_each_example_works(cloud: Cloud, folder: Path) -> None:
    good, bad = (folder / "samples" / "objects" / name for name in ("good.json", "two-violations.json"))
    (accepted,) = cloud.custody("put", good, "--key", "mission/good.json", "--json").json["objects"]
    (rejected,) = cloud.custody("put", bad, "--json").json["objects"]
    values = {"RECORD": accepted["records"][0]["record"], "DEAD_LETTER": rejected["object"]["id"]}
    pages = commands()

    # A discarded dead letter cannot be redriven any more.
    for name in sorted(pages.keys() - ELSEWHERE, key=lambda name: (name == "dead-letters discard", name)):
        for example in examples(pages[name]):
            _, *words = shlex.split(example)
            ran = cloud.custody(*(values.get(word, word) for word in words), cwd=folder)
            assert ran.code in {0, 3}, (example, ran.err)
            assert "Traceback" not in ran.err
