"""The functions: what they are given, what they carry, and that it is what their code reads."""

import importlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from infra.app import ROOT, build
from infra.checks import datasets
from infra.settings import FUNCTIONS
from tests.support.steps import BULK, PIPELINE
from tests.support.template import Deployment, empty_app

OF_DATASETS = {"validate": "*/contract.schema.json", "transform": "*/*.py"}
STAGES = tuple(name for name in FUNCTIONS if name != "start")
UNUSED = [
    "datasets/mission/dataset.json",
    "datasets/mission/samples/objects/more.json",
    "functions/write/__pycache__/plan.cpython-314.pyc",
    "README.md",
]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_gets_exactly_the_variables_that_its_handler_reads(deployment: Deployment, name: str) -> None:
    module, _, handler = deployment.function(name)["Handler"].rpartition(".")
    code = importlib.import_module(module)
    variables = deployment.function(name)["Environment"]["Variables"]

    assert callable(getattr(code, handler))
    assert {variable for variable in variables if not variable.startswith("POWERTOOLS_")} == {
        field.name.upper() for field in structs.fields(code.ENVIRONMENT)
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_runs_on_the_platform_of_the_layer_traced_logged_and_encrypted(
    deployment: Deployment, name: str
) -> None:
    function = deployment.function(name)
    log = f"/aws/lambda/{function['FunctionName']}"
    group = deployment.of_type("AWS::Logs::LogGroup")[log]

    assert (function["Runtime"], function["Architectures"]) == ("python3.14", ["arm64"])
    assert len(function["Layers"]) == 1
    assert function["TracingConfig"] == {"Mode": "Active"}
    assert function["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": log}
    assert function["KmsKeyArn"] == group["KmsKeyId"] == deployment.key
    assert group["RetentionInDays"] == 90
    assert function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] == name
    assert "ReservedConcurrentExecutions" not in function, "no concurrency is reserved by default"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_asset_of_a_function_has_its_folder_the_shared_one_its_part_of_each_dataset_and_the_code_version(
    deployment: Deployment, name: str
) -> None:
    asset = deployment.folder / f"asset.{Path(deployment.function(name)['Code']['S3Key']).stem}"
    carried = {path.relative_to(asset).as_posix() for path in asset.rglob("*") if path.is_file()}
    sources = [
        ROOT / "functions" / "__init__.py",
        *_files(ROOT / "functions" / name),
        *_files(ROOT / "functions/shared"),
        *((ROOT / "datasets").glob(OF_DATASETS[name]) if name in OF_DATASETS else ()),
        *([ROOT / "datasets/__init__.py"] if name in OF_DATASETS else ()),
    ]

    assert carried == {source.relative_to(ROOT).as_posix() for source in sources}
    assert f"functions/{name}/handler.py" in carried
    if name in STAGES:
        version = deployment.function(name)["Environment"]["Variables"]["CODE_VERSION"]
        assert asset.name.startswith(f"asset.{version}")
        assert len(version) == 12


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


@pytest.mark.parametrize(
    ("paths", "changed"),
    [
        (["functions/transform/core.py"], {"transform"}),
        (["functions/shared/errors.py"], set(STAGES)),
        (["datasets/mission/transform.py"], {"transform"}),
        (["datasets/mission/beside.py"], {"transform"}),
        (["datasets/mission/contract.schema.json"], {"validate"}),
        (UNUSED, set()),
    ],
)
def test_an_edit_changes_the_code_version_of_the_functions_that_use_the_file_alone(
    tmp_path: Path, versions: dict[str, str], monkeypatch: pytest.MonkeyPatch, paths: list[str], changed: set[str]
) -> None:
    monkeypatch.setattr(datasets, "check", lambda *_: None)  # what is written is not a contract
    edited = _copy_of_the_project(tmp_path)
    for path in paths:
        (edited / path).parent.mkdir(exist_ok=True)
        (edited / path).write_text("changed = True\n")

    after = _versions(edited)
    assert {name for name, version in after.items() if version != versions[name]} == changed


def _copy_of_the_project(root: Path) -> Path:
    for folder in ("datasets", "functions", "requirements", "statemachine"):
        shutil.copytree(ROOT / folder, root / folder)
    (root / "build").symlink_to(ROOT / "build")
    return root


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the versions of an unchanged copy: CDK caches the hash of a folder, and a version ignores its path."""
    return _versions(_copy_of_the_project(tmp_path_factory.mktemp("before")))


def _versions(root: Path) -> dict[str, str]:
    """Return the code version of each function of the state machines."""
    stack = build(empty_app({}, root / "out"), root=root)
    return {stage.name: stage.code_version for stage in stack.stages.all}


@pytest.mark.parametrize("name", STAGES)
def test_the_longest_timeout_of_a_function_is_shorter_than_that_of_its_state(name: str) -> None:
    state = "".join(word.title() for word in name.split("_"))
    timeouts = [
        definition["States"][state]["TimeoutSeconds"]
        for definition in (PIPELINE, BULK)
        if state in definition["States"]
    ]

    assert timeouts
    assert FUNCTIONS[name].timeout_seconds <= FUNCTIONS[name].longest_seconds < min(timeouts)
