"""Times are formatted in UTC with milliseconds; durations in at most two units."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from custody.terminal.times import seconds, stamp, stamped, took


def test_a_time_is_formatted_in_utc() -> None:
    moment = datetime(2026, 3, 1, 11, 0, 2, 113_999, tzinfo=timezone(timedelta(hours=1)))
    assert stamp(moment) == stamped(moment) == "2026-03-01T10:00:02.113Z"
    assert stamped(None) is None


def test_without_an_end_there_is_no_duration() -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    assert seconds(start, start + timedelta(milliseconds=1500)) == 1.5
    assert seconds(start, None) is seconds(None, start) is None


@pytest.mark.parametrize(
    ("duration", "text"),
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
def test_a_duration_has_at_most_two_units(duration: float, text: str) -> None:
    assert took(duration) == text
