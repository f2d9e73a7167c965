"""Measure, and show: `python -m benchmarks`."""

import json
import os
from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer

from benchmarks.buckets import VARIABLES, InMemory

os.environ.update(VARIABLES)

# The handlers read the variables when they are imported.
from benchmarks import compression, floor, imports, parts, peaks, records, report, stages, with_parser
from benchmarks.records import Input
from benchmarks.report import MICRO, Aim, Report, Side
from benchmarks.timing import Seconds, best, in_turn, once, total

CUSTODY = "Custody"
PARSER = "Powertools' parser"


def main(
    count: Annotated[int, typer.Option("--records", min=2000, help="Records of the input.")] = 100_000,
    rounds: Annotated[int, typer.Option(min=1, help="How often each side runs.")] = 5,
    chunk_bytes: Annotated[int, typer.Option(min=2**16, help="Chunk by which peak memory is measured.")] = 2**26,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,  # noqa: FBT002 - an option of the command line is a flag with a default
) -> None:
    """Measure the three stages against a floor and against Powertools' parser; it takes a minute or two."""
    found = measure(records.made(count), rounds, chunk_bytes)
    if as_json:
        typer.echo(json.dumps(found.encode(), ensure_ascii=False, indent=2))
    else:
        report.show(found)


def measure(given: Input, rounds: int, chunk_bytes: int) -> Report:
    """Measure everything once."""
    number = len(given.lines)
    runs = {name: best(runs) for name, runs in in_turn(_sides(given), rounds).items()}
    lowest = min(floor.LIBRARIES, key=lambda name: total(runs[name]))
    unit = total(runs[lowest])
    times = parts.measured(given, rounds)
    gzipped = compression.measured(parts.ledger_of(given), rounds)
    high = peaks.measured(chunk_bytes)
    return Report(
        records=number,
        input_bytes=len(given.body),
        rounds=rounds,
        floor=lowest,
        sides={_title(name): _side(run, unit, number) for name, run in runs.items()},
        aims=(
            Aim("speed, of the floor", unit / total(runs[CUSTODY]), 0.3, is_least=True),
            Aim("speed, x Powertools' parser", total(runs[PARSER]) / total(runs[CUSTODY]), 4, is_least=True),
            *(Aim(f"peak memory of {step}, x its chunk", chunks, 3) for step, chunks in high.items()),
            Aim("ledger, bytes a record", gzipped[compression.CHOSEN][1] / number, 100),
        ),
        parts={name: (parts.stages_of(name), seconds / unit) for name, seconds in times.items()},
        compiled=parts.compiled(times) / unit,
        compression={name: (seconds / unit, size / number) for name, (seconds, size) in gzipped.items()},
        chunk_bytes=chunk_bytes,
        peaks=high,
        imports=imports.measured(rounds),
    )


def _title(name: str) -> str:
    return f"floor: {name}" if name in floor.LIBRARIES else name


def _side(run: Seconds, unit: float, number: int) -> Side:
    by_stage = {stage: seconds / number * MICRO for stage, seconds in run.items() if stage}
    return Side(total(run) / number * MICRO, unit / total(run), by_stage)


def _sides(given: Input) -> dict[str, Callable[[], Seconds]]:
    """Prepare all that is run in turn, each on the same records."""
    documents = given.documents
    return {name: partial(once, partial(work, documents)) for name, work in floor.LIBRARIES.items()} | {
        CUSTODY: lambda: stages.run(records.KEY, given.body, InMemory()),
        PARSER: lambda: with_parser.run(records.KEY, given.body, InMemory()),
    }


if __name__ == "__main__":
    typer.run(main)
