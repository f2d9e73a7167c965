"""Start an execution for each object that arrived in the raw bucket.

Lambda calls it again, twice, when it raises, and puts the event into the undelivered queue after that:
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
"""

from dataclasses import dataclass
from typing import Any

from functions.shared import runtime, store
from functions.shared.documents import encode
from functions.shared.errors import CustodyError
from functions.shared.messages import Batch
from functions.start import arrivals


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables that this function reads."""

    pipeline_arn: str


ENVIRONMENT = runtime.environment(Environment)


@runtime.observed
def handle(event: dict[str, Any], _: Any) -> dict[str, Any]:
    """Start what has not been started; try every record before raising for those that failed.

    Raises MessageRefused, AccessRefused, CallRefused or ServiceUnavailable.
    """
    accepted, failures = [], []
    for record in arrivals.records(event):
        try:
            accepted.append(_start(record))
        except CustodyError as failure:
            failures.append(failure)
    if failures:
        raise failures[0]
    return {"counts": {"started": accepted.count(True), "started_before": accepted.count(False)}}


def _start(record: dict[str, Any]) -> bool:
    batch = Batch(arrivals.raw_object(record))
    return store.start_execution(ENVIRONMENT.pipeline_arn, batch.object.id, encode(batch.encode()).decode())
