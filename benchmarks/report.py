"""What was measured, as values; and as tables for people."""

import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rich import box
from rich.table import Table

from custody.terminal.console import console

MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Side:
    """One way to do the work: microseconds a record, whole and by stage, and how fast that is against the floor."""

    microseconds: float
    of_the_floor: float
    stages: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Aim:
    """What the pipeline should reach: at least or at most so much."""

    name: str
    measured: float
    limit: float
    is_least: bool = False

    @property
    def met(self) -> bool:
        """Say whether it is reached."""
        return self.measured >= self.limit if self.is_least else self.measured <= self.limit


@dataclass(frozen=True, slots=True)
class Report:
    """A run, as multiples of the floor where nothing else is said.

    `parts` have their stages and a multiple, and `compiled` is what compiled libraries do of them; each choice of
    `compression` has a multiple, and bytes a record. Peaks are multiples of a chunk of `chunk_bytes`, and imports
    multiples of that of boto3.
    """

    records: int
    input_bytes: int
    rounds: int
    floor: str
    sides: Mapping[str, Side]
    aims: tuple[Aim, ...]
    parts: Mapping[str, tuple[str, float]]
    compiled: float
    compression: Mapping[str, tuple[float, float]]
    chunk_bytes: int
    peaks: Mapping[str, float]
    imports: Mapping[str, float]

    def encode(self) -> dict[str, Any]:
        """Give the JSON shape."""
        aims = [asdict(aim) | {"met": aim.met} for aim in self.aims]
        return asdict(self) | {"aims": aims, "machine": machine()}


def machine() -> dict[str, str]:
    """Say what kind of machine this is."""
    return {"processor": platform.machine(), "system": platform.system(), "python": sys.version.split()[0]}


def show(report: Report) -> None:
    """Show all of it."""
    kind = machine()
    console.print(
        f"{report.records:,} records of {report.input_bytes / report.records:.0f} bytes, 1 in 1,000 bad; the sides in "
        f"turn, the best of {report.rounds} rounds.\nTime is that of one core ({kind['processor']}, Python "
        f"{kind['python']}); S3 is in memory."
    )
    _table(("", "µs a record", "records a second", "of the floor"), _sides(report))
    _table(("aim", "measured", "asked", ""), _aims(report.aims))
    _table(("where Custody's time goes", "stage", "x the floor"), _parts(report))
    _table(
        ("gzip of the ledger", "x the floor", "bytes a record"),
        ((name, f"{time:.2f}", f"{size:.1f}") for name, (time, size) in report.compression.items()),
    )
    _table(
        ("import of a handler", "x that of boto3 alone"),
        ((name, f"{times:.2f}") for name, times in report.imports.items()),
    )


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(headings):
        is_text = number == 0 or heading in {"", "stage"}
        table.add_column(heading, justify="left" if is_text else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _sides(report: Report) -> Iterable[tuple[str, ...]]:
    for name, side in report.sides.items():
        yield name, f"{side.microseconds:.2f}", f"{MICRO / side.microseconds:,.0f}", f"{side.of_the_floor:.3f}"
        for stage, microseconds in side.stages.items():
            yield f"  {stage}", f"{microseconds:.2f}", "", ""


def _aims(aims: Iterable[Aim]) -> Iterable[tuple[str, ...]]:
    for aim in aims:
        asked = f"{'≥' if aim.is_least else '≤'} {aim.limit:g}"
        yield aim.name, f"{aim.measured:.3g}", asked, "[green]met[/]" if aim.met else "[red]falls short[/]"


def _parts(report: Report) -> Iterable[tuple[str, ...]]:
    for name, (stages, times) in report.parts.items():
        yield name, stages, f"{times:.2f}"
    yield "together", "", f"{sum(times for _, times in report.parts.values()):.2f}"
    yield "of that, by compiled libraries", f"alone: {1 / report.compiled:.2f} of the floor", f"{report.compiled:.2f}"
