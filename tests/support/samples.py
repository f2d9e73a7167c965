"""The samples of the datasets: objects, and the expected outcomes of their records.

`datasets/<dataset>/samples/objects/` has the objects. Written records of `a.json` are in `written/a.jsonl`, rejected
ones in `rejected/a.txt`, one per line: position, stage, violations.
"""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "datasets"


@dataclass(frozen=True)
class Sample:
    """An object of a dataset, and the files of its expected outcomes."""

    dataset: str
    object: Path

    @property
    def key(self) -> str:
        """The key under which the object is uploaded."""
        return f"{self.dataset}/{self.object.name}"

    @property
    def written(self) -> Path:
        """The records that are written; the file is missing if none is."""
        return self._beside("written", "jsonl")

    @property
    def rejected(self) -> Path:
        """The records that are rejected; the file is missing if none is."""
        return self._beside("rejected", "txt")

    def _beside(self, outcome: str, ending: str) -> Path:
        return self.object.parents[1] / outcome / f"{self.object.name.partition('.')[0]}.{ending}"


def samples(dataset: str) -> list[Sample]:
    """List the samples of a dataset."""
    return [Sample(dataset, path) for path in sorted((FOLDER / dataset / "samples" / "objects").glob("*"))]


def datasets() -> list[str]:
    """List the datasets that have samples."""
    return sorted(path.parent.name for path in FOLDER.glob("*/samples"))
