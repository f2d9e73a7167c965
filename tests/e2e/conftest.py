"""A really deployed stack, driven as a user would, by the command line: on embedded AWS, or as `make test-aws` says."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import local
from custody.deployment.target import Deployment, Target, choose, find, on
from tests.support import account
from tests.support.schemas import require_valid

ROOT = Path(__file__).parents[2]
CUSTODY = ROOT / ".venv/bin/custody"
PATIENCE = 10.0
"""On AWS: a change of a policy alone may take a minute to hold
(https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency)."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what only AWS can show to `make test-aws`, and to an AWS that is one."""
    apart = [] if account.is_aws_itself() else [item for item in items if is_for_aws_only(item)]
    if apart:
        config.hook.pytest_deselected(items=apart)
        items[:] = [item for item in items if item not in apart]


def is_for_aws_only(item: pytest.Item) -> bool:
    """Whether a test is marked `aws(only=True)`."""
    return any(mark.kwargs.get("only") for mark in item.iter_markers("aws"))


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Cloud:
    """An AWS with Custody on it: embedded AWS or, as `make test-aws` says, an account.

    `environment` has what commands need to find it; `patience` is how many times as long something may take there.
    """

    folder: Path
    target: Target
    deployment: Deployment
    environment: dict[str, str] = field(default_factory=dict)
    env: str = "dev"
    patience: float = 1.0

    @property
    def is_aws(self) -> bool:
        """Whether this is an account of AWS."""
        return not self.target.is_local

    def client(self, service: Any) -> Any:
        """Give a client of a service there."""
        return self.target.client(service)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """List the keys of a bucket."""
        found = self.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        return [each["Key"] for each in found]

    def custody(self, *arguments: str | Path, cwd: Path | None = None) -> Ran:
        """Run the command line."""
        return custody(self.folder, *arguments, cwd=cwd, environment=self.environment)


def custody(
    folder: Path, *arguments: str | Path, cwd: Path | None = None, environment: dict[str, str] | None = None
) -> Ran:
    """Run the command line on a folder of its own, without the variables that tests set."""
    environment = clean_environment() | {"CUSTODY_FOLDER": str(folder)} | (environment or {})
    done = subprocess.run(  # noqa: S603 - our own command
        [CUSTODY, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, check=False
    )
    require_valid(arguments, done.stdout)
    return Ran(done.returncode, done.stdout, done.stderr)


def clean_environment() -> dict[str, str]:
    """Give the environment without the variables that tests set."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Bring up embedded AWS and deploy, and stop it whatever happens; or take what `make test-aws` deployed."""
    folder, env = tmp_path_factory.mktemp("custody"), account.named()
    with _deployed(folder) if env is None else _on_aws(folder, env) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def buffered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Bring up another one that has a buffer before the start function, and cuts objects into small chunks."""
    with _deployed(tmp_path_factory.mktemp("buffered"), *buffered_settings()) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def cutting(request: pytest.FixtureRequest) -> Cloud:
    """Give a deployment that cuts objects into chunks of 1 MiB: what `make test-aws` deploys does, and `buffered`."""
    found: Cloud = request.getfixturevalue("buffered" if account.named() is None else "cloud")
    return found


def buffered_settings(chunk_bytes: int = 2**20) -> list[str]:
    """Give the options by which the deployment with a buffer is brought up."""
    settings = {"buffered": "true", "start_timeout_seconds": "1", "chunk_bytes": str(chunk_bytes)}
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


@contextmanager
def _deployed(folder: Path, *settings: str) -> Iterator[Cloud]:
    try:
        ran = custody(folder, "up", *settings)
        assert ran.code == 0, ran.err
        instance = local.find(folder)
        assert instance is not None, "`custody up` ended well, so it is up"
        target = on(instance)
        yield Cloud(folder, target, find(target, "dev"))
    finally:
        local.stop(folder)


@contextmanager
def _on_aws(folder: Path, env: str) -> Iterator[Cloud]:
    """Talk to an environment in an account, with the credentials that were given."""
    environment = account.given() | {"CUSTODY_AWS": "true", "CUSTODY_ENV": env}
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - clean_environment().keys():
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        target = choose(aws=True, profile=None)
        yield Cloud(folder, target, find(target, env), environment, env, PATIENCE)
