"""Times are told in UTC, to a thousandth of a second; durations so that people read them at a glance."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from custody.terminal.times import seconds, stamp, stamped, took


def test_a_moment_is_written_in_utc() -> None:
    moment = datetime(2026, 3, 1, 11, 0, 2, 113_999, tzinfo=timezone(timedelta(hours=1)))
    assert stamp(moment) == stamped(moment) == "2026-03-01T10:00:02.113Z"
    assert stamped(None) is None


def test_what_has_no_end_has_no_duration() -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    assert seconds(start, start + timedelta(milliseconds=1500)) == 1.5
    assert seconds(start, None) is seconds(None, start) is None


@pytest.mark.parametrize(
    ("duration", "told"),
    [
        (0, "0 ms"),
        (0.0114, "11 ms"),
        (0.9999, "1.0 s"),
        (59.94, "59.9 s"),
        (59.97, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3599.7, "1 h 0 min"),
        (3700, "1 h 1 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_duration_is_told_in_two_units_at_the_most(duration: float, told: str) -> None:
    assert took(duration) == told
