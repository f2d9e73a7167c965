"""`custody letters`, on buckets in memory."""

import boto3
import pytest
from typer.testing import CliRunner

from custody.commands import letters as letters_command
from custody.main import app
from custody.target import Target
from tests.functional.desk import Run, a_deployment
from tests.rooms import Rooms


@pytest.fixture
def run(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> Run:  # noqa: ARG001 - the commands talk to its buckets
    """Give the command line, on buckets in memory."""
    target = Target("buckets in memory", boto3.Session(), None)
    deployment = a_deployment()
    monkeypatch.setattr(letters_command, "target_of", lambda *_, **__: target)
    monkeypatch.setattr(letters_command, "find", lambda *_: deployment)
    return lambda *arguments: CliRunner().invoke(app, ["letters", *arguments])
