"""A step has a state, a folder, a stage and settings; tests name what is missing."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from infra.app import ROOT, build
from infra.constructs import workflow
from infra.constructs.workflow import StageMissing
from infra.settings import FUNCTIONS, SettingRefused, parse
from tests.support.steps import CALLED, FILES, PIPELINE, STEPS, folder
from tests.support.template import empty_app

FOLDERS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/handler.py"))
RESUME = PIPELINE["States"]["Resume"]


@pytest.mark.parametrize("state", CALLED)
def test_each_state_that_calls_a_function_has_its_folder(state: str) -> None:
    assert folder(state) in FOLDERS, f"add functions/{folder(state)}/handler.py, or remove the state {state}"


@pytest.mark.parametrize("name", FOLDERS)
def test_each_function_is_called_by_a_state(name: str) -> None:
    called = {folder(state) for state in CALLED} | {"start"}
    assert name in called, f"no state calls functions/{name}/: add one to {FILES['pipeline'].relative_to(ROOT)}"


def test_the_functions_with_settings_are_those_with_a_folder() -> None:
    for missing in set(FOLDERS) - set(FUNCTIONS):
        parse({}).size(missing)
    assert set(FUNCTIONS) == set(FOLDERS), "infra/settings.py has memory, a timeout and concurrency for each function"


@pytest.mark.parametrize("step", STEPS)
def test_a_step_has_one_name_in_states_dead_letters_and_the_ledger(step: str) -> None:
    assert step.istitle(), f"the name of step {step} must be one word: in lower case, it names the folder and the stage"
    modules = [import_module(f"functions.{step.lower()}.{path.stem}") for path in _modules(step)]
    stages = {module.STAGE for module in modules if hasattr(module, "STAGE")}
    assert stages == {step.lower()}, f"a module of functions/{step.lower()}/ must define STAGE = {step.lower()!r}"


def _modules(step: str) -> list[Path]:
    return sorted(path for path in (ROOT / "functions" / step.lower()).glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("step", STEPS)
def test_a_redrive_can_continue_at_each_step(step: str) -> None:
    choices = {choice["StringEquals"]: choice["Next"] for choice in RESUME["Choices"]}
    choices |= {RESUME["Default"]: RESUME["Default"]}
    assert step in choices, f"add a choice to Resume: $.resume {step} continues at {step}"
    assert choices[step] == step


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_is_recorded_under_the_name_of_its_step(step: str) -> None:
    paths = {catch["ResultPath"] for catch in PIPELINE["States"][step]["Catch"]}
    assert paths == {f"$.failure.{step}"}, f"the dead letter would name another step than {step}"


def with_unknown(definition: dict[str, Any]) -> str:
    """Add a step after Transform."""
    states = definition["States"]
    unknown = json.loads(json.dumps(states["Transform"]).replace("Transform", "Unknown"))
    transform = states["Transform"] | {"Next": "Unknown"}
    return json.dumps(definition | {"States": states | {"Unknown": unknown, "Transform": transform}})


def test_a_state_without_a_stage_stops_synth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "_definition", lambda *_: with_unknown(PIPELINE))
    with pytest.raises(
        StageMissing, match=r"names \$\{UnknownFunctionArn\}, which infra/constructs/stages.py does not define"
    ):
        build(empty_app({}, tmp_path / "out"))


def test_a_stage_without_settings_stops_synth() -> None:
    with pytest.raises(SettingRefused, match=r"unknown has no settings\. Add it to FUNCTIONS in infra/settings\.py"):
        parse({}).size("unknown")
