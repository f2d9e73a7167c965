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


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_gets_exactly_the_variables_that_its_code_reads(deployment: Deployment, name: str) -> None:
    variables = deployment.function(name)["Environment"]["Variables"]
    read = importlib.import_module(f"functions.{name}.handler").Environment

    assert {variable for variable in variables if not variable.startswith("POWERTOOLS_")} == {
        field.name.upper() for field in structs.fields(read)
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_handler_exists(deployment: Deployment, name: str) -> None:
    module, _, handler = deployment.function(name)["Handler"].rpartition(".")

    assert callable(getattr(importlib.import_module(module), handler))


def test_the_settings_reach_the_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "check", lambda *_: None)  # only one dataset exists
    given = {
        "default_dataset": "other",
        "inline_limit_bytes": "0",
        "document_limit_bytes": "1000",
        "chunk_bytes": "2000000",
        "tolerated_rejects_percent": "2.5",
        "write_memory_mb": "2048",
        "write_timeout_seconds": "120",
        "write_concurrency": "7",
        "log_days": "30",
        "alarm_email": "ops@example.com",
    }
    deployment = Deployment.synthesise(given, tmp_path)
    variables = {name: deployment.function(name)["Environment"]["Variables"] for name in STAGES}
    write = deployment.function("write")

    assert variables["validate"]["DEFAULT_DATASET"] == "other"
    assert variables["validate"]["INLINE_LIMIT_BYTES"] == variables["transform"]["INLINE_LIMIT_BYTES"] == "0"
    assert variables["validate"]["DOCUMENT_LIMIT_BYTES"] == variables["transform"]["DOCUMENT_LIMIT_BYTES"] == "1000"
    assert variables["validate"]["CHUNK_BYTES"] == variables["transform"]["CHUNK_BYTES"] == "2000000"
    assert {variables[name]["TOLERATED_REJECTS_PERCENT"] for name in ("write", "summarize")} == {"2.5"}
    assert (write["MemorySize"], write["Timeout"], write["ReservedConcurrentExecutions"]) == (2048, 120, 7)
    assert {group["RetentionInDays"] for group in deployment.of_type("AWS::Logs::LogGroup").values()} == {30}
    assert [each["Endpoint"] for each in deployment.of_type("AWS::SNS::Subscription").values()] == ["ops@example.com"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_runs_on_the_platform_of_the_layer(deployment: Deployment, name: str) -> None:
    function = deployment.function(name)

    assert (function["Runtime"], function["Architectures"]) == ("python3.14", ["arm64"])
    assert len(function["Layers"]) == 1


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_traced_and_logged_and_its_environment_is_encrypted(deployment: Deployment, name: str) -> None:
    function = deployment.function(name)
    log = f"/aws/lambda/{function['FunctionName']}"

    assert function["TracingConfig"] == {"Mode": "Active"}
    assert function["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": log}
    assert function["KmsKeyArn"] == deployment.key
    assert deployment.of_type("AWS::Logs::LogGroup")[log]["KmsKeyId"] == deployment.key
    assert deployment.of_type("AWS::Logs::LogGroup")[log]["RetentionInDays"] == 90
    assert function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] == name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_concurrency_is_reserved_by_default(deployment: Deployment, name: str) -> None:
    assert "ReservedConcurrentExecutions" not in deployment.function(name)


@pytest.mark.parametrize("name", STAGES)
def test_the_code_version_is_that_of_the_deployed_code(deployment: Deployment, name: str) -> None:
    function = deployment.function(name)

    assert function["Code"]["S3Key"].startswith(function["Environment"]["Variables"]["CODE_VERSION"])
    assert len(function["Environment"]["Variables"]["CODE_VERSION"]) == 12


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_asset_of_a_function_is_its_folder_the_shared_one_and_its_part_of_each_dataset(
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


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        ("functions/transform/core.py", {"transform"}),
        ("functions/shared/errors.py", set(STAGES)),
        ("datasets/mission/transform.py", {"transform"}),
        ("datasets/mission/beside.py", {"transform"}),
        ("datasets/mission/contract.schema.json", {"validate"}),
        ("datasets/mission/dataset.json", set()),
        ("datasets/mission/samples/objects/more.json", set()),
        ("functions/write/__pycache__/plan.cpython-314.pyc", set()),
        ("README.md", set()),
    ],
)
def test_an_edit_changes_the_code_version_of_the_functions_that_use_the_file_alone(
    tmp_path: Path, versions: dict[str, str], monkeypatch: pytest.MonkeyPatch, path: str, changed: set[str]
) -> None:
    monkeypatch.setattr(datasets, "check", lambda *_: None)  # what is written is not a contract
    edited = _copy_of_the_project(tmp_path)
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
    """Give the code versions of a copy: CDK caches the hash of a folder, and a version does not depend on the path."""
    return _versions(_copy_of_the_project(tmp_path_factory.mktemp("before")))


def _versions(root: Path) -> dict[str, str]:
    """Give the code version of each function of the state machines."""
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
