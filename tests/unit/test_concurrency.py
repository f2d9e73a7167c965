"""Calls to AWS in a bounded thread pool, and their pace."""

import threading

import pytest

from custody import concurrency
from custody.concurrency import map_ordered, paced
from tests.support.clock import Clock


def test_paced_items_come_no_faster_than_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(concurrency, "time", clock)
    assert [(item, round(clock.now, 3)) for item in paced("abc", 100)] == [("a", 0.0), ("b", 0.01), ("c", 0.02)]


def test_results_come_in_the_order_of_the_items() -> None:
    second_has_ended = threading.Event()

    def call(item: int) -> int:
        if item == 0:
            second_has_ended.wait(10)
        else:
            second_has_ended.set()
        return item * 2

    assert list(map_ordered(call, range(5))) == [0, 2, 4, 6, 8]


def test_only_so_many_items_are_taken_in_advance() -> None:
    items = iter(range(100))
    results = map_ordered(lambda item: item, items, workers=1, ahead=3)
    assert next(results) == 0
    assert next(items) <= 3
