"""`make test-aws`: what it runs, what it refuses, and that nothing else ever runs on an account."""

import ast
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
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
ONLY_EMBEDDED = {"local", "folder", "clean_environment", "CUSTODY", "slow", "most_memory"}
"""Names that mean embedded AWS, or this machine."""


def marked() -> list[ast.FunctionDef]:
    """Give the tests that are marked `aws`, one by one."""
    return [test for path in sorted(FOLDER.rglob("test_*.py")) for test in _marked_in(path)]


def _marked_in(path: Path) -> list[ast.FunctionDef]:
    """Give those of a file: each that has the mark, or all if the file has it."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    is_whole = any(ast.unparse(node).startswith("pytestmark = pytest.mark.aws") for node in body)
    tests = [node for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    return [
        test
        for test in tests
        if is_whole or any(ast.unparse(each).startswith("pytest.mark.aws") for each in test.decorator_list)
    ]


def test_what_is_selected_is_not_empty_and_redrives_what_failed() -> None:
    found = [test.name for test in marked()]

    assert len(found) >= 15
    assert "test_ten_executions_that_could_not_write_are_redriven_by_the_plain_api" in found
    assert "test_a_chunk_that_fails_holds_no_other_back_and_a_redrive_runs_it_alone" in found


def test_what_is_selected_uses_nothing_that_only_embedded_aws_has() -> None:
    tests = marked()
    assert tests
    for test in tests:
        assert {argument.arg for argument in test.args.args} <= FIXTURES, test.name
        names = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
        names |= {node.attr for node in ast.walk(test) if isinstance(node, ast.Attribute)}
        assert not names & ONLY_EMBEDDED, test.name


def test_what_only_aws_can_show_is_not_run_without_it() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--collect-only",
        str(FOLDER / "system" / "test_alarms.py"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=FOLDER.parents[1])  # noqa: S603 - our own

    assert "no tests collected (2 deselected)" in done.stdout


def test_nothing_but_make_test_aws_runs_on_an_account() -> None:
    recipes = dict(re.findall(r"^([a-z-]+):[^\n]*\n((?:\t[^\n]*\n)+)", read("Makefile"), re.MULTILINE))

    assert [name for name, recipe in recipes.items() if "on_aws" in recipe] == ["test-aws"]
    assert not [name for name, recipe in recipes.items() if account.ENV in recipe]
    assert "test-aws" not in re.search(r"^test:.*\n((?:\t.*\n)+)", read("Makefile"), re.MULTILINE)[0]  # type: ignore[index]  # it is there
    assert account.environment_name() is None, "and these tests run without"


@pytest.fixture
def there(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Give an environment that takes embedded AWS for an account, by a profile."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    profile = str(cloud.folder / "aws.ini")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, profile)
    monkeypatch.setenv("AWS_PROFILE", "default")
    return dict(os.environ)


def test_it_refuses_without_credentials_that_are_named() -> None:
    with pytest.raises(Refused, match="No credentials are named"):
        prepare({"ACCOUNT": "000000000000"})


def test_it_says_what_it_would_do_and_what_that_costs_until_the_account_is_named(
    there: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Refused, match="ACCOUNT=000000000000"):
        prepare(there)

    said = capsys.readouterr().out
    assert "deploys the stack custody-citest to account 000000000000, region us-east-1" in said
    assert "take it away by hand: custody destroy --aws --env citest" in said
    assert "less than 0.05 USD" in said


def test_it_refuses_another_account(there: dict[str, str]) -> None:
    with pytest.raises(Refused, match="ACCOUNT=000000000000"):
        prepare(there | {"ACCOUNT": "111122223333"})


def test_it_refuses_the_environment_whose_data_is_kept() -> None:
    with pytest.raises(Refused, match="The data of prod is kept"):
        prepare({"AWS_PROFILE": "sandbox", "ACCOUNT": "000000000000", "TEST_ENV": "prod"})


def test_it_touches_no_environment_that_is_there(there: dict[str, str]) -> None:
    with pytest.raises(Refused, match="custody-dev is there already"):
        prepare(there | {"ACCOUNT": "000000000000", "TEST_ENV": "dev"})


def test_it_refuses_where_nothing_is_bootstrapped(there: dict[str, str]) -> None:
    with pytest.raises(Refused, match="is not bootstrapped"):
        prepare(there | {"ACCOUNT": "000000000000", "AWS_REGION": "eu-west-1"})


def test_else_it_is_ready(there: dict[str, str]) -> None:
    run = prepare(there | {"ACCOUNT": "000000000000", "SETTINGS": "start_concurrency=5 log_days=1"})

    assert (run.stack, run.settings, run.is_aws) == ("custody-citest", ("start_concurrency=5", "log_days=1"), False)


@pytest.mark.parametrize("name", FIXED)
def test_it_refuses_settings_that_would_make_another_deployment(name: str) -> None:
    with pytest.raises(Refused, match=f"SETTINGS cannot have {name}: "):
        prepare({"AWS_PROFILE": "sandbox", "SETTINGS": f"log_days=1 {name}=prod"})
    assert name in SCHEMA


@pytest.mark.parametrize("setting", ["log_days", "log_days=", "--context", "-c env=prod"])
def test_it_refuses_what_is_no_setting(setting: str) -> None:
    with pytest.raises(Refused, match=r"which is no setting\. Write it as name=value"):
        prepare({"AWS_PROFILE": "sandbox", "SETTINGS": setting})


@dataclass(frozen=True)
class Rehearsal(Run):
    """A run that only takes down what it would do; `told` is what `custody destroy` says in the end."""

    told: Any = field(default_factory=lambda: {"failures": [], "left": []})
    done: list[str] = field(default_factory=list)

    def call(self, *command: str | Path) -> int:
        self.done.append(" ".join(str(word) for word in command[1:]))
        return 0

    def destroy(self) -> Any:
        self.done.append("destroy")
        return self.told


def rehearsal(*settings: str, is_aws: bool = True, **others: Any) -> Rehearsal:
    return Rehearsal("000000000000", "us-east-1", "citest", settings, is_aws, {}, **others)


@pytest.fixture
def tests(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Have nothing tested and nothing stopped; what is given puts something else in the place of either."""
    monkeypatch.setattr(on_aws, "_test", lambda _: 0)
    monkeypatch.setattr(on_aws, "_stop_executions", lambda _: None)
    return monkeypatch


