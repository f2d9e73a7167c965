"""Retry honours MaxDelaySeconds and JitterStrategy, and States.ALL leaves out what it leaves out on AWS.

https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html: States.DataLimitExceeded and
States.Runtime are not caught by States.ALL.
"""

import random
from collections.abc import Callable
from typing import Any

from local.patches.patch import module, wrap

_NOT_IN_ALL = ("States.DataLimitExceeded", "States.Runtime")


def fill() -> None:
    """Work the delay out before MiniStack does, and hand it over as the interval."""
    machines = module("services.stepfunctions")

    def finding(find: Callable[..., Any]) -> Callable[..., Any]:
        def found(retriers: list[dict[str, Any]], error: str, counts: dict[int, int]) -> Any:
            retrier, index = find(retriers, error, counts)
            if retrier is None:
                return retrier, index
            return {**retrier, "IntervalSeconds": delay(retrier, counts.get(index, 0)), "BackoffRate": 1.0}, index

        return found

    def matching(matches: Callable[..., Any]) -> Callable[..., Any]:
        def matched(named: list[str], error: str) -> bool:
            return bool(error in named if error in _NOT_IN_ALL else matches(named, error))

        return matched

    wrap(machines, "_find_matching_retrier", finding)
    wrap(machines, "_error_matches", matching)


def delay(retrier: dict[str, Any], earlier: int) -> float:
    """Give the seconds before the next attempt, `earlier` retries into it."""
    longest = float(retrier.get("IntervalSeconds", 1)) * float(retrier.get("BackoffRate", 2.0)) ** earlier
    longest = min(longest, float(retrier.get("MaxDelaySeconds", longest)))
    return random.uniform(0, longest) if retrier.get("JitterStrategy") == "FULL" else longest  # noqa: S311
