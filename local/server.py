"""Start and stop embedded AWS as a detached background process."""

import contextlib
import fcntl
import os
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local import processes
from local.instance import HOST, PROFILE, RECORD, SECRET_KEY, Instance, access_key

DEFAULT_PORT = 4566
LOG = "local.log"
_TEMPORARY = "tmp"
_STATE = "state"
_OBJECTS = "objects"
_KILLED = "killed"
_START_SECONDS = 60.0
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.02
_LOG_LINES = 20


class LocalAwsError(RuntimeError):
    """Embedded AWS could not be started or stopped."""


class PortTakenError(LocalAwsError):
    """The requested port is used by another process."""


class StartError(LocalAwsError):
    """The server exited, or did not answer in time; the message contains the end of its log."""


@dataclass(frozen=True)
class ServerSettings:
    """Settings of an embedded AWS.

    `workers` bounds the processes of each function: further calls wait. `wait_scale` multiplies the waits of Step
    Functions (Wait, Retry). `async_retry_seconds` is the pause before the first retry of an asynchronous invocation
    (a minute on AWS), doubled before the second. `enforce_iam` enforces the policies of roles, as on AWS.
    """

    region: str = "us-east-1"
    account: str = "000000000000"
    workers: int = max(4, min(16, os.cpu_count() or 1))
    wait_scale: float = 1.0
    async_retry_seconds: float = 1.0
    enforce_iam: bool = True


_DEFAULT = ServerSettings()


def start(
    folder: Path, *, port: int | None = None, persist: bool = False, settings: ServerSettings = _DEFAULT
) -> Instance:
    """Start embedded AWS for `folder` and wait until it is ready, or return the running one.

    With `persist`, its data is saved in `folder` on `stop`, and restored on the next start with `persist`. What a
    server that was killed leaves is set aside in `folder/killed`: its objects are newer than everything else.

    Raises:
        PortTakenError: another process uses `port`. Without `port`, the default one is tried, then any.
        StartError: the server did not become ready.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        running = Instance.read(folder)
        if running is not None:
            if running.is_up():
                return running
            is_lost = was_killed(folder)
            _clear(running)
            if is_lost:
                _set_aside(folder)
        with _listen(port) as listener:
            instance = _launch(folder, listener, settings, persist=persist)
        instance.write()
        _wait_until_ready(instance)
        return instance


def has_data(folder: Path) -> bool:
    """Tell whether `folder` has persistent data."""
    return (folder / _STATE).exists()


def was_killed(folder: Path) -> bool:
    """Tell whether the server of `folder` ended without saving the data that it should have kept."""
    instance = Instance.read(folder.resolve())
    return instance is not None and instance.persist and not processes.runs_with(instance.pid, instance.token)


def _set_aside(folder: Path) -> None:
    killed = folder / _KILLED
    shutil.rmtree(killed, ignore_errors=True)
    for name in (_STATE, _OBJECTS):
        if (folder / name).exists():
            killed.mkdir(exist_ok=True)
            (folder / name).rename(killed / name)


def stop(folder: Path) -> bool:
    """Stop the embedded AWS of `folder` with all of its workers; return whether one was running.

    Its log stays and, with `persist`, its data.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        return False
    with _locked(folder):
        instance = Instance.read(folder)
        if instance is None:
            return False
        was_up = processes.runs_with(instance.pid, instance.token)
        _clear(instance)
        return was_up


def _clear(instance: Instance) -> None:
    if processes.runs_with(instance.pid, instance.token):
        processes.ask_to_end(instance.pid, instance.token, _STOP_SECONDS)
    if not processes.is_another(instance.pid, instance.token):
        processes.end_session(instance.pid)
    shutil.rmtree(instance.folder / _TEMPORARY, ignore_errors=True)
    for name in (PROFILE, RECORD):
        (instance.folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Serialize starts and stops of `folder` across processes."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _listen(port: int | None) -> socket.socket:
    """Open the socket that the server inherits, so that no other process can take the port in between."""
    for candidate in (DEFAULT_PORT, 0) if port is None else (port,):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, candidate))
            listener.listen()
        except OSError:
            listener.close()
            continue
        listener.set_inheritable(True)
        return listener
    raise PortTakenError(f"Port {port} on {HOST} is used by another process. Choose another port, or none.")


def _launch(folder: Path, listener: socket.socket, settings: ServerSettings, *, persist: bool) -> Instance:
    port = listener.getsockname()[1]
    token = secrets.token_hex(8)
    shutil.rmtree(folder / _TEMPORARY, ignore_errors=True)
    (folder / _TEMPORARY).mkdir()
    log = folder / LOG
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "local.serve", token, str(listener.fileno()), str(settings.workers)],
        _server_environment(folder, port, settings, persist=persist),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    return Instance(f"http://{HOST}:{port}", port, pid, settings.region, settings.account, token, folder, persist)


def _server_environment(folder: Path, port: int, settings: ServerSettings, *, persist: bool) -> dict[str, str]:
    """Return the server's environment: only PATH and the language are the caller's."""
    kept = folder if persist else folder / _TEMPORARY
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "HOME": str(folder / _TEMPORARY),
        "TMPDIR": str(folder / _TEMPORARY),
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": HOST,
        "MINISTACK_REGION": settings.region,
        "MINISTACK_ACCOUNT_ID": settings.account,
        "AWS_ACCESS_KEY_ID": access_key(settings.account),
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AUTH": str(settings.enforce_iam).lower(),
        "PERSIST_STATE": str(int(persist)),
        "S3_PERSIST": str(int(persist)),
        "STATE_DIR": str(kept / _STATE),
        "S3_DATA_DIR": str(kept / _OBJECTS),
        "MALLOC_MMAP_THRESHOLD_": str(128 * 1024),  # glibc then returns large buffers at once
        "SFN_WAIT_SCALE": str(settings.wait_scale),
        "LAMBDA_ACCOUNT_CONCURRENCY": "0",
        "LAMBDA_ASYNC_RETRY_BASE_SECONDS": str(settings.async_retry_seconds),
        "LAMBDA_ASYNC_RETRY_MAX_SECONDS": str(2 * settings.async_retry_seconds),
        "LAMBDA_WARM_TTL_SECONDS": "60",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
    }


def _wait_until_ready(instance: Instance) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not instance.answers():
        alive = processes.runs_with(instance.pid, instance.token)
        if not alive or time.monotonic() >= deadline:
            what = f"did not answer within {_START_SECONDS:.0f} s" if alive else "exited before it was ready"
            log = (instance.folder / LOG).read_text(errors="replace").splitlines()
            _clear(instance)
            raise StartError("\n".join([f"Embedded AWS {what}. The end of its log:", *log[-_LOG_LINES:]]))
        time.sleep(_POLL_SECONDS)
