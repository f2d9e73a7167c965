"""Custody as deployed, on embedded AWS or in an AWS account, driven as a user would: by its command line."""

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
from custody.deployment.target import ROOT, Deployment, Target, choose, find, on
from tests.support import account
from tests.support.schemas import require_valid

CUSTODY = ROOT / ".venv/bin/custody"
GOOD = {"mission": "space", "source": "MASINT", "confidence": 0.95}
BAD = {"mission": "space", "source": "RUMINT", "confidence": 1.7}
"""A record that breaks two rules."""

LARGE = 2_100
"""Padded records that are together more than 8 MiB, and so are processed in chunks."""

PATIENCE = 10.0
"""On AWS, a policy change may take a minute to take effect
(https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency)."""


@dataclass(frozen=True)
class CommandResult:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The output, parsed as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Cloud:
    """An AWS with Custody deployed: embedded AWS or, under `make test-aws`, an account.

    `environment` holds the variables by which commands find it; time limits are multiplied by `patience`.
    """

    folder: Path
    target: Target
    deployment: Deployment
    environment: dict[str, str] = field(default_factory=dict)
    env: str = "dev"
    patience: float = 1.0

    @property
    def is_aws(self) -> bool:
        """Whether this is an AWS account."""
        return not self.target.is_local

    def client(self, service: Any) -> Any:
        """Create a client of a service."""
        return self.target.client(service)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """List the keys of a bucket."""
        listing = self.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix)
        return [entry["Key"] for entry in listing.get("Contents", [])]

    def ledger_keys(self, object_id: str) -> list[str]:
        """List the names of the ledger files of an object."""
        prefix = f"ledger/{object_id}/"
        return [key.removeprefix(prefix) for key in self.keys(self.deployment.audit, prefix)]

    def event(self, key: str, size: int, etag: str, version_id: str) -> dict[str, Any]:
        """Return the event by which S3 announces an object."""
        s3_object = {"key": key, "size": size, "eTag": etag, "versionId": version_id}
        return {"Records": [{"s3": {"bucket": {"name": self.deployment.raw}, "object": s3_object}}]}

    def custody(self, *arguments: str | Path, cwd: Path | None = None) -> CommandResult:
        """Run the command line."""
        return custody(self.folder, *arguments, cwd=cwd, environment=self.environment)

    def put(self, file: Path, *options: str, code: int = 0) -> Any:
        """Put a file; return its part of the document, and fail unless the command exits with `code`."""
        ran = self.custody("put", file, *options, "--json")
        assert ran.code == code, ran.err
        (document,) = ran.json["objects"]
        return document


def json_file(path: Path, *records: Any) -> Path:
    """Write a record, or an array of several, and return the path."""
    document = records[0] if len(records) == 1 else records
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


def large_file(path: Path, *records: Any) -> Path:
    """Write `LARGE` padded good records as JSON Lines, then others; return the path."""
    padded = [GOOD | {"note": f"{number:04000d}"} for number in range(LARGE)]
    path.write_text("".join(f"{json.dumps(record)}\n" for record in [*padded, *records]), encoding="utf-8")
    return path


def custody(
    folder: Path, *arguments: str | Path, cwd: Path | None = None, environment: dict[str, str] | None = None
) -> CommandResult:
    """Run the command line against the embedded AWS of a folder, and validate what it prints as JSON."""
    done = subprocess.run(  # noqa: S603 - our own command
        [CUSTODY, *arguments],
        env=command_environment(folder) | (environment or {}),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    require_valid(arguments, done.stdout)
    return CommandResult(done.returncode, done.stdout, done.stderr)


def command_environment(folder: Path) -> dict[str, str]:
    """Return the environment in which a command finds the embedded AWS of a folder."""
    return clean_environment() | {"CUSTODY_FOLDER": str(folder)}


def clean_environment() -> dict[str, str]:
    """Return the environment without the AWS variables, which the tests overwrite."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


@contextmanager
def embedded(folder: Path, **settings: object) -> Iterator[Cloud]:
    """Start embedded AWS, deploy with settings, and stop it at the end."""
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    try:
        up = custody(folder, "up", *options)
        assert up.code == 0, up.err
        instance = local.find(folder)
        assert instance is not None, "`custody up` succeeded, so embedded AWS is running"
        target = on(instance)
        yield Cloud(folder, target, find(target, "dev"))
    finally:
        local.stop(folder)


@contextmanager
def in_account(folder: Path, env: str) -> Iterator[Cloud]:
    """Use an environment that is deployed in an AWS account, with the credentials given to `make test-aws`."""
    environment = account.credentials() | {"CUSTODY_AWS": "true", "CUSTODY_ENV": env}
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - clean_environment().keys():
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        target = choose(aws=True, profile=None)
        yield Cloud(folder, target, find(target, env), environment, env, PATIENCE)
