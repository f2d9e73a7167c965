"""What a handler needs of its surroundings: typed settings from the environment, and a log without payloads."""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit
from msgspec import Struct, ValidationError, convert
from msgspec.structs import fields

from functions.shared.errors import ConfigurationMissing, CustodyError

Environment = TypeVar("Environment", bound=Struct)
Handler = Callable[[dict[str, Any], Any], Any]

logger = Logger()


def environment(shape: type[Environment]) -> Environment:
    """Fill a Struct from the environment: each field is the variable with its name in capitals.

    Fields are `str`, `int` or `float`. Raises ConfigurationMissing with the name of the variable, at init.
    """
    values: dict[str, Any] = {}
    for field in fields(shape):
        name = field.name.upper()
        if name not in os.environ:
            raise ConfigurationMissing(f"the environment variable {name} is not set")
        try:
            values[field.name] = convert(os.environ[name], field.type, strict=False)
        except ValidationError as error:
            raise ConfigurationMissing(f"the environment variable {name} is not a {field.type.__name__}") from error
    return shape(**values)


def observed(handler: Handler) -> Handler:
    """Log how each call ended, with the names by which operators search; never a payload."""

    @wraps(handler)
    def call(event: dict[str, Any], context: Any) -> Any:
        execution = _at(event, "execution", "Name") or _at(event, "detail", "name")
        names = {"execution": execution, "attempt": _at(event, "batch", "attempt")}
        try:
            answer = handler(event, context)
        except CustodyError as error:
            logger.warning("failed", error=type(error).__name__, cause=str(error), **names)
            raise
        logger.info("done", **names, counts=_at(answer, "counts"))
        return answer

    return call


def count(dataset: str, **records: int) -> None:
    """Count records as metrics of the namespace Custody, by dataset and step: `received`, `written` or `rejected`.

    They are part of the log (CloudWatch embedded metric format), so counting costs no call; a retry counts again.
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    metrics = EphemeralMetrics(namespace="Custody")
    metrics.add_dimension("dataset", dataset)
    for name, number in records.items():
        metrics.add_metric(f"Records{name.title()}", MetricUnit.Count, number)
    metrics.flush_metrics()


def _at(message: Any, *path: str) -> Any:
    for name in path:
        message = message.get(name) if isinstance(message, dict) else None
    return message
