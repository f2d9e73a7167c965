"""The files that `custody put` uploads and the key of each, decided before anything is sent."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import BinaryIO

from custody.deployment.target import Deployment
from custody.errors import USAGE, CommandFailed
from custody.terminal.text import plural, visible
from functions.shared.model.ids import dataset_of, is_marker

STDIN = Path("-")
STDIN_GIB = 16
"""Standard input may be this long: it is copied to a file first, since an upload is repeated when it fails."""

_KEY_BYTES = 1024
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""

_SKIPPED = (".", "_")
"""What the names of hidden files, and of markers such as `_SUCCESS` or `_temporary/`, begin with."""

_COPIED_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Source:
    """A file, and the key of the object that it becomes."""

    file: Path
    key: str


@dataclass(frozen=True)
class Sources:
    """The files to upload, and how many hidden files and markers were skipped in folders."""

    files: list[Source]
    skipped: int

    def remarks(self, deployment: Deployment) -> Iterator[str]:
        """Say what is skipped, and which objects are of a dataset that nobody has named."""
        if self.skipped:
            names = "hidden file or marker", "hidden files and markers"
            yield f"skipped: {plural(self.skipped, *names)}; to upload one, name it as a FILE"
        datasets = Counter(dataset_of(source.key, "", deployment.raw_prefix) for source in self.files)
        if number := datasets.pop("", 0):
            default = f" {deployment.default_dataset}" if deployment.default_dataset else ""
            keys = plural(number, "key has", "keys have")
            yield f"{keys} no folder, so the default dataset{default} applies; choose one with --dataset NAME"
        for name in deployment.unknown(datasets):
            keys = plural(datasets[name], "key begins", "keys begin")
            yield f"{keys} with {visible(name)}/, {_not_a_dataset(deployment)}"


def choose(deployment: Deployment, files: Sequence[Path], prefix: str, key: str | None) -> Sources:
    """Choose the files to upload, and their keys; those of a folder keep their path below it.

    Raises CommandFailed for what cannot be uploaded, or what nobody can mean; OSError for a folder that cannot be read.
    """
    _require_usage(files, prefix, key)
    # With a prefix, the deployment processes no other keys.
    prefix = prefix if prefix.startswith(deployment.raw_prefix) else deployment.raw_prefix + prefix
    sources, skipped = list[Source](), 0
    for path in files:
        if key is not None:
            sources.append(Source(path, key))
        elif not path.is_dir():
            sources.append(Source(path, prefix + path.name))
        else:
            below, hidden = _walk(path)
            skipped += hidden
            sources += [Source(path / name, prefix + name.as_posix()) for name in below]
            if not below:
                more = f" but {plural(hidden, 'hidden file or marker', 'hidden files and markers')}" if hidden else ""
                raise CommandFailed(f"The folder {visible(str(path))} contains no files{more}.", USAGE)
    _require_keys(deployment, sources)
    if key is None and (
        unknown := deployment.unknown(dataset_of(each.key, "", deployment.raw_prefix) for each in sources)
    ):
        raise CommandFailed(
            f"Keys would begin with {visible(unknown[0])}/, {_not_a_dataset(deployment)}. Name a dataset with "
            "--dataset NAME, or as the first folder of --prefix.",
            USAGE,
        )
    return Sources(sources, skipped)


@contextmanager
def spooled(stream: BinaryIO, limit: int = STDIN_GIB * 2**30) -> Iterator[Path]:
    """Copy a stream to a temporary file; raise CommandFailed if it is longer than `limit` bytes."""
    with TemporaryDirectory(prefix="custody-") as folder:
        path, size = Path(folder) / "stdin", 0
        with path.open("wb") as file:
            while copied := stream.read(_COPIED_BYTES):
                size += len(copied)
                if size > limit:
                    raise CommandFailed(
                        f"Standard input is longer than {limit / 2**30:g} GiB. Write it to a file, and upload that.",
                        USAGE,
                    )
                file.write(copied)
        yield path


def _require_usage(files: Sequence[Path], prefix: str, key: str | None) -> None:
    """Raise CommandFailed unless the arguments go together, and each file can be read."""
    if key == "":
        raise CommandFailed("--key is empty. Omit it to use the name of the file as the key.", USAGE)
    if key and prefix:
        raise CommandFailed("--key is the whole key. Omit --prefix and --dataset.", USAGE)
    if key and (len(files) > 1 or files[0].is_dir()):
        raise CommandFailed("--key names one object: give one FILE, and no folder. See --prefix.", USAGE)
    if STDIN in files and key is None:
        raise CommandFailed("Standard input has no name: give its key with --key.", USAGE)
    if missing := [visible(str(file)) for file in files if file != STDIN and not (file.is_file() or file.is_dir())]:
        raise CommandFailed(
            f"Not a file or folder: {', '.join(missing)}. Name what exists; to upload from a pipe, use - and --key.",
            USAGE,
        )


def _require_keys(deployment: Deployment, sources: Sequence[Source]) -> None:
    """Raise CommandFailed for a key that S3 or the deployment would not accept, two of the same, or no access."""
    taken: dict[str, Path] = {}
    for source in sources:
        file, key = visible(str(source.file)), visible(source.key)
        if not source.key.startswith(deployment.raw_prefix):
            raise CommandFailed(
                f"This deployment processes only keys with the prefix {deployment.raw_prefix}: use "
                f"--key {quote(deployment.raw_prefix + source.key)}.",
                USAGE,
            )
        if deployment.skip_markers and is_marker(source.key):
            raise CommandFailed(
                f"The key {key} is that of a marker of Spark or Hadoop, which this deployment skips. Omit it, or "
                "deploy with -c skip_markers=false.",
                USAGE,
            )
        try:
            size = len(source.key.encode())
        except UnicodeEncodeError as error:
            raise CommandFailed(f"The name of {file} is not UTF-8, as keys are. Rename it.", USAGE) from error
        if size > _KEY_BYTES:
            raise CommandFailed(f"The key {key} has {size:,} bytes; S3 allows {_KEY_BYTES:,}.", USAGE)
        if (other := taken.setdefault(source.key, source.file)) is not source.file:
            raise CommandFailed(
                f"{visible(str(other))} and {file} would both become {key}. Upload them with different prefixes.", USAGE
            )
        if source.file != STDIN and not os.access(source.file, os.R_OK):
            raise CommandFailed(f"{file} cannot be read: permission denied. Nothing was uploaded.", USAGE)


def _walk(folder: Path) -> tuple[list[Path], int]:
    """List the files below a folder, relative to it, and count those that are skipped; raise OSError."""
    files, skipped = list[Path](), 0

    def refuse(error: OSError) -> None:
        raise error

    for parent, _, names in os.walk(folder, onerror=refuse):
        for name in sorted(names):
            path = Path(parent, name)
            below = path.relative_to(folder)
            if any(part.startswith(_SKIPPED) for part in below.parts) or not path.is_file():
                skipped += 1
            else:
                files.append(below)
    return sorted(files), skipped


def _not_a_dataset(deployment: Deployment) -> str:
    return f"which is not a dataset of this deployment; there are {', '.join(deployment.datasets.split(','))}"
