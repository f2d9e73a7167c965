"""The properties of functions, state machines and topics in a template take effect.

MiniStack's CloudFormation ignores these, and stores the logging of a state machine under names that its API lacks:
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-template-resource-type-ref.html
"""

from collections.abc import Callable
from typing import Any

from local.patches.cloudformation.resources import Properties, after, replace
from local.patches.patch import member, module, wrap


def apply() -> None:
    """Apply the properties when a resource is created or updated."""
    after("AWS::Lambda::Function", _function)
    after("AWS::StepFunctions::StateMachine", _state_machine)
    after("AWS::SNS::Topic", _topic)
    replace("AWS::Lambda::Function", {"delete": _deleting_function})
    wrap(module("services.lambda_svc"), "_event_invoke_config", _reading_event_invoke_config)


def _function(name: str, properties: Properties, _earlier: Properties) -> None:
    function = member(module("services.lambda_svc"), "_functions")[name]
    reserved = properties.get("ReservedConcurrentExecutions")
    function["concurrency"] = None if reserved is None else int(reserved)
    config = function["config"]
    config.pop("KMSKeyArn", None)
    if key := properties.get("KmsKeyArn"):
        config["KMSKeyArn"] = key
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


def _state_machine(arn: str, properties: Properties, _earlier: Properties) -> None:
    machine = member(module("services.stepfunctions"), "_state_machines")[arn]
    if "LoggingConfiguration" in properties:
        machine["loggingConfiguration"] = _api_form({"Level": "OFF"} | properties["LoggingConfiguration"])
    enabled = (properties.get("TracingConfiguration") or {}).get("Enabled", False)
    machine["tracingConfiguration"] = {"enabled": str(enabled).lower() == "true"}


def _api_form(value: Any) -> Any:
    """Convert CloudFormation's names to those of Step Functions' API, which start in lower case."""
    if isinstance(value, list):
        return [_api_form(item) for item in value]
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: _api_form(item) for key, item in value.items()}
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def _topic(arn: str, properties: Properties, _earlier: Properties) -> None:
    attributes = member(module("services.sns"), "_topics")[arn]["attributes"]
    attributes.pop("KmsMasterKeyId", None)
    if key := properties.get("KmsMasterKeyId"):
        attributes["KmsMasterKeyId"] = str(key)
