"""Ask many questions of AWS a few at a time, and take the answers in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")

WORKERS = 8
"""Fewer than the connections that a client keeps."""

WAITING = 32
"""How many questions are taken before the first answer is given."""


def answers(
    ask: Callable[[Question], Answer], questions: Iterable[Question], workers: int = WORKERS, ahead: int | None = None
) -> Generator[Answer, None, None]:
    """Give the answer to each question, in their order; raise what one raises.

    Only so many questions are taken `ahead`, WAITING if it is None, so that there may be any number of them. When it is
    closed, those that were begun are waited for: whatever asking them changes, `ask` has to note itself.
    """
    pool = ThreadPoolExecutor(workers)
    try:
        waiting: deque[Future[Answer]] = deque()
        for question in questions:
            waiting.append(pool.submit(ask, question))
            if len(waiting) >= (ahead or WAITING):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
