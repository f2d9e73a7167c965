"""`make test-aws`: what it runs and refuses, that it deletes its stack, and that nothing else runs in an account."""

import ast
import os
import re
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from custody.terminal.signals import TERMINATED
from infra.settings import SCHEMA
from tests.support import account, on_aws
from tests.support.deployed import Cloud
from tests.support.documents import read
from tests.support.on_aws import FIXED, Refused, Run, carry_out, prepare

FOLDER = Path(__file__).parents[1]
FIXTURES = {"cloud", "chunked", "tmp_path"}
EMBEDDED_ONLY = {"local", "folder", "clean_environment", "command_environment", "CUSTODY", "slow", "peak_memory"}
"""Names that a test marked `aws` cannot use: they need embedded AWS or this machine."""


def marked() -> list[ast.FunctionDef]:
    """Return the tests that are marked `aws`."""
    return [test for path in sorted(FOLDER.rglob("test_*.py")) for test in _marked_in(path)]


def _marked_in(path: Path) -> list[ast.FunctionDef]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    is_whole = any(ast.unparse(node).startswith("pytestmark = pytest.mark.aws") for node in body)
    tests = [node for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    return [
        test
        for test in tests
        if is_whole or any(ast.unparse(each).startswith("pytest.mark.aws") for each in test.decorator_list)
    ]


def test_the_marked_tests_include_redrives() -> None:
    names = [test.name for test in marked()]

    assert len(names) >= 15
    assert "test_ten_executions_that_could_not_write_are_redriven_by_the_plain_api" in names
    assert "test_a_failed_chunk_holds_back_no_other_and_a_redrive_runs_it_alone" in names


def test_marked_tests_need_nothing_that_only_embedded_aws_has() -> None:
    for test in marked():
        assert {argument.arg for argument in test.args.args} <= FIXTURES, test.name
        names = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
        names |= {node.attr for node in ast.walk(test) if isinstance(node, ast.Attribute)}
        assert not names & EMBEDDED_ONLY, test.name


def test_only_make_test_aws_runs_in_an_account() -> None:
    recipes = dict(re.findall(r"^([a-z-]+):[^\n]*\n((?:\t[^\n]*\n)+)", read("Makefile"), re.MULTILINE))

    assert [name for name, recipe in recipes.items() if "on_aws" in recipe] == ["test-aws"]
    assert not [name for name, recipe in recipes.items() if account.ENV in recipe]
    assert "test-aws" not in re.search(r"^test:.*\n((?:\t.*\n)+)", read("Makefile"), re.MULTILINE)[0]  # type: ignore[index]  # it is there
    assert account.environment_name() is None, "these tests do not"


@pytest.fixture
def caller(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Provide an environment whose profile stands for an account, at embedded AWS."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    profile = str(cloud.folder / "aws.ini")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, profile)
    monkeypatch.setenv("AWS_PROFILE", "default")
    return dict(os.environ)


SANDBOX = {"AWS_PROFILE": "sandbox", "ACCOUNT": "000000000000"}


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"ACCOUNT": "000000000000"}, "No credentials are named"),
        (SANDBOX | {"TEST_ENV": "prod"}, "The data of prod is retained"),
        *((SANDBOX | {"SETTINGS": f"log_days=1 {name}=prod"}, f"SETTINGS cannot have {name}: ") for name in FIXED),
        *(
            (SANDBOX | {"SETTINGS": setting}, r"which is not a setting\. Write name=value")
            for setting in ("log_days", "log_days=", "--context", "-c env=prod")
        ),
    ],
)
def test_it_refuses_a_run_that_it_could_not_test_or_delete(environment: dict[str, str], message: str) -> None:
    assert set(FIXED) <= set(SCHEMA), "the settings that it refuses exist"
    with pytest.raises(Refused, match=message):
        prepare(environment)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "ACCOUNT=000000000000"),
        ({"ACCOUNT": "111122223333"}, "ACCOUNT=000000000000"),
        ({"ACCOUNT": "000000000000", "TEST_ENV": "dev"}, "custody-dev already exists"),
        ({"ACCOUNT": "000000000000", "AWS_REGION": "eu-west-1"}, "is not bootstrapped"),
    ],
    ids=["unconfirmed", "another account", "existing environment", "region without bootstrap"],
)
def test_it_refuses_an_account_that_is_not_confirmed_and_ready(
    caller: dict[str, str], environment: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Refused, match=message):
        prepare(caller | environment)

    printed = capsys.readouterr().out
    assert f"deploys the stack custody-{environment.get('TEST_ENV', 'citest')} to account 000000000000" in printed
    assert "delete the stack yourself: custody destroy --aws --env" in printed
    assert "less than 0.05 USD" in printed


