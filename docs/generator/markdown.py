"""Generated regions of documents, and tables."""

import re
from collections.abc import Iterable, Mapping, Sequence

_REGION = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def filled(document: str, regions: Mapping[str, str]) -> str:
    """Replace the content of each region, from `<!-- generated: NAME -->` to `<!-- end -->`."""
    return _REGION.sub(lambda region: f"{region[1]}{regions[region['name']]}\n{region[4]}", document)


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a table; numbers get their thousands set apart."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)


def rows(document: str, heading: str) -> dict[str, list[str]]:
    """Read the table whose first column has this heading: the other cells of each row, by the first."""
    _, _, body = document.partition(f"| {heading} |")
    lines = body.split("\n\n", 1)[0].splitlines()[2:]
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {first: others for first, *others in cells}


def number(cell: str) -> float:
    """Read a number with its thousands set apart."""
    return float(re.sub(r"[^0-9.]", "", cell))
