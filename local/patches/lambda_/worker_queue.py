"""Calls beyond the number of workers wait for a free one.

MiniStack starts one process for each concurrent call, without bound, and throttles at a function's reserved concurrency
at once. A developer's machine has memory for a few processes; a queue gives the outcome that AWS gives with its many.
Reserved concurrency of 0 still switches a function off. The time in the queue counts against a Task's TimeoutSeconds,
so a Distributed Map runs no more children at a time than there are workers of a function, whatever its MaxConcurrency.
A function that calls itself and waits holds a worker at each level: it cannot go deeper than there are workers.
"""

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from local.patches.patch import change, member, module, wrap


def apply(workers: int) -> None:
    """Let at most `workers` calls of a function, and children of a Map, run at a time."""
    service = module("services.lambda_svc")
    running = member(service, "_inflight")
    key_of, reserved_of = member(service, "_inflight_key"), member(service, "_reserved_concurrency")
    freed: defaultdict[str, threading.Condition] = defaultdict(threading.Condition)

    def acquiring(acquire: Callable[..., Any]) -> Callable[..., Any]:
        def acquired(function: Any, config: Any) -> Any:
            reserved = reserved_of(function, config)
            limit = workers if reserved is None else min(workers, reserved)
            if limit == 0:
                return acquire(function, config)
            key = key_of(config)
            with freed[key]:
                freed[key].wait_for(lambda: running.get(key, 0) < limit)
                return acquire(function, config)

        return acquired

    def releasing(release: Callable[..., Any]) -> Callable[..., Any]:
        def released(key: str | None) -> None:
            release(key)
            if key is not None:
                with freed[key]:
                    freed[key].notify()

        return released

    wrap(service, "_acquire_execution_slot", acquiring)
    wrap(service, "_release_execution_slot", releasing)
    change(
        module("services.stepfunctions"),
        "_run_distributed_map",
        {"max_workers=workers": "max_workers=min(workers, _local_workers)"},
        {"_local_workers": workers},
    )
