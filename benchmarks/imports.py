"""What the first call of a function waits for: the import of its handler, in a process of its own."""

import os
import subprocess
import sys
from functools import partial

from benchmarks.buckets import VARIABLES
from benchmarks.timing import Seconds, best, in_turn, total

HANDLERS = ("start", "validate", "transform", "write", "summarize", "dead_letter")
ALONE = "boto3"

_PROGRAM = "import time; begun = time.process_time(); import {}; print(time.process_time() - begun)"


def measured(rounds: int) -> dict[str, float]:
    """Give the time that the import of each handler takes, as a multiple of that of boto3, which each imports too."""
    modules = {ALONE: ALONE} | {name: f"functions.{name}.handler" for name in HANDLERS}
    sides = {name: partial(_imported, module) for name, module in modules.items()}
    seconds = {name: total(best(runs)) for name, runs in in_turn(sides, rounds).items()}
    return {name: seconds[name] / seconds[ALONE] for name in HANDLERS}


def _imported(module: str) -> Seconds:
    command = [sys.executable, "-c", _PROGRAM.format(module)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **VARIABLES})  # noqa: S603 - the command is our own
    return {module: float(done.stdout)}
