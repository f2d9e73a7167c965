"""The command line on buckets in memory, in this process."""

import pkgutil
import sys
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from custody import commands, session
from custody.app import app
from custody.deployment import target
from custody.deployment.target import Deployment, Target
from tests.support.audit_files import Run, a_deployment
from tests.support.buckets import Buckets
from tests.support.buckets import session as aws_session
from tests.support.executions import BULK_ARN, MACHINE_ARN


@dataclass(frozen=True)
class InMemory(Target):
    """An AWS in memory: the clients of a test, and for other services those of moto."""

    clients: dict[str, Any]

    def client(self, service: Any) -> Any:
        return self.clients[service] if service in self.clients else self.session.client(service)


@dataclass
class CommandLine:
    """Runs commands on the deployment of a test.

    A test may add a client of its own to `clients`, such as a `Machine` for `stepfunctions`, and replace `deployment`.
    """

    clients: dict[str, Any]
    deployment: Deployment
    is_local: bool = False

    @classmethod
    def on(cls, buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> "CommandLine":
        """Have every command find these buckets, whatever options choose an AWS and an environment."""
        line = cls({"s3": buckets.s3}, a_deployment(pipeline_arn=MACHINE_ARN, bulk_arn=BULK_ARN))
        # Commands are imported when they are called. One that is imported while names are replaced would keep those.
        for module in pkgutil.iter_modules(commands.__path__, f"{commands.__name__}."):
            import_module(module.name)
        find_target, find_deployment = (lambda *_, **__: line.target), (lambda *_: line.deployment)
        for source, name, replacement in (
            (session, "open_target", find_target),
            (target, "choose", find_target),
            (target, "find", find_deployment),
        ):
            original = getattr(source, name, None)
            for module_name, importer in list(sys.modules.items()):
                if module_name.startswith("custody.") and original and getattr(importer, name, None) is original:
                    monkeypatch.setattr(importer, name, replacement)
        return line

    @property
    def target(self) -> Target:
        """The AWS that commands talk to."""
        return InMemory("buckets in memory", aws_session(), "memory" if self.is_local else None, self.clients)

    def deploy(self, **settings: Any) -> None:
        """Change what the outputs of the stack say."""
        self.deployment = replace(self.deployment, **settings)

    def run(self, *arguments: object) -> Result:
        """Run a command, and return its result."""
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    def command(self, *first: str) -> Run:
        """Return a function that runs a command with these first arguments."""
        return lambda *arguments: self.run(*first, *arguments)
