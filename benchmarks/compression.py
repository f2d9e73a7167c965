"""How the ledger is best compressed: what each choice takes of time and of room."""

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from isal import isal_zlib

from benchmarks.timing import best, in_turn, once, total

_GZIP_FORMAT = 31

CHOSEN = "isal, level 1"
CHOICES: dict[str, Callable[[], Any]] = {
    "isal, level 0": partial(isal_zlib.compressobj, 0, wbits=_GZIP_FORMAT),
    CHOSEN: partial(isal_zlib.compressobj, 1, wbits=_GZIP_FORMAT),
    "isal, level 2": partial(isal_zlib.compressobj, 2, wbits=_GZIP_FORMAT),
    "isal, level 3": partial(isal_zlib.compressobj, 3, wbits=_GZIP_FORMAT),
    "zlib, level 1": partial(zlib.compressobj, 1, wbits=_GZIP_FORMAT),
    "zlib, level 6": partial(zlib.compressobj, 6, wbits=_GZIP_FORMAT),
}


def measured(ledger: Sequence[bytes], rounds: int) -> dict[str, tuple[float, int]]:
    """Give, of each choice, the time that it takes and the bytes that it makes."""
    times = in_turn({name: partial(once, partial(_compressed, ledger, make)) for name, make in CHOICES.items()}, rounds)
    return {name: (total(best(times[name])), len(_compressed(ledger, make))) for name, make in CHOICES.items()}


def _compressed(pieces: Sequence[bytes], make: Callable[[], Any]) -> bytes:
    compressor = make()
    return b"".join([*(compressor.compress(piece) for piece in pieces), compressor.flush()])
