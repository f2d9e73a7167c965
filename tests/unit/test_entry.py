"""The first half second of the command line, and its last line."""

import os
import subprocess
import sys

INTERRUPTED_AT_AN_IMPORT = """
import sys

class Finder:
    def find_spec(self, name, path, target=None):
        if name == "boto3":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Finder())
from custody.__main__ import run
run()
"""


FAILED = """
import sys
import custody.app as command
from custody.errors import CommandFailed

def fail():
    print("\\u2026")
    raise CommandFailed("the key a\\x1b[31mb is odd")

command.app = fail
command.run()
"""


def ran(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=False
    )


def test_ctrl_c_while_the_command_line_is_read_in_is_no_traceback() -> None:
    done = ran(INTERRUPTED_AT_AN_IMPORT)
    assert done.returncode == 130
    assert done.stderr == ""


def test_a_failure_is_a_line_in_which_nothing_moves_the_cursor() -> None:
    done = ran(FAILED)
    assert (done.returncode, done.stderr) == (1, "custody: the key a␛[31mb is odd\n")


def test_a_sign_that_the_encoding_of_the_output_lacks_is_told_by_its_number() -> None:
    done = ran(FAILED, PYTHONIOENCODING="latin-1")
    assert done.stdout == "\\u2026\n"
    assert "Traceback" not in done.stderr
