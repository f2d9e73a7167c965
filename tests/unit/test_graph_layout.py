"""Any machine becomes a picture in which every state and every transition is drawn, and nothing lies on anything."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from custody.graphs.columns import column
from custody.graphs.lanes import lanes
from custody.graphs.machines import Machine, Scope
from custody.graphs.pages import WIDTH, page
from custody.graphs.shapes import Box, Drawing, Role, Wire
from custody.graphs.svg import svg
from custody.graphs.terminal import text
from custody.pointing import visible
from infra.composition import compose
from tests.steps import BULK, PIPELINE

SVG = "{http://www.w3.org/2000/svg}"
NAMES = st.one_of(
    st.sampled_from(["A", "<b>&amp;", 'quoted "name"', "Prüfen", "検証する", "👩‍🔧", "x" * 80]), st.text(min_size=1)
)
TEXTS = st.one_of(st.just(""), st.text(max_size=40), st.sampled_from(["Does this, and that. Then more.", "w " * 90]))
ERRORS = st.lists(st.sampled_from(["States.ALL", "States.Timeout", "Refused"]), min_size=1, max_size=2, unique=True)
KINDS = ("Task", "Pass", "Wait", "Choice", "Succeed", "Fail", "Map", "Parallel")
Cell = tuple[int, int]


@st.composite
def scopes(draw: st.DrawFn, names: Iterator[str], depth: int = 0) -> dict[str, Any]:
    """Give states that lead anywhere among themselves: in circles, to themselves, and some to nowhere."""
    mine = [next(names) for _ in range(draw(st.integers(1, 6 if depth == 0 else 3)))]
    target = st.sampled_from(mine)
    states: dict[str, Any] = {}
    for name in mine:
        kind = draw(st.sampled_from(KINDS if depth < 2 else KINDS[:6]))
        state: dict[str, Any] = {"Type": kind, "Comment": draw(TEXTS)}
        if kind == "Choice":
            rules = draw(st.lists(st.tuples(TEXTS, target), min_size=1, max_size=3))
            state["Choices"] = [{"Variable": "$.a", "StringEquals": is_, "Next": to} for is_, to in rules]
            state |= draw(st.one_of(st.just({}), target.map(lambda to: {"Default": to})))
        elif kind not in {"Succeed", "Fail"}:
            state |= draw(st.one_of(st.just({"End": True}), target.map(lambda to: {"Next": to})))
        if kind == "Map":
            state["ItemProcessor"] = draw(scopes(names, depth + 1))
        if kind == "Parallel":
            state["Branches"] = [draw(scopes(names, depth + 1)) for _ in range(draw(st.integers(1, 3)))]
        if kind in {"Task", "Map", "Parallel"}:
            caught = draw(st.lists(st.tuples(ERRORS, target), max_size=2))
            state["Catch"] = [{"ErrorEquals": errors, "Next": to} for errors, to in caught]
        states[name] = state
    return {"StartAt": mine[0], "States": states}


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    # The names of a whole machine are unique.
    given_names = draw(st.lists(NAMES, max_size=8, unique_by=visible))
    names = iter([*given_names, *(name for name in map("State {}".format, range(1000)) if name not in given_names)])
    return Machine.read(draw(NAMES), draw(scopes(names)) | {"Comment": draw(TEXTS)})


def cells_of(wire: Wire) -> list[tuple[Cell, bool]]:
    """Give the cells between the ends of a line, each with whether it is passed up or down."""
    found = []
    for (x, y), (to_x, to_y) in pairwise(wire.points):
        xs, ys = range(min(x, to_x), max(x, to_x) + 1), range(min(y, to_y), max(y, to_y) + 1)
        found += [((a, b), x == to_x) for a in xs for b in ys]
    return [(cell, is_up) for cell, is_up in found if cell not in {wire.points[0], wire.points[-1]}]


def border_of(box: Box) -> set[Cell]:
    xs, ys = range(box.x, box.right + 1), range(box.y, box.bottom + 1)
    return {(x, y) for x in xs for y in (box.y, box.bottom)} | {(x, y) for y in ys for x in (box.x, box.right)}


def holds(outer: Box, inner: Box) -> bool:
    return outer.x < inner.x and inner.right < outer.right and outer.y < inner.y and inner.bottom < outer.bottom


def are_apart(one: Box, other: Box) -> bool:
    beside = one.right + 1 < other.x or other.right + 1 < one.x
    return beside or one.bottom + 1 < other.y or other.bottom + 1 < one.y


def inside_of(scope: Scope) -> Iterator[tuple[str, str]]:
    """Give each state with each that it holds, at any depth."""
    for state in scope.walk():
        for inner in state.scopes:
            yield from ((state.name, each.name) for each in inner.walk())


def require_whole(machine: Machine, drawing: Drawing) -> None:
    """Fail unless every state is drawn once, and every transition."""
    states = list(machine.scope.walk())
    assert Counter(box.state.name for box in drawing.boxes) == Counter(state.name for state in states)
    drawn = Counter((wire.ends, wire.is_catch) for wire in drawing.wires if wire.ends and all(wire.ends))
    assert drawn == Counter(((way.source, way.target), way.is_catch) for state in states for way in state.transitions)
    assert sum(spot.is_end for spot in drawing.spots) == sum(state.is_end for state in states)
    assert sum(not spot.is_end for spot in drawing.spots) == len(list(machine.scope.scopes()))


def require_apart(machine: Machine, drawing: Drawing) -> None:
    """Fail if a box lies on another that does not hold it, a line on a box, or a word on anything."""
    held = set(inside_of(machine.scope))
    for number, one in enumerate(drawing.boxes):
        for other in drawing.boxes[number + 1 :]:
            names = (one.state.name, other.state.name)
            assert holds(one, other) if names in held else are_apart(one, other), names
    borders = set().union(*(border_of(box) for box in drawing.boxes))
    lines: dict[tuple[Cell, bool], int] = {}
    for wire in drawing.wires:
        for cell, is_up in cells_of(wire):
            assert cell not in borders, wire.ends
            if wire.ends:
                assert lines.setdefault((cell, is_up), wire.bundle) == wire.bundle, f"{wire.ends} lies on another"
    taken = borders | {cell for cell, _ in lines}
    for words in drawing.words:
        cells = {(words.x + at, words.y) for at in range(cell_len(words.text))}
        assert not cells & taken, words
        assert words.x + len(cells) <= drawing.width
        taken |= cells


def require_drawn(machine: Machine, drawing: Drawing) -> None:
    """Fail unless both renderers draw it: well-formed XML with each state by its name, and text that fits."""
    root = ET.fromstring(svg(drawing))  # noqa: S314 - it is our own
    named = [
        state.findtext(f"{SVG}title", "").split("\n")[0]
        for state in root.iter(f"{SVG}g")
        if state.get("class", "").startswith("state")
    ]
    assert Counter(named) == Counter(visible(state.name) for state in machine.scope.walk())
    shown = text(drawing).plain
    assert max(map(cell_len, shown.splitlines())) <= drawing.width
    assert text(drawing, is_ascii=True).plain.isascii()


@given(machines())
@settings(deadline=None, max_examples=60)
def test_any_machine_is_drawn_whole_and_nothing_lies_on_anything(machine: Machine) -> None:
    drawing = page(machine)
    require_whole(machine, drawing)
    require_apart(machine, drawing)
    require_drawn(machine, drawing)
    assert page(machine) == drawing


@pytest.mark.parametrize(
    "definition", [PIPELINE, compose(BULK, PIPELINE, chunk_concurrency=5)], ids=["pipeline", "bulk"]
)
def test_our_machines_fit_a_terminal_and_stand_in_the_order_of_their_good_way(definition: dict[str, Any]) -> None:
    machine = Machine.read("ours", definition)
    drawing = page(machine)
    require_whole(machine, drawing)
    require_apart(machine, drawing)
    assert drawing.width <= WIDTH
    assert [state.name for state in column(machine.scope).states] == list(definition["States"])


def test_a_machine_of_a_thousand_states_is_drawn() -> None:
    names = [f"S{number}" for number in range(1000)]
    states: dict[str, Any] = {name: {"Type": "Pass", "Next": after} for name, after in pairwise(names)}
    machine = Machine.read("long", {"StartAt": "S0", "States": states | {"S999": {"Type": "Succeed"}}})
    assert [box.state.name for box in page(machine).boxes] == names


def test_both_arms_of_a_choice_stand_above_what_they_lead_to_and_a_failure_below_the_good_way() -> None:
    states: dict[str, Any] = {
        "Last": {"Type": "Succeed"},
        "Broken": {"Type": "Fail"},
        "Which": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.a", "StringEquals": "x", "Next": "Other"},
                {"Variable": "$.a", "IsNull": True, "Next": "Broken"},
            ],
            "Default": "One",
        },
        "One": {"Type": "Pass", "Next": "Last"},
        "Other": {"Type": "Pass", "Next": "Last"},
    }
    machine = Machine.read("choosing", {"StartAt": "Which", "States": states})
    assert [state.name for state in column(machine.scope).states] == ["Which", "One", "Other", "Last", "Broken"]


def test_ways_on_errors_to_the_same_state_share_a_lane() -> None:
    drawing = page(Machine.read("pipeline", PIPELINE))
    caught = [wire for wire in drawing.wires if wire.is_catch and wire.ends]
    assert len(caught) == 3
    assert len({wire.bundle for wire in caught}) == 1
    assert len({wire.points[1][0] for wire in caught}) == 1


def test_a_lane_is_used_again_only_where_a_row_is_free_between() -> None:
    assert lanes([(0, 3), (4, 6), (5, 9), (11, 12)]) == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"Variable": "$.resume", "StringEquals": "Write"}, "resume = Write"),
        ({"Variable": "$.n", "NumericGreaterThanEquals": 3}, "n >= 3"),
        ({"Variable": "$.n", "NumericLessThanPath": "$.limit"}, "n < limit"),
        ({"Variable": "$.a", "IsPresent": True}, "a is present"),
        ({"Variable": "$.a", "IsPresent": False}, "not (a is present)"),
        ({"Variable": "$.a", "StringMatches": "*.json"}, 'a like "*.json"'),
        ({"Not": {"Variable": "$.a", "BooleanEquals": True}}, "not (a = true)"),
        (
            {"And": [{"Variable": "$.a", "IsNull": True}, {"Or": [{"Variable": "$.b", "StringEquals": "x"}]}]},
            "a is null and b = x",
        ),
        ({"Condition": "{% $a > 1 %}"}, "$a > 1"),
        ({"Variable": "$.a", "OfTomorrow": 1}, "a of tomorrow 1"),
    ],
)
def test_the_rule_of_a_choice_is_told_in_a_few_words(rule: dict[str, Any], said: str) -> None:
    definition = {"StartAt": "C", "States": {"C": {"Type": "Choice", "Choices": [rule | {"Next": "C"}]}}}
    (state,) = Machine.read("m", json.loads(json.dumps(definition))).scope.states
    assert [way.when for way in state.transitions] == [said]


def test_of_a_comment_the_first_sentence_is_shown_and_no_clause_in_part() -> None:
    comment = "Reads the object, which is long, " + "and so on " * 20 + ". And more."
    states = {"Read": {"Type": "Succeed", "Comment": comment}}
    shown = page(Machine.read("m", {"StartAt": "Read", "States": states})).words
    assert [words.text for words in shown if words.role is Role.COMMENT] == ["Reads the object, which is long"]
