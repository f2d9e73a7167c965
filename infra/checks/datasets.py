"""Faults of the datasets: synth stops at each, with the file, the fault and what to do."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from jsonschema_rs import Draft202012Validator

from infra.checks import contracts
from infra.settings import ALLOWED, DATASET

DATASETS = Path("datasets")
CONTRACT, TRANSFORM, SETTINGS = "contract.schema.json", "transform.py", "dataset.json"
_SETTINGS = Draft202012Validator(json.loads(Path(__file__).with_name("dataset.schema.json").read_text("utf-8")))


class DatasetRefused(ValueError):
    """A dataset is incomplete or its contract is invalid; the message lists all faults, one per line."""


def check(root: Path, default: str) -> None:
    """Raise DatasetRefused unless every dataset below `root` is complete and valid, and `default` is among them."""
    messages = list(faults(root))
    if default not in (known := names(root)):
        messages.append(
            f"the setting default_dataset is {default!r}, which is not a dataset; there are {', '.join(known)}"
        )
    if messages:
        raise DatasetRefused("\n".join(["the datasets cannot be deployed:", *messages]))


def names(root: Path) -> list[str]:
    """List the datasets: the folders in datasets/."""
    folders = (path for path in (root / DATASETS).iterdir() if path.is_dir())
    return sorted(path.name for path in folders if path.name != "__pycache__")


def faults(root: Path) -> Iterator[str]:
    """Describe each fault of the datasets below `root`."""
    for name in names(root):
        folder = DATASETS / name
        if not re.match(DATASET, name):
            yield f"{folder}: the name of a dataset must be {ALLOWED['default_dataset']}; rename the folder"
        for required in (CONTRACT, TRANSFORM, SETTINGS):
            if not (root / folder / required).is_file():
                yield f"the dataset {name} has no {required}: add {folder / required}"
        if (contract := root / folder / CONTRACT).is_file():
            yield from (f"{folder / CONTRACT}: {fault}" for fault in contracts.faults(name, contract.read_bytes()))
        if (settings := root / folder / SETTINGS).is_file():
            yield from (f"{folder / SETTINGS}: {fault}" for fault in _faults_of_settings(settings.read_bytes()))


def _faults_of_settings(body: bytes) -> Iterator[str]:
    try:
        settings = json.loads(body)
    except ValueError as error:
        yield f"it is not JSON: {error}"
        return
    for fault in _SETTINGS.iter_errors(settings):
        yield f"at {''.join(f'/{part}' for part in fault.instance_path) or '/'}: {fault.message}"
