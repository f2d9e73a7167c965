"""A really deployed stack on embedded AWS of its own, driven as a user would: by the command line."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import local
from custody.target import Deployment, Target, find, on

ROOT = Path(__file__).parents[2]
CUSTODY = ROOT / ".venv/bin/custody"


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
    """Embedded AWS with Custody on it."""

    folder: Path
    target: Target
    deployment: Deployment

    def client(self, service: Any) -> Any:
        """Give a client of a service there."""
        return self.target.client(service)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """List the keys of a bucket."""
        found = self.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        return [each["Key"] for each in found]

    def custody(self, *arguments: str | Path, cwd: Path | None = None) -> Ran:
        """Run the command line."""
        return custody(self.folder, *arguments, cwd=cwd)


def custody(folder: Path, *arguments: str | Path, cwd: Path | None = None) -> Ran:
    """Run the command line on a folder of its own, without the variables that tests set."""
    environment = clean_environment() | {"CUSTODY_FOLDER": str(folder)}
    done = subprocess.run(  # noqa: S603 - our own command
        [CUSTODY, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, check=False
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def clean_environment() -> dict[str, str]:
    """Give the environment without the variables that tests set."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Bring up embedded AWS and deploy; stop it afterwards, whatever happened."""
    with _deployed(tmp_path_factory.mktemp("custody")) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def buffered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Bring up another one that has a buffer before the start function, and cuts objects into small chunks."""
    with _deployed(tmp_path_factory.mktemp("buffered"), *buffered_settings()) as cloud:
        yield cloud


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
