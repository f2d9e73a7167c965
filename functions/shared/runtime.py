"""What a handler needs of its surroundings: typed settings from the environment, and a log without payloads."""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit
from msgspec import Struct, ValidationError, convert

from functions.shared.errors import ConfigurationMissing, CustodyError

Variables = TypeVar("Variables", bound=Struct)
Handler = Callable[[dict[str, Any], Any], Any]

logger = Logger()


class Environment(Struct, frozen=True):
    """The environment variables of every function of the state machines; limits are in bytes."""

    staging_bucket: str
    processed_bucket: str
    audit_bucket: str
    default_dataset: str
    raw_prefix: str
    inline_limit_bytes: int
    document_limit_bytes: int
    chunk_bytes: int
    json_lines_suffixes: str
    tolerated_rejects_percent: float
    code_version: str


def environment(shape: type[Variables]) -> Variables:
    """Fill a Struct from the environment variables with the names of its fields in capitals, at init.

    Fields are `str`, `int`, `float` or `bool`. Raises ConfigurationMissing.
    """
    try:
        return convert({name.lower(): value for name, value in os.environ.items()}, shape, strict=False)
    except ValidationError as error:
        raise ConfigurationMissing(f"the environment variables are incomplete or malformed: {error}") from error


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
