"""The server's processes: identify them, and end a whole session."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

_POLL_SECONDS = 0.02


def runs_with(pid: int, word: str) -> bool:
    """Whether process `pid` is alive and has `word` in its command line, since ids are reused."""
    with contextlib.suppress(ChildProcessError):
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    return word in _command_line(pid)


def _command_line(pid: int) -> str:
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    listed = subprocess.run(  # noqa: S603 - fixed program, an integer
        ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout


def ask_to_end(pid: int, word: str, seconds: float) -> bool:
    """Send SIGTERM to a process and wait; return whether it ended within `seconds`."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    return _until(lambda: not runs_with(pid, word), seconds)


def end_session(leader: int, seconds: float = 5.0) -> None:
    """Kill the rest of the process group of `leader`, workers included, and wait until it is gone.

    A group's number is not reused while the group has members. So unless another process has the leader's id by now,
    a group of that number can only be the rest of the leader's.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
        _until(lambda: _group_is_gone(leader), seconds)


def is_another(pid: int, word: str) -> bool:
    """Whether `pid` has been reused by another process; a process that is ending has no command line."""
    line = _command_line(pid)
    return bool(line) and word not in line


def _group_is_gone(group: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(group, os.WNOHANG)
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