def test_otherwise_it_is_ready(caller: dict[str, str]) -> None:
    run = prepare(caller | {"ACCOUNT": "000000000000", "SETTINGS": "start_concurrency=5 log_days=1"})

    assert (run.stack, run.settings, run.is_aws) == ("custody-citest", ("start_concurrency=5", "log_days=1"), False)


@dataclass(frozen=True)
class Rehearsal(Run):
    """A run that only records its commands; `report` is that of `custody destroy`."""

    report: Any = field(default_factory=lambda: {"failures": {}, "left": []})
    commands: list[str] = field(default_factory=list)

    def call(self, *command: str | Path) -> int:
        self.commands.append(" ".join(str(word) for word in command[1:]))
        return 0

    def destroy(self) -> Any:
        self.commands.append("destroy")
        return self.report


def rehearsal(*settings: str, is_aws: bool = True, **others: Any) -> Rehearsal:
    return Rehearsal("000000000000", "us-east-1", "citest", settings, is_aws, {}, **others)


@pytest.fixture
def tests(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Test nothing and stop nothing, unless a test replaces these steps."""
    monkeypatch.setattr(on_aws, "_test", lambda _: 0)
    monkeypatch.setattr(on_aws, "_stop_executions", lambda _: None)
    return monkeypatch


@pytest.mark.usefixtures("tests")
@pytest.mark.parametrize(("is_aws", "local"), [(True, ""), (False, " -c local=true")])
def test_its_own_settings_come_last_so_that_they_take_effect(is_aws: bool, local: str) -> None:
    run = rehearsal("start_concurrency=5", is_aws=is_aws)
    assert carry_out(run) == 0

    deployed, deleted = run.commands
    settings = f"-c start_concurrency=5 -c env=citest -c chunk_bytes=1048576{local}"
    assert deployed.startswith(f"deploy {settings} --require-approval")
    assert deleted == "destroy"


def test_the_stack_is_deleted_even_if_executions_cannot_be_stopped(
    tests: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: Run) -> None:
        raise ClientError({"Error": {"Code": "ExpiredToken", "Message": "expired"}}, "ListStateMachines")

    tests.setattr(on_aws, "_stop_executions", refuse)
    run = rehearsal()

    assert carry_out(run) == 0
    assert run.commands[-1] == "destroy"
    assert (
        "Executions of custody-citest could not be stopped: An error occurred (ExpiredToken)" in capsys.readouterr().err
    )

    run = rehearsal(report=None)
    with pytest.raises(AssertionError, match="the deletion of custody-citest: not within 0 s"):
        carry_out(run)
    assert run.commands.count("destroy") == 1, "expired credentials do not become valid"
    assert "Delete it: custody destroy --aws --env citest\n" in capsys.readouterr().err


@pytest.mark.usefixtures("tests")
def test_what_is_left_and_billed_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    left = [
        {"name": name, "contents": "", "command": command} for name, command in {"key": None, "bucket": "x"}.items()
    ]

    assert carry_out(rehearsal(report={"failures": {}, "left": left})) == 1
    assert "billed: bucket. See: custody destroy --aws --env citest" in capsys.readouterr().err


@pytest.mark.parametrize("interrupted", [["_test"], ["_test", "_stop_executions"]], ids=["once", "twice"])
def test_the_stack_is_deleted_on_sigterm_or_the_command_that_deletes_it_is_printed(
    tests: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], interrupted: list[str]
) -> None:
    run, handler = rehearsal(), signal.getsignal(signal.SIGTERM)
    tests.setattr(on_aws, "prepare", lambda _: run)
    for step in interrupted:
        tests.setattr(on_aws, step, lambda _: signal.raise_signal(signal.SIGTERM))
    try:
        with pytest.raises(SystemExit) as ended:
            on_aws.main()
    finally:
        signal.signal(signal.SIGTERM, handler)

    assert ended.value.code == TERMINATED
    is_deleted, is_printed = run.commands[-1] == "destroy", "Delete it: custody destroy" in capsys.readouterr().err
    assert (is_deleted, is_printed) == ((True, False) if len(interrupted) == 1 else (False, True))


def test_the_tests_get_the_credentials_under_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = account.variables({"AWS_PROFILE": "sandbox", "PATH": "/bin"}, "citest", is_aws=True)

    assert "AWS_PROFILE" not in variables
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (account.environment_name(), account.credentials(), account.is_real_aws()) == (
        "citest",
        {"AWS_PROFILE": "sandbox"},
        True,
    )
