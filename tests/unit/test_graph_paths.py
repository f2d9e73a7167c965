"""The way of an execution is seen in its picture: by colours, and by signs and words for those who see none."""

import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from custody.graphs.looks import DARK, LIGHT
from custody.graphs.machines import Machine
from custody.graphs.pages import page
from custody.graphs.paths import Condition, Path, path_of
from custody.graphs.svg import svg
from custody.graphs.terminal import text
from custody.histories import steps
from infra.composition import compose
from tests.recorded import events
from tests.steps import BULK, PIPELINE
from tests.unit.test_histories import TOLD

MACHINES = {"pipeline": PIPELINE, "bulk": compose(BULK, PIPELINE, chunk_concurrency=5)}
PASSED, FAILED, RUNNING, NOT_REACHED = Condition


def machine_of(history: str) -> Machine:
    name = "bulk" if history.endswith("bulk") else "pipeline"
    return Machine.read(name, MACHINES[name])


def path(history: str, *, has_times: bool = True, chunks: str = "") -> Path:
    """Find the way in a history of tests/histories."""
    return path_of(machine_of(history), steps(events(history)), {"ProcessChunks": chunks}, has_times=has_times)


def taken(found: Path) -> set[str]:
    return {f"{way.source} {'!' if way.is_catch else '>'} {way.target}" for way in found.taken}


def shown(history: str, *, is_ascii: bool = False, chunks: str = "") -> str:
    return text(page(machine_of(history), path(history, chunks=chunks)), is_ascii=is_ascii).plain


def test_a_good_execution_passes_its_steps_and_ends_behind_the_last() -> None:
    found = path("aws-good")
    assert {name: mark.condition for name, mark in found.marks.items()} == {
        "Validate": PASSED,
        "Transform": PASSED,
        "Write": PASSED,
        "DeadLetter": NOT_REACHED,
        "Resume": NOT_REACHED,
    }
    assert taken(found) == {"Validate > Transform", "Transform > Write"}
    assert found.ended == {"Write"}


@pytest.mark.parametrize("history", ["aws-rejected", "embedded-rejected"])
def test_a_failure_is_told_where_it_was_and_where_it_was_caught(history: str) -> None:
    found = path(history, has_times=False)
    assert found.marks["Validate"].condition is FAILED
    assert found.marks["Validate"].told == "caught: RecordsRejected"
    assert found.marks["DeadLetter"].told == "failed: RecordsRejected"
    assert taken(found) == {"Validate ! DeadLetter"}
    assert not found.ended


@pytest.mark.parametrize("history", ["aws-redriven", "embedded-redriven"])
def test_what_was_redriven_has_passed_the_branch_of_failures_to_where_it_went_on(history: str) -> None:
    found = path(history)
    assert {mark.condition for mark in found.marks.values()} == {PASSED}
    assert taken(found) == {
        "Validate > Transform",
        "Transform > Write",
        "Write ! DeadLetter",
        "DeadLetter > Resume",
        "Resume > Write",
    }
    assert found.ended == {"Write"}
    assert re.match(r"\d times, ", found.marks["Write"].told)


def test_tries_and_times_are_told_beside_a_state() -> None:
    assert re.fullmatch(r"3 tries, [\d.]+ s", path("aws-retried").marks["Transform"].told)
    assert path("aws-retried", has_times=False).marks["Transform"].told == "3 tries"


def test_what_runs_is_told_so() -> None:
    found = path("aws-running")
    assert found.marks["Transform"].condition is RUNNING
    assert found.marks["Transform"].told == "running"
    assert "● Transform  running" in shown("aws-running")


@pytest.mark.parametrize(("history", "told"), [("aws-timed-out", "timed out"), ("aws-aborted", "aborted")])
def test_an_execution_that_was_ended_from_outside_is_told_at_the_step_it_was_in(history: str, told: str) -> None:
    found = path(history, has_times=False)
    assert found.marks["Transform"].condition is FAILED
    assert found.marks["Transform"].told.startswith(told)


def test_of_a_distributed_map_its_chunks_are_counted_and_its_states_are_told_nothing_of() -> None:
    counted = "5,000 chunks: 4,998 succeeded, 2 failed"
    found = path("aws-bulk", chunks=counted)
    assert counted in found.marks["ProcessChunks"].told
    assert "ValidateChunk" not in found.marks
    assert counted in shown("aws-bulk", chunks=counted)
    assert "  ValidateChunk" in shown("aws-bulk")


