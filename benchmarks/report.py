"""The results, as values and as tables."""

import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Column

from custody.terminal.console import console, table

MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Side:
    """One implementation: µs per record, in total and by stage, and its speed as a fraction of the floor's."""

    microseconds: float
    of_the_floor: float
    stages: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit that the pipeline should keep: a maximum, or a minimum."""

    name: str
    measured: float
    limit: float
    is_minimum: bool = False

    @property
    def met(self) -> bool:
        """Whether the limit is kept."""
        return self.measured >= self.limit if self.is_minimum else self.measured <= self.limit


@dataclass(frozen=True, slots=True)
class Report:
    """A run of the benchmark; import times are multiples of that of boto3."""

    records: int
    input_bytes: int
    rounds: int
    sides: Mapping[str, Side]
    goals: tuple[Goal, ...]
    chunk_bytes: int
    imports: Mapping[str, float]

    def encode(self) -> dict[str, Any]:
        """Return the JSON document."""
        goals = [asdict(goal) | {"met": goal.met} for goal in self.goals]
        return asdict(self) | {"goals": goals, "machine": machine()}


def machine() -> dict[str, str]:
    """Describe this machine."""
    return {"processor": platform.machine(), "system": platform.system(), "python": sys.version.split()[0]}


def show(report: Report) -> None:
    """Print the report as tables."""
    console.print(
        f"{report.records:,} records of {report.input_bytes / report.records:.0f} bytes, 1 in 1,000 invalid; sides run "
        f"in turn, the fastest of {report.rounds} rounds.\nTime of one core ({machine()['processor']}, Python "
        f"{machine()['python']}); S3 is in memory."
    )
    _print(("", "µs per record", "records per second", "of the floor"), _sides(report))
    _print(("goal", "measured", "limit", "result"), _goals(report.goals))
    _print(("import of a handler", "x boto3"), ((name, f"{ratio:.2f}") for name, ratio in report.imports.items()))


def _print(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    first, *others = headings
    grid = table(first, *(Column(heading, justify="right") for heading in others))
    for row in rows:
        grid.add_row(*row)
    console.print(grid)


def _sides(report: Report) -> Iterable[tuple[str, ...]]:
    for name, side in report.sides.items():
        yield name, f"{side.microseconds:.2f}", f"{MICRO / side.microseconds:,.0f}", f"{side.of_the_floor:.3f}"
        for stage, microseconds in side.stages.items():
            yield f"  {stage}", f"{microseconds:.2f}", "", ""


def _goals(goals: Iterable[Goal]) -> Iterable[tuple[str, ...]]:
    for goal in goals:
        limit = f"{'≥' if goal.is_minimum else '≤'} {goal.limit:g}"
        yield goal.name, f"{goal.measured:.3g}", limit, "[green]met[/]" if goal.met else "[red]missed[/]"
