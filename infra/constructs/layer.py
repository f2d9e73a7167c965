"""The Lambda layer: third-party libraries, built at synth for the platform that will run them."""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from aws_cdk import AssetHashType
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.settings import Settings


class LayerBuildFailed(RuntimeError):
    """uv could not install the libraries of the layer; the message has its output."""


# The glibc of the Lambda runtime (Amazon Linux 2023) is 2.34, so wheels for manylinux_2_28 run there
# (https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html).
LAMBDA = {"arm64": "aarch64-manylinux_2_28", "x86_64": "x86_64-manylinux_2_28"}
"""The platforms of uv for those of the functions."""
HOST = ("--python", sys.executable)
"""The options of uv for this interpreter, which runs the functions on embedded AWS."""


class Libraries(Construct):
    """The layer version that all functions share."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings, root: Path) -> None:
        super().__init__(scope, construct_id)
        built = build(root / "requirements" / "functions.txt", target(settings), root / "build" / "layer")
        self.version = lambda_.LayerVersion(
            self,
            "Version",
            layer_version_name=settings.name("libraries"),
            description="The libraries in requirements/functions.txt.",
            code=lambda_.Code.from_asset(str(built), asset_hash=built.name, asset_hash_type=AssetHashType.CUSTOM),
            # Not every partition has architectures of layers, which only inform.
            compatible_runtimes=[lambda_.Runtime(settings.runtime, lambda_.RuntimeFamily.PYTHON)],
        )


def target(settings: Settings) -> tuple[str, ...]:
    """Return the options of uv for the platform that runs the functions."""
    version = settings.runtime.removeprefix("python")
    return HOST if settings.local else ("--python-platform", LAMBDA[settings.architecture], "--python-version", version)


def build(requirements: Path, target: tuple[str, ...], cache: Path) -> Path:
    """Install the libraries, once per target and content of `requirements`, into a folder named after their hash.

    `target` has the options of uv. Raises LayerBuildFailed. The folder is built elsewhere and then renamed, so it is
    never incomplete.
    """
    platform = f"{sysconfig.get_platform()} {sys.version}" if target == HOST else ""
    digest = hashlib.sha256("\0".join([platform, *target, requirements.read_text()]).encode()).hexdigest()
    built = cache / digest[:24]
    if built.is_dir():
        return built
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".building-") as unfinished:
        folder = Path(unfinished) / "layer"
        _install(requirements, target, folder / "python")
        try:
            folder.rename(built)
        except OSError:  # another synth was faster
            if not built.is_dir():
                raise
    return built


def _install(requirements: Path, target: tuple[str, ...], into: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "pip", "install", "--require-hashes", "-r", str(requirements), "--target", str(into)]
    command += [*target, "--only-binary", ":all:", "--link-mode", "copy", "--no-compile-bytecode"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"})  # noqa: S603
    except FileNotFoundError as error:
        raise LayerBuildFailed(f"uv is not installed beside {sys.executable}. Run `make setup`.") from error
    except subprocess.CalledProcessError as error:
        raise LayerBuildFailed(f"uv could not build the layer for {target[1]}:\n{error.stderr.strip()}") from error
    (into / ".lock").unlink(missing_ok=True)
    shutil.rmtree(into / "bin", ignore_errors=True)  # command line programs, which no function calls
