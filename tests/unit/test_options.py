"""What options accept, and that anything else is refused with exit code 2."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from custody.app import COMMANDS, app, load
from custody.errors import USAGE, CommandFailed
from custody.executions.pipeline import COUNTED, Pipeline
from custody.terminal.options import ENV, age, environment, moment, rate
from infra import settings
from infra.settings import SettingRefused, parse
from tests.support.executions import MACHINE_ARN

TOO_LONG = ["10000000d", "99999999999d", "9" * 400 + "s"]
NOT_AN_AGE = ["", "5", "m", "5 weeks", "infh", "nanm", "-5m", "+5m", "1e3s", "٣d", "5w"]


@pytest.mark.parametrize("text", ["dev", "a", "b2", "abcdefghijkl"])
def test_an_environment_that_can_be_deployed_is_accepted(text: str) -> None:
    # The command line is installed without infra, so it cannot import the pattern.
    assert f"^{ENV.pattern}\\Z" == settings.ENV
    assert environment(text) == parse({"env": text}).env


@pytest.mark.parametrize("text", ["", "ab-audit", "Dev", "2b", "abcdefghijklm", "dev\n", "d\x1b[31m", "*"])
def test_an_environment_that_cannot_be_deployed_is_refused(text: str) -> None:
    with pytest.raises(SettingRefused):
        parse({"env": text})
    with pytest.raises(CommandFailed, match="is not a valid environment name") as refused:
        environment(text)
    assert refused.value.code == USAGE
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "down"])
def test_every_command_refuses_an_invalid_environment_as_an_option_or_a_variable(name: str) -> None:
    arguments = ["a"] if any(parameter.required for parameter in load(name).params) else []
    ran = CliRunner().invoke(app, [name, "--env", "ab-audit", *arguments])
    with_variable = CliRunner().invoke(app, [name, *arguments], env={"CUSTODY_ENV": "ab-audit"})
    assert str(ran.exception) == str(with_variable.exception)
    assert "'ab-audit' is not a valid environment name" in str(ran.exception)


@pytest.mark.parametrize(
    ("parse_text", "text", "expected"),
    [
        (age, "20s", timedelta(seconds=20)),
        (age, "5m", timedelta(minutes=5)),
        (age, "1.5h", timedelta(hours=1.5)),
        (age, "1d", timedelta(days=1)),
        (age, "0m", timedelta(0)),
        (moment, "2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        (moment, "2026-03-01T09:00", datetime(2026, 3, 1, 9, tzinfo=UTC)),
        (moment, "2026-03-01T09:00+02:00", datetime(2026, 3, 1, 7, tzinfo=UTC)),
        (rate, "5", 5.0),
        (rate, "5/s", 5.0),
        (rate, "0.5", 0.5),
    ],
)
def test_an_age_has_a_unit_a_time_is_in_utc_and_a_rate_is_by_second(
    parse_text: Callable[[str], Any], text: str, expected: Any
) -> None:
    assert parse_text(text) == expected
    assert getattr(parse_text(text), "tzinfo", UTC) is UTC


NOT_A_TIME = ["0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00", "2026-02-30", "yesterday"]
NOT_A_RATE = ["0", "-1/s", "5/m", "much", "inf", "nan", "1e-9", "1e-300"]


@pytest.mark.parametrize(
    ("parse_text", "text"),
    [
        *((age, text) for text in [*NOT_AN_AGE, *TOO_LONG]),
        *((moment, text) for text in [*NOT_AN_AGE, *TOO_LONG, *NOT_A_TIME]),
        *((rate, text) for text in NOT_A_RATE),
    ],
)
def test_any_other_text_is_refused(parse_text: Callable[[str], Any], text: str) -> None:
    with pytest.raises(typer.BadParameter, match="5/s" if parse_text is rate else None):
        parse_text(text)


def test_an_age_counts_back_from_now() -> None:
    parsed = moment("20s")
    assert timedelta(seconds=20) <= datetime.now(UTC) - parsed < timedelta(seconds=25)


class Pages:
    """A client of Step Functions with a number of executions."""

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
    ("number", "expected"),
    [(0, (0, False)), (2500, (2500, False)), (COUNTED, (COUNTED, False)), (COUNTED + 1, (COUNTED, True))],
)
def test_executions_are_counted_up_to_a_limit(number: int, expected: tuple[int, bool]) -> None:
    client = Pages(number)
    pipeline = Pipeline(client, MACHINE_ARN)  # type: ignore[arg-type]  # a stand-in

    assert pipeline.count("SUCCEEDED") == expected
    assert client.pages <= COUNTED / 1000 + 1
