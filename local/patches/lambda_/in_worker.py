"""Prepended to MiniStack's worker script, and run in every worker; it may import the standard library only."""

import json
import os
import sys
import time
import traceback


def _local_see_only_the_runtime() -> None:
    """Import from the standard library and the runtime's folder only: AWS does not have the host's packages."""
    standard = os.path.dirname(os.__file__)  # noqa: PTH120
    kept = {standard, os.path.join(standard, "lib-dynload")}  # noqa: PTH118
    sys.path[:] = [path for path in sys.path if path in kept or path.endswith(".zip")]
    sys.path.append(os.environ["LAMBDA_RUNTIME_DIR"])


def _local_failed(error: BaseException, request_id: str, code_folder: str) -> str:
    """Report an exception and log it, with the frames of the handler and the paths of AWS."""
    frames = [text.replace(code_folder, "/var/task") for text in traceback.format_tb(error.__traceback__)[1:]]
    name, message = type(error).__name__, str(error)
    report = {"errorMessage": message, "errorType": name, "requestId": request_id, "stackTrace": frames}
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    log = json.dumps({"timestamp": now, "level": "ERROR", "message": message, **report})
    return json.dumps({"status": "error", "error": message, "report": report, "trace": log})
