"""Measure and report: `python -m benchmarks`."""

import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated

import typer

from benchmarks.buckets import VARIABLES, Buckets, empty_buckets

os.environ.update(VARIABLES)

# Handlers read the variables when they are imported.
from benchmarks import processes, records, stages, with_parser
from benchmarks.records import Input
from custody.terminal.console import print_line, print_rows, table
from custody.terminal.tables import Cell

HANDLERS = ("start", "validate", "transform", "write", "summarize", "dead_letter")
MICRO = 1_000_000

Times = dict[str, float]
"""Seconds by stage."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A value, and the limit that the pipeline should keep."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the limit is kept; None if there is none."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return None if self.at_most is None else self.value <= self.at_most

    def cells(self) -> tuple[Cell, ...]:
        """Return the row of the table."""
        limit = f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}" if self.at_most else ""
        return (
            self.name,
            f"{self.value:.3g}",
            limit,
            "" if self.met is None else ("met", "green") if self.met else ("missed", "red"),
        )


def main(
    count: Annotated[int, typer.Option("--records", min=2000, help="Number of records.")] = 100_000,
    rounds: Annotated[int, typer.Option(min=1, help="Number of runs of each side.")] = 5,
    chunk_bytes: Annotated[int, typer.Option(min=2**16, help="Chunk size for peak memory.")] = 2**26,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,  # noqa: FBT002 - an option of the command line is a flag with a default
) -> None:
    """Measure the three stages beside a floor and beside Powertools' parser; takes a minute or two."""
    measures = list(measure(records.generate(count), rounds, chunk_bytes))
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    if as_json:
        rows = [asdict(each) | {"met": each.met} for each in measures]
        document = {"records": count, "rounds": rounds, "chunk_bytes": chunk_bytes, "machine": machine}
        json.dump(document | {"measures": rows}, sys.stdout, ensure_ascii=False, indent=2)
        return
    print_line(f"{count:,} records of 64 bytes, 1 in 1,000 invalid; sides run in turn, the fastest of {rounds} rounds.")
    print_line(f"Time of one core ({machine}); S3 is in memory.")
    grid = table("measure", "value", "limit", "result")
    for each in measures:
        grid.add(*each.cells())
    print_rows(grid)


def measure(data: Input, rounds: int, chunk_bytes: int) -> Iterator[Measure]:
    """Measure speed, ledger size, peak memory and import time."""
    number = len(data.lines)
    sides: dict[str, Callable[[], Times]] = {
        **{name: partial(_time_floor, convert, data.documents) for name, convert in stages.FLOORS.items()},
        "Custody": partial(_time, stages.run, data),
        "Powertools' parser": partial(_time, with_parser.run, data),
    }
    times = fastest(sides, rounds)
    totals = {name: sum(stages.values()) for name, stages in times.items()}
    for name, seconds in totals.items():
        yield Measure(f"{name}, µs per record", seconds / number * MICRO)
        for stage, part in times[name].items():
            if stage:
                yield Measure(f"  {stage}", part / number * MICRO)
    floor = min(totals[name] for name in stages.FLOORS)
    yield Measure("speed, x the floor", floor / totals["Custody"], at_least=0.3)
    yield Measure("speed, x Powertools' parser", totals["Powertools' parser"] / totals["Custody"], at_least=4)
    for step, peak in processes.peaks(records.fill(chunk_bytes)):
        yield Measure(f"peak memory of {step}, x its chunk", peak / chunk_bytes, at_most=3)
    limit = min(int(VARIABLES["DOCUMENT_LIMIT_BYTES"]), chunk_bytes)
    for step, peak in processes.peaks(records.nested(limit)):
        yield Measure(f"peak memory of {step}, x the largest document", peak / limit, at_most=50)
    yield Measure("ledger, bytes per record", _ledger_bytes(data) / number, at_most=100)
    modules = {"boto3": "boto3"} | {name: f"functions.{name}.handler" for name in HANDLERS}
    imports = fastest({name: partial(_time_import, module) for name, module in modules.items()}, rounds)
    for name in HANDLERS:
        yield Measure(f"import of {name}, x boto3", imports[name][""] / imports["boto3"][""])


def fastest(sides: Mapping[str, Callable[[], Times]], rounds: int) -> dict[str, Times]:
    """Run the sides in turn, so that a slow moment of the machine affects all of them; return the fastest run of each.

    Interference only makes a run slower.
    """
    runs = [{name: run() for name, run in sides.items()} for _ in range(rounds)]
    return {name: min((times[name] for times in runs), key=lambda times: sum(times.values())) for name in sides}


def _time(run: Callable[[str, bytes, Buckets], Times], data: Input) -> Times:
    with empty_buckets() as buckets:
        return run(records.KEY, data.body, buckets)


def _time_floor(convert: Callable[[Sequence[bytes]], object], documents: tuple[bytes, ...]) -> Times:
    return {"": stages.timed(convert, documents)[0]}


def _time_import(module: str) -> Times:
    return {"": processes.import_time(module)}


def _ledger_bytes(data: Input) -> int:
    with empty_buckets() as buckets:
        stages.run(records.KEY, data.body, buckets)
        return sum(len(buckets.body("audit", key)) for key in buckets.keys("audit", "ledger/"))


if __name__ == "__main__":
    typer.run(main)
