"""Bring up embedded AWS with Custody deployed on it, by the same `cdk deploy` that goes to AWS."""

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import local
from custody.errors import USAGE, CommandFailed

_SOURCES = ("infra", "functions", "datasets", "statemachine", "cdk.json", "requirements/functions.txt")
_DEPLOYED = "deployed-"
"""What the file of an environment begins with that says what is deployed there."""
_LOG_LINES = 30
_OWN = ("env", "local")
"""Settings that are not for `-c`: the one has an option of its own, and the other is always so here."""
_REFUSED = "SettingRefused: "


def bring_up(
    root: Path, folder: Path, env: str, settings: Sequence[str] = (), *, persist: bool = False
) -> Iterator[str]:
    """Start embedded AWS and deploy onto it; say each step before it is done, and skip what is done already.

    `settings` are as `cdk deploy -c` takes them, such as `chunk_bytes=1048576`. Raises CommandFailed with the end of
    what the CDK said, and LocalAwsError.
    """
    if own := [setting for setting in settings if setting.partition("=")[0] in _OWN]:
        raise CommandFailed(
            f"-c {own[0]} is not for `up`: name the environment by --env; it is always deployed to embedded AWS.", USAGE
        )
    with _alone(folder):
        yield from _bring_up(root, folder, [f"env={env}", *settings], folder / f"{_DEPLOYED}{env}", persist=persist)


def _bring_up(root: Path, folder: Path, context: Sequence[str], deployed: Path, *, persist: bool) -> Iterator[str]:
    if local.find(folder) is None:
        yield "starting embedded AWS"
    instance = local.start(folder, persist=persist)
    wanted = f"{instance.token} {' '.join(context)} {_fingerprint(root)}"
    if deployed.is_file() and deployed.read_text(encoding="utf-8") == wanted:
        return
    yield "cdk bootstrap"
    _cdk(root, folder, instance, "bootstrap", f"aws://{instance.account}/{instance.region}", *_given(context))
    yield "cdk deploy"
    _cdk(root, folder, instance, "deploy", *_given(context), "--require-approval", "never")
    deployed.write_text(wanted, encoding="utf-8")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let a second one wait until the first one is done, and find it done."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _given(context: Sequence[str]) -> list[str]:
    return [part for setting in context for part in ("-c", setting)]


def _fingerprint(root: Path) -> str:
    digest = hashlib.sha256()
    for source in _SOURCES:
        found = root / source
        for path in [found] if found.is_file() else sorted(found.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _cdk(root: Path, folder: Path, instance: local.Instance, *arguments: str) -> None:
    command = [str(root / "node_modules/.bin/cdk"), *arguments, "-c", "local=true", "--output", str(folder / "cdk.out")]
    path = f"{root / '.venv/bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    ours = {"PATH": path, "CI": "true", "CDK_DISABLE_CLI_TELEMETRY": "1", "NODE_DISABLE_COMPILE_CACHE": "1"}
    # An interrupted CDK leaves files behind: they go with the folder.
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = os.environ | instance.environment() | ours | {"TMPDIR": str(temporary)}
    done = subprocess.run(  # noqa: S603 - our own CDK, with arguments of our own
        command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    (folder / f"cdk-{arguments[0]}.log").write_text(done.stdout, encoding="utf-8")
    if done.returncode:
        if refused := [line for line in done.stdout.splitlines() if line.startswith(_REFUSED)]:
            raise CommandFailed(refused[0].removeprefix(_REFUSED), USAGE)
        end = "\n".join(done.stdout.splitlines()[-_LOG_LINES:])
        raise CommandFailed(f"`cdk {arguments[0]}` failed with exit code {done.returncode}:\n{end}")
