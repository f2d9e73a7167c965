"""What a step of a batch consists of: a state, a folder, a stage and settings; what is missing is told by name."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from infra.app import ROOT, build
from infra.constructs import workflow
from infra.constructs.workflow import StageMissing
from infra.settings import FUNCTIONS, SettingRefused, parse
from tests.support.steps import ASL, CALLED, PIPELINE, STEPS, folder
from tests.support.template import empty_app

FOLDERS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/handler.py"))
RESUME = PIPELINE["States"]["Resume"]


@pytest.mark.parametrize("state", CALLED)
def test_each_state_that_calls_a_function_has_its_folder(state: str) -> None:
    assert folder(state) in FOLDERS, f"the state {state} calls functions/{folder(state)}/handler.py, which there is not"


@pytest.mark.parametrize("name", FOLDERS)
def test_each_folder_of_a_function_is_called(name: str) -> None:
    called = {folder(state) for state in CALLED} | {"start"}
    assert name in called, f"no state calls functions/{name}/: put one into {ASL.relative_to(ROOT)}"


def test_each_function_has_settings_and_there_are_none_for_another() -> None:
    for missing in set(FOLDERS) - set(FUNCTIONS):
        parse({}).size(missing)
    assert set(FUNCTIONS) == set(FOLDERS), "infra/settings.py has memory, a timeout and concurrency for each function"


@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_known_by_one_name_in_states_dead_letters_and_ledger(step: str) -> None:
    assert step.istitle(), f"call the step {step} by one word: its folder and its stage are that word in small letters"
    modules = [import_module(f"functions.{step.lower()}.{path.stem}") for path in _modules(step)]
    stages = {module.STAGE for module in modules if hasattr(module, "STAGE")}
    assert stages == {step.lower()}, f"a module of functions/{step.lower()}/ says STAGE = {step.lower()!r}"


def _modules(step: str) -> list[Path]:
    return sorted(path for path in (ROOT / "functions" / step.lower()).glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("step", STEPS)
def test_a_redrive_can_go_on_at_each_step(step: str) -> None:
    choices = {choice["StringEquals"]: choice["Next"] for choice in RESUME["Choices"]}
    choices |= {RESUME["Default"]: RESUME["Default"]}
    assert step in choices, f"add to the Choices of Resume that one whose $.resume is {step} goes on at {step}"
    assert choices[step] == step


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_of_each_step_is_kept_under_its_own_name(step: str) -> None:
    paths = {caught["ResultPath"] for caught in PIPELINE["States"][step]["Catch"]}
    assert paths == {f"$.failure.{step}"}, f"the dead letter tells of another step than {step}"


def with_unknown(definition: dict[str, Any]) -> str:
    """Put one more step behind Transform."""
    states = definition["States"]
    unknown = json.loads(json.dumps(states["Transform"]).replace("Transform", "Unknown"))
    transform = states["Transform"] | {"Next": "Unknown"}
    return json.dumps(definition | {"States": states | {"Unknown": unknown, "Transform": transform}})


def test_a_state_without_a_stage_stops_the_synth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pipeline.asl.json").write_text(with_unknown(PIPELINE))
    monkeypatch.setattr(workflow, "_file", lambda _, machine: tmp_path / f"{machine}.asl.json")
    with pytest.raises(
        StageMissing, match=r"names \$\{UnknownFunctionArn\}, which infra/constructs/stages.py does not define"
    ):
        build(empty_app({}, tmp_path / "out"))


def test_a_stage_without_settings_stops_the_synth() -> None:
    with pytest.raises(SettingRefused, match=r"unknown has no settings\. Add it to FUNCTIONS in infra/settings\.py"):
        parse({}).size("unknown")
