"""What is measured in processes of its own: the peak memory of a stage, and the import time of a handler.

Bodies in S3 are files, since on AWS they are not in the memory of the function either; what a stage spools goes to
temporary storage, as on AWS.
"""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks import records, stages
from benchmarks.buckets import Buckets, empty_buckets
from functions.shared.model.messages import Json

_STATUS = Path("/proc/self/status")
_IMPORT = "import time; start = time.process_time(); import {}; print(time.process_time() - start)"


def peaks(body: bytes) -> Iterator[tuple[str, int]]:
    """Yield each stage with its peak memory beyond its imports, in bytes, for an object that is one chunk."""
    message = stages.first_message(records.KEY, len(body))
    with empty_buckets() as buckets, ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        buckets.write(stages.RAW, records.KEY, body)
        for step in stages.HANDLERS:
            peak, message = pool.submit(_peak_of, step, message, buckets).result()
            yield step, peak


def _peak_of(step: str, message: Json, buckets: Buckets) -> tuple[int, Json]:
    before = _peak_bytes()
    result = stages.call(step, message, buckets)
    return _peak_bytes() - before, result


def _peak_bytes() -> int:
    """Read the peak memory of this process from Linux; getrusage would include the process that started it."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"{_STATUS} has no VmHWM; peak memory can be measured on Linux only")


def import_time(module: str) -> float:
    """Return the time that the import of a module takes in a new process."""
    command = [sys.executable, "-c", _IMPORT.format(module)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603 - our own
