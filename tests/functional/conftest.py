"""The command line on buckets in memory; each JSON document it prints is validated against its schema."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from custody.errors import CommandFailed
from custody.recovery.redrive import Redriver
from tests.support.audit_files import Run
from tests.support.buckets import Buckets
from tests.support.bulk import Bulk
from tests.support.command_line import CommandLine
from tests.support.executions import STARTED, Machine
from tests.support.redrives import redriver_on
from tests.support.schemas import require_valid

_LOGGED = ('{"level":', '{"_aws":')


@pytest.fixture(autouse=True)
def _valid_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validate every JSON document that a command prints, in whatever test."""
    invoke = CliRunner.invoke

    def validated(runner: CliRunner, command: Any, arguments: Sequence[str], *rest: Any, **more: Any) -> Result:
        result = invoke(runner, command, arguments, *rest, **more)
        if result.exception is None or isinstance(result.exception, SystemExit | CommandFailed):
            # The handlers run in this process too, and log to the same stream.
            printed = (line for line in result.stdout.splitlines(keepends=True) if not line.startswith(_LOGGED))
            require_valid(arguments, "".join(printed))
        return result

    monkeypatch.setattr(CliRunner, "invoke", validated)


@pytest.fixture
def machine(buckets: Buckets) -> Machine:
    """Provide the state machines, in memory."""
    return Machine(buckets)


@pytest.fixture
def command_line(buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Provide the command line, on buckets and state machines in memory."""
    return CommandLine.on(buckets, machine, monkeypatch)


@pytest.fixture
def run(request: pytest.FixtureRequest, command_line: CommandLine) -> Run:
    """Run the `COMMAND` of a module, else `custody dead-letters`; with `IS_LOCAL`, as on embedded AWS."""
    command_line.is_local = getattr(request.module, "IS_LOCAL", False)
    return command_line.command(*getattr(request.module, "COMMAND", "dead-letters").split())


@pytest.fixture
def redriver(buckets: Buckets, machine: Machine) -> Redriver:
    """Provide what redrives executions of the state machines in memory."""
    return redriver_on(buckets, machine)


@pytest.fixture
def bulk(buckets: Buckets, machine: Machine) -> Bulk:
    """Return an object of seven chunks: the one at 200 rejected a record, the one at 400 failed."""
    return Bulk.incomplete(buckets, machine, error="ChunksFailed", stopDate=STARTED + timedelta(seconds=90))
