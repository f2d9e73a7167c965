"""Nothing that others have written paints the operator's terminal, whichever command shows it, and in whatever form."""

import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from botocore.exceptions import ClientError

import local
from custody import app
from custody.commands import up
from custody.deployment.destroy import DestroyReport, Resource, Stack
from custody.errors import CommandFailed
from custody.terminal import console
from custody.terminal.text import visible
from custody.views import destroy as destroy_view
from tests.support.audit_files import delivered_in_part, put
from tests.support.buckets import Buckets, session
from tests.support.command_line import CommandLine
from tests.support.executions import Machine
from tests.support.stages import MIXED

PLAIN = ":key:[red]"
HOSTILE = (
    "\x1b]0;x\x07\x9b2J\x08\r\x7f\u202e\u2066\u200f\u200b\ufeff\u2028\u00ad\ufe0f\u3164\U000e0041"
    + PLAIN
    + "e"
    + "\u0301" * 9
)
KEY = f"mission/arn:aws:iam:key:1\n{HOSTILE}.json"

_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""What Rich itself writes to a terminal: styles, and the moves of a spinner. The hostile text has none of it."""

_FORMS = ("piped", "terminal", "json")
_COMMANDS: dict[str, list[list[str]]] = {
    "put": [["FILE", "--key", KEY, "--timeout", "1"], ["FILE", "--key", KEY, "--no-wait"], [HOSTILE]],
    "executions": [[]],
    "trace": [["OBJECT"], ["RECORD"], [KEY], [HOSTILE], [f"{HOSTILE}\u2069"]],
    "dead-letters": [
        [],
        ["--dataset", HOSTILE],
        ["show", "DEAD_LETTER"],
        ["show", KEY],
        ["discard", "DEAD_LETTER", "--reason", HOSTILE],
        ["discard", KEY, "--reason", HOSTILE],
    ],
    "redrive": [["--open", "--dry-run"], ["DEAD_LETTER", "--timeout", "1"], [HOSTILE], ["--error", HOSTILE]],
    "reconcile": [[], ["--all"], ["--since", HOSTILE]],
    "verify": [[], [KEY], [HOSTILE]],
    "backfill": [["--dry-run", "--again"], ["--again", "--rate", "10000", "--timeout", "1"]],
    "status": [[], ["--env", HOSTILE]],
    "up": [[]],
    "down": [[]],
    "destroy": [["--dry-run"], ["--yes", "--bucket", HOSTILE]],
}
Show = Callable[..., str]


class Refusing:
    """A client each call of which AWS refuses, with a message that names what somebody else has named."""

    def __init__(self, client: Any) -> None:
        self.meta, self.exceptions = client.meta, client.exceptions

    def __getattr__(self, name: str) -> Any:
        def refuse(*_: Any, **__: Any) -> Any:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": HOSTILE}}, name)

        return refuse


@pytest.fixture
def names(buckets: Buckets, machine: Machine, tmp_path: Any) -> dict[str, str]:
    """Provide an object, a dead letter and an execution full of hostile text; return the names of each."""
    dead_letter = delivered_in_part(buckets, KEY)
    body = buckets.dead_letter() | {"cause": HOSTILE, "advice": HOSTILE, "error": HOSTILE}
    body["rejected"][0]["violations"] = [{"pointer": f"/{HOSTILE}", "rule": "enum", "limit": [HOSTILE]}]
    put(buckets, dead_letter, body)
    batch = buckets.upload(f"mission/{HOSTILE}", MIXED)
    machine.add(batch, error=HOSTILE, cause=json.dumps({"errorMessage": HOSTILE}))
    file = tmp_path / "a.json"
    file.write_bytes(MIXED)
    record = body["rejected"][0]["record"]
    return {"FILE": str(file), "OBJECT": dead_letter.object_id, "RECORD": record, "DEAD_LETTER": dead_letter.id}


@pytest.fixture(params=_FORMS)
def show(
    request: pytest.FixtureRequest, command_line: CommandLine, names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Show:
    """Return a function that runs a command as a process does, in a form, and returns all that it prints."""
    monkeypatch.setattr(app, "end_on_sigterm", lambda: None)
    command_line.is_local = True

    def run(*arguments: str) -> str:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2))
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            patch.setattr(sys, "argv", ["custody", *(names.get(argument, argument) for argument in arguments)])
            if request.param == "json" and arguments[0] not in {"up", "down"}:
                sys.argv.append("--json")
            if request.param == "terminal":
                patch.setattr(console, "console", console.Screen(force_terminal=True, width=80))
                patch.setattr(console, "stderr", console.Screen(stderr=True, force_terminal=True, width=80))
            with suppress(SystemExit):
                app.run()
        for stream in (out, err):
            stream.flush()
        shown = "".join(stream.buffer.getvalue().decode() for stream in (out, err))
        # A spinner returns to the beginning of its line.
        return shown.replace("\r", "") if request.param == "terminal" else shown

    return run


def raw(shown: str) -> set[str]:
    """Find the characters that should have been escaped."""
    text = _STYLE.sub("", shown).replace("\n", "").replace("\t", "")
    return {character for character in text if visible(f"x{character}") != f"x{character}"}


@pytest.fixture
def unreachable(command_line: CommandLine) -> None:
    """Let AWS refuse every call."""
    for service in ("s3", "stepfunctions", "cloudformation", "sqs", "sts"):
        command_line.clients[service] = Refusing(session().client(service))


@pytest.fixture(autouse=True)
def _embedded(monkeypatch: pytest.MonkeyPatch, command_line: CommandLine) -> None:
    """Let embedded AWS start and stop with hostile messages, and CloudFormation refuse every call."""

    def bring_up(*_: Any, **__: Any) -> Iterator[str]:
        yield HOSTILE
        raise CommandFailed(HOSTILE, log=[HOSTILE, HOSTILE])

    def stop(_: Any) -> bool:
        raise local.LocalAwsError(HOSTILE)

    monkeypatch.setattr(up, "bring_up", bring_up)
    monkeypatch.setattr(local, "stop", stop)
    command_line.clients["cloudformation"] = Refusing(session().client("stepfunctions"))


def test_every_command_is_tried() -> None:
    assert set(_COMMANDS) == set(app.COMMANDS)


@pytest.mark.parametrize("name", app.COMMANDS)
def test_no_command_prints_what_others_wrote_as_it_is(show: Show, name: str) -> None:
    for arguments in _COMMANDS[name]:
        shown = show(name, *arguments)
        assert shown
        assert raw(shown) == set(), ascii(shown)


@pytest.mark.usefixtures("unreachable")
@pytest.mark.parametrize("show", ["piped"], indirect=True)
@pytest.mark.parametrize("name", app.COMMANDS)
def test_no_error_of_aws_is_printed_as_it_is(show: Show, name: str) -> None:
    for arguments in _COMMANDS[name]:
        assert raw(show(name, *arguments)) == set()


@pytest.mark.parametrize("show", ["piped"], indirect=True)
@pytest.mark.parametrize("name", app.COMMANDS)
def test_no_usage_error_quotes_arguments_as_they_are(show: Show, name: str) -> None:
    for argument in (f"--{HOSTILE}", HOSTILE):
        assert raw(show(name, argument, argument, argument)) == set()


@pytest.mark.parametrize("show", ["piped", "terminal"], indirect=True)
def test_markup_and_emoji_codes_stay(show: Show) -> None:
    commands = "executions --wide", "reconcile --wide", "dead-letters show DEAD_LETTER"
    tables = [show(*command.split()) for command in commands]
    assert all(PLAIN in table.replace("\n", "") for table in tables)
    assert "mission/arn:aws:iam:key:1" in show("put", "FILE", "--key", "mission/arn:aws:iam:key:1.json", "--no-wait")


def test_what_is_left_of_an_environment_is_shown_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    resource = Resource("bucket", HOSTILE, contents=HOSTILE, command=HOSTILE)
    report = DestroyReport("AWS", "dev", False, Stack("id", HOSTILE, HOSTILE, False, [resource]), blockers=[HOSTILE])  # noqa: FBT003
    report.failures, report.left = {HOSTILE: HOSTILE}, [resource]
    destroy_view.show_plan(console.console, report)
    destroy_view.show_result(report)
    assert raw(capsys.readouterr().out) == set()
