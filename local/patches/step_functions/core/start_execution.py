"""StartExecution with the name of a running execution and the same input gives that execution.

MiniStack always says ExecutionAlreadyExists, and takes any name. A Standard workflow's start is idempotent while it
runs: https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from local.patches.patch import module, wrap

_NAME = re.compile(r"[^\x00-\x20\x7f-\x9f<>{}\[\]?*\"#%\\^|~`$&,;:/]{1,80}")


def fill() -> None:
    """Answer a repeated start as the first one was answered, and refuse names that AWS refuses."""
    machines, responses = module("services.stepfunctions"), module("core.responses")

    def around(start: Callable[..., Any]) -> Callable[..., Any]:
        def started(request: dict[str, Any]) -> Any:
            name = request.get("name")
            if name and not _NAME.fullmatch(name):
                return responses.error_response_json("InvalidName", f"Invalid Name: '{name}'", 400)
            answer = start(request)
            content = json.loads(answer[2])
            if "ExecutionAlreadyExists" not in content.get("__type", ""):
                return answer
            execution = machines._executions[content["message"].split("'")[1]]  # noqa: SLF001
            if execution["status"] != "RUNNING" or execution["input"] != request.get("input", "{}"):
                return answer
            return responses.json_response({key: execution[key] for key in ("executionArn", "startDate")})

        return started

    wrap(machines, "_start_execution", around)
