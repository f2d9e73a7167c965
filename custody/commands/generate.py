"""`custody generate`: sample data to put in, as much as is wanted."""

import gzip
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Annotated, cast

import typer

from custody import show
from custody.failure import USAGE, CommandFailed
from custody.generating import Sample

_STDOUT = Path("-")


def generate(  # noqa: PLR0913 - one parameter an option
    *,
    records: Annotated[int, typer.Option(min=1, help="How many records.")],
    bad: Annotated[int, typer.Option(min=0, help="How many of them break the contract.")] = 0,
    malformed: Annotated[int, typer.Option(min=0, help="How many of them are no JSON.")] = 0,
    seed: Annotated[int, typer.Option(help="Another one gives other data; the same one the same.")] = 0,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write them; `-` is standard output.")] = _STDOUT,
    gzipped: Annotated[bool, typer.Option("--gzip", help="Compress them.")] = False,
) -> None:
    """Make sample records of the mission dataset, as JSON Lines; those that are wrong are spread evenly."""
    if bad + malformed > records:
        raise CommandFailed(
            f"--bad {bad} and --malformed {malformed} are more than the {records} records that --records asks for.",
            USAGE,
        )
    if out == _STDOUT and sys.stdout.isatty() and gzipped:
        raise CommandFailed("A terminal shows no gzip. Say --out FILE, or pipe it into a command.", USAGE)
    sample = Sample(records, bad, malformed, seed)
    with ExitStack() as stack:
        file: IO[bytes] = sys.stdout.buffer if out == _STDOUT else stack.enter_context(out.open("wb"))
        if gzipped:
            file = stack.enter_context(
                cast("IO[bytes]", gzip.GzipFile("", "wb", fileobj=file, mtime=0, compresslevel=1))
            )
        for block in sample.lines():
            file.write(block)
    if out != _STDOUT:
        said = f"{out}: {records:,} records, {bad:,} bad, {malformed:,} malformed, {out.stat().st_size:,} bytes"
        show.stderr.print(said, soft_wrap=True, markup=False)
