"""The datasets that are deployed: each is a contract and a transform, and what is wrong with one stops the synth."""

import re
from collections.abc import Iterator
from pathlib import Path

from infra.checks import contracts, transforms
from infra.settings import DATASET, DATASET_ALLOWED

CONTRACTS = Path("functions/validate/contracts")
TRANSFORMS = Path("functions/transform/datasets")
CONTRACT = ".schema.json"
_NAME = re.compile(DATASET)


class DatasetRefused(ValueError):
    """A dataset is not whole, or its contract is none; the message holds all that is wrong, a line each."""


def require_whole(root: Path, default: str) -> None:
    """Raise DatasetRefused unless each dataset below `root` has a contract and a transform, both of them sound.

    `default` is the one of objects without a folder: it must be there too.
    """
    wrong = list(faults(root))
    known = sorted(_contracts(root))
    if default not in known:
        wrong.append(f"the setting default_dataset names {default!r}, which is none of them: {', '.join(known)}")
    if wrong:
        raise DatasetRefused("\n".join(["the datasets cannot be deployed:", *wrong]))


def faults(root: Path) -> Iterator[str]:
    """Say all that is wrong with the datasets: in which file, what, and what to do."""
    found = _contracts(root)
    modules = {path.stem: path for path in sorted((root / TRANSFORMS).glob("*.py")) if path.stem != "__init__"}
    for path in sorted((root / CONTRACTS).glob("*.json")):
        if not path.name.endswith(CONTRACT):
            yield f"{CONTRACTS / path.name} is read by nobody: call it {path.stem}{CONTRACT}"
    for name, path in found.items():
        if name not in modules:
            yield f"the dataset {name} has a contract and no transform: add {TRANSFORMS / name}.py"
        yield from (f"{CONTRACTS / path.name}: {fault}" for fault in contracts.faults(name, path.read_bytes()))
    for name, path in modules.items():
        if name not in found:
            yield f"the dataset {name} has a transform and no contract: add {CONTRACTS / name}{CONTRACT}"
        yield from (f"{TRANSFORMS / path.name}: {fault}" for fault in transforms.faults(path.read_bytes()))
    for name in sorted(found.keys() | modules.keys()):
        if not _NAME.fullmatch(name):
            yield f"the dataset {name} would never be found: its name must be {DATASET_ALLOWED}; rename its files"


def _contracts(root: Path) -> dict[str, Path]:
    """Give the contract of each dataset, by its name."""
    return {path.name.removesuffix(CONTRACT): path for path in sorted((root / CONTRACTS).glob(f"*{CONTRACT}"))}
