"""The environment of every test: the variables that handlers read when imported, and no credentials for AWS."""

import os
import signal
from collections.abc import Iterator

import pytest
from moto import mock_aws
from moto.core.config import DefaultConfig
from moto.core.model_instances import reset_model_data
from moto.core.models import MockAWS

os.environ.update(
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",  # noqa: S106 - moto takes anything
    AWS_DEFAULT_REGION="us-east-1",
    AWS_EC2_METADATA_DISABLED="true",
    AUDIT_BUCKET="audit",
    BULK_ARN="arn:aws:states:us-east-1:123456789012:stateMachine:bulk",
    CHUNK_BYTES="67108864",
    JSON_LINES_SUFFIXES=".jsonl,.ndjson",
    SKIP_MARKERS="true",
    CODE_VERSION="0123456789ab",
    CODE_VERSIONS='{"validate": "v-code", "transform": "t-code", "write": "w-code", "summarize": "s-code"}',
    DEFAULT_DATASET="mission",
    INLINE_LIMIT_BYTES="65536",
    DOCUMENT_LIMIT_BYTES="16777216",
    PIPELINE_ARN="arn:aws:states:us-east-1:123456789012:stateMachine:pipeline",
    POWERTOOLS_SERVICE_NAME="test",
    PROCESSED_BUCKET="processed",
    RAW_PREFIX="",
    STAGING_BUCKET="staging",
    TOLERATED_REJECTS_PERCENT="0",
)
# A shell may have exported these, as the runbook suggests. No test may depend on them, or reach what they name.
for name in (
    *("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION"),
    *("CUSTODY_ENV", "CUSTODY_AWS", "CUSTODY_PROFILE", "CUSTODY_FOLDER"),
):
    os.environ.pop(name, None)
os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)

# A shell ignores SIGINT in background jobs, and child processes inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

from tests.support.buckets import Buckets  # noqa: E402 - the handlers read the variables when they are imported
from tests.support.direct_s3 import direct_calls  # noqa: E402

MOTO: DefaultConfig = {
    "stepfunctions": {"execute_state_machine": True},
    "lambda": {"use_docker": False},
    # The service models, which take longest to load, are cached by session.
    "core": {"reset_boto3_session": False},
}


@pytest.fixture(scope="module")
def aws_in_memory() -> Iterator[MockAWS]:
    """Let boto3 talk to moto, whose state machines really run; patching takes too long for each test."""
    with mock_aws(config=MOTO) as mock, direct_calls():
        yield mock


@pytest.fixture
def buckets(aws_in_memory: MockAWS) -> Buckets:
    """Provide the empty buckets of a deployment, in memory."""
    aws_in_memory.reset()
    reset_model_data()
    return Buckets.create()