@pytest.mark.usefixtures("tests")
def test_what_it_deploys_is_said_last_for_that_is_what_the_cdk_takes() -> None:
    run = rehearsal("start_concurrency=5")
    assert carry_out(run) == 0

    deployed, taken_away = run.done
    assert deployed.startswith("deploy -c start_concurrency=5 -c env=citest -c chunk_bytes=1048576 --require-approval")
    assert taken_away == "destroy"


@pytest.mark.usefixtures("tests")
def test_what_stands_for_aws_is_given_what_runs_there() -> None:
    run = rehearsal(is_aws=False)
    carry_out(run)

    assert "-c local=true" in run.done[0]


def test_it_is_taken_away_though_nothing_can_be_stopped(
    tests: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: Run) -> None:
        raise ClientError({"Error": {"Code": "ExpiredToken", "Message": "it has ended"}}, "ListStateMachines")

    tests.setattr(on_aws, "_stop_executions", refuse)
    run = rehearsal()

    assert carry_out(run) == 0
    assert run.done[-1] == "destroy"
    assert (
        "Executions of custody-citest could not be stopped: An error occurred (ExpiredToken)" in capsys.readouterr().err
    )

    run = rehearsal(told=None)
    with pytest.raises(AssertionError, match="is taken away: not within 0 s"):
        carry_out(run)
    assert run.done.count("destroy") == 1, "credentials that have ended do not come back"
    assert "Take it away: custody destroy --aws --env citest\n" in capsys.readouterr().err


@pytest.mark.usefixtures("tests")
def test_what_is_left_and_billed_is_named_with_the_command_that_tells_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    left = [{"name": "key", "billed": False}, {"name": "bucket", "billed": True}]

    assert carry_out(rehearsal(told={"failures": [], "left": left})) == 1
    assert "billed: bucket. See: custody destroy --aws --env citest" in capsys.readouterr().err


@pytest.fixture
def own_sigterm() -> Iterator[None]:
    """Put back what SIGTERM did before."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("own_sigterm")
def test_it_is_taken_away_on_sigterm_too(tests: pytest.MonkeyPatch) -> None:
    run = rehearsal()
    tests.setattr(on_aws, "prepare", lambda _: run)
    tests.setattr(on_aws, "_test", lambda _: signal.raise_signal(signal.SIGTERM))

    with pytest.raises(SystemExit) as ended:
        on_aws.main()

    assert ended.value.code == TERMINATED
    assert run.done[-1] == "destroy"


@pytest.mark.usefixtures("own_sigterm")
def test_a_second_sigterm_ends_it_with_the_command_that_takes_it_away(
    tests: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tests.setattr(on_aws, "prepare", lambda _: rehearsal())
    for name in ("_test", "_stop_executions"):
        tests.setattr(on_aws, name, lambda _: signal.raise_signal(signal.SIGTERM))

    with pytest.raises(SystemExit):
        on_aws.main()

    assert "Take it away: custody destroy --aws --env citest\n" in capsys.readouterr().err


def test_the_tests_are_given_the_credentials_that_are_named_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    told = account.variables({"AWS_PROFILE": "sandbox", "PATH": "/bin"}, "citest", is_aws=True)

    assert "AWS_PROFILE" not in told
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert (account.environment_name(), account.credentials(), account.is_real_aws()) == (
        "citest",
        {"AWS_PROFILE": "sandbox"},
        True,
    )
