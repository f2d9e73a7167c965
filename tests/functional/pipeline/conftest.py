"""The client of Step Functions that DeadLetter asks."""

import pytest

from functions.shared import aws
from tests.support.buckets import Buckets
from tests.support.failures import StepFunctions


@pytest.fixture
def step_functions(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> StepFunctions:  # noqa: ARG001 - the client is replaced after this
    client = StepFunctions()
    monkeypatch.setattr(aws, "_stepfunctions", lambda: client)
    return client
