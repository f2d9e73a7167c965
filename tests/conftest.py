"""What every test stands on: the variables that the handlers read at import, and no way out to AWS."""

import os
import signal
from collections.abc import Iterator

import pytest
from moto import mock_aws

os.environ.update(
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",  # noqa: S106 - moto takes anything
    AWS_DEFAULT_REGION="us-east-1",
    AWS_EC2_METADATA_DISABLED="true",
    AUDIT_BUCKET="audit",
    BULK_ARN="arn:aws:states:us-east-1:123456789012:stateMachine:bulk",
    CHUNK_BYTES="67108864",
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
# What a shell may have exported, as the runbook says: no test may go by it, or reach what it names.
OF_A_SHELL = ("CUSTODY_ENV", "CUSTODY_AWS", "CUSTODY_PROFILE", "CUSTODY_FOLDER")
for leaking in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION", *OF_A_SHELL):
    os.environ.pop(leaking, None)
os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)

# A shell that runs this in the background may have it ignored, which no test is about.
signal.signal(signal.SIGINT, signal.default_int_handler)

from tests.support.buckets import Buckets  # noqa: E402 - the handlers read the variables when they are imported


@pytest.fixture
def buckets() -> Iterator[Buckets]:
    """Give the buckets of a deployment, in memory, with state machines that really run."""
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}, "lambda": {"use_docker": False}}):
        yield Buckets.create()
