"""Every example of `custody … --help` works as it stands there."""

import shlex
import shutil
from pathlib import Path

import pytest

from custody.deployment.target import ROOT
from custody.terminal.help_pages import PAGES
from tests.support.deployed import Cloud

OF_THE_DEPLOYMENT = frozenset({"up", "down"})
"""These have tests of their own: what they do, others would miss."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with the samples, where a command may leave files."""
    shutil.copytree(ROOT / "samples" / "objects", tmp_path / "samples" / "objects")
    return tmp_path


def test_each_example_works(cloud: Cloud, folder: Path) -> None:
    good, bad = (folder / "samples" / "objects" / name for name in ("good.json", "two-violations.json"))
    (fate,) = cloud.custody("put", good, "--key", "mission/good.json", "--json").json["objects"]
    (rejected,) = cloud.custody("put", bad, "--json").json["objects"]
    answers = {"RECORD": fate["records"][0]["record"], "LETTER": rejected["object"]["object_id"]}

    # What is discarded is not redriven.
    for name in sorted(PAGES.keys() - OF_THE_DEPLOYMENT, key=lambda name: (name == "dead-letters discard", name)):
        for example in PAGES[name].examples:
            _, *words = shlex.split(example)
            ran = cloud.custody(*(answers.get(word, word) for word in words), cwd=folder)
            assert ran.code in {0, 3}, (example, ran.err)
            assert "Traceback" not in ran.err
