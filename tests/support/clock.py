"""A clock that advances only when the code sleeps, so that pacing is tested without waiting."""

from dataclasses import dataclass


@dataclass
class Clock:
    """Stands in for the module `time`; `now` is in seconds."""

    now: float = 0.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Advance the time."""
        self.now += seconds
