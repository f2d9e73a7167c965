"""Prepended to MiniStack's worker script, and run in every worker; it may import the standard library only.

Its reports follow the runtime's own bootstrap: https://github.com/aws/aws-lambda-python-runtime-interface-client
(awslambdaric/bootstrap.py) and https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html.
"""

import json
import os
import sys
import time
import traceback

_Report = dict[str, object]


class _UnmarshalableError(Exception):
    """The handler returned something that cannot be encoded as JSON."""


def _local_see_only_the_runtime() -> None:
    """Import from the standard library and the runtime's folder only: AWS does not have the host's packages."""
    standard = os.path.dirname(os.__file__)  # noqa: PTH120
    kept = {standard, os.path.join(standard, "lib-dynload")}  # noqa: PTH118
    sys.path[:] = [path for path in sys.path if path in kept or path.endswith(".zip")]
    sys.path.append(os.environ["LAMBDA_RUNTIME_DIR"])


def _local_answer(result: object) -> str:
    try:
        return json.dumps({"status": "ok", "result": result})
    except (TypeError, ValueError) as error:
        raise _UnmarshalableError(f"Unable to marshal response: {error}") from error


def _local_failure(error: BaseException, request_id: str, code_folder: str) -> _Report:
    name = "Runtime.MarshalError" if isinstance(error, _UnmarshalableError) else type(error).__name__
    return _local_report(name, str(error), _local_frames(error, code_folder), request_id)


def _local_failed(error: BaseException, request_id: str, code_folder: str) -> str:
    report = _local_failure(error, request_id, code_folder)
    return json.dumps({"status": "error", "error": str(error), "report": report, "trace": _local_log(report)})


def _local_log(report: _Report) -> str:
    """Format an exception that the handler did not catch as the runtime logs it."""
    if os.environ.get("AWS_LAMBDA_LOG_FORMAT") == "JSON":
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return json.dumps({"timestamp": now, "level": "ERROR", "message": report["errorMessage"], **report})
    frames = report["stackTrace"] if isinstance(report["stackTrace"], list) else []
    trace = "".join(["Traceback (most recent call last):\n", *frames]).rstrip()
    return f"[ERROR] {report['errorType']}: {report['errorMessage']}\n{trace}"


def _local_init_failure(error: BaseException, module: str, handler: str, code_folder: str) -> _Report:
    loaded = sys.modules.get(module)
    if isinstance(error, ImportError):
        return _local_report("Runtime.ImportModuleError", f"Unable to import module '{module}': {error}", [], "")
    if isinstance(error, SyntaxError):
        where = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'.replace(code_folder, "/var/task")]
        return _local_report("Runtime.UserCodeSyntaxError", f"Syntax error in module '{module}': {error}", where, "")
    if isinstance(error, AttributeError) and loaded is not None and not hasattr(loaded, handler):
        message = f"Handler '{handler}' missing on module '{module}'"
        return _local_report("Runtime.HandlerNotFound", message, [], "")
    return _local_report(type(error).__name__, str(error), _local_frames(error, code_folder), "")


def _local_report(name: str, message: str, frames: list[str], request_id: str) -> _Report:
    return {"errorMessage": message, "errorType": name, "requestId": request_id, "stackTrace": frames}


def _local_frames(error: BaseException, code_folder: str) -> list[str]:
    """Format the frames from the handler on, with the paths of AWS."""
    loading = ("_worker.py", "importlib")
    frames = traceback.extract_tb(error.__traceback__)
    while frames and any(word in frames[0].filename for word in loading):
        del frames[0]
    return [text.replace(code_folder, "/var/task") for text in traceback.format_list(frames)]
