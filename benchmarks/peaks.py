"""How much memory a stage takes beyond its code: each stage in a process of its own, with one chunk.

`python -m benchmarks.peaks STEP FOLDER` is such a process. The bodies of S3 lie in files, for on AWS they are not in
the memory of the function either; what a stage spools, lies in its temporary storage, as on AWS.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import records
from benchmarks.buckets import VARIABLES, InFiles

_MESSAGE = "message.json"
_STATUS = Path("/proc/self/status")


def measured(chunk_bytes: int) -> dict[str, float]:
    """Give the peak of each step beyond what its imports take, as a multiple of its chunk."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        return {step: peak / chunk_bytes for step, peak in _peaks(folder, chunk_bytes)}


def _peaks(folder: Path, chunk_bytes: int) -> list[tuple[str, int]]:
    from benchmarks import stages  # noqa: PLC0415 - the process of a stage imports it after the variables are set

    body = records.filling(chunk_bytes)
    InFiles(folder).put(stages.RAW, records.KEY, body)
    (folder / _MESSAGE).write_text(json.dumps(stages.first_message(records.KEY, len(body))))
    return [(step, _peak(step, folder)) for step in stages.HANDLERS]


def _peak(step: str, folder: Path) -> int:
    command = [sys.executable, "-m", __name__, step, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **VARIABLES})  # noqa: S603 - the command is our own
    return int(done.stdout)


def _highest() -> int:
    """Say how much memory this process has held at most, in bytes.

    Of Linux's own commit, which begins anew with a program; getrusage counts what the process was before it too.
    """
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"{_STATUS} has no VmHWM; peaks are measured on Linux")


def _main(step: str, folder: Path) -> None:
    from benchmarks import stages  # noqa: PLC0415 - what it imports belongs to the memory before the stage

    message = json.loads((folder / _MESSAGE).read_text())
    before = _highest()
    answer = stages.called(step, message, InFiles(folder))
    after = _highest()
    (folder / _MESSAGE).write_text(json.dumps(answer))
    sys.stdout.write(str(after - before))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
