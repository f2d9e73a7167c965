"""`custody dead-letters`, on buckets in memory."""

from collections.abc import Sequence
from typing import Any

import boto3
import pytest
from typer.testing import CliRunner, Result

from custody.app import app
from custody.commands import dead_letters as dead_letters_command
from custody.deployment.target import Target
from custody.errors import CommandFailed
from tests.support.audit_files import Run, a_deployment
from tests.support.buckets import Buckets
from tests.support.schemas import require_valid

_LOGGED = ('{"level":', '{"_aws":')


@pytest.fixture(autouse=True)
def _valid_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold every JSON document that a command prints against its schema, in whatever test."""
    invoke = CliRunner.invoke

    def checked(runner: CliRunner, command: Any, arguments: Sequence[str], *rest: Any, **more: Any) -> Result:
        ran = invoke(runner, command, arguments, *rest, **more)
        if ran.exception is None or isinstance(ran.exception, SystemExit | CommandFailed):
            # The handlers run in this process too: what they log and count goes where the command prints.
            printed = (line for line in ran.stdout.splitlines(keepends=True) if not line.startswith(_LOGGED))
            require_valid(arguments, "".join(printed))
        return ran

    monkeypatch.setattr(CliRunner, "invoke", checked)


@pytest.fixture
def run(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> Run:  # noqa: ARG001 - the commands talk to its buckets
    """Give the command line, on buckets in memory."""
    target = Target("buckets in memory", boto3.Session(), None)
    deployment = a_deployment()
    monkeypatch.setattr(dead_letters_command, "target_of", lambda *_, **__: target)
    monkeypatch.setattr(dead_letters_command, "find", lambda *_: deployment)
    return lambda *arguments: CliRunner().invoke(app, ["dead-letters", *arguments])
