"""An error of a handler has the class name of its exception.

MiniStack calls every error `Runtime.HandlerError`, so that no Catch or Retry of a state machine matches its name, and
ends the process of the handler. AWS reports errorType, errorMessage and stackTrace and keeps the environment:
https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html. Errors of the environment have AWS's names:
Sandbox.Timedout, Runtime.ExitError, Runtime.ImportModuleError …
"""

from pathlib import Path
from typing import Any

from local.patches.patch import change, member, module, replace_once

_PROLOGUE = Path(__file__).with_name("in_worker.py").read_text()

_IN_SCRIPT = {
    'json.dumps({"status": "error", "error": str(e)})': (
        'json.dumps({"status": "error", "error": str(e),'
        ' "report": _local_init_failure(e, module_name, handler_name, code_dir)})'
    ),
    'json.dumps({"status": "ok", "result": result})': "_local_answer(result)",
    'json.dumps({"status": "error", "error": str(e), "trace": traceback.format_exc()})': (
        "_local_failed(e, context.aws_request_id, code_dir)"
    ),
}


class InitFailedError(RuntimeError):
    """The handler's module could not be imported; `report` is Lambda's response."""

    def __init__(self, answer: dict[str, Any]) -> None:
        """Store the worker's report."""
        super().__init__(str(answer.get("error")))
        self.report: dict[str, Any] | None = answer.get("report")


def apply() -> None:
    """Pass the report of the worker script on as Lambda's response."""
    runtime, service = module("core.lambda_runtime"), module("services.lambda_svc")
    script = member(runtime, "_PYTHON_WORKER_SCRIPT")
    runtime._PYTHON_WORKER_SCRIPT = _PROLOGUE + replace_once(script, _IN_SCRIPT, "Python worker script")  # noqa: SLF001
    change(
        runtime.Worker,
        "_spawn",
        {"RuntimeError(f\"Worker init failed: {response.get('error')}\")": "_LocalInitFailed(response)"},
        {"_LocalInitFailed": InitFailedError},
    )
    change(
        runtime.Worker,
        "invoke",
        {'if response.get("status") == "error":': 'if response.get("status") == "error" and "report" not in response:'},
    )
    change(
        service,
        "_execute_function_warm",
        {
            '"errorMessage": error_msg,\n                    "errorType": error_type,': (
                "**_local_report(result, error_type, request_id)"
            ),
            '"body": {"errorMessage": str(e), "errorType": type(e).__name__},\n'
            '            "error": True,\n            "log": "",': '**_local_init_failed(e, request_id), "error": True,',
        },
        {"_local_report": _report, "_local_init_failed": _init_failed},
    )


def _report(result: dict[str, Any], error_type: str, request_id: str) -> dict[str, Any]:
    """Return the response payload of a failed invocation."""
    report: dict[str, Any] | None = result.get("report")
    if report is not None:
        return report
    if error_type == "Sandbox.Timedout":
        return _environment_failure(error_type, str(result["error"]), request_id)
    return _environment_failure("Runtime.ExitError", "Runtime exited without providing a reason", request_id)


def _init_failed(error: Exception, request_id: str) -> dict[str, Any]:
    """Return payload and log of an invocation whose environment could not start."""
    report = getattr(error, "report", None)
    if report is None:
        report = _environment_failure("Runtime.ExitError", f"Runtime exited: {error}", request_id)
    trace = "".join(report.get("stackTrace", []))
    return {"body": report, "log": f"[ERROR] {report['errorType']}: {report['errorMessage']}\n{trace}".rstrip()}


def _environment_failure(name: str, message: str, request_id: str) -> dict[str, Any]:
    return {"errorType": name, "errorMessage": f"RequestId: {request_id} Error: {message}"}
