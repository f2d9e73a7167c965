"""Reserved concurrency, logging and retries of a function in a template take effect, and its workers end with it.

MiniStack's CloudFormation ignores these:
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-function.html
"""

from collections.abc import Callable
from typing import Any

from local.patches.cloudformation.resources import Properties, after, replace
from local.patches.patch import member, module, wrap


def apply() -> None:
    """Apply the properties when a function is created or updated."""
    after("AWS::Lambda::Function", _function)
    replace("AWS::Lambda::Function", {"delete": _deleting_function})
    wrap(module("services.lambda_svc"), "_event_invoke_config", _reading_event_invoke_config)


def _function(name: str, properties: Properties, _earlier: Properties) -> None:
    function = member(module("services.lambda_svc"), "_functions")[name]
    reserved = properties.get("ReservedConcurrentExecutions")
    function["concurrency"] = None if reserved is None else int(reserved)
    config = function["config"]
    default = {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"}
    config["LoggingConfig"] = default | (properties.get("LoggingConfig") or {})


def _deleting_function(delete: Callable[..., Any]) -> Callable[..., Any]:
    def delete_with_workers(name: str, properties: Properties) -> None:
        delete(name, properties)
        module("core.lambda_runtime").invalidate_worker(name)

    return delete_with_workers


def _reading_event_invoke_config(read: Callable[..., Any]) -> Callable[..., Any]:
    """Treat unqualified and $LATEST as the same: templates write the latter, readers name none."""

    def read_either(function: Any, qualifier: str | None) -> Any:
        other = {None: "$LATEST", "": "$LATEST", "$LATEST": None}
        return read(function, qualifier) or (read(function, other[qualifier]) if qualifier in other else None)

    return read_either
