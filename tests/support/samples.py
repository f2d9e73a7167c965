"""The samples of the datasets: objects, and beside them what becomes of their records.

`datasets/<dataset>/samples/objects/` holds objects as they are uploaded. What is written of `a.json` stands in
`written/a.jsonl`, and what is rejected in `rejected/a.txt`, a line a record: its position, the stage, what it breaks.
"""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "datasets"


@dataclass(frozen=True)
class Sample:
    """An object of a dataset, and where it stands what becomes of its records."""

    dataset: str
    object: Path

    @property
    def key(self) -> str:
        """The key under which the object is uploaded."""
        return f"{self.dataset}/{self.object.name}"

    @property
    def written(self) -> Path:
        """What is written of it; no such file if nothing is."""
        return self._beside("written", "jsonl")

    @property
    def rejected(self) -> Path:
        """What is rejected of it; no such file if nothing is."""
        return self._beside("rejected", "txt")

    def _beside(self, outcome: str, ending: str) -> Path:
        return self.object.parents[1] / outcome / f"{self.object.name.partition('.')[0]}.{ending}"


def samples(dataset: str) -> list[Sample]:
    """Find the samples of a dataset."""
    return [Sample(dataset, path) for path in sorted((FOLDER / dataset / "samples" / "objects").glob("*"))]


def datasets() -> list[str]:
    """List the datasets that have samples."""
    return sorted(path.parent.name for path in FOLDER.glob("*/samples"))
