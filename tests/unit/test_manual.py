"""The help of every command, and what is imported to show it."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from custody.app import COMMANDS, app
from custody.deployment.target import ROOT
from tests.support.manual import commands, examples, see_also

WIDTH = 80
PAGES = commands()


def page(*command: str, option: str = "--help") -> str:
    shown = CliRunner().invoke(app, [*command, option], env={"COLUMNS": str(WIDTH), "TERMINAL_WIDTH": str(WIDTH)})
    assert shown.exit_code == 0, shown.output
    return shown.stdout


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_examples_of_its_command_on_one_line_each_and_refers_only_to_what_exists(name: str) -> None:
    shown = page(*name.split())
    for example in examples(PAGES[name]):
        assert example.startswith(f"custody {name.removesuffix(' list')}")
        assert example in shown
    for reference in see_also(PAGES[name]):
        command = reference.removeprefix("custody ")
        assert command in {*PAGES, *COMMANDS} if command != reference else (ROOT / reference).exists()


def test_the_list_has_a_line_for_each_command_in_the_order_of_work() -> None:
    shown = page()
    assert shown == page(option="-h")
    assert page("dead-letters", "show") == page("dead-letters", "show", option="-h")
    places = [shown.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)
    for summary in COMMANDS.values():
        assert summary in shown, "a summary fits on its line"


def test_the_list_of_commands_imports_neither_a_command_nor_an_aws_client() -> None:
    code = "import sys; sys.argv = ['custody', '--help']\ntry: import custody.__main__ as m; m.run()\nfinally: "
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", f"{code}print(*sys.modules, file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=False,
    )
    imported = set(done.stderr.split())
    assert "custody.app" in imported
    slow = {"boto3", "botocore", "custody.session", "jsonschema_rs", "local", "msgspec", "pydantic", "rich"}
    assert not imported & slow
    assert not {name for name in imported if name.startswith("custody.commands.")}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_available_for_each_shell(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Typer would detect the shell among the parents of this process; then its name is not an argument.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    shown = CliRunner().invoke(app, ["--show-completion", shell], prog_name="custody")
    assert "_CUSTODY_COMPLETE" in shown.stdout


@pytest.mark.parametrize(
    ("typed", "at", "offered"),
    [("custody exe", 1, "executions"), ("custody dead-letters sh", 2, "show"), ("custody put --no", 2, "--no-wait")],
)
def test_commands_and_options_are_completed(typed: str, at: int, offered: str) -> None:
    environment = {"_CUSTODY_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(at)}
    completed = CliRunner().invoke(app, [], prog_name="custody", env=environment)
    assert offered in completed.stdout.split(), completed.stderr


def test_a_misspelt_command_is_corrected() -> None:
    refused = CliRunner().invoke(app, ["redrve"])
    assert refused.exit_code == 2
    assert "Did you mean 'redrive'?" in refused.stderr
