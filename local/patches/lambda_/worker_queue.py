"""Concurrent calls beyond the number of workers wait for a free worker.

MiniStack starts a process for each concurrent call, without limit, and throttles at the reserved concurrency of a
function. A developer's machine has memory for a few processes only; waiting gives the outcome that AWS gives with many.
A reserved concurrency of 0 still disables a function. Waiting counts against a Task's TimeoutSeconds, so a Distributed
Map runs no more children at a time than a function has workers, whatever its MaxConcurrency.
"""

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from local.patches.patch import change, member, module, wrap


def apply(workers: int) -> None:
    """Run at most `workers` calls of a function, and children of a Map, at a time."""
    service = module("services.lambda_svc")
    running = member(service, "_inflight")
    key_of, reserved_of = member(service, "_inflight_key"), member(service, "_reserved_concurrency")
    freed: defaultdict[str, threading.Condition] = defaultdict(threading.Condition)

    def acquiring(acquire: Callable[..., Any]) -> Callable[..., Any]:
        def acquire_when_free(function: Any, config: Any) -> Any:
            reserved = reserved_of(function, config)
            limit = workers if reserved is None else min(workers, reserved)
            if limit == 0:
                return acquire(function, config)
            key = key_of(config)
            with freed[key]:
                freed[key].wait_for(lambda: running.get(key, 0) < limit)
                return acquire(function, config)

        return acquire_when_free

    def releasing(release: Callable[..., Any]) -> Callable[..., Any]:
        def release_and_notify(key: str | None) -> None:
            release(key)
            if key is not None:
                with freed[key]:
                    freed[key].notify()

        return release_and_notify

    wrap(service, "_acquire_execution_slot", acquiring)
    wrap(service, "_release_execution_slot", releasing)
    change(
        module("services.stepfunctions"),
        "_run_distributed_map",
        {"max_workers=workers": "max_workers=min(workers, _local_workers)"},
        {"_local_workers": workers},
    )
