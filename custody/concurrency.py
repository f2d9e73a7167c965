"""Concurrent calls to AWS: an ordered map over a bounded thread pool, and pacing."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

WORKERS = 8
"""Fewer than the connections that a boto3 client pools."""

AHEAD = 32
"""How many items are taken before the first result is yielded."""


def map_ordered(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int = WORKERS,
    ahead: int | None = None,
    stop: Callable[[], object] = lambda: None,
) -> Generator[Result, None, None]:
    """Call a function for each item in a thread pool, and yield the results in order; raise what a call raises.

    At most `ahead` items, AHEAD by default, are taken in advance, so there may be any number of them. Closing the
    generator, or an interrupt, waits for the calls that have begun, and cancels the rest; `stop` may shorten that.
    """
    pool = ThreadPoolExecutor(workers)
    try:
        pending: deque[Future[Result]] = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            while pending and (len(pending) >= (ahead or AHEAD) or pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except (KeyboardInterrupt, SystemExit):
        stop()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def paced(items: Iterable[Item], per_second: float) -> Iterator[Item]:
    """Yield items no faster than `per_second`."""
    due = time.monotonic()
    for item in items:
        now = time.monotonic()
        time.sleep(max(0.0, due - now))
        due = max(due, now) + 1 / per_second
        yield item
