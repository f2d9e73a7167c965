"""What the options take, and what they refuse: a line and exit code 2, whatever stands there."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest
import typer
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from custody import app
from custody.deployment import target
from custody.errors import USAGE, CommandFailed
from custody.executions.pipeline import COUNTED, Pipeline
from custody.terminal.options import ENV, age, environment, moment
from infra.settings import SettingRefused, Settings, parse
from tests.support.executions import MACHINE_ARN

TOO_MUCH = ["10000000d", "99999999999d", "9" * 400 + "s"]
NO_AGE = ["", "5", "m", "5 weeks", "infh", "nanm", "-5m", "+5m", "1e3s", "٣d", "5w"]


@pytest.mark.parametrize(
    ("given", "read"),
    [("20s", 20), ("5m", 300), ("1.5h", 5400), ("1d", 86400), ("0m", 0)],
)
def test_an_age_has_a_unit(given: str, read: float) -> None:
    assert age(given) == timedelta(seconds=read)


@pytest.mark.parametrize("given", ["dev", "a", "b2", "abcdefghijkl"])
def test_an_environment_is_one_that_can_be_deployed(given: str) -> None:
    assert environment(given) == parse({"env": given}).env


@pytest.mark.parametrize("given", ["", "ab-audit", "Dev", "2b", "abcdefghijklm", "dev\n", "d\x1b[31m", "*"])
def test_another_environment_is_refused_as_the_deployment_refuses_it(given: str) -> None:
    with pytest.raises(SettingRefused):
        parse({"env": given})
    with pytest.raises(CommandFailed, match="No environment is called") as refused:
        environment(given)
    assert refused.value.code == USAGE
    assert str(refused.value).isprintable()


def test_the_command_line_and_the_deployment_mean_the_same_by_an_environment() -> None:
    # The command line is installed without infra, and so cannot take the pattern from there.
    (setting,) = (found for found in fields(Settings) if found.name == "env")

    assert setting.metadata["pattern"].pattern == ENV.pattern


COMMANDS = vars(typer.main.get_command(app.app))["commands"]


@pytest.mark.parametrize(
    "name", [name for name, command in COMMANDS.items() if any(option.name == "env" for option in command.params)]
)
def test_every_command_refuses_what_is_no_environment(name: str) -> None:
    ran = CliRunner().invoke(app.app, [name, "--env", "ab-audit"])
    assert "No environment is called 'ab-audit'" in str(ran.exception)


def test_what_is_no_environment_is_refused_of_the_variable_too() -> None:
    ran = CliRunner().invoke(app.app, ["status"], env={"CUSTODY_ENV": "ab-audit"})
    assert "No environment is called 'ab-audit'" in str(ran.exception)


@pytest.mark.parametrize("given", [*NO_AGE, *TOO_MUCH])
def test_another_age_is_refused_by_grace(given: str) -> None:
    with pytest.raises(typer.BadParameter):
        age(given)


@pytest.mark.parametrize(
    "given", [*NO_AGE, *TOO_MUCH, "0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00", "2026-02-30", "yesterday"]
)
def test_another_moment_is_refused_by_since_and_until(given: str) -> None:
    with pytest.raises(typer.BadParameter):
        moment(given)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T09:00", datetime(2026, 3, 1, 9, tzinfo=UTC)),
        ("2026-03-01T09:00+02:00", datetime(2026, 3, 1, 7, tzinfo=UTC)),
    ],
)
def test_a_moment_is_in_utc(given: str, read: datetime) -> None:
    assert moment(given) == read
    assert moment(given).tzinfo is UTC


def test_an_age_is_taken_from_now() -> None:
    found = moment("20s")
    assert timedelta(seconds=20) <= datetime.now(UTC) - found < timedelta(seconds=25)


@pytest.fixture
def nowhere(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let embedded AWS be down, and no region be known."""
    monkeypatch.setattr(target, "FOLDER", tmp_path)
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")


@pytest.mark.usefixtures("nowhere")
def test_no_command_reaches_an_account_without_being_told_to() -> None:
    with pytest.raises(CommandFailed, match="--aws or --profile NAME") as refused:
        target.choose(aws=False, profile=None)
    assert refused.value.code == USAGE


@pytest.mark.usefixtures("nowhere")
def test_aws_without_a_region_says_how_to_give_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandFailed, match="Set AWS_REGION, or name a profile") as refused:
        target.choose(aws=True, profile=None)
    assert refused.value.code == USAGE

    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    chosen = target.choose(aws=True, profile=None)
    assert chosen.session.region_name == "eu-west-1"


@pytest.mark.parametrize(("is_local", "mode"), [(True, "standard"), (False, "adaptive")])
def test_what_counts_calls_is_asked_with_patience(monkeypatch: pytest.MonkeyPatch, is_local: bool, mode: str) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    endpoint = "http://127.0.0.1:1" if is_local else None
    chosen = target.Target("", target.choose(aws=True, profile=None).session, endpoint)

    assert chosen.client("stepfunctions").meta.config.retries["mode"] == mode


class Pages:
    """A client of Step Functions with so many executions."""

    def __init__(self, number: int) -> None:
        self.number, self.pages = number, 0

    def get_paginator(self, name: str) -> "Pages":
        assert name == "list_executions"
        return self

    def paginate(self, **_: object) -> object:
        for begin in range(0, self.number, 1000):
            self.pages += 1
            more = {"nextToken": "more"} if begin + 1000 < self.number else {}
            yield {"executions": [{}] * min(1000, self.number - begin)} | more


@pytest.mark.parametrize(
    ("number", "counted"),
    [(0, (0, False)), (2500, (2500, False)), (COUNTED, (COUNTED, False)), (COUNTED + 1, (COUNTED, True))],
)
def test_executions_are_counted_on_all_pages_but_not_for_ever(number: int, counted: tuple[int, bool]) -> None:
    client = Pages(number)
    pipeline = Pipeline(client, MACHINE_ARN)  # type: ignore[arg-type]  # a stand-in

    assert pipeline.count("SUCCEEDED") == counted
    assert client.pages <= COUNTED / 1000 + 1


def run(monkeypatch: pytest.MonkeyPatch, raised: BaseException) -> object:
    def broken() -> None:
        raise raised

    monkeypatch.setattr(app, "app", broken)
    monkeypatch.setattr("os.dup2", lambda *_: None)
    monkeypatch.setattr(app, "end_on_sigterm", lambda: None)
    monkeypatch.setattr("sys.argv", ["custody"])
    with pytest.raises(SystemExit) as ended:
        app.run()
    return ended.value.code


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 1, ""),
        (
            OSError(28, "No space left on device"),
            1,
            "No space left on device. If the output goes into a file, see that",
        ),
        (
            OSError(13, "Permission denied", "a\nb"),
            1,
            "custody: a␊b: Permission denied. See that it is there, and that",
        ),
        (ClientError({"Error": {"Code": "ThrottlingException"}}, "DescribeExecution"), 1, "Run it again later"),
        (CommandFailed("wrong", USAGE), 2, "custody: wrong"),
    ],
)
def test_what_ends_a_command_is_a_line_or_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], raised: BaseException, code: int, said: str
) -> None:
    assert run(monkeypatch, raised) == code
    told = capsys.readouterr().err
    assert said in told
    assert bool(told) == bool(said)
