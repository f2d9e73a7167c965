"""Time of one core: what this process used of it, for the machine may do other work beside."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

Seconds = dict[str, float]
"""Time by part."""


@contextmanager
def timed(into: Seconds, part: str) -> Iterator[None]:
    """Note the processor time that a block takes, beginning without garbage."""
    gc.collect()
    begun = time.process_time()
    yield
    into[part] = time.process_time() - begun


def in_turn(sides: Mapping[str, Callable[[], Seconds]], rounds: int) -> dict[str, list[Seconds]]:
    """Run all sides in each round, one after the other, so that a slow moment of the machine meets all of them."""
    found: dict[str, list[Seconds]] = {name: [] for name in sides}
    for number in range(rounds):
        names = list(sides)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            found[name].append(sides[name]())
    return found


def once(run: Callable[[], object]) -> Seconds:
    """Time something that is one part, and keep what it gives until the time is taken."""
    seconds: Seconds = {}
    with timed(seconds, ""):
        kept = run()
    del kept
    return seconds


def best(runs: list[Seconds]) -> Seconds:
    """Give the quickest run: what disturbs a run only makes it slower."""
    return min(runs, key=total)


def total(run: Seconds) -> float:
    """Add up the parts of a run."""
    return sum(run.values())
