"""Start embedded AWS and deploy Custody to it, with the same `cdk deploy` as on AWS."""

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import local
from custody.deployment.target import describe_stack, on
from custody.errors import USAGE, CommandFailed

_SOURCES = ("infra", "functions", "datasets", "statemachine", "cdk.json", "requirements/functions.txt")
_LOG_LINES = 30
_RESERVED = ("env", "local")
"""Settings that `-c` does not accept: the environment has an option of its own, and `local` is always true."""
_BOOTSTRAP = "CDKToolkit"
_REFUSED = "SettingRefused: "


def bring_up(
    root: Path, folder: Path, env: str, settings: Sequence[str] = (), *, persist: bool = False
) -> Iterator[str]:
    """Start embedded AWS and deploy to it; yield each step before it runs, and skip steps that are done.

    `settings` are those of `cdk deploy -c`, such as `chunk_bytes=1048576`. Raises CommandFailed with the end of the
    CDK's output, and LocalAwsError.
    """
    if reserved := [setting for setting in settings if setting.partition("=")[0] in _RESERVED]:
        raise CommandFailed(
            f"`up` does not accept -c {reserved[0]}: use --env for the environment; `local` is always true.", USAGE
        )
    deployed = folder / f"deployed-{env}"
    options = [part for setting in (f"env={env}", *settings) for part in ("-c", setting)]
    with _locked(folder):
        if local.find(folder) is None:
            kept = ", with the data that was kept" if local.has_data(folder) else ""
            if local.was_killed(folder):
                kept = f", empty: it was killed, and what it had kept is set aside in {folder / 'killed'}"
            yield f"starting embedded AWS{kept}"
        # What was once kept is kept on.
        is_kept = persist or local.has_data(folder) or local.was_killed(folder)
        instance = local.start(folder, persist=is_kept)
        state = f"{instance.token} {' '.join(options)} {_fingerprint(root)}"
        if deployed.is_file() and deployed.read_text(encoding="utf-8") == state:
            return
        if describe_stack(on(instance), _BOOTSTRAP) is None:
            yield "cdk bootstrap"
            # Where there is no cdk.json, the CDK does not synthesize the app, which takes ten seconds.
            _cdk(root, folder, instance, folder, "bootstrap", f"aws://{instance.account}/{instance.region}")
        yield "cdk deploy"
        # Without a change set, which nobody would read.
        options += ["--require-approval", "never", "--method", "direct", "--no-notices", "-c", "local=true"]
        options += ["--output", str(folder / "cdk.out")]
        _cdk(root, folder, instance, root, "deploy", *options)
        deployed.write_text(state, encoding="utf-8")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Serialize `up`: a second one waits for the first, and then has nothing to do."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fingerprint(root: Path) -> str:
    digest = hashlib.sha256()
    for source in _SOURCES:
        path_of_source = root / source
        for path in [path_of_source] if path_of_source.is_file() else sorted(path_of_source.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _cdk(root: Path, folder: Path, instance: local.Instance, cwd: Path, *arguments: str) -> None:
    command = [str(root / "node_modules/.bin/cdk"), *arguments]
    path = f"{root / '.venv/bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    ours = {"PATH": path, "CI": "true", "CDK_DISABLE_CLI_TELEMETRY": "1"}
    ours |= {"NODE_COMPILE_CACHE": str(folder / "node-cache")}
    # An interrupted CDK leaves files behind; they are deleted with the folder.
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = os.environ | instance.environment() | ours | {"TMPDIR": str(temporary)}
    done = subprocess.run(  # noqa: S603 - our own CDK, with arguments of our own
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    (folder / f"cdk-{arguments[0]}.log").write_text(done.stdout, encoding="utf-8")
    if done.returncode:
        if refusals := [line for line in done.stdout.splitlines() if line.startswith(_REFUSED)]:
            raise CommandFailed(refusals[0].removeprefix(_REFUSED), USAGE)
        end = done.stdout.splitlines()[-_LOG_LINES:]
        raise CommandFailed(f"`cdk {arguments[0]}` failed with exit code {done.returncode}:", log=end)
