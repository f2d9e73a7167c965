"""A handler runs in the environment that it has on AWS, and its errors have the class names of their exceptions.

MiniStack runs handlers in its own environment, with every package that is installed there, so that a dependency missing
from the layer goes unnoticed. Here a handler gets the variables of
https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html, a temporary folder, the standard library, the
SDK that the runtime includes, its code and its layers.

MiniStack calls every error `Runtime.HandlerError`, so that no Catch or Retry of a state machine matches its name, and
ends the process of the handler. AWS reports errorType, errorMessage and stackTrace and keeps the environment:
https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html. So are errors at init, also of an import, which AWS
calls Runtime.ImportModuleError. Errors of the environment itself keep the names of MiniStack, except
Sandbox.Timedout, which is that of AWS.
"""

import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

from local.patches.patch import change, module, replace_once

_RUNTIME_PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3")
_READ = "init = json.loads(sys.stdin.readline())"
_FAILED = 'json.dumps({"status": "error", "error": str(e), "trace": traceback.format_exc()})'
_NOT_READY = 'json.dumps({"status": "error", "error": str(e)})'
_INIT_FAILED = "RuntimeError(f\"Worker init failed: {response.get('error')}\")"
_STATUS = 'response.get("status") == "error"'
_TYPE = '"errorType": error_type,'
_IN_SCRIPT = {
    _READ: f"_local_see_only_the_runtime()\n    {_READ}",
    _FAILED: "_local_failed(e, context.aws_request_id, code_dir)",
    _NOT_READY: '_local_failed(e, "", code_dir)',
}


def apply() -> None:
    """Start workers with a clean environment and the runtime's packages only, and pass on what they report."""
    runtime = module("core.lambda_runtime")
    prologue = Path(__file__).with_name("in_worker.py").read_text()
    script = replace_once(runtime._PYTHON_WORKER_SCRIPT, _IN_SCRIPT, "Python worker script")
    runtime._PYTHON_WORKER_SCRIPT = prologue + script
    packages = _runtime_folder(Path(tempfile.gettempdir()))

    def environment(config: dict[str, Any], folder: str) -> dict[str, str]:
        return _environment(config, folder, packages)

    change(
        runtime.Worker,
        "_spawn",
        {
            "spawn_env = {**os.environ,": "spawn_env = {**_local_environment(self.config, self._tmpdir),",
            _INIT_FAILED: "_local_init_failed(response)",
        },
        {"_local_environment": environment, "_local_init_failed": _init_failed},
    )
    change(runtime.Worker, "invoke", {f"if {_STATUS}:": f'if {_STATUS} and "report" not in response:'})
    service = module("services.lambda_svc")
    change(service, "_execute_function_warm", {_TYPE: f'{_TYPE} **result.get("report", {{}}),'})


def _init_failed(response: dict[str, Any]) -> Exception:
    """Make an exception of the class name that the worker reports: MiniStack passes only that on, and its message."""
    failure: Exception = type(response["report"]["errorType"], (RuntimeError,), {})(response["error"])
    return failure


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
    logging = config["LoggingConfig"]
    log = {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": logging.get("ApplicationLogLevel", "INFO")}
    return {
        "PATH": os.defpath,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "HOME": str(temporary),
        "TMPDIR": str(temporary),
        "PYTHONUTF8": "1",
        "LAMBDA_RUNTIME_DIR": str(packages),
        "_HANDLER": config["Handler"],
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{config['Runtime']}",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": logging.get("LogGroup") or f"/aws/lambda/{config['FunctionName']}",
        **(log if logging.get("LogFormat") == "JSON" else {}),
    }
