"""What a template says about functions, state machines, topics and alarms holds for them.

MiniStack's CloudFormation drops these properties, stores a state machine's logging under names that its API does not
have, and refuses alarms on metric math (they are kept here, not evaluated).
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-template-resource-type-ref.html
"""

from collections.abc import Callable
from typing import Any

from local.patches.cloudformation.resources import Properties, after, replace
from local.patches.patch import member, module, wrap

_TOPIC_ATTRIBUTES = ("KmsMasterKeyId", "SignatureVersion", "TracingConfig")
_ONE_METRIC = ("MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Period", "Dimensions", "Unit")


def fill() -> None:
    """Apply the properties after MiniStack has made or changed the resource."""
    after("AWS::Lambda::Function", _function)
    after("AWS::StepFunctions::StateMachine", _state_machine)
    after("AWS::SNS::Topic", _topic)
    replace("AWS::Lambda::Function", {"delete": _deleting_a_function})
    wrap(module("services.lambda_svc"), "_event_invoke_config", _reading_an_event_invoke_config)
    wrap(module("services.cloudformation.provisioners"), "_cw_metric_alarm_record", _recording_an_alarm)


def _function(name: str, said: Properties, _earlier: Properties) -> None:
    function = member(module("services.lambda_svc"), "_functions")[name]
    reserved = said.get("ReservedConcurrentExecutions")
    function["concurrency"] = None if reserved is None else int(reserved)
    config = function["config"]
    for key, value in (("DeadLetterConfig", said.get("DeadLetterConfig")), ("KMSKeyArn", said.get("KmsKeyArn"))):
        config.pop(key, None)
        if value:
            config[key] = value
    usual = {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"}
    config["LoggingConfig"] = usual | (said.get("LoggingConfig") or {})


def _deleting_a_function(delete: Callable[..., Any]) -> Callable[..., Any]:
    def deleted(name: str, said: Properties) -> None:
        delete(name, said)
        module("core.lambda_runtime").invalidate_worker(name)

    return deleted


def _reading_an_event_invoke_config(read: Callable[..., Any]) -> Callable[..., Any]:
    """Unqualified and $LATEST are the same one: templates write the latter, readers name none."""

    def found(function: Any, qualifier: str | None) -> Any:
        other = {None: "$LATEST", "": "$LATEST", "$LATEST": None}
        return read(function, qualifier) or (read(function, other[qualifier]) if qualifier in other else None)

    return found


def _state_machine(arn: str, said: Properties, _earlier: Properties) -> None:
    machine = member(module("services.stepfunctions"), "_state_machines")[arn]
    if "LoggingConfiguration" in said:
        machine["loggingConfiguration"] = _as_api({"Level": "OFF"} | said["LoggingConfiguration"])
    enabled = (said.get("TracingConfiguration") or {}).get("Enabled", False)
    machine["tracingConfiguration"] = {"enabled": str(enabled).lower() == "true"}


def _as_api(said: Any) -> Any:
    """Step Functions' API has CloudFormation's names, beginning in lower case."""
    if isinstance(said, list):
        return [_as_api(one) for one in said]
    if isinstance(said, dict):
        return {key[0].lower() + key[1:]: _as_api(value) for key, value in said.items()}
    return {"true": True, "false": False}.get(said, said) if isinstance(said, str) else said


def _topic(arn: str, said: Properties, _earlier: Properties) -> None:
    attributes = member(module("services.sns"), "_topics")[arn]["attributes"]
    for name in _TOPIC_ATTRIBUTES:
        attributes.pop(name, None)
        if said.get(name):
            attributes[name] = str(said[name])


def _recording_an_alarm(record: Callable[..., Any]) -> Callable[..., Any]:
    def recorded(name: str, said: Properties) -> dict[str, Any]:
        if not said.get("Metrics"):
            alarm: dict[str, Any] = record(name, said)
            return alarm
        one_metric = {k: v for k, v in said.items() if k != "Metrics"} | {"MetricName": "-", "Namespace": "-"}
        alarm = record(name, one_metric)
        return {k: v for k, v in alarm.items() if k not in _ONE_METRIC} | {"Metrics": said["Metrics"]}

    return recorded
