"""The README shows what happens, and every example of `custody … --help` works."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from custody.deployment.target import ROOT
from tests.support.deployed import Cloud, command_environment
from tests.support.documents import Shell, blocks, read, require_shown, sections
from tests.support.manual import commands, examples

README = read("README.md")
ELSEWHERE = frozenset({"up", "down"})
"""Tested elsewhere: they would disturb the embedded AWS that tests share."""


def test_make_run_prints_what_the_readme_shows(cloud: Cloud) -> None:
    shown = re.search(r"<!-- output of make run -->\n```\n(.*?)```", README, re.DOTALL)
    assert shown, "the README marks the output of make run"
    ran = subprocess.run(
        [sys.executable, "-m", "samples.send"],
        env=command_environment(cloud.folder),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    require_shown(shown.group(1), ran.stdout.partition("What to try next")[0])


def test_the_commands_of_the_first_hour_work(cloud: Cloud) -> None:
    shell, commands = Shell(cloud), blocks(sections(README)["The first hour"])
    assert commands
    for block in commands:
        shell.run(block)


def test_each_example_of_help_works(cloud: Cloud, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "samples" / "objects", tmp_path / "samples" / "objects")
    good, bad = (tmp_path / "samples" / "objects" / name for name in ("good.json", "two-violations.json"))
    accepted, rejected = cloud.put(good, "--key", "mission/good.json"), cloud.put(bad, code=3)
    values = {"RECORD": accepted["records"][0]["record"], "DEAD_LETTER": rejected["object"]["id"]}
    pages = commands()

    # A discarded dead letter cannot be redriven any more.
    for name in sorted(pages.keys() - ELSEWHERE, key=lambda name: (name == "dead-letters discard", name)):
        for example in examples(pages[name]):
            _, *words = shlex.split(example)
            ran = cloud.custody(*(values.get(word, word) for word in words), cwd=tmp_path)
            assert ran.code in {0, 3}, (example, ran.err)
            assert "Traceback" not in ran.err
