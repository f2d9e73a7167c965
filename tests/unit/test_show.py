"""What `custody put` shows of objects without an outcome: how far they are, and where to see more."""

import io

import pytest
from rich.console import Console

from custody.audit.ledger_lines import Counts
from custody.ingest.outcome import ObjectOutcome, Sent
from custody.terminal import console
from custody.views import outcome as outcome_view
from functions.shared.model.ids import RawObject

RAW = RawObject("raw", "mission/many.jsonl", "v1", 1400, "e")


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    screen = io.StringIO()
    monkeypatch.setattr(console, "console", Console(file=screen, highlight=False, width=1000))
    return screen


def why(screen: io.StringIO) -> str:
    """Give what stands in the last column of the row of an object without an outcome."""
    (row,) = (line for line in screen.getvalue().splitlines() if "no outcome" in line)
    return row.partition("no outcome")[2].strip()


def test_what_has_not_ended_says_no_more_than_its_state_and_where_to_look(screen: io.StringIO) -> None:
    outcome_view.outcomes([ObjectOutcome(Sent("a", RAW, "arn"), "RUNNING", None, [], None)])
    assert why(screen) == f"RUNNING; see: custody trace {RAW.id}"


@pytest.mark.parametrize(
    ("error", "cause", "said"),
    [
        (None, None, "ABORTED; dead letter: s3://audit/x"),
        ("Boom", None, "ABORTED Boom; dead letter: s3://audit/x"),
        ("Boom", "it broke", "ABORTED Boom: it broke; dead letter: s3://audit/x"),
    ],
)
def test_what_has_failed_says_what_is_known(
    screen: io.StringIO, error: str | None, cause: str | None, said: str
) -> None:
    outcome_view.outcomes(
        [ObjectOutcome(Sent("a", RAW, "arn"), "ABORTED", None, [], None, None, error, cause, "s3://audit/x")]
    )
    assert why(screen) == said


def test_a_stopped_object_tells_how_many_of_its_chunks_are_committed(screen: io.StringIO) -> None:
    counts = Counts(2000, 2000, 0)
    outcome_view.outcomes([ObjectOutcome(Sent("a", RAW, "arn", chunks=7), "ABORTED", counts, [], None, committed=3)])
    assert "3 of 7" in screen.getvalue()
