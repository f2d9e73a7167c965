"""The command line on AWS in memory, in this process."""

from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner, Result

from custody import session
from custody.app import app
from custody.deployment.target import Deployment, Target
from custody.errors import USAGE, CommandFailed
from tests.support.audit_files import Run
from tests.support.buckets import Buckets
from tests.support.buckets import session as aws_session
from tests.support.bulk import CHUNK_BYTES
from tests.support.executions import BULK_ARN, MACHINE_ARN, Machine

DEPLOYMENT = Deployment(
    "raw", "processed", "audit", MACHINE_ARN, BULK_ARN, CHUNK_BYTES, ".jsonl,.ndjson", "", "", "", ""
)


@dataclass(frozen=True)
class InMemory(Target):
    """An AWS in memory: the clients of a test, and for other services those of moto."""

    clients: dict[str, Any]

    def client(self, service: Any) -> Any:
        return self.clients[service] if service in self.clients else self.session.client(service)


@dataclass
class CommandLine:
    """Runs commands on the deployment of a test.

    A test may add a client of its own to `clients`, and change `deployment`.
    """

    clients: dict[str, Any]
    deployment: Deployment = DEPLOYMENT
    is_local: bool = False

    @classmethod
    def on(cls, buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> "CommandLine":
        """Have every command find these buckets and state machines, whatever AWS and environment options name."""
        line = cls({"s3": buckets.s3, "stepfunctions": machine})
        monkeypatch.setattr(session, "open_target", lambda **_: line.target)
        monkeypatch.setattr(session, "find", lambda *_: line.deployment)
        return line

    @property
    def target(self) -> InMemory:
        """The AWS that commands talk to."""
        return InMemory("AWS in memory", aws_session(), "memory" if self.is_local else None, self.clients)

    @property
    def session(self) -> session.Session:
        """What a command opens."""
        return session.Session()

    def deploy(self, **settings: Any) -> None:
        """Change what the outputs of the stack say."""
        self.deployment = replace(self.deployment, **settings)

    def run(self, *arguments: object) -> Result:
        """Run a command, and return its result."""
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    def command(self, *first: str) -> Run:
        """Return a function that runs a command with these first arguments."""
        return lambda *arguments: self.run(*first, *arguments)


def refusal(result: Result, code: int = USAGE) -> str:
    """Return the message of a command that failed as expected, with this exit code."""
    assert isinstance(result.exception, CommandFailed), result.output
    assert result.exception.code == code
    return str(result.exception)
