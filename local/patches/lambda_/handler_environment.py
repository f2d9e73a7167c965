"""A handler runs in the environment that it has on AWS, not in that of the developer's machine.

MiniStack runs handlers in its own environment, with every package that is installed there, so that a dependency missing
from the layer goes unnoticed. Here a handler gets the variables of
https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html, a temporary folder, the standard library, the
SDK that the runtime includes, its code and its layers.
"""

import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

from local.patches.patch import change, member, module, replace_once

_RUNTIME_PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3")
_READ = "init = json.loads(sys.stdin.readline())"


def apply() -> None:
    """Start workers with a clean environment and only the runtime's packages."""
    runtime = module("core.lambda_runtime")
    packages = _runtime_folder(Path(tempfile.gettempdir()))
    script = member(runtime, "_PYTHON_WORKER_SCRIPT")
    only = {_READ: f"_local_see_only_the_runtime()\n    {_READ}"}
    runtime._PYTHON_WORKER_SCRIPT = replace_once(script, only, "Python worker script")  # noqa: SLF001

    def environment(config: dict[str, Any], folder: str) -> dict[str, str]:
        return _environment(config, folder, packages)

    change(
        runtime.Worker,
        "_spawn",
        {"spawn_env = {**os.environ,": "spawn_env = {**_local_environment(self.config, self._tmpdir),"},
        {"_local_environment": environment},
    )


def _runtime_folder(parent: Path) -> Path:
    """Make a folder with the SDK, and no other installed package."""
    folder = parent / "runtime"
    folder.mkdir(exist_ok=True)
    for name in _RUNTIME_PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"{name}, which AWS's Python runtime includes, is not installed")
        origin = Path(spec.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (folder / source.name).symlink_to(source)
    return folder


def _environment(config: dict[str, Any], folder: str, packages: Path) -> dict[str, str]:
    temporary = Path(folder) / "tmp"
    temporary.mkdir(exist_ok=True)
    logging = config.get("LoggingConfig") or {}
    name = config.get("FunctionName", "")
    log = {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": logging.get("ApplicationLogLevel", "INFO")}
    return {
        "PATH": os.defpath,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "HOME": str(temporary),
        "TMPDIR": str(temporary),
        "PYTHONUTF8": "1",
        "LAMBDA_RUNTIME_DIR": str(packages),
        "_HANDLER": config.get("Handler", ""),
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{config.get('Runtime', '')}",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": logging.get("LogGroup") or f"/aws/lambda/{name}",
        **(log if logging.get("LogFormat") == "JSON" else {}),
    }
