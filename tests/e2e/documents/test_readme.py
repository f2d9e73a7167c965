"""The README shows what happens."""

import re
import subprocess
import sys

from custody.deployment.target import ROOT
from tests.support.deployed import Cloud, command_environment
from tests.support.documents import Shell, blocks, read, require_shown, sections

README = read("README.md")


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
