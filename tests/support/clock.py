"""A clock that goes on only when somebody sleeps: what is paced is tested without waiting for it."""

from dataclasses import dataclass


@dataclass
class Clock:
    """Stands in for the module `time`; `now` is in seconds."""

    now: float = 0.0

    def monotonic(self) -> float:
        """Tell the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time go by."""
        self.now += seconds
