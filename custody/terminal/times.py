"""Format times in UTC, in milliseconds like Step Functions, and durations for people."""

from datetime import UTC, datetime

_SECOND = 1000
_MINUTE = 60
_HOUR = 3600
_DAY = 86_400


def stamp(moment: datetime) -> str:
    """Format a time, such as `2026-03-01T10:00:02.113Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stamped(moment: datetime | None) -> str | None:
    """Format a time, if there is one."""
    return stamp(moment) if moment else None


def seconds(start: datetime | None, end: datetime | None) -> float | None:
    """Return the seconds between two times; None if one of them is None."""
    return round((end - start).total_seconds(), 3) if start and end else None


def took(duration: float) -> str:
    """Format a duration, such as `11 ms`, `1.6 s`, `2 min 5 s`, `3 h 0 min` or `2 d 1 h`."""
    if (milliseconds := round(duration * _SECOND)) < _SECOND:
        return f"{milliseconds} ms"
    if round(duration, 1) < _MINUTE:
        return f"{duration:.1f} s"
    whole = round(duration)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"
