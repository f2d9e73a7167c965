"""Throttled functions: a small Lambda quota delays executions, but fails none."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any

import pytest

from functions.shared.model.chunking import MOST_CHUNKS
from tests.support.steps import BULK, OF_CHUNKS, PIPELINE, STEPS

THROTTLED = "Lambda.TooManyRequestsException"
HISTORY_LIMIT = 25_000
EVENTS_OF_A_CALL = 3
"""Scheduled, started and failed or succeeded; entering and leaving a state adds two."""


@dataclass
class Execution:
    """An execution: the states that it still has to run, its tries of the current one, and its events."""

    states: list[str]
    retries: int = 0
    events: int = 2
    failed: str | None = None


@dataclass
class Account:
    """An account whose functions take turns; at most `workers` executions run at a time, as in a Map."""

    definition: dict[str, Any]
    concurrency: int
    seconds: float
    rng: random.Random = field(default_factory=lambda: random.Random(12))  # noqa: S311 - a simulation
    now: float = 0.0

    def run(self, executions: list[Execution], workers: int) -> None:
        """Run executions to their end, in virtual time; set `failed` where throttling exhausts the retries."""
        busy, order, waiting = 0, count(), iter(executions)
        moments: list[tuple[float, int, bool, Execution]] = []

        def start(limit: int) -> None:
            for execution, _ in zip(waiting, range(limit), strict=False):
                heappush(moments, (self.now + self.rng.random(), next(order), False, execution))

        start(workers)
        while moments:
            self.now, _, is_end, execution = heappop(moments)
            if is_end:
                busy -= 1
                execution.states.pop(0)
                execution.retries = 0
                if execution.states:
                    heappush(moments, (self.now + 0.1, next(order), False, execution))
                else:
                    start(1)
                continue
            execution.events += EVENTS_OF_A_CALL + 2 * (execution.retries == 0)
            if busy < self.concurrency:
                busy += 1
                duration = self.seconds * self.rng.uniform(0.5, 1.5)
                heappush(moments, (self.now + duration, next(order), True, execution))
            elif (delay := next(self._delay(execution), None)) is None:
                execution.failed = execution.states[0]
                start(1)
            else:
                execution.retries += 1
                heappush(moments, (self.now + delay, next(order), False, execution))

    def _delay(self, execution: Execution) -> Iterator[float]:
        """Yield the delay of the next retry, unless they are exhausted."""
        (retry,) = (
            each for each in self.definition["States"][execution.states[0]]["Retry"] if THROTTLED in each["ErrorEquals"]
        )
        assert retry["ErrorEquals"] == [THROTTLED], "no other error uses up its retries"
        assert retry["JitterStrategy"] == "FULL"
        if execution.retries < retry["MaxAttempts"]:
            exponential = retry["IntervalSeconds"] * retry["BackoffRate"] ** min(execution.retries, 30)
            yield self.rng.uniform(0, min(exponential, retry["MaxDelaySeconds"]))


def chunks(number: int) -> list[Execution]:
    """Make chunks, every tenth of which fails in Write and gets a dead letter."""
    states = [f"{step}Chunk" for step in STEPS]
    return [Execution([*states, *(["DeadLetterChunk"] if index % 10 == 0 else [])]) for index in range(number)]


@pytest.mark.parametrize(("concurrency", "workers"), [(10, 100), (10, 1_000), (50, 100), (1_000, 1_000)])
@pytest.mark.parametrize(("number", "seconds"), [(1_000, 1), (MOST_CHUNKS, 60)])
def test_every_chunk_is_processed_or_has_its_dead_letter(
    concurrency: int, workers: int, number: int, seconds: float
) -> None:
    account, executions = Account(OF_CHUNKS, concurrency, seconds), chunks(number)
    account.run(executions, workers)

    assert not [each for each in executions if each.failed]
    assert account.now < BULK["TimeoutSeconds"]
    assert max(each.events for each in executions) < HISTORY_LIMIT


@pytest.mark.parametrize("concurrency", [10, 50, 1_000])
def test_a_flood_of_objects_is_processed(concurrency: int) -> None:
    account, executions = Account(PIPELINE, concurrency, 1), [Execution([*STEPS, "DeadLetter"]) for _ in range(10_000)]
    account.run(executions, workers=len(executions))

    assert not [each for each in executions if each.failed]
    assert account.now < PIPELINE["TimeoutSeconds"]
    assert max(each.events for each in executions) < HISTORY_LIMIT


@pytest.mark.parametrize(("machine", "states"), [(PIPELINE, PIPELINE), (BULK, BULK), (BULK, OF_CHUNKS)])
def test_a_task_is_retried_until_its_machine_times_out_and_its_history_has_room(
    machine: dict[str, Any], states: dict[str, Any]
) -> None:
    for state in (state for state in states["States"].values() if state["Type"] == "Task"):
        retry = state["Retry"][0]
        mean_delay = retry["MaxDelaySeconds"] / 2

        assert retry["MaxAttempts"] * mean_delay > 1.1 * machine["TimeoutSeconds"]
        assert machine["TimeoutSeconds"] / mean_delay * EVENTS_OF_A_CALL < HISTORY_LIMIT / 1.5
