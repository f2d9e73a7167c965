"""Concurrent calls beyond the number of workers wait for a free worker.

MiniStack starts a process for each concurrent call, without limit, and throttles at the reserved concurrency of a
function. A developer's machine has memory for a few processes only; waiting gives the outcome that AWS gives with many.
A reserved concurrency of 0 still disables a function.
"""

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from local.patches.patch import module, wrap

service = module("services.lambda_svc")


def apply(workers: int) -> None:
    """Run at most `workers` calls of a function at a time."""
    freed: defaultdict[str, threading.Condition] = defaultdict(threading.Condition)

    def acquire_when_free(acquire: Callable[..., Any], function: Any, config: Any) -> Any:
        reserved = service._reserved_concurrency(function, config)
        limit = workers if reserved is None else min(workers, reserved)
        if limit == 0:
            return acquire(function, config)
        key = service._inflight_key(config)
        with freed[key]:
            freed[key].wait_for(lambda: service._inflight.get(key, 0) < limit)
            return acquire(function, config)

    def release_and_notify(release: Callable[..., Any], key: str | None) -> None:
        release(key)
        if key is not None:
            with freed[key]:
                freed[key].notify()

    wrap(service, "_acquire_execution_slot", acquire_when_free)
    wrap(service, "_release_execution_slot", release_and_notify)
