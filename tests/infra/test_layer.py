"""The layer: built for Lambda, whole or not at all, and never twice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.constructs.layer import HOST, LayerBuildFailed, build, target
from infra.settings import parse
from tests.support.template import Deployment

LAMBDA = target(parse({}))
AARCH64 = 183  # e_machine, https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html


def layer(deployment: Deployment) -> Path:
    (each,) = deployment.of_type("AWS::Lambda::LayerVersion").values()
    return deployment.folder / f"asset.{Path(each['Content']['S3Key']).stem}"


def files(deployment: Deployment) -> list[Path]:
    return [path for path in layer(deployment).rglob("*") if path.is_file()]


def test_the_layer_has_libraries_for_the_architecture_of_the_functions_and_no_bytecode(prod: Deployment) -> None:
    native = [path for path in files(prod) if ".so" in path.suffixes]
    parts = {part for path in files(prod) for part in path.parts}

    assert native
    for path in native:
        header = path.read_bytes()[:20]
        assert header[:4] == b"\x7fELF"
        assert int.from_bytes(header[18:20], "little") == AARCH64, path.name
    assert {"aws_lambda_powertools", "jsonschema_rs"} <= parts
    assert parts.isdisjoint({"__pycache__", "bin", ".lock", "boto3", "botocore"})


def test_on_embedded_aws_libraries_are_built_for_this_interpreter(local: Deployment) -> None:
    libraries = layer(local) / "python"
    code = "import jsonschema_rs, aws_lambda_powertools; print(jsonschema_rs.__file__)"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(libraries), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.startswith(str(libraries))


def test_a_layer_is_built_once_for_its_requirements_and_its_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requirements = tmp_path / "functions.txt"
    requirements.write_text("# more\n")
    other = build(requirements, LAMBDA, tmp_path / "cache")
    requirements.write_text("")
    first = build(requirements, LAMBDA, tmp_path / "cache")
    on_host = build(requirements, HOST, tmp_path / "cache")

    assert len({other, first, on_host}) == 3
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("built again"))
    assert build(requirements, LAMBDA, tmp_path / "cache") == first


def test_a_failure_reports_the_output_of_uv_and_leaves_nothing_behind(tmp_path: Path) -> None:
    requirements = tmp_path / "functions.txt"
    requirements.write_text("aws-lambda-powertools==3.37.0\n")

    with pytest.raises(LayerBuildFailed, match="all requirements must have a hash"):
        build(requirements, LAMBDA, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_interrupted_build_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(command: list[str], **_: object) -> None:
        into = Path(command[command.index("--target") + 1])
        into.mkdir(parents=True)
        (into / "half.py").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", half)
    (tmp_path / "functions.txt").touch()

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "functions.txt", LAMBDA, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
