"""`--help` reads like a page of the manual: of every command, and completely."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from custody.app import app
from custody.deployment.target import ROOT
from custody.terminal.help_pages import PAGES

WIDTH = 80
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # an app with commands is a group


def names() -> set[str]:
    parts = {f"{name} {part}" for name, command in COMMANDS.items() for part in getattr(command, "commands", {})}
    return set(COMMANDS) | parts


def page(*command: str) -> str:
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": str(WIDTH), "TERMINAL_WIDTH": str(WIDTH)})
    assert shown.exit_code == 0, shown.output
    return shown.stdout


def test_every_command_has_a_page_and_every_page_a_command() -> None:
    assert names() == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_examples_of_its_own_command_and_says_what_to_read_besides(name: str) -> None:
    shown = page(*name.split())
    assert "Examples" in shown
    assert "See also" in shown
    for example in PAGES[name].examples:
        assert example.startswith(f"custody {name}"), "an example is of the command itself"
        assert example in shown, "an example is not folded: it is there to be copied"


@pytest.mark.parametrize("name", PAGES)
def test_what_to_read_besides_is_there(name: str) -> None:
    for other in PAGES[name].see:
        if other.startswith("custody "):
            assert other.removeprefix("custody ") in PAGES
        else:
            assert (ROOT / other).exists()


def test_the_list_of_commands_has_a_line_for_each_and_tells_of_exit_codes_and_environment() -> None:
    shown = page()
    for name, each in PAGES.items():
        if " " not in name:
            assert f"{name} " in shown
            assert each.summary.split()[0] in shown
            assert each.summary in shown, f"{name} takes a line and no more"
    for heading in ("Exit codes", "Environment", "Completion"):
        assert heading in shown


@pytest.mark.parametrize("name", ["", *PAGES])
def test_a_page_has_no_types_of_python_where_an_option_takes_something(name: str) -> None:
    options = [line for line in page(*name.split()).splitlines() if " --" in line]
    assert not [line for line in options if re.search(r"<\w+>", line)]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_be_taught_to_complete(shell: str) -> None:
    shown = CliRunner().invoke(app, ["--show-completion", shell], prog_name="custody")
    assert "_CUSTODY_COMPLETE" in shown.stdout


@pytest.mark.parametrize(
    ("typed", "at", "offered"),
    [("custody exe", 1, "executions"), ("custody dead-letters sh", 2, "show"), ("custody put --no", 2, "--no-wait")],
)
def test_what_is_begun_is_completed(typed: str, at: int, offered: str) -> None:
    environment = os.environ | {"_CUSTODY_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(at)}
    command = Path(sys.executable).with_name("custody")
    done = subprocess.run(  # noqa: S603 - our own command
        [command], env=environment, capture_output=True, text=True, check=False
    )
    assert offered in done.stdout.split(), done.stderr
