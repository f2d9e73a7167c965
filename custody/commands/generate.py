"""`custody generate`: sample data to put in, as much as is wanted."""

import gzip
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Annotated, cast

import typer

from custody import show
from custody.failure import USAGE, CommandFailed
from custody.generating import BLOCK, Sample
from custody.pointing import visible
from functions.shared.reading import is_gzipped, may_be_gzipped

_STDOUT = Path("-")


def generate(  # noqa: PLR0913 - one parameter an option
    *,
    records: Annotated[int, typer.Option(min=1, help="How many records.")],
    bad: Annotated[int, typer.Option(min=0, help="How many of them break the contract.")] = 0,
    malformed: Annotated[int, typer.Option(min=0, help="How many of them are no JSON.")] = 0,
    seed: Annotated[int, typer.Option(help="Another one gives other data; the same one the same.")] = 0,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write them; `-` is standard output.")] = _STDOUT,
    gzipped: Annotated[bool, typer.Option("--gzip", help="Compress them; also done for a FILE that ends so.")] = False,
) -> None:
    """Make sample records of the mission dataset, as JSON Lines; those that are wrong are spread evenly."""
    if bad + malformed > records:
        raise CommandFailed(
            f"--bad {bad} and --malformed {malformed} are more than --records {records}. Ask for more records, or for "
            "fewer that are wrong.",
            USAGE,
        )
    if out == _STDOUT and sys.stdout.isatty() and gzipped:
        raise CommandFailed("A terminal shows no gzip. Say --out FILE, or pipe it into a command.", USAGE)
    sample = Sample(records, bad, malformed, seed)
    if out == _STDOUT:
        _write(sample.lines(), sys.stdout.buffer, gzipped=gzipped)
        return
    name = visible(str(out))
    if gzipped and not may_be_gzipped(out.name):
        raise CommandFailed(
            f"The pipeline would not decompress {name}: its name says that it is plain. Say --out {name}.gz, or leave "
            "--gzip out.",
            USAGE,
        )
    blocks = show.watched(sample.lines(), lambda number: f"{min(number * BLOCK, records):,} of {_number(records)}")
    try:
        with _whole(out) as file:
            _write(blocks, file, gzipped=gzipped or is_gzipped(b"", out.name))
        size = out.stat().st_size
    except OSError as error:
        raise CommandFailed(
            f"{name} was not written: {error.strerror}. Name a file in a folder that is there, that you may write to, "
            "and that has room."
        ) from error
    said = f"{name}: {_number(records)}, {bad:,} bad, {malformed:,} malformed, {size:,} bytes"
    show.stderr.print(said, soft_wrap=True, markup=False)


def _number(records: int) -> str:
    return f"{records:,} record" + ("s" if records != 1 else "")


def _write(blocks: Iterator[bytes], file: IO[bytes], *, gzipped: bool) -> None:
    with ExitStack() as stack:
        if gzipped:
            file = stack.enter_context(
                cast("IO[bytes]", gzip.GzipFile("", "wb", fileobj=file, mtime=0, compresslevel=1))
            )
        for block in blocks:
            file.write(block)


@contextmanager
def _whole(out: Path) -> Iterator[IO[bytes]]:
    """Give a file that has its name only when all is written, and is gone if not all is; raise OSError."""
    if out.exists() and not out.is_file():
        # A pipe or a device is written to where it is.
        with out.open("wb") as file:
            yield file
        return
    # What a link points to is written, and the link stays.
    true = out.resolve()
    part = true.with_name(f".{true.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(true)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
