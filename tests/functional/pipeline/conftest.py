"""The client of Step Functions that DeadLetter asks, and a bulk object."""

import pytest
from msgspec.structs import replace

from functions.shared import aws
from functions.shared.model.messages import Batch, Plan
from tests.support.buckets import Buckets
from tests.support.failures import StepFunctions


@pytest.fixture
def step_functions(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> StepFunctions:  # noqa: ARG001 - the client is replaced after this
    client = StepFunctions()
    monkeypatch.setattr(aws, "_stepfunctions", lambda: client)
    return client


@pytest.fixture
def batch(buckets: Buckets) -> Batch:
    """Upload a bulk object of three chunks, the last of which is shorter."""
    return replace(buckets.upload("mission/large.jsonl", b"x" * 25), plan=Plan(10, (0, 10, 20)))
