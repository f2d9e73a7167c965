"""A patch that does not fit the installed MiniStack stops the start, and says where and what to do."""

import types

import pytest

from local.patches import patch


def greet(name: str) -> str:
    """Greet."""
    return f"hello {name}"


@pytest.fixture
def owner() -> types.SimpleNamespace:
    return types.SimpleNamespace(__name__="owner", greet=greet)


def test_an_anchor_is_replaced_and_a_second_change_builds_on_the_first(owner: types.SimpleNamespace) -> None:
    patch.change(owner, "greet", {"hello": "good {_time()}"}, {"_time": lambda: "morning"})
    patch.change(owner, "greet", {"{name}": "{name.upper()}"})
    assert owner.greet("ada") == "good morning ADA"


@pytest.mark.parametrize(("anchor", "count"), [("missing", 0), ("name", 2)])
def test_an_anchor_must_occur_exactly_once(owner: types.SimpleNamespace, anchor: str, count: int) -> None:
    with pytest.raises(patch.PatchError, match=rf"owner\.greet: '{anchor}' occurs {count} times instead of once.*1\.5"):
        patch.change(owner, "greet", {anchor: "x"})


def test_a_missing_name_is_reported(owner: types.SimpleNamespace) -> None:
    with pytest.raises(patch.PatchError, match=r"owner\.leave: there is no such name"):
        patch.wrap(owner, "leave", lambda original: original)


def test_a_wrapped_function_is_not_changed_behind_its_wrapper(owner: types.SimpleNamespace) -> None:
    patch.wrap(owner, "greet", lambda original, name: original(name) + "!")
    with pytest.raises(patch.PatchError, match="has wrapped it"):
        patch.change(owner, "greet", {"hello": "bye"})


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patch, "PIN", "1.5.34")
    with pytest.raises(patch.PatchError, match=r"version: 1\.5\.33 is installed.*MiniStack 1\.5\.34: install that"):
        patch.check_pin()
