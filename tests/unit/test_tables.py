"""Tables fit the terminal: names are shortened in the middle, text wraps, and what is piped is whole."""

import io

import pytest

from custody.terminal.console import Screen
from custody.terminal.tables import Rows, render, shorten

ID = "mission-two-violations-json-4904179df23e88698622c13e"
URI = f"s3://custody-dev-processed-000000000000-us-east-1/mission/dt=2026-11-30/{ID}.jsonl"


def shown(width: int, *rows: tuple[object, ...], is_terminal: bool = True, whole: bool = False) -> list[str]:
    """Show objects with their state, the number of their records, why, and their id."""
    table = Rows("object", "state", "records", "why", "id")
    for row in rows:
        table.add(*row)  # type: ignore[arg-type]  # of tests
    screen = Screen(file=io.StringIO(), force_terminal=is_terminal, width=width)
    return [str(line) for line in render(table, screen, command=("custody trace", 4), whole=whole)]


ROW = ("mission/two-violations.json", ("rejected", "red"), 12_000, [f"see {URI} and then do something"], ID)


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_a_table_fits_the_terminal_and_names_are_whole_below(width: int) -> None:
    lines = shown(width, ROW, (*ROW[:4], "mission-a-json-000000000000000000000001"))
    assert max(len(line) for line in lines if not line.startswith("custody trace")) <= width
    assert all(line == line.rstrip() for line in lines)
    assert ID in " ".join(lines)
    assert not any(piece in lines for piece in (ID[:30], ID[30:]))


def test_a_wide_terminal_or_an_option_shows_all_on_one_line_each() -> None:
    assert len(shown(300, ROW)) == 2
    (_, line) = shown(60, ROW, whole=True)
    assert all(part in line for part in ("12,000", URI, ID))


def test_what_is_piped_is_whole_and_separated_by_tabs() -> None:
    heading, line = shown(60, ROW, is_terminal=False)
    assert heading.split("\t") == ["object", "state", "records", "why", "id"]
    assert line.split("\t") == [ROW[0], "rejected", "12000", f"see {URI} and then do something", ID]
    assert shown(60, ("a\tb\n", "", 1, [], ""), is_terminal=False)[1] == "a␉b␊\t\t1\t\t"


def test_a_column_without_contents_is_not_shown() -> None:
    assert shown(80, ("a", "", 1, [], "")) == ["object  records", "a             1"]


@pytest.mark.parametrize(
    ("text", "short"),
    [("abc", "abc"), ("mission-a-json-4904179d", "mis…179d"), ("日本語日本語", "日…本語"), ("é" * 9, "ééé…éééé")],
)
def test_a_name_is_shortened_in_the_middle(text: str, short: str) -> None:
    assert shorten(text, 8) == short
