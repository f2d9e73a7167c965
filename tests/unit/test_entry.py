"""How the command line starts and ends: interrupts, expected failures, and output that cannot be written."""

import os
import subprocess
import sys

import pytest
from botocore.exceptions import ClientError

from custody import app
from custody.errors import USAGE, CommandFailed

INTERRUPTED_IMPORT = """
import sys

class Finder:
    def find_spec(self, name, path, target=None):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Finder())
from custody.__main__ import run
run()
"""

FAILURE = """
import custody.app as command
from custody.errors import CommandFailed

def fail():
    print("\\u2026")
    raise CommandFailed("cannot read a\\x1b[31mb")

command.app = fail
command.run()
"""


def run_code(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=False
    )


def test_ctrl_c_during_import_shows_no_traceback() -> None:
    done = run_code(INTERRUPTED_IMPORT)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize(
    ("encoding", "out", "err"),
    [
        ("utf-8", "…\n", "custody: cannot read a␛[31mb\n"),
        ("latin-1", "\\u2026\n", "custody: cannot read a\\u241b[31mb\n"),
    ],
)
def test_a_failure_is_one_line_in_which_what_the_encoding_lacks_is_escaped(encoding: str, out: str, err: str) -> None:
    done = run_code(FAILURE, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stdout, done.stderr) == (1, out, err)


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 1, ""),
        (OSError(28, "No space left on device"), 1, "No space left on device. If the output goes to a file, check"),
        (OSError(13, "Permission denied", "a\nb"), 1, "custody: a␊b: Permission denied. Check that it exists"),
        (ClientError({"Error": {"Code": "ThrottlingException"}}, "DescribeExecution"), 1, "AWS is throttling requests"),
        (CommandFailed("wrong", USAGE), 2, "custody: wrong"),
    ],
)
def test_an_expected_failure_is_a_line_or_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], raised: BaseException, code: int, message: str
) -> None:
    def fail() -> None:
        raise raised

    monkeypatch.setattr(app, "app", fail)
    monkeypatch.setattr("os.dup2", lambda *_: None)
    monkeypatch.setattr(app, "end_on_sigterm", lambda: None)
    monkeypatch.setattr("sys.argv", ["custody"])
    with pytest.raises(SystemExit) as exited:
        app.run()
    assert exited.value.code == code
    err = capsys.readouterr().err
    assert message in err
    assert bool(err) == bool(message)


def test_a_bug_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "app", lambda: os.environ["NO_SUCH_VARIABLE"])
    monkeypatch.setattr(app, "end_on_sigterm", lambda: None)
    monkeypatch.setattr("sys.argv", ["custody"])
    with pytest.raises(KeyError):
        app.run()
