"""Measure and report: `python -m benchmarks`."""

import json
import os
from functools import partial
from typing import Annotated

import typer

from benchmarks.buckets import VARIABLES, InMemory

os.environ.update(VARIABLES)

# Handlers read the variables when they are imported.
from benchmarks import processes, records, report, stages, with_parser
from benchmarks.records import Input
from benchmarks.report import Goal, Report, Side
from benchmarks.timing import FLOORS, Sides, fastest, in_turn, timed_once, total

CUSTODY = "Custody"
PARSER = "Powertools' parser"
MICRO = 1_000_000


def main(
    count: Annotated[int, typer.Option("--records", min=2000, help="Number of records.")] = 100_000,
    rounds: Annotated[int, typer.Option(min=1, help="Number of runs of each side.")] = 5,
    chunk_bytes: Annotated[int, typer.Option(min=2**16, help="Chunk size for peak memory.")] = 2**26,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,  # noqa: FBT002 - an option of the command line is a flag with a default
) -> None:
    """Measure the three stages beside a floor and beside Powertools' parser; takes a minute or two."""
    measured = measure(records.generate(count), rounds, chunk_bytes)
    if as_json:
        typer.echo(json.dumps(measured.encode(), ensure_ascii=False, indent=2))
    else:
        report.show(measured)


def measure(data: Input, rounds: int, chunk_bytes: int) -> Report:
    """Measure speed, ledger size, peak memory and import time."""
    number = len(data.lines)
    buckets = InMemory()
    sides: Sides = {
        **{name: partial(timed_once, partial(convert, data.documents)) for name, convert in FLOORS.items()},
        CUSTODY: lambda: stages.run(records.KEY, data.body, buckets),
        PARSER: lambda: with_parser.run(records.KEY, data.body, InMemory()),
    }
    times = {name: fastest(runs) for name, runs in in_turn(sides, rounds).items()}
    floor = min(total(times[name]) for name in FLOORS)
    ledger_bytes = sum(len(buckets.body("audit", key)) for key in buckets.keys("audit") if key.startswith("ledger/"))
    peaks = processes.peaks(chunk_bytes)
    return Report(
        records=number,
        input_bytes=len(data.body),
        rounds=rounds,
        sides={
            name: Side(
                microseconds=total(time) / number * MICRO,
                of_the_floor=floor / total(time),
                stages={stage: seconds / number * MICRO for stage, seconds in time.items() if stage},
            )
            for name, time in times.items()
        },
        goals=(
            Goal("speed, x the floor", floor / total(times[CUSTODY]), 0.3, is_minimum=True),
            Goal("speed, x Powertools' parser", total(times[PARSER]) / total(times[CUSTODY]), 4, is_minimum=True),
            *(Goal(f"peak memory of {step}, x its chunk", peak, 3) for step, peak in peaks.items()),
            Goal("ledger, bytes per record", ledger_bytes / number, 100),
        ),
        chunk_bytes=chunk_bytes,
        imports=processes.imports(rounds),
    )


if __name__ == "__main__":
    typer.run(main)
