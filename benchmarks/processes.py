"""What is measured in processes of its own: the peak memory of a stage, and the import time of a handler.

`python -m benchmarks.processes STEP FOLDER` measures one stage. Bodies in S3 are files, since on AWS they are not in
the memory of the function either; what a stage spools goes to temporary storage, as on AWS.
"""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import records
from benchmarks.buckets import VARIABLES, InFiles
from benchmarks.timing import Seconds, Sides, fastest, in_turn, total

HANDLERS = ("start", "validate", "transform", "write", "summarize", "dead_letter")
_MESSAGE = "message.json"
_STATUS = Path("/proc/self/status")
_IMPORT = "import time; start = time.process_time(); import {}; print(time.process_time() - start)"


def peaks(chunk_bytes: int) -> dict[str, float]:
    """Return the peak memory of each stage beyond its imports, as a multiple of its chunk."""
    from benchmarks import stages  # noqa: PLC0415 - a measured process imports it after setting the variables

    with TemporaryDirectory() as name:
        folder = Path(name)
        body = records.fill(chunk_bytes)
        InFiles(folder).put(stages.RAW, records.KEY, body)
        (folder / _MESSAGE).write_text(json.dumps(stages.first_message(records.KEY, len(body))))
        return {step: int(_run("-m", __name__, step, name)) / chunk_bytes for step in stages.HANDLERS}


def imports(rounds: int) -> dict[str, float]:
    """Return the import time of each handler, as a multiple of that of boto3, which every handler imports."""
    modules = {"boto3": "boto3"} | {name: f"functions.{name}.handler" for name in HANDLERS}
    sides: Sides = {name: partial(_import_time, module) for name, module in modules.items()}
    times = {name: total(fastest(runs)) for name, runs in in_turn(sides, rounds).items()}
    return {name: times[name] / times["boto3"] for name in HANDLERS}


def _import_time(module: str) -> Seconds:
    return {module: float(_run("-c", _IMPORT.format(module)))}


def _run(*arguments: str) -> str:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **VARIABLES})  # noqa: S603 - the command is our own
    return done.stdout


def _peak_bytes() -> int:
    """Read the peak memory of this process from Linux; getrusage would include the process that started it."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"{_STATUS} has no VmHWM; peak memory can be measured on Linux only")


def _main(step: str, folder: Path) -> None:
    from benchmarks import stages  # noqa: PLC0415 - the memory of its imports is not that of the stage

    message = json.loads((folder / _MESSAGE).read_text())
    before = _peak_bytes()
    result = stages.call(step, message, InFiles(folder))
    after = _peak_bytes()
    (folder / _MESSAGE).write_text(json.dumps(result))
    sys.stdout.write(str(after - before))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
