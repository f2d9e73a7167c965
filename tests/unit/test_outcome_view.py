"""What `custody put` shows of objects without an outcome: how far they are, and where to see more."""

import io
from typing import Any

import pytest
from rich.console import Console

from custody.ingest.outcome import FileOutcome, ObjectOutcome, Upload
from custody.views import outcome as outcome_view
from functions.shared.model.ids import RawObject
from functions.shared.model.messages import Counts

RAW = RawObject("raw", "mission/many.jsonl", "v1", 1400, "e")
UPLOAD = Upload("a", RAW, "arn").document
LOST = {"dead_letter": "s3://audit/x"}


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    screen = io.StringIO()
    monkeypatch.setattr(outcome_view, "console", Console(file=screen, highlight=False, width=1000))
    return screen


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({"status": "RUNNING"}, f"RUNNING; see: custody trace {RAW.id}"),
        ({"status": "ABORTED"} | LOST, "ABORTED; dead letter: s3://audit/x"),
        ({"status": "ABORTED", "error": "Boom"} | LOST, "ABORTED Boom; dead letter: s3://audit/x"),
        (
            {"status": "ABORTED", "error": "Boom", "cause": "it broke"} | LOST,
            "ABORTED Boom: it broke; dead letter: s3://audit/x",
        ),
    ],
)
def test_an_object_without_an_outcome_shows_all_that_is_known(
    screen: io.StringIO, facts: dict[str, Any], shown: str
) -> None:
    document = FileOutcome("a", UPLOAD.object, "arn", **facts)
    outcome_view.outcomes([ObjectOutcome(Upload("a", RAW, "arn"), document)])
    (row,) = (line for line in screen.getvalue().splitlines() if "no outcome" in line)
    assert row.partition("no outcome")[2].strip() == shown


def test_a_stopped_bulk_object_shows_its_committed_chunks(screen: io.StringIO) -> None:
    document = FileOutcome("a", UPLOAD.object, "arn", "ABORTED", Counts(2000, 2000, 0))
    outcome_view.outcomes([ObjectOutcome(Upload("a", RAW, "arn", chunks=7), document, committed=3)])
    assert "3 of 7" in screen.getvalue()
