"""Processor time of this process, and the floor: what decoding and encoding JSON costs by itself."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec
import orjson

Seconds = dict[str, float]
"""Time by stage."""

Sides = dict[str, Callable[[], Seconds]]
"""What is run in turn, by name."""


@contextmanager
def timed(times: Seconds, stage: str) -> Iterator[None]:
    """Record the processor time of a block, which starts without garbage."""
    gc.collect()
    start = time.process_time()
    yield
    times[stage] = time.process_time() - start


def timed_once(run: Callable[[], object]) -> Seconds:
    """Time a function that has no stages; its result is freed after the clock stops."""
    times: Seconds = {}
    with timed(times, ""):
        result = run()
    del result
    return times


def in_turn(sides: Sides, rounds: int) -> dict[str, list[Seconds]]:
    """Run every side once per round, in rotating order, so that a slow moment of the machine affects all of them."""
    runs: dict[str, list[Seconds]] = {name: [] for name in sides}
    for number in range(rounds):
        names = list(sides)
        first = number % len(names)
        for name in names[first:] + names[:first]:
            runs[name].append(sides[name]())
    return runs


def fastest(runs: list[Seconds]) -> Seconds:
    """Return the fastest run: interference only makes a run slower."""
    return min(runs, key=total)


def total(times: Seconds) -> float:
    """Return the time of all stages."""
    return sum(times.values())


def _convert_each(decode: Callable[[bytes], object], encode: Callable[[object], bytes]) -> Callable[..., list[bytes]]:
    def convert(documents: Sequence[bytes]) -> list[bytes]:
        return [encode(decode(document)) for document in documents]

    return convert


FLOORS: Mapping[str, Callable[[Sequence[bytes]], list[bytes]]] = {
    "floor: msgspec": _convert_each(msgspec.json.Decoder().decode, msgspec.json.Encoder().encode),
    "floor: orjson": _convert_each(orjson.loads, orjson.dumps),
}
"""Each decodes and encodes documents that are already split, and keeps the output, as a stage must until it uploads."""