def test_the_branches_of_a_parallel_are_each_followed() -> None:
    """Their steps are mixed in a history: so that of the other branch may stand between two that follow each other."""
    branches = [
        {"StartAt": a, "States": {a: {"Type": "Pass", "Next": b}, b: {"Type": "Pass", "End": True}}}
        for a, b in ("AB", "CD")
    ]
    machine = Machine.read(
        "m", {"StartAt": "Both", "States": {"Both": {"Type": "Parallel", "Branches": branches, "End": True}}}
    )
    mixed = [step for name in ("A", "C", "B", "D") for step in steps(passed(name))]
    found = path_of(machine, mixed, {})
    assert taken(found) == {"A > B", "C > D"}
    assert found.ended == {"B", "D"}


def passed(name: str) -> list[Any]:
    """Give the events of a state that was entered and left."""
    (event, *_) = events("aws-good")
    told = {"timestamp": event["timestamp"]}
    return [
        told | {"id": 1, "type": "PassStateEntered", "stateEnteredEventDetails": {"name": name}},
        told | {"id": 2, "previousEventId": 1, "type": "PassStateExited", "stateExitedEventDetails": {"name": name}},
    ]


@pytest.mark.parametrize("history", TOLD)
def test_every_history_is_drawn_and_its_signs_do_without_colours(history: str) -> None:
    conditions = {name: mark.condition for name, mark in path(history).marks.items()}
    lines = shown(history).splitlines()
    signs = {PASSED: "✓", FAILED: "✗", RUNNING: "●", NOT_REACHED: "○"}
    for name, condition in conditions.items():
        assert any(f"│ {signs[condition]} {name}" in line for line in lines), name
    for condition, sign in signs.items():
        assert f"{sign} {condition}" in lines[-2], "what a sign means is told below"
    assert "━━━━━ taken" in lines[-1]
    assert max(map(len, lines)) <= 80


def test_what_was_taken_is_a_thick_line_and_what_was_not_a_hollow_arrow() -> None:
    lines = shown("aws-redriven").splitlines()
    (resumed,) = (line for line in lines if "if resume = Write" in line)
    assert "┗━━┥" in resumed
    (validate,) = (line for line in lines if "✓ Validate" in line)
    assert "▷│" in validate
    assert validate.rstrip().endswith("├╌╌╮")
    (write,) = (line for line in lines if "✓ Write" in line)
    assert "━►│" in write
    assert write.rstrip().endswith("┝╍╍┪")


def test_a_terminal_without_unicode_is_given_ascii() -> None:
    lines = shown("aws-redriven", is_ascii=True).splitlines()
    assert "".join(lines).isascii()
    assert any("+ Validate" in line for line in lines)
    assert any("=>|" in line and "+ Write" in line for line in lines)


def test_an_svg_has_classes_for_both_schemes_and_dashes_for_errors() -> None:
    drawn = svg(page(machine_of("aws-rejected"), path("aws-rejected")))
    root = ET.fromstring(drawn)  # noqa: S314 - it is our own
    classes = [each.get("class", "") for each in root.iter()]
    assert "state failed" in classes
    assert "state not-reached" in classes
    assert "wire catch taken" in classes
    style = "".join(root.itertext())
    assert "prefers-color-scheme:dark" in style
    assert ".catch{stroke-dasharray" in style


def contrast(one: str, other: str) -> float:
    """Give the contrast of two colours (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_all_text_can_be_read_on_what_it_stands_on(colours: dict[str, str]) -> None:
    """At 4.5 to 1, as WCAG 2.2 asks of text of this size (https://www.w3.org/TR/WCAG22/#contrast-minimum)."""
    backgrounds = [colour for name, colour in colours.items() if name.endswith("-fill") or name in {"page", "holder"}]
    assert len(backgrounds) == 6
    pairs = [(text, background) for text in ("text", "soft", "failed") for background in backgrounds]
    told = [(colours[text], background) for text, background in pairs]
    told += [(colours[name], colours[f"{name}-fill"]) for name in ("passed", "running")]
    assert not [pair for pair in told if contrast(*pair) < 4.5]


def test_rows_of_text_stand_below_one_another() -> None:
    words = [each for each in page(machine_of("aws-good"), path("aws-good")).words if each.x]
    for one, other in pairwise(sorted(words, key=lambda each: (each.y, each.x))):
        assert one.y < other.y or one.x + len(one.text) < other.x
